//! Settings from a file.

use std::fs;

use tempfile::TempDir;

use crate::client::Client;
use crate::origin::Origin;
use crate::program::{Program, address_in, run, run_shell};

/// A file of settings in a folder of its own.
pub(crate) struct File(TempDir);

impl File {
    pub(crate) fn new(text: &str) -> File {
        let file = File(tempfile::tempdir().expect("a folder"));
        file.write(text);
        file
    }

    pub(crate) fn path(&self) -> String {
        self.0.path().join("web.toml").to_str().expect("UTF-8").to_owned()
    }

    /// Replaces it, as those do who want nobody to see half of it.
    pub(crate) fn write(&self, text: &str) {
        let next = self.0.path().join("next");
        fs::write(&next, text).expect("written");
        fs::rename(next, self.path()).expect("renamed");
    }
}

#[tokio::test]
async fn a_file_is_checked() {
    let fine = File::new("[listener.a]\nurl = \"http://:80\"\n[group.a]\nurls = \"http://127.0.0.1:1\"\n");
    let (code, stdout, stderr) = run(&["check", &fine.path()]).await;
    let want = format!("{}: is fine: 1 listener, 1 group, 1 route\n", fine.path());
    assert_eq!((code, stdout, stderr.as_str()), (Some(0), want, ""));

    // A disk that is full is no reason to say that the file is wrong.
    let line = format!("{} check {} 2>&1 >/dev/full; echo $?", env!("CARGO_BIN_EXE_httptp"), fine.path());
    assert_eq!(run_shell(&line).await, (Some(0), "0\n".to_owned()));

    let wrong = File::new("[listener.a]\nurk = 5\n[group.a]\nurls = \"h\"\n");
    let path = wrong.path();
    let want = format!(
        "httptp: {path}:2: listener \"a\": unknown key urk; did you mean url?\nhttptp: {path}:4: group \"a\": urls h: no scheme; \
         write for example http://h, or use http, https, h2c for HTTP/2 and gRPC without TLS, unix, teleport or teleports, with +srv for \
         an SRV record, or file:PATH\n"
    );
    for args in [["check", &path], ["--config", &path]] {
        let (code, stdout, stderr) = run(&args).await;
        assert_eq!((code, stdout.as_str(), stderr.as_str()), (Some(2), "", want.as_str()), "{args:?}");
    }
    let (code, _, stderr) = run(&["check", "/nonexistent.toml"]).await;
    assert_eq!((code, stderr.as_str()), (Some(2), "httptp: /nonexistent.toml: cannot read the file: no such file\n"));
}

async fn ask(address: &str, host: &str, path: &str, fields: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n");
    let reply = Client::connect(address).await.ask(request).await;
    (reply.status(), reply.text().to_owned())
}

#[tokio::test]
async fn requests_go_where_their_listener_host_and_path_say() {
    let origins = [Origin::start().await, Origin::start().await, Origin::start().await];
    let file = File::new(&format!(
        r#"
        [listener.one]
        url = "http://127.0.0.1:0"
        [listener.two]
        url = "teleport://127.0.0.1:0"
        max_body_size = 3
        [group.zero]
        urls = "{}"
        [group.one]
        urls = "{}"
        [group.two]
        urls = "{}"
        [[route]]
        listener = "one"
        host = "shop.example.com"
        path = "/echo"
        group = "zero"
        set_headers = {{ X-Shop = "yes", X-Number = 7 }}
        remove_headers = ["Cookie", "X-Secret"]
        rewrite_host = "inner:8080"
        set_reply_headers = {{ X-Set = "1" }}
        remove_reply_headers = ["X-Origin"]
        [[route]]
        listener = "one"
        host = "*.example.com"
        group = "one"
        [[route]]
        listener = "two"
        group = "two"
        "#,
        origins[0].url(),
        origins[1].url(),
        origins[2].url()
    ));
    let mut program = Program::start(&["--config", &file.path()]).await;
    let one = program.address().to_owned();
    let second = program.next_line().await;
    assert!(second.ends_with(&format!("-> {}", origins[2].url())), "{second}");
    let out = format!("teleport://{}", address_in(&second));
    let near = Program::start(&["--in", "http://127.0.0.1:0", "--out", &out]).await;

    let fields = "Cookie: a\r\nX-Secret: b\r\nX-Shop: no\r\n";
    let (status, text) = ask(&one, "SHOP.example.com:80", "/echo/1", fields).await;
    assert_eq!(status, 200);
    for want in ["host: inner:8080", "x-shop: yes", "x-number: 7"] {
        assert!(text.lines().any(|line| line == want), "{want}: {text}");
    }
    assert!(!text.contains("cookie") && !text.contains("secret"), "{text}");
    let reply = Client::connect(&one).await.ask("GET /echo HTTP/1.1\r\nHost: shop.example.com\r\n\r\n").await;
    assert_eq!((reply.field("x-set"), reply.field("x-origin")), (Some("1"), None));
    let reply = Client::connect(&one).await.ask("GET /echo HTTP/1.1\r\nHost: a.example.com\r\n\r\n").await;
    assert_eq!((reply.field("x-set"), reply.field("x-origin")), (None, Some("yes")), "other routes do nothing");
    assert_eq!(ask(&one, "shop.example.com", "/size/1", "").await.0, 200);
    let (status, text) = ask(&one, "other.org", "/", "").await;
    assert_eq!((status, text.as_str()), (404, "http: proxying error: no route for this host and path\n"));
    assert_eq!(ask(near.address(), "any", "/size/1", "").await.0, 200);
    assert_eq!(origins.each_ref().map(Origin::connections), [1, 1, 1]);

    let large = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody";
    assert_eq!(Client::connect(near.address()).await.ask(large).await.status(), 413, "each listener has its limits");
}

#[tokio::test]
async fn the_command_line_wins_over_the_environment_and_that_over_the_file() {
    let origin = Origin::start().await;
    let file = File::new(&format!(
        "[listener.a]\nurl = \"http://127.0.0.1:0\"\nmax_body_size = 1\n[group.a]\nurls = \"{}\"\n",
        origin.url()
    ));
    let path = file.path();
    let most = async |args: &[&str], environment: &[(&str, &str)]| {
        let program = Program::within(&[&["--config", &path], args].concat(), environment).await;
        let mut largest = 0;
        for size in 1..5 {
            let request =
                format!("POST /size/1 HTTP/1.1\r\nHost: h\r\nContent-Length: {size}\r\n\r\n{}", "b".repeat(size));
            if Client::connect(program.address()).await.ask(request).await.status() == 200 {
                largest = size;
            }
        }
        largest
    };
    assert_eq!(most(&[], &[]).await, 1);
    assert_eq!(most(&[], &[("HTTPTP_IN_MAX_BODY_SIZE", "2")]).await, 2);
    assert_eq!(most(&["--in-max-body-size", "3"], &[("HTTPTP_IN_MAX_BODY_SIZE", "2")]).await, 3);
    assert_eq!(most(&["-inMaxBodySize=4"], &[]).await, 4, "in Go's words, too");
}

#[tokio::test]
async fn the_environment_is_enough() {
    let origin = Origin::start().await;
    let out = origin.url();
    let environment = [("HTTPTP_IN", "http://127.0.0.1:0"), ("HTTPTP_OUT", out.as_str())];
    let program = Program::within(&[], &environment).await;
    assert_eq!(Client::connect(program.address()).await.get("/size/2").await.text(), "xx");
}
