//! The peers: our calls beside those of hyper, tonic and tarpc, on one core, in one interleaved run.

use std::process::ExitCode;

fn main() -> ExitCode {
    benches::peers::command::main(None)
}
