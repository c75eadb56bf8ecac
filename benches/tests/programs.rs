//! The programs, run as a person would run them, for moments only.
#![cfg(target_os = "linux")]

use std::process::{Command, Output};

use serde_json::Value;

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).output().expect("the program runs")
}

/// The lines that it prints, as JSON.
fn lines(program: &str, arguments: &[&str]) -> Vec<Value> {
    let output = run(program, &[arguments, &["--json"]].concat());
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {complaints}", output.status);
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn matrix_tells_rows_their_floors_and_their_allocations() {
    let arguments =
        ["--only", "http/compress/snappy", "--only", "tcp/fastrpc/send_nowait", "--rounds=2", "--round-ms=5"];
    let rows = lines(env!("CARGO_BIN_EXE_matrix"), &arguments);
    let names: Vec<_> = rows.iter().map(|row| row["name"].as_str().unwrap_or_default()).collect();
    let expected = ["floor/http/100", "http/compress/snappy", "tcp/floor/fastrpc/100", "tcp/fastrpc/send_nowait"];
    assert_eq!(names, expected);
    let row = &rows[1];
    for key in ["ns_per_op", "ns_min", "ns_max", "cpu_ns_per_op", "wire_bytes_per_op", "flushes_out_per_op", "times_go"]
    {
        assert!(row[key].as_f64().is_some_and(|figure| figure > 0.0), "{key} in {row}");
    }
    assert!(row["allocs_per_op"].as_f64().is_some(), "allocations are counted by their own program: {row}");
}

#[test]
fn matrix_speaks_the_framed_wire_and_tells_how_fast_bodies_stream() {
    let arguments = ["--only", "fastrpc/framed/none/10", "--only", "http/framed/zstd/10", "--only", "stream/64KB/"];
    let rows =
        lines(env!("CARGO_BIN_EXE_matrix"), &[&arguments[..], &["--rounds=1", "--round-ms=5", "--no-allocs"]].concat());
    let row = |name: &str| rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("{name} in {rows:?}"));
    let wire = |name: &str| row(name)["wire_bytes_per_op"].as_f64().expect("bytes");
    assert!((270.0..300.0).contains(&wire("fastrpc/framed/none/10")), "a value, a reply, some bytes for both");
    assert!(wire("http/framed/zstd/100") < wire("fastrpc/framed/none/10"));
    assert!(wire("stream/64KB/none") > 65_536.0 && wire("stream/64KB/zstd") < 6_000.0);
    assert!(row("stream/64KB/none")["ns_per_byte"].as_f64().is_some_and(|ns| ns > 0.0));
}

#[test]
fn stream_tells_the_share_of_the_way_and_what_it_does_to_others() {
    let arguments = ["--rounds=1", "--mbit=80", "--rtt=10", "--queue=200", "--megabytes=2"];
    let rows = lines(env!("CARGO_BIN_EXE_stream"), &arguments);
    let names: Vec<_> = rows.iter().map(|row| row["name"].as_str().unwrap_or_default()).collect();
    let expected =
        ["stream/download", "stream/calls/alone", "stream/events/alone", "stream/calls/beside", "stream/events/beside"];
    assert_eq!(names[..5], expected);
    assert!(
        rows[0]["share"].as_f64().is_some_and(|share| share > 0.0 && share < 1.01),
        "no more than there is: {}",
        rows[0]
    );
    assert!(rows[1]["median_ms"].as_f64().is_some_and(|ms| ms >= 10.0), "there and back: {}", rows[1]);
}

#[test]
fn matrix_compares_with_what_it_printed_earlier() {
    let program = env!("CARGO_BIN_EXE_matrix");
    let quick = ["--only", "fastrpc/send_nowait", "--rounds=1", "--round-ms=5", "--no-allocs"];
    let earlier = run(program, &[&quick[..], &["--json"]].concat()).stdout;
    let file = std::env::temp_dir().join(format!("matrix-earlier-{}.jsonl", std::process::id()));
    std::fs::write(&file, earlier).expect("a file");
    let path = file.to_str().expect("a path of text");
    let rows = lines(program, &[&quick[..], &["--against", path]].concat());
    std::fs::remove_file(&file).expect("it is there");
    assert!(rows.iter().all(|row| row["times_earlier"].as_f64().is_some()), "{rows:?}");
}

