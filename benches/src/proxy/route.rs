//! The rows: which proxies a request passes.

use std::path::{Path, PathBuf};

/// The row that every other one is compared with.
pub const BASELINE: &str = "proxy/haproxy";

/// One proxy on the way, as it is to be started.
#[derive(Clone, Debug)]
pub enum Hop {
    /// nginx, one worker.
    Nginx,
    /// haproxy, one thread.
    Haproxy {
        /// Whether it accepts HTTP/2 in clear text instead of HTTP/1.1.
        http2_in: bool,
        /// Whether it sends HTTP/2 in clear text instead of HTTP/1.1.
        http2_out: bool,
    },
    /// httptp, one thread.
    Httptp {
        /// The program.
        program: PathBuf,
        /// The scheme of its `--in`.
        scheme_in: &'static str,
        /// The scheme of its `--out`.
        scheme_out: &'static str,
        /// Further options.
        options: Vec<String>,
    },
}

/// One row: a name, and the proxies in the order in which a request meets them.
#[derive(Clone, Debug)]
pub struct Route {
    /// As printed and as `--only` matches it.
    pub name: String,
    /// None for the origin alone.
    pub hops: Vec<Hop>,
}

impl Route {
    fn new(name: &str, hops: Vec<Hop>) -> Self {
        Self { name: name.to_owned(), hops }
    }
}

/// The pairs: their names, the wire between their nodes, and how that is compressed.
const PAIRS: [(&str, &str, &str); 6] = [
    ("none", "classic", "none"),
    ("flate", "classic", "flate"),
    ("snappy", "classic", "snappy"),
    ("framed-none", "framed", "none"),
    ("framed-lz4", "framed", "lz4"),
    ("framed-zstd", "framed", "zstd"),
];

/// Every row for `httptp`, in the order they are printed; with `before`, its rows again for that build of it.
#[must_use]
pub fn all(httptp: &Path, before: Option<&Path>) -> Vec<Route> {
    let haproxy = |http2_in, http2_out| Hop::Haproxy { http2_in, http2_out };
    let mut routes = vec![
        Route::new("proxy/direct", Vec::new()),
        Route::new("proxy/nginx", vec![Hop::Nginx]),
        Route::new(BASELINE, vec![haproxy(false, false)]),
        Route::new("proxy/haproxy-h2-pair", vec![haproxy(false, true), haproxy(true, false)]),
    ];
    routes.extend(of_httptp("proxy/httptp", httptp));
    routes.extend(before.into_iter().flat_map(|before| of_httptp("proxy/before", before)));
    routes
}

fn of_httptp(prefix: &str, program: &Path) -> Vec<Route> {
    let hop = |scheme_in, scheme_out, options: Vec<String>| Hop::Httptp {
        program: program.to_owned(),
        scheme_in,
        scheme_out,
        options,
    };
    let mut routes = vec![Route::new(&format!("{prefix}/http"), vec![hop("http", "http", Vec::new())])];
    for (name, wire, compression) in PAIRS {
        let options = |option: &str| ["--wire", wire, option, compression].map(str::to_owned).to_vec();
        let near = hop("http", "teleport", options("--out-compress"));
        let far = hop("teleport", "http", options("--in-compress"));
        routes.push(Route::new(&format!("{prefix}/pair/{name}"), vec![near, far]));
    }
    routes
}
