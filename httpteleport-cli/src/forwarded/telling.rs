//! What upstreams are told of the way of a request: the same in `X-Forwarded-For` and its kin as in `Forwarded`, whichever of them it came in.

use std::net::IpAddr;

use http::header::{Entry, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue};

use super::way::Way;
use super::{FOR, FORWARDED_HOST, OF_THE_WAY, PROTO, Which};
use crate::listen::Client;

/// How a request came to the first of those who are believed, as they tell.
#[derive(Default)]
struct Said {
    proto: Option<String>,
    host: Option<String>,
    /// `Forwarded` says something else, or less.
    differs: bool,
}

/// Tells of the way that led to `peer`, as far as it is believed, and of the step from there, over TLS or not. A field that came is gone
/// on with as well where only the other one is asked for: without that whoever reads it would take another one for the client.
pub(super) fn tell(which: Which, headers: &mut HeaderMap, way: Option<Way>, peer: Client, tls: bool) {
    if way.is_none() {
        OF_THE_WAY.iter().for_each(|name| _ = headers.remove(name));
    }
    let way = way.unwrap_or_default();
    let said = settle(headers, &way);
    let proto = if tls { "https" } else { "http" };
    let asked = matches!(which, Which::X | Which::Both);
    if asked || way.x.came {
        let before = || way.nodes.iter().rev().map(IpAddr::to_string).collect::<Vec<_>>();
        let before = (!way.x.goes_on).then(before);
        go_on(headers, &FOR, before.as_deref(), peer.address().map(|address| address.to_string()).as_deref());
    }
    if asked {
        fill(headers, &PROTO, said.proto.as_deref().or(Some(proto)));
        let own = headers.get(HOST).cloned();
        fill(headers, &FORWARDED_HOST, said.host.as_deref());
        if let (Entry::Vacant(place), Some(own)) = (headers.entry(&FORWARDED_HOST), own) {
            place.insert(own);
        }
    }
    if matches!(which, Which::Standard | Which::Both) || way.standard.came {
        let anew = !way.standard.goes_on || said.differs;
        let own = headers.get(HOST).and_then(|host| host.to_str().ok());
        // The first step is the one that the others have told of.
        let (proto, host) = if anew && way.nodes.is_empty() {
            (said.proto_token().unwrap_or(proto), said.host.as_deref().or(own))
        } else {
            (proto, own)
        };
        // A name would end the way of who reads it, and `X-Forwarded-For` has none.
        let is_unnamed = peer.address().is_none() && !way.nodes.is_empty();
        let step = (!is_unnamed).then(|| element(peer.address(), host, Some(proto)));
        go_on(headers, &FORWARDED, anew.then(|| said.elements(&way)).as_deref(), step.as_deref());
    }
}

/// Finds out how the request came to the first of those who are believed, and leaves of `X-Forwarded-Proto` and its kin what is
/// not contradicted and comes from whoever has written the way.
fn settle(headers: &mut HeaderMap, way: &Way) -> Said {
    let [proto, host] = ["proto", "host"].map(|name| way.first(headers, name));
    if !way.x.counts {
        OF_THE_WAY.iter().filter(|name| **name != FOR && **name != FORWARDED).for_each(|name| _ = headers.remove(name));
    }
    let mut said = Said::default();
    let both = [way.x, way.standard].iter().all(|telling| telling.came && telling.counts);
    said.proto = said.one(headers, &PROTO, proto, both);
    said.host = said.one(headers, &FORWARDED_HOST, host, both);
    said
}

impl Said {
    /// What both say, or the one that came. Where `both` came and agree on the way, what one alone says may be the client's, who has named
    /// its own address in a field that was passed on.
    fn one(
        &mut self,
        headers: &mut HeaderMap,
        name: &HeaderName,
        standard: Option<String>,
        both: bool,
    ) -> Option<String> {
        let mut values = headers.get_all(name).iter();
        let (came, x) = match (values.next(), values.next()) {
            (None, _) => (false, None),
            (Some(one), None) => (true, one.to_str().ok().map(str::to_owned)),
            _ => (true, None),
        };
        let agree = |standard: &String| x.as_ref().is_some_and(|x| x.eq_ignore_ascii_case(standard));
        match standard {
            None if !came => None,
            Some(standard) if agree(&standard) => x,
            Some(standard) if !came && !both => Some(standard),
            None if !both => {
                self.differs = true;
                x
            }
            _ => {
                self.differs = true;
                headers.remove(name);
                None
            }
        }
    }

    /// The protocol, if it can stand in `Forwarded`.
    fn proto_token(&self) -> Option<&str> {
        let is_token = |proto: &&str| {
            !proto.is_empty() && proto.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        };
        self.proto.as_deref().filter(is_token)
    }

    /// The elements of `Forwarded` that tell of the way before.
    fn elements(&self, way: &Way) -> Vec<String> {
        let mut nodes = way.nodes.iter().rev();
        let first = nodes.next().map(|client| element(Some(*client), self.host.as_deref(), self.proto_token()));
        first.into_iter().chain(nodes.map(|node| element(Some(*node), None, None))).collect()
    }
}

/// An element of `Forwarded`.
fn element(node: Option<IpAddr>, host: Option<&str>, proto: Option<&str>) -> String {
    let node = match node {
        Some(IpAddr::V4(address)) => address.to_string(),
        Some(IpAddr::V6(address)) => format!("\"[{address}]\""),
        None => "_unix".to_owned(),
    };
    let host = host.map(|host| format!(";host={}", quoted(host))).unwrap_or_default();
    let proto = proto.map(|proto| format!(";proto={proto}")).unwrap_or_default();
    format!("for={node}{host}{proto}")
}

/// A quoted string (RFC 9110, 5.6.4).
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Puts one more element at the end of a list, which is one field from then on: behind what came, or behind these.
fn go_on(headers: &mut HeaderMap, name: &HeaderName, anew: Option<&[String]>, step: Option<&str>) {
    if anew.is_none() && step.is_none() {
        return;
    }
    let mut list: Vec<&[u8]> = match anew {
        Some(before) => before.iter().map(String::as_bytes).collect(),
        None => headers.get_all(name).iter().map(HeaderValue::as_bytes).collect(),
    };
    list.extend(step.map(str::as_bytes));
    match HeaderValue::from_bytes(&list.join(&b", "[..])) {
        Ok(list) if !list.is_empty() => _ = headers.insert(name, list),
        _ => _ = headers.remove(name),
    }
}

/// Puts a field where there is none.
fn fill(headers: &mut HeaderMap, name: &HeaderName, text: Option<&str>) {
    if let (Entry::Vacant(place), Some(Ok(value))) = (headers.entry(name), text.map(HeaderValue::try_from)) {
        place.insert(value);
    }
}
