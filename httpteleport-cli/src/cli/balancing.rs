//! Options of which upstreams there are and who of them gets a request.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use clap::Args;
use http::HeaderValue;
use http::uri::{Authority, PathAndQuery};

use crate::count;
use crate::discover::Families;
use crate::duration;
use crate::health::Statuses;

/// As typed; a part of [`GroupArgs`](super::GroupArgs).
#[derive(Args, Debug, Default)]
pub(crate) struct BalancingArgs {
    /// Ask each HTTP output for this path now and then, and send nothing to one that does not answer 200 to 399 while any other can be
    /// used; teleport outputs are asked whether they are there
    #[arg(long, value_name = "PATH", help_heading = "Balancing", value_parser = path)]
    pub(crate) health_check: Option<String>,

    /// The Host that such a check is for, as outputs may know no other [default: the output's own]
    #[arg(long, value_name = "HOST[:PORT]", help_heading = "Balancing", value_parser = host)]
    pub(crate) health_host: Option<HeaderValue>,

    /// Between two such checks [default: 5s]
    #[arg(long, value_name = "TIME", help_heading = "Balancing", value_parser = duration::parse)]
    pub(crate) health_interval: Option<Duration>,

    /// The longest that such a check may take [default: 2s]
    #[arg(long, value_name = "TIME", help_heading = "Balancing", value_parser = duration::parse)]
    pub(crate) health_timeout: Option<Duration>,

    /// The statuses that say that an output is well, such as 204 or 200-299,404 [default: 200-399]
    #[arg(long, value_name = "CODES", help_heading = "Balancing", value_parser = str::parse::<Statuses>)]
    pub(crate) health_status: Option<Statuses>,

    /// So many good checks in a row bring an output back [default: 2]
    #[arg(long, value_name = "N", help_heading = "Balancing", value_parser = count::within(1..=1000_u32))]
    pub(crate) health_passes: Option<u32>,

    /// So many bad checks in a row, and an output gets nothing while any other can be used [default: 3]
    #[arg(long, value_name = "N", help_heading = "Balancing", value_parser = count::within(1..=1000_u32))]
    pub(crate) health_fails: Option<u32>,

    /// An output that is new, or back, gets its whole part only after this time [default: 0]
    #[arg(long, value_name = "TIME", help_heading = "Balancing", value_parser = duration::parse)]
    pub(crate) slow_start: Option<Duration>,

    /// So many failures in a row (502, 503, 504, gRPC's UNAVAILABLE, or no reply), and an output gets nothing for a while; 0 for never,
    /// however many of all requests fail, unless --eject-share says otherwise [default: 5]
    #[arg(long, value_name = "N", help_heading = "Balancing", value_parser = count::within(0..=1_000_000_u32))]
    pub(crate) eject_after: Option<u32>,

    /// The same if so many percent of an output's requests fail, of 50 or more within ten seconds; 0 for never [default: 50]
    #[arg(long, value_name = "PERCENT", help_heading = "Balancing", value_parser = count::within(0..=100_u32))]
    pub(crate) eject_share: Option<u32>,

    /// How long that lasts; twice as long each time that it happens again soon [default: 5s]
    #[arg(long, value_name = "TIME", help_heading = "Balancing", value_parser = duration::parse)]
    pub(crate) eject_time: Option<Duration>,

    /// The longest that it may last [default: 5m]
    #[arg(long, value_name = "TIME", help_heading = "Balancing", value_parser = duration::parse)]
    pub(crate) eject_max_time: Option<Duration>,

    /// At most so many percent of the outputs are left alone at a time for what they fail, and never the last one [default: 50]
    #[arg(long, value_name = "PERCENT", help_heading = "Balancing", value_parser = count::within(1..=100_u32))]
    pub(crate) eject_most: Option<u32>,

    /// Requests that may have reached an output which then was lost are sent to another one if that does no harm (GET, PUT), up to
    /// so many percent of all requests [default: 20]
    #[arg(long, value_name = "PERCENT", help_heading = "Balancing", value_parser = count::within(0..=100_u32))]
    pub(crate) retry_budget: Option<u32>,

    /// Use only so many of the outputs, others on each node: for very many of both
    #[arg(long, value_name = "N", help_heading = "Balancing", value_parser = count::within(1..=100_000_u32))]
    pub(crate) subset: Option<u32>,

    /// Which node this is, for --subset: a number, or a name that ends in one; without gaps among the nodes, all outputs are used
    /// alike
    #[arg(long, value_name = "NAME", help_heading = "Balancing")]
    pub(crate) node_id: Option<String>,

    /// The DNS server that knows the outputs' names [default: this system's]
    #[arg(long, value_name = "IP[:PORT]", help_heading = "Balancing", value_parser = server)]
    pub(crate) resolver: Option<SocketAddr>,

    /// Which addresses of names are outputs: any, ipv4 or ipv6 [default: any]
    #[arg(long, value_name = "FAMILY", help_heading = "Balancing", value_parser = str::parse::<Families>)]
    pub(crate) out_address_family: Option<Families>,
}

/// Names what is asked for.
fn path(path: &str) -> Result<String, &'static str> {
    let is_path = path.starts_with('/') && PathAndQuery::try_from(path).is_ok();
    if is_path { Ok(path.to_owned()) } else { Err("is no path; write for example /healthz") }
}

/// Names whom a request is for.
fn host(text: &str) -> Result<HeaderValue, &'static str> {
    let authority = text.parse::<Authority>().ok().filter(|authority| !authority.as_str().contains('@'));
    let value = authority.and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    value.ok_or("is no host; write for example www.example.com or www.example.com:8080")
}

/// Names a DNS server.
fn server(text: &str) -> Result<SocketAddr, &'static str> {
    let with_port = || text.trim_matches(['[', ']']).parse().ok().map(|ip: IpAddr| SocketAddr::new(ip, 53));
    text.parse().ok().or_else(with_port).ok_or("is no address; write for example 10.0.0.2 or 10.0.0.2:53")
}
