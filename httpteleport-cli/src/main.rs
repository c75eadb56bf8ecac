//! httptp
fn main() {}
