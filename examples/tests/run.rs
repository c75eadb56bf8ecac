//! Every example runs to its end and says what it should.

use std::process::Command;

fn run(program: &str) -> String {
    let output = Command::new(program).output().expect("the example starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn own_codec() {
    assert_eq!(run(env!("CARGO_BIN_EXE_own_codec")), "THESE\nTRAVEL\nTOGETHER\ncalls: 3, batches: 1\n");
}

#[test]
fn typed() {
    assert_eq!(run(env!("CARGO_BIN_EXE_typed")), "Sum(6), Longest(Some(\"three\"))\n");
}

#[test]
fn http() {
    assert_eq!(run(env!("CARGO_BIN_EXE_http")), "200 OK GET /foo: hello\n");
}

#[test]
fn tls() {
    let said = run(env!("CARGO_BIN_EXE_tls"));
    assert!(said.starts_with("over TLS\nclear text: 127.0.0.1:"), "{said}");
}

#[test]
fn any_stream() {
    assert_eq!(run(env!("CARGO_BIN_EXE_any_stream")), "hello\n");
}
