//! Proxies as real processes, between wrk and an nginx that answers: CPU per request, requests a second, latency.
//!
//! * [`route`]: which proxies stand between the two, a row each. A new row is a line there.
//! * [`hop`]: starts one proxy of a route.
//! * [`tied`]: so that it ends with the bench, even if that is killed; [`folder`]: so that no files stay.
//! * [`wrk`]: one run of the load program.
//! * [`rounds`]: all routes in turn, again and again.
//! * [`report`]: what came of it, for people and for programs.

pub mod folder;
pub mod hop;
pub mod report;
pub mod rounds;
pub mod route;
pub mod tied;
pub mod wrk;
