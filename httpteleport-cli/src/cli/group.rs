//! Options of where requests go.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use http::HeaderName;
use rustls::pki_types::ServerName;

use super::{BalancingArgs, head_size, header, tls_name};
use crate::compress::Compress;
use crate::count;
use crate::discover::Source;
use crate::duration;
use crate::outbound::Version;

/// As typed; [`Group`](crate::config::Group) is what they mean together.
#[derive(Args, Debug, Default)]
pub(crate) struct GroupArgs {
    /// Where to send requests; of several, one that is well, quick and not busy gets the next request. A name is all its addresses
    /// [default: teleport://127.0.0.1:8043]
    #[arg(long = "out", value_name = "URL[,URL...]", help_heading = "Output", value_delimiter = ',', value_parser = Source::parse)]
    pub(crate) outputs: Option<Vec<Source>>,

    /// Longest wait for a reply once its request is sent; then the client gets 504 [default: 3s]
    #[arg(long, value_name = "TIME", help_heading = "Output", value_parser = duration::parse)]
    pub(crate) out_timeout: Option<Duration>,

    /// Longest time to connect, TLS included; never more than half of --out-timeout [default: that half]
    #[arg(long, value_name = "TIME", help_heading = "Output", value_parser = duration::parse)]
    pub(crate) out_connect_timeout: Option<Duration>,

    /// Longest pause of an upstream inside the body of a reply; then the reply breaks off [default: 120s]
    #[arg(long, value_name = "TIME", help_heading = "Output", value_parser = duration::parse)]
    pub(crate) out_body_timeout: Option<Duration>,

    /// HTTP/1.1: how long a connection that has nothing to do is used again; 0 for one request a connection [default: 4s]
    #[arg(long, value_name = "TIME", help_heading = "Output", value_parser = duration::parse)]
    pub(crate) out_idle_timeout: Option<Duration>,

    /// HTTP: begin each connection with a PROXY header of this version, 1 or 2, which names the client; each request has a
    /// connection of its own then, over HTTP/1.1
    #[arg(long, value_name = "VERSION", help_heading = "Output", value_parser = str::parse::<Version>)]
    pub(crate) out_proxy_protocol: Option<Version>,

    /// https and teleports: certificates to trust, PEM [default: this system's]
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) out_ca: Option<PathBuf>,

    /// https and teleports: certificate chain to show to outputs that ask for one, PEM [default: none]
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) out_tls_cert: Option<PathBuf>,

    /// Private key of that certificate, PEM
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) out_tls_key: Option<PathBuf>,

    /// https and teleports: the name or address that the certificates of outputs have to be for [default: that in the URL, of an SRV record its domain]
    #[arg(long, value_name = "NAME", help_heading = "Output", value_parser = tls_name)]
    pub(crate) out_tls_name: Option<ServerName<'static>>,

    /// Largest head of a reply, and trailers; a larger one becomes 502 [default: 4096]
    #[arg(long, value_name = "SIZE", help_heading = "Output", value_parser = head_size)]
    pub(crate) out_max_header_size: Option<u32>,

    /// Teleport: compress requests, in the words of --in-compress [default: zstd, flate]
    #[arg(long, value_name = "HOW", help_heading = "Output", value_parser = str::parse::<Compress>)]
    pub(crate) out_compress: Option<Compress>,

    /// Teleport: hold requests back so long, to send more of them at once [default: 0]
    #[arg(long, value_name = "TIME", help_heading = "Output", value_parser = duration::parse)]
    pub(crate) out_delay: Option<Duration>,

    /// Teleport and HTTP/2: connections to each output [default: 1]
    #[arg(long, value_name = "N", help_heading = "Output", value_parser = count::within(1..=1024_u16))]
    pub(crate) out_conns_per_addr: Option<u16>,

    /// Teleport: requests whose values of this header differ never share a connection, nor its compression: name the header that
    /// tells your users, or tenants, apart; at most 1024 of them at a time
    #[arg(long, value_name = "HEADER", help_heading = "Output", value_parser = header)]
    pub(crate) out_group_by: Option<HeaderName>,

    #[command(flatten)]
    pub(crate) balancing: BalancingArgs,
}
