//! The names and methods that travel as numbers. Both tables are fixed for ever: a number never changes its meaning.

use http::{HeaderName, Method};

/// Codes below this are methods of the table, and the others tell how long a literal one is.
pub(super) const LITERAL_METHOD: u32 = 16;

/// Methods, in the order of their codes.
pub(super) static METHODS: [Method; 9] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::DELETE,
    Method::CONNECT,
    Method::OPTIONS,
    Method::TRACE,
    Method::PATCH,
];

/// The code of the protocol that a request asks for.
pub(super) const PROTOCOL: u32 = 0;
/// The code of the scheme that goes with it.
pub(super) const SCHEME: u32 = 1;
/// The code of the first name of the table.
pub(super) const FIRST_NAME: u32 = 2;
/// Codes below this are names of the table, and the others tell how long a literal one is.
pub(super) const LITERAL_NAME: u32 = 64;

macro_rules! names {
    ($($name:literal)*) => {
        const TEXTS: [&str; (LITERAL_NAME - FIRST_NAME) as usize] = [$($name),*];

        /// Names, in the order of their codes.
        pub(super) static NAMES: [HeaderName; TEXTS.len()] = [$(HeaderName::from_static($name)),*];
    };
}

names! {
    "host" "content-length" "content-type" "accept" "accept-encoding" "accept-language" "accept-ranges"
    "access-control-allow-credentials" "access-control-allow-headers" "access-control-allow-methods"
    "access-control-allow-origin" "access-control-expose-headers" "access-control-max-age"
    "access-control-request-headers" "access-control-request-method" "age" "allow" "alt-svc" "authorization"
    "cache-control" "content-disposition" "content-encoding" "content-language" "content-range"
    "content-security-policy" "cookie" "date" "etag" "expect" "expires" "forwarded" "if-match" "if-modified-since"
    "if-none-match" "last-modified" "link" "location" "origin" "pragma" "range" "referer" "retry-after"
    "sec-ch-ua" "sec-ch-ua-mobile" "sec-ch-ua-platform" "sec-fetch-dest" "sec-fetch-mode" "sec-fetch-site" "server"
    "set-cookie" "strict-transport-security" "traceparent" "tracestate" "user-agent" "vary" "via"
    "www-authenticate" "x-content-type-options" "x-forwarded-for" "x-forwarded-host" "x-forwarded-proto"
    "x-request-id"
}

/// The code of a name that is in the table.
pub(super) fn code(name: &str) -> Option<u32> {
    let mut slot = hash(name.as_bytes());
    while SLOTS[slot] != FREE {
        let at = SLOTS[slot];
        if TEXTS[usize::from(at)] == name {
            return Some(FIRST_NAME + u32::from(at));
        }
        slot = (slot + 1) % SLOTS.len();
    }
    None
}

const FREE: u8 = u8::MAX;

/// Places of the names in the table, each in the slot of its hash or, where that is taken, in the next free one.
static SLOTS: [u8; 256] = {
    let mut slots = [FREE; 256];
    let mut at = 0u8;
    while (at as usize) < TEXTS.len() {
        let mut slot = hash(TEXTS[at as usize].as_bytes());
        while slots[slot] != FREE {
            slot = (slot + 1) % slots.len();
        }
        slots[slot] = at;
        at += 1;
    }
    slots
};

/// Cheap, and apart for nearly all names of the table.
const fn hash(name: &[u8]) -> usize {
    let length = name.len();
    if length == 0 {
        return 0;
    }
    let (first, middle, last) = (name[0] as usize, name[length / 2] as usize, name[length - 1] as usize);
    (length * 7 + first * 3 + middle * 31 + last * 17) % 256
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_its_code() {
        for (at, name) in NAMES.iter().enumerate() {
            assert_eq!(code(name.as_str()), Some(FIRST_NAME + u32::try_from(at).unwrap()), "{name}");
        }
        for unknown in ["", "hosts", "x", "x-request-ie", "Host", "via\0"] {
            assert_eq!(code(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn few_names_share_a_slot() {
        let mut hashes: Vec<_> = TEXTS.iter().map(|name| hash(name.as_bytes())).collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert!(hashes.len() >= 52, "{} of {}", hashes.len(), TEXTS.len());
    }
}
