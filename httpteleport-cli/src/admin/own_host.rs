//! For whom requests to a loopback address are: a page of somebody else's that has its own name lead here would reach it otherwise, through a
//! browser on this machine (DNS rebinding).

use std::net::IpAddr;

use http::header::{HOST, HeaderMap};

/// The names that a loopback address goes by.
pub(super) struct OwnHost {
    /// That in the settings.
    name: String,
}

impl OwnHost {
    /// It is called so in the settings; an address or nothing will do.
    pub(super) fn new(name: &str) -> OwnHost {
        OwnHost { name: whole(name).to_owned() }
    }

    /// Whether a request is for it: for localhost, for an address, for the name in the settings, or for nobody, as with no browser.
    pub(super) fn is_meant(&self, headers: &HeaderMap) -> bool {
        headers.get_all(HOST).iter().all(|host| host.to_str().is_ok_and(|host| self.is_own(host)))
    }

    fn is_own(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let inner = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        let name = whole(name);
        inner.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || (!name.is_empty() && name.eq_ignore_ascii_case(&self.name))
    }
}

/// A name without the dot that ends a whole one.
fn whole(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn is_meant(hosts: &[&str]) -> bool {
        let hosts = hosts.iter().map(|host| (HOST, HeaderValue::from_str(host).expect("a value")));
        OwnHost::new("admin.example").is_meant(&hosts.collect())
    }

    #[test]
    fn names_of_others_are_not_meant() {
        for own in [
            "localhost",
            "LocalHost:8040",
            "localhost.",
            "localhost.:8040",
            "admin.example.",
            "127.0.0.1",
            "127.0.0.1:8040",
            "[::1]",
            "[::1]:8040",
            "10.0.0.1",
            "Admin.Example:1",
        ] {
            assert!(is_meant(&[own]), "{own}");
        }
        assert!(is_meant(&[]), "an old client, or no browser");
        for other in [
            "evil.example",
            "evil.example:8040",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "",
            ".",
            "localhost..",
            "evil.localhost.evil.",
            ":8040",
            "localhost:x",
        ] {
            assert!(!is_meant(&[other]), "{other}");
        }
        assert!(!is_meant(&["localhost", "evil.example"]));
        assert!(!OwnHost::new("").is_own("") && !OwnHost::new("").is_own("."));
        assert!(OwnHost::new("admin.example.").is_own("admin.example"));
    }
}
