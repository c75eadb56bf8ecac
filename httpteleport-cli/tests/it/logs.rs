//! The access log, and the program's own.

use std::path::{Path, PathBuf};

use http_body_util::BodyExt as _;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::client::Client;
use crate::clients::log_has;
use crate::config::File;
use crate::http2;
use crate::origin::Origin;
use crate::program::{PATIENCE, Program, run, run_within};

/// A program whose access log is a file.
struct Logged {
    program: Program,
    origin: Origin,
    folder: TempDir,
}

impl Logged {
    async fn start(more: &[&str]) -> Logged {
        let (origin, folder) = (Origin::start().await, tempfile::tempdir().expect("a folder"));
        let log = folder.path().join("access.log");
        let out = origin.url();
        let args = ["--in", "http://127.0.0.1:0", "--out", &out, "--access-log", log.to_str().expect("UTF-8")];
        Logged { program: Program::start(&[&args, more].concat()).await, origin, folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("access.log")
    }
}

/// The lines of a file, once there are so many.
pub(crate) async fn lines(file: &Path, count: usize) -> Vec<String> {
    let read = async {
        loop {
            let text = tokio::fs::read_to_string(file).await.unwrap_or_default();
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            if lines.len() >= count && text.ends_with('\n') {
                return lines;
            }
        }
    };
    timeout(PATIENCE, read).await.expect("they are written")
}

#[tokio::test]
async fn each_request_is_a_line_once_its_reply_is_over() {
    let logged = Logged::start(&["--in-get-only"]).await;
    let mut client = Client::connect(logged.program.address()).await;
    let fields = "Host: h\r\nReferer: http://before.example/\r\nUser-Agent: a \"quoted\" one";
    client.ask(format!("GET /size/70000?x=%2F HTTP/1.1\r\n{fields}\r\n\r\n")).await;
    client.get("/chunked").await;
    assert_eq!(client.ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n").await.status(), 405);
    let lines = lines(&logged.file(), 3).await;
    for (line, parts) in lines.iter().zip([
        [
            "127.0.0.1 - - [",
            "+0000] \"GET /size/70000?x=%2F HTTP/1.1\" 200 70000 \"http://before.example/\" \"a \\\"quoted\\\" one\"",
        ],
        ["127.0.0.1 - - [", "+0000] \"GET /chunked HTTP/1.1\" 200 18 \"-\" \"-\""],
        ["127.0.0.1 - - [", "+0000] \"POST / HTTP/1.1\" 405 "],
    ]) {
        assert!(line.starts_with(parts[0]) && line.contains(parts[1]), "{line}");
    }
}

#[tokio::test]
async fn json_tells_the_upstream_and_the_trace_and_who_gave_up() {
    let logged = Logged::start(&["--access-log-format", "json"]).await;
    let mut client = Client::connect(logged.program.address()).await;
    let trace = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    client.ask(format!("GET /size/5 HTTP/1.1\r\nHost: h\r\n{trace}\r\n\r\n")).await;
    client.send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n").await;
    logged.origin.holds().await;
    drop(client);
    let lines = lines(&logged.file(), 2).await;
    let line = |index: usize| serde_json::from_str::<Value>(&lines[index]).expect("JSON");
    let (good, gone) = (line(0), line(1));
    assert_eq!((&good["status"], &good["bytes"], &good["target"]), (&200.into(), &5.into(), &"/size/5".into()));
    assert_eq!((&good["upstream"], &good["host"]), (&logged.origin.url().into(), &"h".into()));
    assert_eq!(good["trace"], "0af7651916cd43dd8448eb211c80319c");
    assert!(good["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0));
    assert_eq!((&gone["status"], &gone["target"]), (&499.into(), &"/hold".into()));
}

#[tokio::test]
async fn hosts_and_targets_are_told_alike_over_http_2() {
    let logged = Logged::start(&["--access-log-format", "json"]).await;
    let mut client = http2::connect(logged.program.address()).await;
    let request = http::Request::get("http://h.example:81/size/5?x").body(http2::empty()).expect("a request");
    let reply = client.send_request(request).await.expect("a reply");
    reply.into_body().collect().await.expect("a body");
    let absolute = "GET http://h.example:81/size/5?x HTTP/1.1\r\nHost: other\r\n\r\n";
    Client::connect(logged.program.address()).await.ask(absolute).await;
    let lines = lines(&logged.file(), 2).await;
    for (line, target) in lines.iter().zip(["/size/5?x", "http://h.example:81/size/5?x"]) {
        let line: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!((&line["host"], &line["target"]), (&"h.example:81".into(), &target.into()));
    }
}

#[tokio::test]
async fn a_file_that_was_moved_away_is_opened_anew() {
    let logged = Logged::start(&[]).await;
    let mut client = Client::connect(logged.program.address()).await;
    client.get("/size/1").await;
    lines(&logged.file(), 1).await;
    for (signal, moved) in [(Signal::USR1, "one"), (Signal::HUP, "two")] {
        std::fs::rename(logged.file(), logged.folder.path().join(moved)).expect("moved");
        logged.program.signal(signal);
        let anew = async {
            while !logged.file().exists() {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, anew).await.expect("in time");
        client.get("/size/2").await;
        assert_eq!(lines(&logged.file(), 1).await.len(), 1);
        assert_eq!(lines(&logged.folder.path().join(moved), 1).await.len(), 1);
    }
}

#[tokio::test]
async fn what_was_logged_is_written_when_the_program_ends() {
    let mut logged = Logged::start(&[]).await;
    let mut client = Client::connect(logged.program.address()).await;
    for _ in 0..300 {
        client.get("/size/1").await;
    }
    drop(client);
    logged.program.signal(Signal::TERM);
    assert!(logged.program.ended().await.success());
    let text = std::fs::read_to_string(logged.file()).expect("a file");
    assert_eq!(text.lines().count(), 300);
}

#[tokio::test]
async fn lines_that_the_disk_does_not_take_are_counted() {
    let origin = Origin::start().await;
    let options = ["--access-log", "/dev/full", "--admin", "127.0.0.1:0"];
    let args = ["--in", "http://127.0.0.1:0", "--out", &origin.url()];
    let (mut program, mut log) = Program::logged(&[&args[..], &options[..]].concat()).await;
    let admin = program.admin().await;
    Client::connect(program.address()).await.get("/a").await;
    log_has(&mut log, "the access log cannot be written: No space left on device").await;
    let metrics = crate::admin::get(&admin, "/metrics").await;
    assert!(metrics.text().contains("\nhttptp_access_log_dropped_total 1\n"), "{}", metrics.text());
}

#[tokio::test]
async fn stdout_takes_an_access_log_as_well() {
    let origin = Origin::start().await;
    let args = ["--in", "http://127.0.0.1:0", "--out", &origin.url(), "--access-log", "-"];
    let (mut program, _start) = Program::saying_on_stderr(&args).await;
    Client::connect(program.address()).await.get("/none").await;
    let line = program.next_line().await;
    assert!(line.contains("\"GET /none HTTP/1.1\" 204 0 "), "{line}");

    let json = ["--access-log-format", "json", "--log-format", "json", "--admin", "127.0.0.1:0"];
    let (mut program, mut start) = Program::saying_on_stderr(&[&args[..], &json].concat()).await;
    for line in [program.line.clone(), log_has(&mut start, "admin page and metrics at http://127.0.0.1:").await] {
        let line: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(line["level"], "INFO");
    }
    let line: Value = serde_json::from_str(&program.line).expect("JSON");
    let told = line["message"].as_str().expect("a message");
    let (address, out) = told.strip_prefix("http://").and_then(|told| told.split_once(" -> ")).expect("its form");
    assert_eq!(out, origin.url());
    Client::connect(address).await.get("/none").await;
    let line: Value = serde_json::from_str(&program.next_line().await).expect("the first line is JSON");
    assert_eq!((&line["target"], &line["status"]), (&Value::from("/none"), &Value::from(204)));
}

/// Whoever reads a log of JSON reads why there is none, too.
#[tokio::test]
async fn why_it_does_not_start_is_json_where_the_log_is() {
    let json = ["--log-format", "json"];
    let base = ["--in", "http://127.0.0.1:0", "--out", "http://127.0.0.1:1"];
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let input = format!("http://{}", taken.local_addr().expect("an address"));
    let in_use = ["--in", &input, "--out", "http://127.0.0.1:1", "--log-format=json"];
    let file = File::new("log_format = \"json\"\n[listener.a]\nurl = \"http://:0\"\nport = 1\nhost = 2\n");
    for (args, code, want) in [
        ([&base[..], &json, &["--out-timeout", "3"]].concat(), 2, vec!["--out-timeout 3: no unit"]),
        ([&base[..], &json, &["--inn", "x"]].concat(), 2, vec!["--inn: unknown option"]),
        (in_use.to_vec(), 1, vec!["address in use"]),
        (vec!["--config", &file.path()], 2, vec!["port", "host"]),
        ([&base[..], &json, &["--config", "/nonexistent"]].concat(), 2, vec!["/nonexistent: cannot read the file"]),
    ] {
        let (status, stdout, stderr) = run(&args).await;
        assert_eq!((status, stdout.as_str()), (Some(code), ""), "{stderr}");
        let lines: Vec<Value> = stderr.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
        for want in want {
            let told = |line: &Value| line["message"].as_str().is_some_and(|message| message.contains(want));
            let line = lines.iter().find(|line| told(line)).unwrap_or_else(|| panic!("{want}: {stderr}"));
            assert_eq!(line["level"], "ERROR");
            assert!(line["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')), "{stderr}");
        }
    }
    let environment = [("HTTPTP_LOG_FORMAT", "json")];
    let (code, _, stderr) = run_within(&[&base[..], &["--out-timeout", "3"]].concat(), &environment).await;
    assert_eq!((code, stderr.starts_with('{')), (Some(2), true), "{stderr}");
    // Files are checked for people.
    let (code, _, stderr) = run_within(&["check", &file.path()], &environment).await;
    assert_eq!((code, stderr.starts_with("httptp: ")), (Some(2), true), "{stderr}");
}

#[tokio::test]
async fn the_own_log_is_json_if_asked_for_and_as_loud_as_asked_for() {
    let base = ["--in", "http://127.0.0.1:0", "--out", "http://127.0.0.1:1"];
    let (program, mut log) = Program::logged(&[&base[..], &["--log-format", "json"]].concat()).await;
    let mut client = Client::connect(program.address()).await;
    assert_eq!(client.get("/").await.status(), 502);
    let line = log_has(&mut log, "cannot be reached").await;
    let line: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(line["level"], "WARN");
    assert!(line["message"].as_str().is_some_and(|text| text.starts_with("http://127.0.0.1:1 cannot be reached")));

    for (level, warns, tells) in [("error", false, false), ("warn", true, false), ("debug", true, true)] {
        let (mut program, mut log) = Program::logged(&[&base[..], &["--log-level", level]].concat()).await;
        let mut client = Client::connect(program.address()).await;
        assert_eq!(client.get("/").await.status(), 502);
        program.signal(Signal::TERM);
        program.ended().await;
        let mut all = String::new();
        while let Some(line) = timeout(PATIENCE, log.next_line()).await.expect("in time").expect("text") {
            all += &format!("{line}\n");
        }
        assert_eq!((all.contains("WARN"), all.contains("DEBUG")), (warns, tells), "{level}: {all}");
    }
}

/// The context of a trace is the business of those at its ends.
#[tokio::test]
async fn trace_context_passes_unchanged() {
    let origin = Origin::start().await;
    let far = Program::start(&["--in", "teleport://127.0.0.1:0", "--out", &origin.url()]).await;
    let out = format!("teleport://{}", far.address().split(" (").next().expect("an address"));
    let near = Program::http(&out).await;
    let parent = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let states = "tracestate: congo=t61rcWkgMzE\r\ntracestate: rojo=00f067aa0ba902b7";
    let mut client = Client::connect(near.address()).await;
    let reply = client.ask(format!("GET /echo HTTP/1.1\r\nHost: h\r\n{parent}\r\n{states}\r\n\r\n")).await;
    let seen: Vec<&str> = reply.text().lines().filter(|line| line.starts_with("trace")).collect();
    assert_eq!(seen, [parent, "tracestate: congo=t61rcWkgMzE", "tracestate: rojo=00f067aa0ba902b7"]);
}

#[tokio::test]
async fn a_trace_begins_here_where_it_is_asked_for() {
    let logged = Logged::start(&["--in-begin-traces", "--access-log-format", "json"]).await;
    let mut client = Client::connect(logged.program.address()).await;
    let reply = client.get("/echo").await;
    let begun = reply.text().lines().find_map(|line| line.strip_prefix("traceparent: 00-")).expect("a trace");
    let line: Value = serde_json::from_str(&lines(&logged.file(), 1).await[0]).expect("JSON");
    assert_eq!(line["trace"], begun[..32]);
    let parent = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let reply = client.ask(format!("GET /echo HTTP/1.1\r\nHost: h\r\n{parent}\r\n\r\n")).await;
    assert!(reply.text().contains(parent), "{}", reply.text());
}

#[tokio::test]
async fn mistakes_are_told() {
    let base = ["--in", "http://127.0.0.1:0", "--out", "http://127.0.0.1:1"];
    for (more, code, want) in [
        (
            ["--access-log", "/nonexistent/x.log"],
            2,
            "--access-log /nonexistent/x.log: cannot write to the file: there is no folder /nonexistent",
        ),
        (["--access-log-format", "json"], 2, "--access-log-format: there is no access log; give its file"),
        (["--access-log-format", "xml"], 2, "--access-log-format xml: use combined or json"),
        (["--log-format", "xml"], 2, "--log-format xml: use text or json"),
        (["--log-level", "loud"], 2, "--log-level loud: use off, error, warn, info, debug or trace"),
    ] {
        let (status, _, stderr) = run(&[&base[..], &more[..]].concat()).await;
        assert_eq!(status, Some(code), "{more:?}: {stderr}");
        assert!(stderr.contains(want), "{more:?}: {stderr}");
    }
}

#[tokio::test]
async fn heads_that_could_not_be_read_have_lines_as_well() {
    let logged = Logged::start(&["--in-head-timeout", "100ms"]).await;
    let large = format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "x".repeat(5000));
    let cases = [
        ("what\r\n\r\n", 400, "-"),
        ("GET / HTTP/9.9\r\nHost: h\r\n\r\n", 400, "HTTP/9.9"),
        (&large, 431, "HTTP/1.1"),
        ("GET / HTTP/1.1\r\nHo", 408, "HTTP/1.1"),
        ("GET / HT", 408, "-"),
    ];
    for (count, (bytes, status, version)) in cases.iter().enumerate() {
        assert_eq!(Client::connect(logged.program.address()).await.ask(bytes).await.status(), *status);
        let lines = lines(&logged.file(), count + 1).await;
        let end = format!(" \"- - {version}\" {status} 0 \"-\" \"-\"");
        assert!(lines[count].starts_with("127.0.0.1 - - [") && lines[count].ends_with(&end), "{lines:?}");
    }
}
