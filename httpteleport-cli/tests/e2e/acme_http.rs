//! Certificates that are ordered from a real authority, Pebble, which asks by HTTP whether the names are ours.

use testkit::programs::Curl;
use testkit::wire::HttpRequest;

use crate::acme::{HOSTS, Stage};
use crate::caller::{Caller, body};
use crate::node::{Node, text};

const PLACE: &str = "/.well-known/acme-challenge/";

/// A node with a clear input, of which more is said, beside the one that orders; its access log goes to stdout.
fn start(stage: &Stage, more: &str) -> Node {
    let Stage { files, origin, port, clear, pebble } = stage;
    let hosts = HOSTS.replace('\\', "\\\\");
    let (cache, directory, ca, out) = (stage.cache(), pebble.directory(), pebble.trust(), &origin.url);
    let settings = format!(
        r#"
        admin = "127.0.0.1:0"
        access_log = "-"
        [listener.clear]
        url = "http://127.0.0.1:{clear}"
        {more}
        [listener.web]
        url = "https://127.0.0.1:{port}"
        autocert_host_regexp = "{hosts}"
        autocert_cache_dir = "{cache}"
        acme_challenge = "http"
        acme_directory = "{directory}"
        acme_ca = "{ca}"
        [group.out]
        urls = "{out}"
        [[route]]
        listener = "web"
        group = "out"
        [[route]]
        listener = "clear"
        path = "{PLACE}"
        host = "test"
        group = "out"
        "#
    );
    let file = text(&files.write("httptp.toml", settings.as_bytes()));
    tokio::task::block_in_place(|| Node::run(&["--config", &file]))
}

/// The values of the metrics whose lines begin so.
async fn metrics(node: &Node, begin: &str) -> Vec<f64> {
    let url = node.tells("an admin page", |line| Some(line.split_once("metrics at ")?.1.to_owned()));
    let reply = Curl::new(&format!("{url}metrics")).run().await;
    let text = String::from_utf8(reply.body).expect("UTF-8");
    let values = text.lines().filter(|line| line.starts_with(begin));
    values.map(|line| line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a value")).collect()
}

/// The token that the authority has asked for.
fn token(node: &Node) -> String {
    node.tells("a proof that was given", |line| {
        let (token, rest) = line.split_once(PLACE)?.1.split_once(' ')?;
        rest.contains("\" 200 ").then(|| token.to_owned())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_ordered_and_the_rest_goes_where_it_went() {
    let stage = Stage::new(3600).await;
    // Nothing of this is for the authority: its host has no route there, and it may ask as often as it likes.
    let node = start(&stage, "get_only = true\nclient_rate = 1\nclient_burst = 1");
    stage.works("www.example.test").await;
    stage.works("api.example.test").await;
    assert_eq!(stage.pebble.orders(), 2);
    node.says("certificate for api.example.test: there is a new one");

    assert_eq!(metrics(&node, "httptp_acme_orders_total{result=\"done\"}").await, [2.0]);
    let left = metrics(&node, "httptp_certificate_expiry_seconds{input=\"https://").await;
    assert!(left.len() == 2 && left.iter().all(|left| (1.0..3601.0).contains(left)), "{left:?}");

    let token = token(&node);
    assert!(token.len() >= 22, "{token}");
    assert!(stage.origin.requests().iter().all(|request| request.target == "/here"));
    let node = start_anew(&stage, node);
    let mut caller = Caller::connect(node.address()).await;
    let long = "x".repeat(3000);
    // The order is over, so its token is one like any other.
    for target in [&token, "", "unknown", "../../x", "%2e%2e/x", "a%2Fb", "a/b", "./a", "a?b=c", "%00", &long] {
        let target = format!("{PLACE}{target}");
        let reply = caller.get(&target).await;
        assert_eq!((reply.status, body(&reply)), (200, format!("GET {target}")));
        assert_eq!(stage.origin.last().target, target, "as it was sent");
    }
    let other =
        caller.ask(&HttpRequest::new("GET", &format!("{PLACE}{token}")).header("Host", "www.example.test")).await;
    assert_eq!(other.status, 404, "no route leads there");
}

/// Ends it, and starts one without limits.
fn start_anew(stage: &Stage, node: Node) -> Node {
    drop(node);
    start(stage, "")
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_renewed() {
    let stage = Stage::new(9).await;
    let node = start(&stage, "");
    stage.is_renewed_twice("www.example.test").await;
    assert!(!node.has_said("none is ordered"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_connect_is_told_nothing() {
    let stage = Stage::new(3600).await;
    let node = start(&stage, "deny = \"127.0.0.0/8\"");
    assert_eq!(stage.get("www.example.test").await.exit, 35);
    node.says("certificate for www.example.test: the authority could not see that the name is ours: ");
    assert!(node.has_said("it is not allowed to connect"));
    assert_eq!(metrics(&node, "httptp_acme_orders_total").await, [0.0, 1.0, 0.0], "done, failed, refused");
    assert_eq!(stage.get("www.example.test").await.exit, 35);
    node.says("s: the last order has failed");
    assert_eq!(metrics(&node, "httptp_acme_orders_total").await, [0.0, 1.0, 1.0], "none was made");
}
