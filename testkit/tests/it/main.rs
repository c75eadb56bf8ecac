//! Tests of the test tools.

mod fuzz;
mod golden;
mod pipe;
mod programs;
mod raw;
mod relay;
mod tls;
mod wire;
