//! Options of what accepts requests.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use http::HeaderName;

use super::{client_ip_header, head_size, yes_or_no};
use crate::access::Networks;
use crate::acme::{Challenge, HostPattern};
use crate::compress::Compress;
use crate::count;
use crate::duration;
use crate::endpoint::{Endpoint, check_host};
use crate::forwarded::Which;
use crate::listen::Mode;
use crate::size;
use crate::tls::ClientNames;

/// As typed; [`Listener`](crate::config::Listener) is what they mean together.
#[derive(Args, Debug, Default)]
pub(crate) struct ListenerArgs {
    /// Where to accept requests [default: http://127.0.0.1:8080]
    #[arg(long = "in", value_name = "URL", help_heading = "Input", value_parser = Endpoint::parse_input)]
    pub(crate) input: Option<Endpoint>,

    /// Share the port with other programs that do the same; the system spreads connections over them
    #[arg(
        long, value_name = "BOOL", help_heading = "Input",
        num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = yes_or_no
    )]
    pub(crate) reuse_port: Option<bool>,

    /// Who may connect to the unix socket of the input, as the mode of its file in octal digits: 660 lets its owner and its group
    /// [default: what the umask leaves]
    #[arg(long, value_name = "MODE", help_heading = "Input", value_parser = Mode::parse)]
    pub(crate) in_socket_mode: Option<Mode>,

    /// Certificate chain of an https or teleports input, PEM; of several the one for the name that a client asks for is shown, else
    /// the first
    #[arg(long, value_name = "FILE[,FILE...]", help_heading = "Input", value_delimiter = ',')]
    pub(crate) in_tls_cert: Option<Vec<PathBuf>>,

    /// Private key of that certificate, PEM; as many as there are certificates
    #[arg(long, value_name = "FILE[,FILE...]", help_heading = "Input", value_delimiter = ',')]
    pub(crate) in_tls_key: Option<Vec<PathBuf>>,

    /// Any text that nobody can guess: nodes with the same one resume each other's TLS sessions
    #[arg(long, value_name = "TEXT", help_heading = "Input")]
    pub(crate) in_tls_session_ticket_key: Option<String>,

    /// Let in clients alone that show a certificate of these authorities, PEM; TLS sessions are not resumed then [default: none is asked
    /// for]
    #[arg(long, value_name = "FILE", help_heading = "Input")]
    pub(crate) in_tls_client_ca: Option<PathBuf>,

    /// DNS names of which that certificate has to be for one; *.example.com is all that end so [default: any]
    #[arg(long, value_name = "NAME[,NAME...]", help_heading = "Input", value_parser = ClientNames::parse)]
    pub(crate) in_tls_client_names: Option<ClientNames>,

    /// Where certificates from an ACME authority are kept [default: autocert-cache]
    #[arg(long, value_name = "FOLDER", help_heading = "Input")]
    pub(crate) autocert_cache_dir: Option<PathBuf>,

    /// An https input without a certificate orders one for each host that this regular expression takes whole, when a client first
    /// asks for it, and renews it in time
    #[arg(long, value_name = "REGEXP", help_heading = "Input", value_parser = HostPattern::parse)]
    pub(crate) autocert_host_regexp: Option<HostPattern>,

    /// The authority's directory, an https URL [default: that of Let's Encrypt]
    #[arg(long, value_name = "URL", help_heading = "Input", value_parser = directory)]
    pub(crate) acme_directory: Option<String>,

    /// Certificates to trust there, PEM [default: this system's]
    #[arg(long, value_name = "FILE", help_heading = "Input")]
    pub(crate) acme_ca: Option<PathBuf>,

    /// Mail addresses that the authority may write to
    #[arg(long, value_name = "ADDRESS[,ADDRESS...]", help_heading = "Input", value_delimiter = ',')]
    pub(crate) acme_contact: Option<Vec<String>>,

    /// Where the authority looks whether the host is ours: tls-alpn for port 443, where this input should be; http for port 80, where
    /// another listener of the file should be that is http [default: tls-alpn]
    #[arg(long, value_name = "WHERE", help_heading = "Input", value_parser = str::parse::<Challenge>)]
    pub(crate) acme_challenge: Option<Challenge>,

    /// Teleport: compress replies with zstd, zstd-small, zstd-max, lz4 or none; on the classic wire with flate, snappy or none
    /// [default: zstd, flate]
    #[arg(long, value_name = "HOW", help_heading = "Input", value_parser = str::parse::<Compress>)]
    pub(crate) in_compress: Option<Compress>,

    /// Teleport: hold replies back so long, to send more of them at once [default: 0]
    #[arg(long, value_name = "TIME", help_heading = "Input", value_parser = duration::parse)]
    pub(crate) in_delay: Option<Duration>,

    /// Refuse requests with other methods than GET: they are answered 405
    #[arg(
        long, value_name = "BOOL", help_heading = "Limits",
        num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = yes_or_no
    )]
    pub(crate) in_get_only: Option<bool>,

    /// Largest head of a request, and trailers; a larger one is answered 431 [default: 4096]
    #[arg(long, value_name = "SIZE", help_heading = "Limits", value_parser = head_size)]
    pub(crate) in_max_header_size: Option<u32>,

    /// Most fields in the head of a request; more are answered 431 [default: 100, over teleport 128]
    #[arg(long, value_name = "N", help_heading = "Limits", value_parser = count::within(1..=10_000_u16))]
    pub(crate) in_max_headers: Option<u16>,

    /// Largest body of a request, up to 1 TiB; a larger one is answered 413, or broken off if a reply has begun [default: 4194304]
    #[arg(long, value_name = "SIZE", help_heading = "Limits", value_parser = body_size)]
    pub(crate) in_max_body_size: Option<u64>,

    /// Most connections of one client, IPv6 clients by their /64; one more is closed at once. Those of --trusted-proxies and of unix sockets
    /// have no limit [default: no limit]
    #[arg(long, value_name = "N", help_heading = "Limits", value_parser = count::within(1..=10_000_000_u32))]
    pub(crate) client_connections: Option<u32>,

    /// Most requests of one client at a time, IPv6 clients by their /64; one more is answered 429 [default: no limit]
    #[arg(long, value_name = "N", help_heading = "Limits", value_parser = count::within(1..=10_000_000_u32))]
    pub(crate) client_concurrency: Option<u32>,

    /// Most requests of one client in a second; one more is answered 429 [default: no limit]
    #[arg(long, value_name = "N", help_heading = "Limits", value_parser = count::within(1..=10_000_000_u32))]
    pub(crate) client_rate: Option<u32>,

    /// So many requests of one client may come at once before --client-rate counts [default: as many as in a second]
    #[arg(long, value_name = "N", help_heading = "Limits", value_parser = count::within(1..=10_000_000_u32))]
    pub(crate) client_burst: Option<u32>,

    /// Longest TLS handshake, and longest wait for the first bytes of a teleport connection or a PROXY header [default: 10s,
    /// teleport 3s]
    #[arg(long, value_name = "TIME", help_heading = "Limits", value_parser = duration::parse)]
    pub(crate) in_handshake_timeout: Option<Duration>,

    /// Longest time for the head of a request, from its first byte on, for the first one from the connection's beginning on; then it
    /// is answered 408 [default: 120s]
    #[arg(long, value_name = "TIME", help_heading = "Limits", value_parser = duration::parse)]
    pub(crate) in_head_timeout: Option<Duration>,

    /// Longest pause of a client inside the body of a request; then it is answered 408 [default: 120s]
    #[arg(long, value_name = "TIME", help_heading = "Limits", value_parser = duration::parse)]
    pub(crate) in_body_timeout: Option<Duration>,

    /// Longest pause of a client in reading a reply; then its connection ends [default: 60s, teleport 5s]
    #[arg(long, value_name = "TIME", help_heading = "Limits", value_parser = duration::parse)]
    pub(crate) in_write_timeout: Option<Duration>,

    /// HTTP: longest time between two requests of a connection [default: 120s]
    #[arg(long, value_name = "TIME", help_heading = "Limits", value_parser = duration::parse)]
    pub(crate) in_idle_timeout: Option<Duration>,

    /// Who may connect: addresses and networks such as 10.0.0.0/8,2001:db8::/32; clients of a unix socket always may [default:
    /// everybody]
    #[arg(long, value_name = "NET[,NET...]", help_heading = "Clients", value_parser = Networks::parse)]
    pub(crate) in_allow: Option<Networks>,

    /// Who may not, even if --in-allow lets them
    #[arg(long, value_name = "NET[,NET...]", help_heading = "Clients", value_parser = Networks::parse)]
    pub(crate) in_deny: Option<Networks>,

    /// Whose X-Forwarded-For and Forwarded are believed: proxies before this one, or the httptp at the other end of a teleport link;
    /// the word unix names the clients of a unix socket [default: nobody's]
    #[arg(long, value_name = "NET[,NET...]", help_heading = "Clients", value_parser = Networks::parse_peers)]
    pub(crate) trusted_proxies: Option<Networks>,

    /// What upstreams are told of the client and how it came: x for X-Forwarded-For, -Proto and -Host, standard for Forwarded, both,
    /// or none, which leaves these fields as they came [default: x with --trusted-proxies, else none]
    #[arg(long, value_name = "HOW", help_heading = "Clients", value_parser = str::parse::<Which>)]
    pub(crate) forwarded: Option<Which>,

    /// Header that tells upstreams the address of the client; what the client put there is replaced
    #[arg(long, value_name = "HEADER", help_heading = "Clients", value_parser = client_ip_header)]
    pub(crate) in_client_ip_header: Option<HeaderName>,

    /// Load balancers whose connections begin with a PROXY header, version 1 or 2, which names the client [default: none]
    #[arg(long, value_name = "NET[,NET...]", help_heading = "Clients", value_parser = Networks::parse)]
    pub(crate) in_proxy_protocol: Option<Networks>,

    /// Give requests without a traceparent one (W3C Trace Context), so that the logs of all that they pass can be put together
    #[arg(
        long, value_name = "BOOL", help_heading = "Logs",
        num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = yes_or_no
    )]
    pub(crate) in_begin_traces: Option<bool>,
}

fn body_size(text: &str) -> Result<u64, String> {
    size::parse(text, 0..=1 << 40)
}

fn directory(text: &str) -> Result<String, &'static str> {
    let url: Option<http::Uri> = text.parse().ok();
    let is_host = |url: &http::Uri| url.host().is_some_and(|host| check_host(host).is_ok());
    let is_https = url.is_some_and(|url| url.scheme_str() == Some("https") && is_host(&url));
    is_https.then(|| text.to_owned()).ok_or("is no https URL; write for example https://acme.example.com/directory")
}