#[test]
fn scale_runs_rows_in_processes_of_their_own() {
    let arguments = ["--only", "scale/connections/10/", "--only", "scale/connections/1000/http/apart", "--only"];
    let arguments = [&arguments[..], &["scale/body/1024/http", "--rounds=2", "--round-ms=5"]].concat();
    let rows = lines(env!("CARGO_BIN_EXE_scale"), &arguments);
    let names: Vec<_> = rows.iter().map(|row| row["name"].as_str().unwrap_or_default()).collect();
    let here = ["scale/connections/10/fastrpc", "scale/connections/10/http", "scale/connections/10/lazy"];
    let expected = [&["scale/body/1024/http"][..], &here, &["scale/connections/1000/http/apart"]].concat();
    assert_eq!(names, expected);
    assert!(rows[0]["ns_per_byte"].as_f64().is_some());
    let apart = &rows[4];
    let idle = apart["idle_bytes_per_connection"].as_f64().expect("memory");
    let client = apart["idle_bytes_per_client_connection"].as_f64().expect("the client's");
    assert!(0.0 < client && client < idle, "{apart}");
    assert!(apart["cpu_ns_per_op"].as_f64().is_some_and(|cpu| cpu > 0.0));
}

/// What the program says when it does not do what was asked.
fn complaint(program: &str, arguments: &[&str]) -> String {
    let output = run(program, arguments);
    assert!(!output.status.success() && output.stdout.is_empty(), "{program} {arguments:?}");
    String::from_utf8(output.stderr).expect("text")
}

#[test]
fn every_program_names_its_rows() {
    let first_and_last = [
        (env!("CARGO_BIN_EXE_matrix"), "floor/fastrpc/100", "lazy/built/10000"),
        (env!("CARGO_BIN_EXE_scale"), "scale/callers/1/fastrpc", "scale/connections/18000/http/apart"),
        (env!("CARGO_BIN_EXE_peers"), "http/httpteleport/1", "floor/typed/100"),
        (env!("CARGO_BIN_EXE_bytes"), "bytes/rtb/http1/1", "bytes/chat/framed_zstd-max/64"),
        (env!("CARGO_BIN_EXE_proxy"), "proxy/direct", "proxy/idle/teleport-flate"),
    ];
    for (program, first, last) in first_and_last {
        let output = run(program, &["--list"]);
        let text = String::from_utf8(output.stdout).expect("text");
        assert!(output.status.success() && text.starts_with(&format!("{first}\n")), "{text}");
        assert!(text.ends_with(&format!("{last}\n")), "{text}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_fault() {
    let shell = format!("{} --list --all | head -n 1", env!("CARGO_BIN_EXE_matrix"));
    let output = Command::new("sh").args(["-c", &shell]).output().expect("a shell");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "floor/fastrpc/100\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn scale_that_can_run_nothing_fails_and_says_so_in_json() {
    let program = env!("CARGO_BIN_EXE_scale");
    let shell = format!("ulimit -n 200; {program} --only scale/connections/18000 --json");
    let output = Command::new("sh").args(["-c", &shell]).output().expect("a shell");
    assert!(!output.status.success());
    let line: Value = serde_json::from_slice(&output.stdout).expect("a line of JSON");
    assert_eq!(line["name"], "scale/connections/18000/http/apart");
    assert!(line["skipped"].as_str().is_some_and(|why| why.contains("open files")), "{line}");
}

#[test]
fn plots_draws_what_is_printed_and_refuses_what_is_no_figure() {
    let (program, folder) = (env!("CARGO_BIN_EXE_plots"), tempfile::tempdir().expect("a folder"));
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (good, bad, out) = (path("good.jsonl"), path("bad.jsonl"), path("out"));
    let row = r#"{"name":"fastrpc/no_delay/1","ns_per_op":900,"ns_min":800,"ns_max":1000}"#;
    std::fs::write(&good, row).expect("a file");
    std::fs::write(&bad, row.replace("900", "\"x\"")).expect("a file");
    let options = ["--machine", "a machine", "--date", "2026-11-25", "--out", &out];
    let output = run(program, &[&[good.as_str()], &options[..]].concat());
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), path("out/matrix-fastrpc.svg"));
    let said = complaint(program, &[&[bad.as_str()], &options[..]].concat());
    assert!(said.contains("bad.jsonl, line 1") && said.contains("\"ns_per_op\""), "{said}");
}

