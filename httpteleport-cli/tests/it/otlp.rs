//! Spans of requests, as a collector gets them.

use rustix::process::Signal;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::admin::{every_one_is_explained, get, promtool, value};
use crate::client::{Client, Reply};
use crate::collector::{Collector, Told, hex};
use crate::origin::Origin;
use crate::program::{PATIENCE, Program};
use crate::stage::Stage;
use crate::tls::Identity;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// A node with an HTTP input.
async fn node(out: &str, options: &[&[&str]]) -> Program {
    Program::start(&[&["--in", "http://127.0.0.1:0", "--out", out], &options.concat()[..]].concat()).await
}

async fn ask(program: &Program, head: &str) -> Reply {
    Client::connect(program.address()).await.ask(format!("{head}\r\nHost: web.example:81\r\n\r\n")).await
}

/// What the origin has heard of the trace: both fields, where they are.
async fn heard(program: &Program, fields: &str) -> (Option<String>, Option<String>) {
    let reply = ask(program, &format!("GET /echo HTTP/1.1{fields}")).await;
    let field = |name: &str| reply.text().lines().find_map(|line| Some(line.strip_prefix(name)?.to_owned()));
    (field("traceparent: "), field("tracestate: "))
}

/// The one of them.
fn only(all: &[Told], service: &str, server: bool) -> Told {
    let mut found = all.iter().filter(|told| told.service == service && told.is_server() == server);
    let first = found.next().unwrap_or_else(|| panic!("no span of {service} in {all:?}"));
    assert!(found.next().is_none(), "two of {service} in {all:?}");
    first.clone()
}

#[tokio::test]
async fn a_request_through_a_pair_is_one_tree() {
    for wire in ["framed", "classic"] {
        let (origin, mut collector) = (Origin::start().await, Collector::start().await);
        let wire = ["--wire", wire];
        let far_args = ["--in", "teleport://127.0.0.1:0", "--out", &origin.url()];
        let far = Program::start(&[&far_args[..], &wire, &collector.options("far")].concat()).await;
        let far_url = format!("teleport://{}", far.address());
        let near = node(&far_url, &[&wire, &collector.options("near")]).await;
        let fields = format!("\r\nUser-Agent: tester/1\r\ntraceparent: 00-{TRACE}-{PARENT}-01\r\ntracestate: a=1,b=2");
        let (traceparent, tracestate) = heard(&near, &fields).await;

        let spans = collector.take(4).await;
        let [near_in, near_out, far_in, far_out] = [("near", true), ("near", false), ("far", true), ("far", false)]
            .map(|(node, side)| only(&spans, node, side));
        let chain = [&near_in, &near_out, &far_in, &far_out];
        assert!(chain.iter().all(|told| hex(&told.span.trace_id) == TRACE && told.span.trace_state == "a=1,b=2"));
        let parents = chain.map(|told| hex(&told.span.parent_span_id));
        let ids = chain.map(|told| hex(&told.span.span_id));
        assert_eq!(parents, [PARENT, &ids[0], &ids[1], &ids[2]]);
        assert_eq!((traceparent, tracestate.as_deref()), (Some(far_out.traceparent()), Some("a=1,b=2")));
        let remote = chain.map(|told| told.span.flags >> 8);
        assert_eq!(remote, [3, 1, 3, 1], "the parents of the first and the third are of others");
        for pair in chain.windows(2) {
            let [outer, inner] = [&pair[0].span, &pair[1].span];
            assert!(outer.start_time_unix_nano <= inner.start_time_unix_nano, "{outer:?}\n{inner:?}");
        }
        for told in chain {
            assert_eq!(told.span.name, "GET");
            assert!(!told.is_error() && told.span.end_time_unix_nano >= told.span.start_time_unix_nano);
            assert_eq!(told.all(["http.request.method", "http.response.status_code"]), ["GET", "200"]);
        }
        let keys = ["url.scheme", "url.path", "server.address", "server.port", "user_agent.original", "client.address"];
        let want = ["http", "/echo", "web.example", "81", "tester/1", "127.0.0.1"];
        assert_eq!(near_in.all(keys), want);
        assert_eq!(far_in.all(keys), want);
        assert_eq!(near_in.all(["network.protocol.version", "network.peer.address"]), ["1.1", "127.0.0.1"]);
        assert_eq!(near_out.all(["url.full", "network.protocol.name"]), [format!("{far_url}/echo"), "teleport".into()]);
        assert_eq!(far_in.all(["network.protocol.name"]), ["teleport"]);
        let (host, port) = origin.address.split_once(':').expect("a port");
        let want = [format!("{}/echo", origin.url()), host.to_owned(), port.to_owned()];
        assert_eq!(far_out.all(["url.full", "server.address", "server.port"]), want);
    }
}

