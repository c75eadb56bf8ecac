//! Certificates from an authority that speaks ACME (RFC 8555), ordered when a client first needs them.

mod accept;
mod cache;
mod challenge;
mod hosts;
mod http;
mod manager;
mod order;
mod pattern;

pub(crate) use manager::Manager;
pub(crate) use pattern::HostPattern;
