//! `httptp demo`, as somebody runs it who wants to see what it saves.

use rustix::process::Signal;
use tokio::net::TcpListener;

use crate::client::Client;
use crate::program::{Program, run, run_shell};

/// The words of the line that begins with this one.
fn row<'a>(output: &'a str, first: &str) -> Vec<&'a str> {
    let mut lines = output.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines.find(|words| words.first() == Some(&first)).unwrap_or_else(|| panic!("no line {first:?} in:\n{output}"))
}

/// `HOST:PORT` of the first node.
fn front(output: &str) -> &str {
    row(output, "->")[1].strip_prefix("http://").expect("a URL")
}

#[tokio::test]
async fn measures_every_shape_and_ends() {
    // Ours or somebody else's: the port is taken either way.
    let _taken = TcpListener::bind("127.0.0.1:8080").await;
    let (code, output, errors) = run(&["demo", "--seconds", "1"]).await;
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{output}");
    for shape in ["rtb", "rest", "rpc", "chat", "all"] {
        let words = row(&output, shape);
        let ratio = words.iter().find_map(|word| word.strip_suffix('x')).expect("a ratio");
        assert!(ratio.parse::<f64>().expect("a number") > 2.0, "{output}");
        assert_eq!(words.iter().filter(|word| **word == "ms").count(), if shape == "all" { 0 } else { 2 }, "{output}");
    }
    let port = front(&output).strip_prefix("127.0.0.1:").expect("this machine");
    assert_ne!(port, "8080");
    assert!(output.contains(&format!("Port 8080 is taken, so the first node listens on port {port}.")), "{output}");
    assert!(!output.contains(['\r', '\x1b']), "nothing is written over in a pipe: {output:?}");
    assert!(output.lines().all(|line| line.len() <= 80), "{output}");
    // The last words are two commands that the program takes.
    let commands: Vec<_> = output.lines().filter(|line| line.trim_start().starts_with("httptp --in")).collect();
    assert_eq!(commands.len(), 2, "{output}");
    assert!(output.trim_end().ends_with(commands[1].trim()), "{output}");
}

#[tokio::test]
async fn keeps_serving_until_a_signal() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut program = Program::start(&["demo", "--seconds", "1", "--keep"]).await;
        let output = program.read_to(|line| line.trim_start().starts_with("curl ")).await;
        let curl = output.lines().last().expect("the command").trim();
        let (code, reply) = run_shell(curl).await;
        assert_eq!(code, Some(0), "{curl}: is curl installed?");
        assert!(reply.starts_with("HTTP/1.1 200 OK"), "{reply}");
        assert!(reply.contains("the origin got: POST /any/path, 17 bytes of body"), "{reply}");

        let mut client = Client::connect(front(&output)).await;
        assert_eq!(client.get("/again").await.text(), "the origin got: GET /again, 0 bytes of body\n");
        program.signal(signal);
        assert!(client.rest().await.is_empty());
        assert_eq!(program.ended().await.code(), Some(0));
    }
}

#[tokio::test]
async fn a_signal_ends_it_early_with_what_there_is() {
    let mut program = Program::start(&["demo", "--seconds", "3600", "--keep"]).await;
    program.read_to(|line| line.contains("calls/s")).await;
    program.signal(Signal::INT);
    let output = program.read_to(|line| line.starts_with("all ")).await;
    row(&output, "rtb");
    assert!(!output.contains("\nchat "), "{output}");
    assert_eq!(program.ended().await.code(), Some(0));
}

#[tokio::test]
async fn bad_times_are_refused_in_one_line() {
    for seconds in ["0", "3601", "-1", "ten", "1.5"] {
        let (code, output, errors) = run(&["demo", &format!("--seconds={seconds}")]).await;
        assert_eq!((code, output.as_str()), (Some(2), ""), "{seconds}");
        assert!(errors.starts_with(&format!("httptp: --seconds {seconds}: ")), "{errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
}