#[tokio::test]
async fn a_trace_goes_on_begins_or_is_left_alone() {
    let (origin, mut collector) = (Origin::start().await, Collector::start().await);
    let node = node(&origin.url(), &[&collector.options("node")]).await;
    let state = "\r\ntracestate: a=1";
    // Who came before does not want it recorded.
    let unsampled = format!("00-{TRACE}-{PARENT}-00");
    let kept = heard(&node, &format!("\r\ntraceparent: {unsampled}{state}")).await;
    assert_eq!(kept, (Some(unsampled), Some("a=1".to_owned())));
    let good = format!("\r\ntraceparent: 00-{TRACE}-{PARENT}-01");
    let mut began = Vec::new();
    for fields in [
        String::new(),
        state.to_owned(),
        format!("\r\ntraceparent: 00-{}-{PARENT}-01{state}", "0".repeat(32)),
        format!("\r\ntraceparent: 00-{TRACE}-{PARENT}-01-x{state}"),
        format!("\r\ntraceparent: nonsense{state}"),
        format!("{good}{good}{state}"),
    ] {
        let (traceparent, tracestate) = heard(&node, &fields).await;
        assert_eq!(tracestate, None, "{fields}");
        began.push(traceparent.expect("a trace"));
    }
    let spans = collector.take(2 * began.len()).await;
    let (servers, clients): (Vec<_>, Vec<_>) = spans.into_iter().partition(Told::is_server);
    for traceparent in began {
        let client = clients.iter().find(|told| told.traceparent() == traceparent).expect("the span that is named");
        let server = servers.iter().find(|told| told.span.trace_id == client.span.trace_id).expect("what it is below");
        assert_eq!(client.span.parent_span_id, server.span.span_id);
        assert!(server.span.parent_span_id.is_empty() && server.span.trace_state.is_empty(), "{server:?}");
        assert_ne!(hex(&server.span.trace_id), TRACE);
    }
    assert!(collector.rest().is_empty());
    // Of a later version, in several fields.
    let fields = format!("\r\ntraceparent: 42-{TRACE}-{PARENT}-01-what{state}\r\ntracestate: b=2");
    let (traceparent, _) = heard(&node, &fields).await;
    let client = only(&collector.take(2).await, "node", false);
    assert_eq!((traceparent, client.span.trace_state.as_str()), (Some(client.traceparent()), "a=1,b=2"));
    assert_eq!(hex(&client.span.trace_id), TRACE);
}

#[tokio::test]
async fn who_is_not_sampled_is_not_sampled_behind_either() {
    let (origin, mut collector) = (Origin::start().await, Collector::start().await);
    let node = node(&origin.url(), &[&collector.options("node"), &["--otlp-sample", "0"]]).await;
    let (traceparent, _) = heard(&node, "").await;
    assert!(traceparent.as_deref().is_some_and(|value| value.len() == 55 && value.ends_with("-00")), "{traceparent:?}");
    let (traceparent, _) = heard(&node, &format!("\r\ntraceparent: 00-{TRACE}-{PARENT}-01")).await;
    let spans = collector.take(2).await;
    assert_eq!(traceparent, Some(only(&spans, "node", false).traceparent()), "it was decided before");
    assert!(collector.rest().is_empty());
}

