//! Certificates that are ordered from a real authority, Pebble.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use testkit::programs::{Curl, CurlOutput, Pebble, free_address};
use testkit::wire::{HttpReply, HttpRequest};

use crate::node::{Certificates, Files, Node, text};
use crate::origin::{Answer, Origin};

pub(crate) const HOSTS: &str = "(www|api|h[0-9]+)\\.example\\.test";

/// A node that orders certificates, its authority, and what is behind it.
pub(crate) struct Stage {
    pub(crate) files: Files,
    pub(crate) origin: Origin,
    /// Of the input that orders.
    pub(crate) port: u16,
    /// Where the authority asks by HTTP.
    pub(crate) clear: u16,
    pub(crate) pebble: Pebble,
}

impl Stage {
    /// With certificates that are good for so many seconds.
    pub(crate) async fn new(seconds: u64) -> Stage {
        Stage::refusing_nonces(seconds, 0).await
    }

    /// With an authority that refuses so many percent of nonces that are good.
    async fn refusing_nonces(seconds: u64, percent: u8) -> Stage {
        let [port, clear] = [(); 2].map(|()| free_address().port());
        let stage = Stage {
            files: Files::new(),
            origin: Origin::start().await,
            port,
            clear,
            pebble: tokio::task::block_in_place(|| Pebble::refusing_nonces(clear, port, seconds, percent)),
        };
        stage.files.write("root.pem", stage.pebble.root().await.as_bytes());
        stage
    }

    pub(crate) fn cache(&self) -> String {
        text(&self.files.path("cache"))
    }

    fn start(&self) -> Node {
        let (cache, directory, ca) = (self.cache(), self.pebble.directory(), self.pebble.trust());
        let options = ["--autocert-host-regexp", HOSTS, "--autocert-cache-dir", &cache, "--acme-directory", &directory];
        let more = ["--acme-ca", &ca, "--acme-contact", "admin@example.test"];
        tokio::task::block_in_place(|| {
            Node::start(&format!("https://127.0.0.1:{}", self.port), &self.origin.url, &[&options[..], &more].concat())
        })
    }

    /// Asks for this host until its certificate has been renewed twice: each client meets one that is good.
    pub(crate) async fn is_renewed_twice(&self, host: &str) {
        self.works(host).await;
        let file = self.files.path("cache").join(format!("{host}.pem"));
        let mut seen = vec![fs::read_to_string(&file).expect("kept")];
        while seen.len() < 3 {
            self.works(host).await;
            let now = fs::read_to_string(&file).expect("kept");
            if !seen.contains(&now) {
                seen.push(now);
            }
        }
    }

    /// What a client gets that asks for this host and trusts the authority alone.
    pub(crate) async fn get(&self, host: &str) -> CurlOutput {
        let root = text(&self.files.path("root.pem"));
        let to = format!("{host}:{}:127.0.0.1", self.port);
        let curl = Curl::new(&format!("https://{host}:{}/here", self.port));
        curl.args(["--resolve", &to, "--cacert", &root, "--http1.1"]).run().await
    }

