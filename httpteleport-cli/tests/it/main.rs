//! The real program, started on a free port and driven over sockets.

#![allow(missing_docs)]

mod admin;
mod balance;
mod browser;
mod certificates;
mod check;
mod client;
mod client_certificates;
mod clients;
#[cfg(feature = "otlp")]
mod collector;
mod concurrency;
mod config;
mod crowd;
mod demo;
mod estimate;
mod expiry;
mod failures;
mod files;
mod go_lines;
mod handover;
mod handover_between;
mod handover_ends;
mod http2;
mod identity;
mod limits;
mod load;
mod logs;
mod names;
mod origin;
#[cfg(feature = "otlp")]
mod otlp;
mod overlap;
mod page;
mod papers;
mod pass;
mod program;
mod proxy_protocol;
mod refusals;
mod refused_heads;
mod reload;
mod service;
mod shutdown;
mod signals;
mod silent_dns;
mod slow_uploads;
mod stage;
mod startup;
mod streaming;
mod teleport;
mod timeouts;
mod tls;
mod trailers;
mod unix;
mod upgrade;
mod upgrade_seen;