#[tokio::test]
async fn each_try_is_a_span_and_what_went_wrong_is_told() {
    let (origin, mut collector) = (Origin::start().await, Collector::start().await);
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let out = format!("http://{gone},{}#backup", origin.url());
    let before = node(&out, &[&collector.options("node")]).await;
    let reply = ask(&before, "GET /size/9?secret=1 HTTP/1.1").await;
    assert_eq!(reply.status(), 200);
    let mut spans = collector.take(3).await;
    assert!(spans.iter().all(|told| told.span.attributes.iter().all(|one| !format!("{one:?}").contains("secret"))));
    let server = spans.remove(spans.iter().position(Told::is_server).expect("one"));
    assert!(!server.is_error() && spans.iter().all(|told| told.span.parent_span_id == server.span.span_id));
    let [first, second] = &spans[..] else { panic!("two tries: {spans:?}") };
    assert_eq!(first.all(["error.type", "url.full"]), ["unreachable".to_owned(), format!("http://{gone}/size/9")]);
    assert!(first.is_error() && first.get("http.response.status_code").is_none() && !second.is_error());
    assert_eq!(second.all(["http.request.resend_count", "http.response.status_code"]), ["1", "200"]);

    // One is given up by its client, and meanwhile another one is refused.
    let options = ["--client-concurrency", "1"];
    let node = node(&origin.url(), &[&collector.options("node"), &options]).await;
    let mut client = Client::connect(node.address()).await;
    client.send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n").await;
    origin.holds().await;
    assert_eq!(ask(&node, "FROB /x HTTP/1.1").await.status(), 429);
    let refused = only(&collector.take(1).await, "node", true);
    let keys = ["http.request.method", "http.request.method_original", "http.response.status_code"];
    assert_eq!(refused.all(keys), ["_OTHER", "FROB", "429"]);
    assert!(refused.span.name == "HTTP" && !refused.is_error(), "the client is at fault");
    drop(client);
    let spans = collector.take(2).await;
    for told in &spans {
        assert_eq!((told.all(["error.type"]), told.get("http.response.status_code")), (["cancelled".into()], None));
    }
    origin.let_go();
}

#[tokio::test]
async fn a_reply_that_breaks_off_is_an_error_of_its_upstream() {
    let mut collector = Collector::start().await;
    let stage = Stage::with(&collector.options("node")).await;
    let mut client = stage.client().await;
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let mut origin = stage.accept().await;
    origin.try_head().await.expect("a request");
    origin.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").await;
    drop(origin);
    client.rest().await;
    let spans = collector.take(2).await;
    let part = only(&spans, "node", false);
    assert_eq!(part.all(["http.response.status_code", "error.type"]), ["200", "broken"]);
    assert!(part.is_error() && !only(&spans, "node", true).is_error(), "its head was good");
}

