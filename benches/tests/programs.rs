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

#[test]
fn a_row_that_is_not_there_is_named_and_nothing_runs() {
    for program in [env!("CARGO_BIN_EXE_matrix"), env!("CARGO_BIN_EXE_scale"), env!("CARGO_BIN_EXE_allocations")] {
        let output = run(program, &["--only", "nonsense"]);
        assert!(!output.status.success() && output.stdout.is_empty());
        assert!(String::from_utf8_lossy(&output.stderr).contains("nonsense"));
    }
}
