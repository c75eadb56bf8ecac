//! `cargo xtask test`: every test there is.

use std::time::Instant;

use anyhow::{Result, bail, ensure};

use crate::apt;
use crate::process::{self, Watched, cargo, shown, succeeds, watch};

/// What users build that the tests, with every feature on, would not show to be broken.
const VARIANTS: [&[&str]; 2] = [
    &["check", "--quiet", "-p", "fastrpc", "--no-default-features"],
    &["check", "--quiet", "-p", "fastrpc", "-p", "httpteleport", "-p", "httpteleport-cli"],
];

/// How many tests there were, as far as they have told.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    passed: u64,
    failed: u64,
    ignored: u64,
}

/// Runs everything, also after a failure; the last line tells how it went, in cargo's words.
///
/// # Errors
///
/// A program is missing that tests need, something does not compile, or a test fails.
pub(crate) fn run() -> Result<()> {
    apt::provide(&apt::TESTS)?;
    let began = Instant::now();
    let mut count = Count::default();
    let mut broken = Vec::new();

    for variant in VARIANTS {
        let mut command = cargo(variant.iter().copied());
        step(&shown(&command));
        if process::run(&mut command).is_err() {
            broken.push(shown(&command));
        }
    }
    for (arguments, runner) in suites() {
        let mut command = cargo(arguments.iter().copied());
        step(&shown(&command));
        if !watch(&mut command, runner.prints_to(), |line| count.read(runner, line))?.success() {
            broken.push(shown(&command));
        }
    }

    let ok = broken.is_empty() && count.failed == 0;
    let result = if ok { "ok" } else { "FAILED" };
    let Count { passed, failed, ignored } = count;
    let seconds = began.elapsed().as_secs_f64();
    println!("\ntest result: {result}. {passed} passed; {failed} failed; {ignored} ignored; finished in {seconds:.2}s");
    if !ok {
        bail!("failed: {}", broken.join(", "));
    }
    ensure!(passed > 0, "no test ran");
    Ok(())
}

fn step(what: &str) {
    println!("\n--- {what}");
}

/// Who runs the tests. Each tells the result in its own way, and nextest passes on what cargo's harness tells, too.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Runner {
    Cargo,
    Nextest,
}

impl Runner {
    fn prints_to(self) -> Watched {
        match self {
            Self::Cargo => Watched::Stdout,
            Self::Nextest => Watched::Stderr,
        }
    }
}

/// The commands that run the tests.
fn suites() -> Vec<(Vec<&'static str>, Runner)> {
    let all = ["--workspace", "--all-features", "--no-fail-fast"];
    if succeeds(&mut cargo(["nextest", "--version"])) {
        // nextest leaves doc tests to cargo.
        vec![
            ([&["nextest", "run"][..], &all].concat(), Runner::Nextest),
            ([&["test", "--doc"][..], &all].concat(), Runner::Cargo),
        ]
    } else {
        vec![([&["test"][..], &all].concat(), Runner::Cargo)]
    }
}

impl Count {
    /// Adds what a line of cargo test (`test result: ok. 3 passed; 0 failed; 1 ignored; ...`) or of nextest
    /// (`Summary [ 0.1s] 5 tests run: 3 passed (1 slow), 2 failed, 1 skipped`) tells; others tell nothing.
    fn read(&mut self, runner: Runner, line: &str) {
        let line = without_colours(line);
        let facts = match runner {
            Runner::Cargo => line.strip_prefix("test result: ").and_then(|line| line.split_once(". ")),
            Runner::Nextest => line.trim_start().strip_prefix("Summary [").and_then(|line| line.split_once(" run: ")),
        };
        let facts = facts.map_or("", |(_, facts)| facts);
        for fact in facts.split([';', ',']) {
            let mut words = fact.split_whitespace();
            let Some(number) = words.next().and_then(|word| word.parse::<u64>().ok()) else { continue };
            match words.next() {
                Some("passed") => self.passed += number,
                Some("failed" | "timed" | "exec") => self.failed += number,
                Some("ignored" | "skipped") => self.ignored += number,
                _ => {}
            }
        }
    }
}

/// The line without ANSI sequences, which cargo prints when told to colour a pipe.
fn without_colours(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some((text, sequence)) = rest.split_once('\x1b') {
        out.push_str(text);
        rest = sequence.split_once('m').map_or("", |(_, tail)| tail);
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up() {
        let passed = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        let failed = "test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out";
        let mut count = Count::default();
        for line in
            [passed, failed, "test something ... ok", "running 3 tests: 9 failed", "    test result: no. 9 failed"]
        {
            count.read(Runner::Cargo, line);
        }
        let summary = "     Summary [   0.527s] 14/42 tests run: 13 passed (1 slow), 1 failed, 28 skipped";
        let coloured =
            "\x1b[32m     Summary\x1b[0m [   1.0s] \x1b[1m5\x1b[0m tests run: \x1b[1m5\x1b[0m \x1b[32;1mpassed\x1b[0m";
        for line in [summary, coloured, passed] {
            count.read(Runner::Nextest, line);
        }
        assert_eq!(count, Count { passed: 23, failed: 2, ignored: 29 });
    }
}