#[tokio::test]
async fn a_reply_that_its_client_gives_up_is_cancelled_on_both_nodes() {
    let (mut near_spans, mut far_spans) = (Collector::start().await, Collector::start().await);
    let far = Stage::before("teleport://127.0.0.1:0", &far_spans.options("far")).await;
    let near = node(&format!("teleport://{}", far.program.address()), &[&near_spans.options("near")]).await;
    let mut client = Client::connect(near.address()).await;
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let mut origin = far.accept().await;
    origin.try_head().await.expect("a request");
    origin.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").await;
    assert_eq!(client.head().await.status(), 200);
    drop(client);
    for spans in [near_spans.take(2).await, far_spans.take(2).await] {
        for told in &spans {
            assert_eq!(told.all(["http.response.status_code", "error.type"]), ["200", "cancelled"], "{told:?}");
            assert!(told.is_error());
        }
    }

    // What is read to its end is not, whether it has a length, chunks, or no body at all.
    for (method, reply) in [
        ("GET", "Content-Length: 2\r\n\r\nhi"),
        ("GET", "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"),
        ("HEAD", "Content-Length: 2\r\n\r\n"),
    ] {
        let mut client = Client::connect(near.address()).await;
        client.send(format!("{method} / HTTP/1.1\r\nHost: h\r\n\r\n")).await;
        let mut origin = far.accept().await;
        origin.try_head().await.expect("a request");
        origin.send(format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{reply}")).await;
        assert_eq!(client.head().await.status(), 200);
        if method == "GET" {
            client.exactly(2).await;
        }
        for spans in [near_spans.take(2).await, far_spans.take(2).await] {
            assert!(spans.iter().all(|told| !told.is_error()), "{method} {reply}: {spans:?}");
        }
    }
}

#[tokio::test]
async fn what_is_sent_and_what_is_dropped_is_counted() {
    let origin = Origin::start().await;
    // Of the first request nothing is taken, of the second one span, of the third all, the second time.
    let mut collector = Collector::answering(vec![(400, 0), (200, 1), (503, 0)]).await;
    let mut node = node(&origin.url(), &[&collector.options("node"), &["--admin", "127.0.0.1:0"]]).await;
    let admin = node.admin().await;
    let metrics = async || get(&admin, "/metrics").await.text().to_owned();
    let counts = |metrics: &str| {
        let dropped = |reason: &str| value(metrics, "httptp_spans_dropped_total", &[&format!("reason=\"{reason}\"")]);
        (value(metrics, "httptp_spans_sent_total", &[]), dropped("refused"), dropped("crowded"))
    };
    assert_eq!(counts(&metrics().await), (0.0, 0.0, 0.0));
    for want in [(0.0, 2.0, 0.0), (1.0, 3.0, 0.0), (3.0, 3.0, 0.0)] {
        assert_eq!(ask(&node, "GET /size/1 HTTP/1.1").await.status(), 200);
        let counted = async {
            while counts(&metrics().await) != want {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, counted).await.unwrap_or_else(|_| panic!("never {want:?}"));
    }
    assert_eq!(collector.take(4).await.len(), 4);
    let metrics = metrics().await;
    assert_eq!(promtool(&metrics).await, "");
    every_one_is_explained(&metrics);
}

#[tokio::test]
async fn a_collector_may_be_behind_tls() {
    let identity = Identity::new("collector");
    let (origin, mut collector) = (Origin::start().await, Collector::tls(identity.server()).await);
    let node = node(&origin.url(), &[&collector.options("node"), &["--otlp-ca", identity.files().0]]).await;
    assert_eq!(ask(&node, "GET /size/1 HTTP/1.1").await.status(), 200);
    assert_eq!(collector.take(2).await.len(), 2);
}

#[tokio::test]
async fn the_end_waits_for_the_last_spans() {
    let (origin, mut collector) = (Origin::start().await, Collector::start().await);
    let mut node = node(&origin.url(), &[&collector.options("node")]).await;
    let mut client = Client::connect(node.address()).await;
    for _ in 0..700 {
        assert_eq!(client.get("/size/1").await.status(), 200);
    }
    client.send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n").await;
    origin.holds().await;
    node.signal(Signal::TERM);
    origin.let_go();
    assert!(node.ended().await.success());
    let spans = collector.rest();
    assert_eq!(spans.len(), 1402);
    assert!(spans.iter().any(|told| told.get("url.path").as_deref() == Some("/hold")));
}

#[tokio::test]
async fn a_collector_that_is_not_there_holds_up_nobody() {
    let origin = Origin::start().await;
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    // One that takes connections and never answers is as bad.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    for (address, why) in [(gone, "refused"), (silent.local_addr().expect("an address"), "the last spans are not sent")]
    {
        let url = format!("http://{address}");
        let args = ["--in", "http://127.0.0.1:0", "--out", &origin.url(), "--otlp-endpoint", &url];
        let (mut program, mut log) = Program::logged(&args).await;
        let mut client = Client::connect(program.address()).await;
        for _ in 0..100 {
            assert_eq!(client.get("/size/1").await.status(), 200);
        }
        drop(client);
        program.signal(Signal::TERM);
        let ended = timeout(PATIENCE, program.ended()).await.expect("in time");
        assert!(ended.success());
        let mut lines = Vec::new();
        while let Some(line) = log.next_line().await.expect("readable") {
            lines.push(line);
        }
        let told: Vec<_> = lines.iter().filter(|line| line.contains("not sent")).collect();
        assert!(told.len() == 1 && told[0].contains(why), "{lines:?}");
    }
}
