//! The two families of addresses.

use std::net::IpAddr;
use std::str::FromStr;

/// Some of the families: none, one or both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Families {
    pub(crate) ipv4: bool,
    pub(crate) ipv6: bool,
}

impl Families {
    pub(crate) const ANY: Families = Families { ipv4: true, ipv6: true };
    pub(crate) const IPV4: Families = Families { ipv4: true, ipv6: false };
    pub(crate) const IPV6: Families = Families { ipv4: false, ipv6: true };

    /// Whether the address is of one of them.
    pub(super) fn has(self, address: IpAddr) -> bool {
        if address.is_ipv4() { self.ipv4 } else { self.ipv6 }
    }

    /// Those of either.
    pub(super) fn and(self, other: Families) -> Families {
        Families { ipv4: self.ipv4 || other.ipv4, ipv6: self.ipv6 || other.ipv6 }
    }

    /// How to speak of their addresses.
    pub(super) fn words(self) -> &'static str {
        match (self.ipv4, self.ipv6) {
            (true, false) => "IPv4 addresses",
            (false, true) => "IPv6 addresses",
            _ => "addresses",
        }
    }
}

impl FromStr for Families {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Families, &'static str> {
        match text {
            "any" => Ok(Families::ANY),
            "ipv4" => Ok(Families::IPV4),
            "ipv6" => Ok(Families::IPV6),
            _ => Err("use any, ipv4 or ipv6"),
        }
    }
}
