//! Networks, and who of them may connect.

use std::fmt;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use crate::listen::Client;

/// Networks of either version of IP. An IPv4 address that comes inside an IPv6 one is looked for as what it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Networks {
    networks: Vec<IpNet>,
    /// The programs on this machine that come over a unix socket, too.
    unix: bool,
}

impl Networks {
    /// Reads addresses and networks with commas between them: `10.0.0.1,192.168.0.0/16,2001:db8::/32`.
    ///
    /// # Errors
    ///
    /// What is wrong with the first that is none, and what to write.
    pub(crate) fn parse(text: &str) -> Result<Networks, String> {
        let networks = text.split(',').map(|network| read(network.trim())).collect::<Result<_, _>>()?;
        Ok(Networks { networks, unix: false })
    }

    /// The same, where `unix` may be among them.
    ///
    /// # Errors
    ///
    /// As [`Networks::parse`].
    pub(crate) fn parse_peers(text: &str) -> Result<Networks, String> {
        let (unix, others): (Vec<&str>, Vec<&str>) = text.split(',').partition(|word| word.trim() == "unix");
        let networks = if others.is_empty() { Networks::default() } else { Networks::parse(&others.join(","))? };
        Ok(Networks { unix: !unix.is_empty(), ..networks })
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.unix
    }

    /// Whether the address is in one of them.
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// Whether a client is from one of them.
    pub(crate) fn has_client(&self, client: Client) -> bool {
        client.address().map_or(self.unix, |address| self.has(address))
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unix = self.unix.then(|| "unix".to_owned());
        let words: Vec<_> = self.networks.iter().map(ToString::to_string).chain(unix).collect();
        f.write_str(&words.join(","))
    }
}

fn read(text: &str) -> Result<IpNet, String> {
    let form = "write an address such as 10.0.0.1 or a network such as 10.0.0.0/8 or 2001:db8::/32";
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text.parse::<IpNet>().map_err(|_| {
            if text.is_empty() {
                format!("names no network; {form}")
            } else {
                format!("{text:?} is no network; {form}")
            }
        })?,
    };
    Ok(canonical(network.trunc()))
}

/// A network of IPv4 addresses inside IPv6 ones becomes one of IPv4.
fn canonical(network: IpNet) -> IpNet {
    match network {
        IpNet::V6(inner) => inner
            .addr()
            .to_ipv4_mapped()
            .and_then(|address| Ipv4Net::new(address, inner.prefix_len().checked_sub(96)?).ok())
            .map_or(network, IpNet::V4),
        IpNet::V4(_) => network,
    }
}

/// Who may connect.
#[derive(Clone, Debug, Default)]
pub(crate) struct Access {
    /// Nobody else may; `None` for everybody.
    pub(crate) allow: Option<Networks>,
    /// These may not, even if they are allowed.
    pub(crate) deny: Networks,
}

impl Access {
    /// Whether the client may connect. Who can open a unix socket is up to the permissions of its file.
    pub(crate) fn admits(&self, client: Client) -> bool {
        let Some(address) = client.address() else { return true };
        self.allow.as_ref().is_none_or(|allow| allow.has(address)) && !self.deny.has(address)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn at(address: &str) -> Client {
        Client::Tcp(SocketAddr::new(address.parse().expect("an address"), 1))
    }

    #[test]
    fn addresses_are_in_their_networks_and_in_no_others() {
        let networks =
            Networks::parse("10.0.0.1, 192.168.3.4/16,2001:db8::/32,::1,::ffff:172.16.0.0/108").expect("fine");
        assert_eq!(networks.to_string(), "10.0.0.1/32,192.168.0.0/16,2001:db8::/32,::1/128,172.16.0.0/12");
        let inside =
            ["10.0.0.1", "::ffff:10.0.0.1", "192.168.255.1", "2001:db8:1::1", "::1", "172.31.0.1", "::ffff:172.16.0.1"];
        let outside =
            ["10.0.0.2", "::ffff:10.0.0.2", "192.169.0.1", "2001:db9::1", "::2", "172.32.0.1", "::10.0.0.1", "0.0.0.0"];
        for address in inside {
            assert!(networks.has_client(at(address)), "{address}");
        }
        for address in outside {
            assert!(!networks.has_client(at(address)), "{address}");
        }
        assert!(!networks.has_client(Client::Unix));
        assert!(Networks::parse("0.0.0.0/0,::/0").expect("fine").has_client(at("::ffff:1.2.3.4")));
    }

    #[test]
    fn unix_is_among_peers_where_it_is_named() {
        let peers = |text| Networks::parse_peers(text).expect("fine");
        assert!(peers("unix").has_client(Client::Unix) && peers("10.0.0.0/8, unix").has_client(Client::Unix));
        assert!(!peers("10.0.0.0/8").has_client(Client::Unix) && !peers("unix").has_client(at("10.0.0.1")));
        assert_eq!(peers("unix,10.0.0.1").to_string(), "10.0.0.1/32,unix");
        assert!(Networks::default().is_empty() && !peers("unix").is_empty() && !peers("::1").is_empty());
    }

    #[test]
    fn says_what_is_wrong() {
        let cases = [
            ("", "names no network; write an address"),
            ("10.0.0.1,", "names no network"),
            ("10.0.0", "\"10.0.0\" is no network"),
            ("10.0.0.0/33", "\"10.0.0.0/33\" is no network"),
            ("host", "\"host\" is no network"),
            ("unix", "\"unix\" is no network"),
        ];
        for (text, want) in cases {
            let error = Networks::parse(text).expect_err(text);
            assert!(error.contains(want), "{text}: {error}");
        }
        assert!(Networks::parse_peers("unix,x").is_err());
    }

    #[test]
    fn who_is_not_allowed_may_not_and_a_denial_wins() {
        let networks = |text| Networks::parse(text).expect("fine");
        let all = Access::default();
        assert!(all.admits(at("1.2.3.4")) && all.admits(at("2001:db8::1")));
        let access = Access { allow: Some(networks("10.0.0.0/8")), deny: networks("10.1.0.0/16") };
        assert!(access.admits(at("10.0.0.1")) && access.admits(at("::ffff:10.0.0.1")) && access.admits(Client::Unix));
        for address in ["10.1.0.1", "::ffff:10.1.0.1", "11.0.0.1", "::1", "2001:db8::1"] {
            assert!(!access.admits(at(address)), "{address}");
        }
    }
}
