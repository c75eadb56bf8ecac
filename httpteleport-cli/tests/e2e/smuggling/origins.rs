//! Who reads what comes out at the end: a strict parser, and before it nothing, nginx, or Apache.

use testkit::programs::{Apache, Listen, Nginx, Running};
use testkit::wire::{HttpReply, HttpRequest};
use tokio::task::yield_now;
use tokio::time::timeout;

use super::case::{text, unnumbered};
use crate::caller::Caller;
use crate::node::PATIENCE;
use crate::origin::{Answer, Origin};

/// An origin that remembers what it has understood. It says so in each reply.
pub(super) struct Reader {
    pub(super) name: &'static str,
    /// What `--out` takes.
    pub(super) url: String,
    /// The last one to read, which tells bodies from heads.
    strict: Origin,
    server: Option<Server>,
}

/// A web server that passes to the strict parser what it understands, and prints what it was asked.
enum Server {
    Nginx(Nginx),
    Apache(Apache),
}

/// A request as it was understood: the number of its case, and the rest in words.
pub(super) type Seen = (Option<usize>, String);

impl Reader {
    pub(super) async fn strict() -> Reader {
        let strict = Origin::scripted(tell).await;
        Reader { name: "strict", url: strict.url.clone(), strict, server: None }
    }

    pub(super) async fn nginx() -> Reader {
        let strict = Origin::scripted(tell).await;
        let nginx = tokio::task::block_in_place(|| {
            Nginx::start_with(
                Listen::Tcp,
                "log_format seen escape=none 'asked: $request';",
                &format!(
                    "access_log /dev/stdout seen; \
                     location / {{ proxy_pass {}; proxy_http_version 1.1; proxy_set_header Host $http_host; \
                     proxy_set_header Connection ''; }}",
                    strict.url
                ),
            )
        });
        let url = format!("http://{}", nginx.authority());
        Reader { name: "nginx", url, strict, server: Some(Server::Nginx(nginx)) }
    }

    pub(super) async fn apache() -> Reader {
        let strict = Origin::scripted(tell).await;
        let server = format!(
            "LogFormat \"asked: %r\" seen\n\
             CustomLog /proc/self/fd/1 seen\n\
             AllowEncodedSlashes NoDecode\n\
             ProxyPreserveHost On\n\
             ProxyPass / {}/ nocanon\n",
            strict.url
        );
        let apache = tokio::task::block_in_place(|| Apache::start(&["proxy", "proxy_http"], &server));
        let url = format!("http://{}", apache.address);
        Reader { name: "apache", url, strict, server: Some(Server::Apache(apache)) }
    }

    /// The requests that have reached the strict parser.
    ///
    /// # Panics
    ///
    /// Something did that is none.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.strict.requests().iter().map(|request| unnumbered(&text(&words(request)))).filter(is_no_end).collect()
    }

    /// The request lines that the web server before it has read, these among them; `None` without one.
    pub(super) async fn asked(&self, wanted: &[Seen]) -> Option<Vec<Seen>> {
        let server = self.server.as_ref()?;
        let running = server.running();
        let asked = || -> Vec<Seen> {
            let lines = running.output();
            let asked = lines.iter().filter_map(|line| line.strip_prefix("asked: "));
            asked.map(|line| unnumbered(&server.unescaped(line))).filter(is_no_end).collect()
        };
        // What it is asked now is printed after what it was asked before, but for what another thread is about to print. There may be more
        // lines than are wanted, of requests that were broken off.
        let _ = Caller::connect(self.url.strip_prefix("http://").expect("TCP")).await.get("/end").await;
        let all = async {
            let is_there = |seen: &Seen, asked: &[Seen]| {
                let count = |all: &[Seen]| all.iter().filter(|one| *one == seen).count();
                count(asked) >= count(wanted)
            };
            loop {
                let asked = asked();
                let ended = running.output().iter().any(|line| line.contains("/end"));
                if ended && wanted.iter().all(|seen| is_there(seen, &asked)) {
                    return asked;
                }
                yield_now().await;
            }
        };
        // What is not there in time the caller misses.
        Some(timeout(PATIENCE, all).await.unwrap_or_else(|_| asked()))
    }
}

impl Server {
    fn running(&self) -> &Running {
        match self {
            Server::Nginx(nginx) => &nginx.running,
            Server::Apache(apache) => &apache.running,
        }
    }

    /// What it meant by a line that it has printed.
    fn unescaped(&self, line: &str) -> String {
        match self {
            Server::Nginx(_) => line.to_owned(),
            Server::Apache(_) => unescaped(line),
        }
    }
}

fn is_no_end((_, words): &Seen) -> bool {
    !words.contains("/end")
}

/// A line without the escapes that Apache puts into it.
fn unescaped(line: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = line.as_bytes();
    while let [first, more @ ..] = rest {
        (bytes, rest) = match (first, more) {
            (b'\\', [b'x', high, low, more @ ..]) => {
                let digits = [*high, *low];
                let byte = std::str::from_utf8(&digits).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok());
                ([bytes, vec![byte.expect("two digits")]].concat(), more)
            }
            (b'\\', [next @ (b'\\' | b'"'), more @ ..]) => ([bytes, vec![*next]].concat(), more),
            _ => ([bytes, vec![*first]].concat(), more),
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A request in words.
fn words(request: &HttpRequest) -> String {
    let host = request.value("Host").unwrap_or("nobody");
    format!("{} {} {host} {}", request.method, request.target, request.body.len())
}

fn tell(request: &HttpRequest) -> Answer {
    let words = words(request);
    let mut reply = HttpReply::new(200, "OK").header("X-Seen", &words).body(words.as_bytes());
    if request.method == "HEAD" {
        reply.body.clear();
    }
    Answer::Bytes(reply.bytes())
}
