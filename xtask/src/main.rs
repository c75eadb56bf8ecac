//! The project's chores: `cargo xtask help` lists them.

mod apt;
mod deps;
mod fuzz;
mod instructions;
mod process;
mod release;
mod soak;
mod test;

use std::process::ExitCode;

const HELP: &str = "\
The project's chores.

Usage: cargo xtask CHORE

  test             get the programs that tests need, then run every test of the workspace,
                   doc tests and the corpus of the fuzz targets too (stable toolchain)
  check-deps       check the licences of all dependencies, and how many each published
                   crate brings along, against xtask/budget.toml
  check-release    build the static binary as packaging/Dockerfile does, without optimisation, and
                   see that it needs no library, starts, and carries a request over TLS and
                   teleport
  fuzz [SECONDS]   fuzz each target for SECONDS (30 without), with the nightly toolchain;
                   what is found goes into fuzz/corpus/
  instructions     count the instructions of codecs, compression and whole calls with
                   valgrind, and fail where one is more than 5 % off its figure in
                   benches/instructions.json
      --accept     write the figures anew instead, after a change that is meant
      --only NAME  only rows whose name begins with this, for instance call/http
  soak             carry large bodies and random calls over the framed wire, through a relay
                   with 75 ms each way, while calls are cancelled and connections are cut;
                   fails if a byte is wrong or anything is left in the end
      --minutes N    for so long at least (10 without)
      --gigabytes G  of large bodies, down and up each (2 without)
      --seed N       decides what happens when (1 without)
  help             print this
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["test"] => test::run(),
        ["check-deps"] => deps::check(),
        ["check-release"] => release::check(),
        ["fuzz"] => fuzz::run_targets(fuzz::DEFAULT_SECONDS),
        ["fuzz", seconds] => match seconds.parse() {
            Ok(seconds) => fuzz::run_targets(seconds),
            Err(_) => return misuse(&format!("fuzz takes a number of seconds, not {seconds:?}")),
        },
        ["instructions", ref options @ ..] => match instructions::Options::parse(options) {
            Ok(options) => instructions::run(&options),
            Err(error) => return misuse(&error.to_string()),
        },
        ["soak", ref options @ ..] => soak::soak(options),
        ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        [] => return misuse("say which chore"),
        _ => return misuse(&format!("there is no chore {:?}", arguments.join(" "))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn misuse(what: &str) -> ExitCode {
    eprint!("error: {what}\n\n{HELP}");
    ExitCode::from(2)
}
