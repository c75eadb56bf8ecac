//! What the metrics tell, in both sets of names.

use super::*;

#[tokio::test]
async fn metrics_pass_promtool_and_tell_what_went_through() {
    let pair = Pair::start().await;
    let mut client = Client::connect(pair.near.address()).await;
    for _ in 0..20 {
        assert_eq!(client.get("/size/5000").await.status(), 200);
    }
    assert_eq!(client.get("/none").await.status(), 204);
    let near = get(&pair.near_admin, "/metrics").await;
    assert_eq!(near.field("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let (near, far) = (near.text().to_owned(), get(&pair.far_admin, "/metrics").await.text().to_owned());
    for metrics in [&near, &far] {
        assert_eq!(promtool(metrics).await, "", "{metrics}");
    }

    assert_eq!(value(&near, "httptp_in_requests_total", &["input=\"http://127.0.0.1:"]), 21.0);
    assert_eq!(value(&near, "httptp_in_replies_total", &["class=\"200\""]), 20.0);
    assert_eq!(value(&near, "httptp_in_replies_total", &["class=\"2xx\""]), 1.0);
    assert_eq!(value(&near, "httptp_in_connections", &[]), 1.0);
    assert!(value(&near, "httptp_in_written_bytes_total", &[]) > 100_000.0);

    for (metrics, side, sent, received) in [(&near, "out", "sent", "received"), (&far, "in", "received", "sent")] {
        let side = format!("side=\"{side}\"");
        let of = |name: &str, more: &str| value(metrics, name, &[&side, more]);
        let replies = of("httptp_teleport_plain_bytes_total", &format!("direction=\"{received}\""));
        let wire = of("httptp_teleport_wire_bytes_total", &format!("direction=\"{received}\""));
        assert!(replies > 100_000.0 && wire < 10_000.0, "{replies} {wire}");
        let ratio = of("httptp_teleport_compression_ratio", &format!("direction=\"{received}\""));
        assert!((ratio / (replies / wire) - 1.0).abs() < 1e-6 && ratio > 10.0);
        assert!(of("httptp_teleport_plain_bytes_total", &format!("direction=\"{sent}\"")) > 500.0);
        assert_eq!(of("httptp_teleport_batch_messages_sum", ""), 21.0);
        assert_eq!(of("httptp_teleport_batch_messages_bucket", "le=\"1\""), 21.0, "one after the other");
        assert_eq!(of("httptp_teleport_batch_wait_seconds_count", ""), 21.0);
        assert_eq!((of("httptp_teleport_connections", ""), of("httptp_teleport_calls_total", "")), (1.0, 21.0));
        assert!(of("httptp_teleport_compress_seconds_total", "") > 0.0);
    }
    assert!(value(&near, "httptp_compression_memory_bytes", &[]) > 1e6, "contexts of zstd");

    let upstream = format!("upstream=\"{}\"", pair.origin.url());
    let of = |name: &str| value(&far, name, &[&upstream, "group=\"out\""]);
    assert_eq!((of("httptp_upstream_up"), of("httptp_upstream_requests_total")), (1.0, 21.0));
    assert_eq!((of("httptp_upstream_reply_seconds_count"), of("httptp_upstream_dials_total")), (21.0, 1.0));
    assert!(of("httptp_upstream_read_bytes_total") > 100_000.0);
    assert!(value(&far, "process_cpu_seconds_total", &[]) > 0.0);
    every_one_is_explained(&near);
    every_one_is_explained(&far);
}

#[tokio::test]
async fn what_the_docs_list_is_served() {
    let pair = Pair::start().await;
    assert_eq!(Client::connect(pair.near.address()).await.get("/size/9").await.status(), 200);
    let identity = Identity::new("admin_listed");
    let (cert, key) = identity.files();
    let traced = cfg!(feature = "otlp");
    let spans = &["--otlp-endpoint", "http://127.0.0.1:1"][..if traced { 2 } else { 0 }];
    let shown = [&["--in-tls-cert", cert, "--in-tls-key", key][..], spans].concat();
    let args = [&["--in", "https://127.0.0.1:0", "--out", "http://127.0.0.1:1", "--admin", ANY][..], &shown].concat();
    let mut tls = Program::start(&args).await;
    let orders = ["--autocert-host-regexp", "a.example", "--acme-directory", "https://127.0.0.1:1/"];
    let args = [&["--in", "https://127.0.0.1:0", "--out", "http://127.0.0.1:1", "--admin", ANY][..], &orders].concat();
    let mut acme = Program::start(&args).await;
    let mut served = String::new();
    for admin in [&pair.near_admin, &pair.far_admin, &tls.admin().await, &acme.admin().await] {
        served += get(admin, "/metrics").await.text();
    }
    let names = documented().lines().filter(|line| line.starts_with("| `")).flat_map(|line| {
        let cell = line.split(" | ").next().unwrap_or_default();
        cell.split('`').skip(1).step_by(2)
    });
    for name in names.filter(|name| traced || !name.starts_with("httptp_spans_")) {
        assert!(
            served.contains(&format!("# TYPE {name} ")),
            "docs/operations.md has {name}, which nobody serves any more"
        );
    }
}

#[tokio::test]
async fn refusals_failures_and_what_went_wrong_are_told() {
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let out = format!("http://{}", gone.local_addr().expect("an address"));
    drop(gone);
    let args = ["--in", "http://127.0.0.1:0", "--out", &out, "--admin", ANY, "--in-get-only"];
    let mut program = Program::start(&args).await;
    let admin = program.admin().await;
    let mut client = Client::connect(program.address()).await;
    for _ in 0..3 {
        assert_eq!(client.get("/x").await.status(), 502);
    }
    let reply = client.ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(reply.status(), 405);

    let metrics = get(&admin, "/metrics").await.text().to_owned();
    assert_eq!(value(&metrics, "httptp_failed_requests_total", &["kind=\"unreachable\""]), 3.0);
    assert_eq!(value(&metrics, "httptp_refusals_total", &["reason=\"method\""]), 1.0);
    assert_eq!(value(&metrics, "httptp_in_replies_total", &["class=\"4xx\""]), 1.0);
    assert_eq!(value(&metrics, "httptp_in_replies_total", &["class=\"5xx\""]), 3.0);
    assert!(value(&metrics, "httptp_upstream_dial_errors_total", &[]) >= 3.0);
    let of = |name: &str| value(&metrics, name, &[&format!("upstream=\"{out}\"")]);
    assert_eq!((of("httptp_upstream_up"), of("httptp_upstream_effective_weight")), (0.0, 0.0));
    assert_eq!(of("httptp_upstream_weight"), 1.0, "as it was set");

    let now = json(&admin, "/api/now").await;
    assert_eq!((&now["requests"], &now["failed"], &now["refused"]), (&4.into(), &3.into(), &1.into()));
    assert_eq!(now["reasons"], serde_json::json!([["unreachable", 3], ["method", 1]]));
    let refused = "request refused with 405: only GET is let in (--in-get-only)".to_owned();
    for (index, what, count) in [(0, refused, 1), (1, format!("{out}: connection refused"), 3)] {
        let trouble = &now["troubles"][index];
        assert_eq!((&trouble["what"], &trouble["count"]), (&what.into(), &count.into()));
    }
    assert_eq!(now["upstreams"][0]["state"], "unreachable");
}

#[tokio::test]
async fn go_names_are_served_where_go_served_them() {
    let pair = Pair::start().await;
    let mut client = Client::connect(pair.near.address()).await;
    for target in ["/size/9", "/size/9", "/none"] {
        client.get(target).await;
    }
    let names = [
        "inConns",
        "outConns",
        "inBytesWritten",
        "outBytesWritten",
        "inBytesRead",
        "outBytesRead",
        "inWriteError",
        "outWriteError",
        "inReadError",
        "outReadError",
        "inWriteCalls",
        "outWriteCalls",
        "inReadCalls",
        "outReadCalls",
        "inAcceptSuccess",
        "inAcceptError",
        "outDialSuccess",
        "outDialError",
        "inRequestStart",
        "inRequestSuccess",
        "inRequestNon200",
        "inRequestTimeoutError",
        "inRequestOtherError",
        "prometheusHandlerCalls",
    ];
    for admin in [&pair.near_admin, &pair.far_admin] {
        let text = get(admin, "/prometheus").await.text().to_owned();
        let expvar = json(admin, "/expvar").await;
        for name in names {
            assert!(value(&text, name, &[]) >= 0.0 && expvar[name].is_u64(), "{name}");
        }
        let count = |name: &str| expvar[name].as_u64().expect("a number");
        assert_eq!((count("inRequestStart"), count("inRequestSuccess"), count("inRequestNon200")), (3, 3, 1));
        assert_eq!((count("inConns"), count("outConns"), count("outDialSuccess")), (1, 1, 1));
        assert_eq!((count("outDialError"), count("prometheusHandlerCalls")), (0, 1));
        for name in ["inBytesRead", "inBytesWritten", "outBytesRead", "outBytesWritten", "inReadCalls", "outWriteCalls"]
        {
            assert!(count(name) > 0, "{name}");
        }
        assert!(expvar["cmdline"][0].as_str().is_some_and(|program| program.ends_with("httptp")));
        assert!(expvar["memstats"]["Alloc"].as_u64().is_some_and(|bytes| bytes > 1_000_000));
        let said = promtool(&text).await;
        assert!(!said.contains("error while linting") && !said.contains("text format parsing"), "{said}");
    }
}

#[tokio::test]
async fn metrics_follow_the_settings() {
    let (one, two) = (Origin::start().await, Origin::start().await);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("web.toml");
    let write = |listeners: &str, origin: &Origin| {
        let text = format!("{listeners}\n[group.web]\nurls = \"{}\"\n", origin.url());
        std::fs::write(&path, text).expect("written");
    };
    write("[listener.http]\nurl = \"http://127.0.0.1:0\"", &one);
    let mut program = Program::start(&["--config", path.to_str().expect("UTF-8"), "--admin", ANY]).await;
    let admin = program.admin().await;
    let mut client = Client::connect(program.address()).await;
    assert_eq!(client.get("/size/1").await.status(), 200);

    let more = "[listener.far]\nurl = \"teleport://127.0.0.1:0\"";
    write(&format!("[listener.http]\nurl = \"http://127.0.0.1:0\"\n{more}"), &two);
    program.signal(Signal::HUP);
    let upstream = format!("upstream=\"{}\"", two.url());
    let changed = async {
        loop {
            let metrics = get(&admin, "/metrics").await.text().to_owned();
            if metrics.contains(&upstream) {
                return metrics;
            }
        }
    };
    let metrics = timeout(PATIENCE, changed).await.expect("in time");
    assert!(!metrics.contains(&one.url()), "what is gone is not told of:\n{metrics}");
    let http = format!("input=\"http://{}\"", program.address());
    assert_eq!(value(&metrics, "httptp_in_requests_total", &[&http]), 1.0, "its port stays, and so does its count");
    assert_eq!(value(&metrics, "httptp_in_requests_total", &["input=\"teleport://"]), 0.0);
    assert_eq!(value(&metrics, "httptp_teleport_connections", &["side=\"in\""]), 0.0);
    assert_eq!(client.get("/size/1").await.status(), 200);
    let metrics = get(&admin, "/metrics").await.text().to_owned();
    assert_eq!(value(&metrics, "httptp_upstream_requests_total", &[&upstream, "group=\"web\""]), 1.0);
}