    pub(crate) async fn works(&self, host: &str) {
        let reply = self.get(host).await;
        assert_eq!((reply.exit, reply.status, &reply.body[..]), (0, 200, &b"GET /here"[..]), "{host}: {reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_ordered_on_first_need_and_kept() {
    let mut stage = Stage::new(3600).await;
    let node = stage.start();
    assert_eq!(stage.pebble.orders(), 0, "nobody has asked");
    // Both come at once, and wait for the same.
    tokio::join!(stage.works("www.example.test"), stage.works("www.example.test"));
    assert_eq!(stage.pebble.orders(), 1);
    node.says("certificate for www.example.test: there is a new one");
    for stranger in ["other.example.test", "www.example.test.evil.test", "localhost"] {
        let reply = stage.get(stranger).await;
        assert_eq!((reply.exit, reply.status), (35, 0), "{stranger}: {reply:?}");
    }
    stage.works("API.example.test").await;
    assert_eq!(stage.pebble.orders(), 2);

    let mode = |path: &std::path::Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    let cache = stage.files.path("cache");
    assert_eq!(mode(&cache), 0o700);
    let mut kept: Vec<_> = fs::read_dir(&cache).expect("a folder").map(|entry| entry.expect("a file").path()).collect();
    kept.sort();
    assert_eq!(kept.len(), 3, "an account and two certificates: {kept:?}");
    assert!(kept.iter().all(|file| mode(file) == 0o600));

    // Neither another process nor the loss of the authority matters to what is kept.
    drop(node);
    stage.pebble.kill();
    let node = stage.start();
    stage.works("www.example.test").await;
    // Without a certificate for it the name waits for better times, and is in nobody's way.
    fs::remove_file(cache.join("api.example.test.pem")).expect("removed");
    drop(node);
    let node = stage.start();
    assert_eq!(stage.get("api.example.test").await.exit, 35);
    let authority = stage.pebble.directory();
    node.says(&format!(
        "certificate for api.example.test: the authority at {authority}: Connection refused (os error 111); none"
    ));
    assert_eq!(stage.get("api.example.test").await.exit, 35);
    stage.works("www.example.test").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_has_forgotten_us_gets_to_know_us_again() {
    let mut stage = Stage::new(3600).await;
    let node = stage.start();
    stage.works("www.example.test").await;
    let before = stage.files.path("root.pem");
    tokio::task::block_in_place(|| stage.pebble.start_again());
    fs::write(&before, stage.pebble.root().await).expect("written");
    stage.works("api.example.test").await;
    assert!(!node.has_said("none is ordered"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_takes_long_is_in_nobody_s_way() {
    let stage = Stage::new(3600).await;
    let node = stage.start();
    stage.works("www.example.test").await;
    drop(node);
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let directory = format!("https://{}/dir", silent.local_addr().expect("an address"));
    let (cache, ca) = (stage.cache(), stage.pebble.trust());
    let options = ["--autocert-host-regexp", HOSTS, "--autocert-cache-dir", &cache, "--acme-directory", &directory];
    let input = format!("https://127.0.0.1:{}", stage.port);
    let _node = Node::start(&input, &stage.origin.url, &[&options[..], &["--acme-ca", &ca]].concat());
    tokio::select! {
        reply = stage.get("api.example.test") => panic!("nobody has made that certificate: {reply:?}"),
        () = async {
            let _held = silent.accept().await.expect("an order begins");
            stage.works("www.example.test").await;
        } => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_renewed_before_they_end() {
    let stage = Stage::new(9).await;
    let node = stage.start();
    stage.is_renewed_twice("www.example.test").await;
    assert!(stage.pebble.orders() >= 3);
    assert!(!node.has_said("none is ordered"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_refuses_nonces_is_asked_again_at_once() {
    let stage = Stage::refusing_nonces(3600, 30).await;
    let node = stage.start();
    // The library alone comes through with three orders in four.
    for hosts in [0, 4, 8].map(|first| [0, 1, 2, 3].map(|n| format!("h{}.example.test", first + n))) {
        let [a, b, c, d] = hosts.each_ref().map(|host| stage.works(host));
        tokio::join!(a, b, c, d);
    }
    assert!(!node.has_said("none is ordered"));
}

/// An authority that has a directory and nonces, and no time.
fn overloaded(request: &HttpRequest) -> Answer {
    let url = |path: &str| format!("https://{}/{path}", request.value("host").expect("a host"));
    let reply = match (&*request.method, &*request.target) {
        ("GET", "/dir") => {
            let directory = format!(
                r#"{{"newNonce": "{}", "newAccount": "{}", "newOrder": "{}"}}"#,
                url("nonce"),
                url("account"),
                url("order")
            );
            HttpReply::new(200, "OK").body(directory.as_bytes())
        }
        ("HEAD", "/nonce") => HttpReply::new(200, "OK").header("Replay-Nonce", "n0nce"),
        _ => {
            let problem = br#"{"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many", "status": 429}"#;
            HttpReply::new(429, "Too Many Requests").header("Retry-After", "7200").body(problem)
        }
    };
    Answer::Bytes(reply.bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_asks_for_a_pause_gets_it() {
    let files = Files::new();
    let certificates = Certificates::new(&files);
    let authority = Origin::tls_scripted(&certificates, overloaded).await;
    let (cache, directory) = (text(&files.path("cache")), format!("{}/dir", authority.url));
    let options = ["--autocert-host-regexp", HOSTS, "--autocert-cache-dir", &cache, "--acme-directory", &directory];
    let more = ["--acme-ca", &certificates.ca_file];
    let node = Node::start("https://127.0.0.1:0", "http://127.0.0.1:1", &[&options[..], &more].concat());
    let port = node.address().rsplit(':').next().expect("a port").to_owned();
    let curl = Curl::new(&format!("https://www.example.test:{port}/"));
    let reply = curl.args(["--resolve", &format!("www.example.test:{port}:127.0.0.1")]).run().await;
    assert_eq!(reply.exit, 35);
    node.says("too many (urn:ietf:params:acme:error:rateLimited); none is ordered for the next 71");
    assert_eq!(authority.requests().len(), 3);
}

#[test]
fn who_could_look_into_the_cache_is_kept_out() {
    let files = Files::new();
    let folder = files.path("open");
    fs::create_dir(&folder).expect("made");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("set");
    let folder = text(&folder);
    let run = |options: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_httptp"));
        let ends = ["--in", "https://127.0.0.1:0", "--out", "http://127.0.0.1:1"];
        let output = command.args(ends).args(options).output().expect("it starts");
        (output.status.code(), String::from_utf8(output.stderr).expect("UTF-8"))
    };
    let hosts = ["--autocert-host-regexp", "a", "--autocert-cache-dir", &folder];
    let (code, line) = run(&hosts);
    let want = format!(
        "httptp: --autocert-cache-dir {folder}: others can look into it, and there are keys in it; chmod 700 it\n"
    );
    assert_eq!((code, line), (Some(2), want));
    for (options, want) in [
        (&["--autocert-host-regexp", "^.*$"], "takes any name, so anyone could order certificates;"),
        (&["--autocert-host-regexp", "("], "is no regular expression: "),
        (&["--acme-directory", "http://a/dir"], "is no https URL;"),
    ] {
        let (code, line) = run(options);
        assert_eq!((code, line.lines().count()), (Some(2), 1), "{line}");
        assert!(line.contains(want), "{line}");
    }
}
