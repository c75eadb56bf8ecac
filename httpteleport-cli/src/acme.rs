//! Certificates from an authority that speaks ACME (RFC 8555), ordered when a client first needs them.

mod accept;
mod cache;
mod challenge;
mod hosts;
mod http;
mod http_01;
mod manager;
mod order;
mod pattern;
mod problem;
mod refused;
mod tally;
mod tls_alpn;

pub(crate) use challenge::Challenge;
pub(crate) use http_01::Tokens;
pub(crate) use manager::{Manager, faults};
pub(crate) use pattern::HostPattern;
pub(crate) use tally::Tally;