/// A recording of one exchange, in the folder, whose reply has these records: head and body.
fn record(folder: &std::path::Path, name: &str, replies: &[(&str, &str)]) {
    let records = |records: &[(&str, &str)]| {
        let length = |text: &str| u32::try_from(text.len()).expect("short").to_le_bytes();
        let record =
            |(head, body): &(&str, &str)| [&length(head)[..], &length(body), head.as_bytes(), body.as_bytes()].concat();
        zstd::encode_all(&records.iter().flat_map(record).collect::<Vec<u8>>()[..], 1).expect("zstd")
    };
    let request = ("GET /a HTTP/1.1\r\nHost: a.example\r\n\r\n", "");
    std::fs::write(folder.join(format!("{name}.req.zst")), records(&vec![request; replies.len()])).expect("a file");
    std::fs::write(folder.join(format!("{name}.resp.zst")), records(replies)).expect("a file");
}

#[test]
fn bytes_carries_a_recording_and_refuses_event_streams() {
    let (program, folder) = (env!("CARGO_BIN_EXE_bytes"), tempfile::tempdir().expect("a folder"));
    let reply = ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "hello");
    record(folder.path(), "whole", &[reply, reply]);
    record(folder.path(), "streams", &[reply, ("", "data: 1")]);
    let quick = ["--rounds=1", "--round-ms=1", "--file"];
    let path = |name: &str| folder.path().join(name).display().to_string();
    let rows = lines(program, &[&quick[..], &[&path("whole.req.zst"), "--only", "bytes/whole/flate"]].concat());
    assert_eq!(rows.len(), 4);
    let row = &rows[0];
    assert!(row["name"] == "bytes/whole/flate/1" && row["tcp_bytes_per_op"].as_f64().is_some(), "{row}");
    let said = complaint(program, &[&quick[..], &[&path("streams.req.zst")]].concat());
    assert!(said.contains("streams: refused") && said.contains("nothing is left"), "{said}");
}

#[test]
fn peers_measures_a_row_and_what_it_is_held_against() {
    let arguments = ["--only", "rpc/fastrpc-tlv", "--callers=2", "--rounds=1", "--round-ms=5"];
    let rows = lines(env!("CARGO_BIN_EXE_peers"), &arguments);
    let names: Vec<_> = rows.iter().map(|row| row["name"].as_str().unwrap_or_default()).collect();
    assert_eq!(names, ["rpc/fastrpc-tlv/2", "floor/tlv/2"]);
}

#[test]
fn what_makes_no_sense_is_refused_in_a_line() {
    let refused = [
        (env!("CARGO_BIN_EXE_proxy"), &["--httptp", "/bin/true"][..], "/bin/true: "),
        (env!("CARGO_BIN_EXE_proxy"), &["--only", "proxy/idle/http", "--idle", "0"], "--idle"),
        (env!("CARGO_BIN_EXE_bytes"), &["--mib", "0"], "--mib"),
        (env!("CARGO_BIN_EXE_bytes"), &["--rounds", "0"], "--rounds"),
        (env!("CARGO_BIN_EXE_matrix"), &["--only", "fastrpc/no_delay/1", "--only", "nonsense"], "\"nonsense\""),
    ];
    for (program, arguments, named) in refused {
        let said = complaint(program, arguments);
        assert!(said.contains(named) && !said.contains("panicked"), "{said}");
    }
}

#[test]
fn a_row_that_is_not_there_is_named_and_nothing_runs() {
    for program in [
        env!("CARGO_BIN_EXE_matrix"),
        env!("CARGO_BIN_EXE_scale"),
        env!("CARGO_BIN_EXE_allocations"),
        env!("CARGO_BIN_EXE_peers"),
        env!("CARGO_BIN_EXE_bytes"),
        env!("CARGO_BIN_EXE_proxy"),
    ] {
        let said = complaint(program, &["--only", "nonsense"]);
        assert!(said.contains("no row begins with \"nonsense\""), "{said}");
    }
}
