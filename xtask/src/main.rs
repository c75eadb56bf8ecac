//! Runs the project chores: `cargo xtask test`.
fn main() {}
