//! The way that a request has come, as those tell who are trusted.

use std::net::IpAddr;

use http::header::{FORWARDED, HeaderMap, HeaderName};

use super::{FOR, chain};
use crate::access::Networks;

/// Whom a request came through before its peer, which is trusted.
#[derive(Debug, Default)]
pub(super) struct Way {
    /// The last one first. At the end is its client, unless that is the peer itself.
    pub(super) nodes: Vec<IpAddr>,
    /// Of `X-Forwarded-For`.
    pub(super) x: Telling,
    /// Of `Forwarded`.
    pub(super) standard: Telling,
    /// How many elements of `Forwarded` are believed.
    elements: usize,
}

/// What has come of one of both fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Telling {
    /// Whether it came.
    pub(super) came: bool,
    /// Whether it tells of all the way that is believed, and of no other, so that what else its sender tells counts too.
    pub(super) counts: bool,
    /// Whether one more element can stand behind what came.
    pub(super) goes_on: bool,
}

/// How far one field is believed.
struct Told {
    nodes: Vec<IpAddr>,
    /// How many elements that are: the last one may name nobody.
    elements: usize,
    /// Whether those who are trusted know of nobody before them: then another field may know more.
    is_open: bool,
    came: bool,
    /// Whether all of it could be read.
    is_whole: bool,
}

impl Way {
    /// Reads both fields of a request from somebody who is trusted; `None` where they contradict each other. They do not where one goes on
    /// where the other one ends: not everybody on the way has written both.
    pub(super) fn read(headers: &HeaderMap, trusted: &Networks) -> Option<Way> {
        let (x, standard) = (told(headers, &FOR, trusted), told(headers, &FORWARDED, trusted));
        if x.nodes.last() != standard.nodes.last() && !x.leads_into(&standard) && !standard.leads_into(&x) {
            return None;
        }
        let longer = if standard.nodes.len() > x.nodes.len() { &standard.nodes } else { &x.nodes };
        Some(Way {
            x: x.of(longer, &standard),
            standard: standard.of(longer, &x),
            elements: standard.elements,
            nodes: longer.clone(),
        })
    }

    /// The client, if it is not the peer.
    pub(super) fn client(&self) -> Option<IpAddr> {
        self.nodes.last().copied()
    }

    /// What `Forwarded` says of how the request came from its client: this parameter, as the first of those who are believed has written it.
    pub(super) fn first(&self, headers: &HeaderMap, parameter: &str) -> Option<String> {
        let believed = if self.standard.counts { self.elements } else { 0 };
        let elements = chain::backwards(headers, &FORWARDED);
        elements[..believed].iter().rev().find_map(|element| chain::parameter((*element)?, parameter))
    }
}

impl Told {
    /// Whether the other one tells the same, and more of the time before.
    fn leads_into(&self, other: &Told) -> bool {
        self.is_open && other.nodes.starts_with(&self.nodes)
    }

    /// What that is where this way is believed. What did not come tells of nothing unless neither did.
    fn of(&self, way: &[IpAddr], other: &Told) -> Telling {
        let counts = self.nodes == way && (self.came || !other.came);
        Telling { came: self.came, counts, goes_on: counts && self.is_whole && !way.is_empty() }
    }
}

/// What this field tells, as far as it is believed.
fn told(headers: &HeaderMap, name: &HeaderName, trusted: &Networks) -> Told {
    let elements = chain::backwards(headers, name);
    let is_whole = elements.iter().all(Option::is_some);
    let mut told = Told { nodes: Vec::new(), elements: 0, is_open: true, came: !elements.is_empty(), is_whole };
    for element in elements {
        let address = element.and_then(|element| chain::node(name, element));
        told.elements += 1;
        told.nodes.extend(address);
        told.is_open = address.is_some_and(|address| trusted.has(address));
        if !told.is_open {
            break;
        }
    }
    told
}
