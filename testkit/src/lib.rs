//! What the tests of every crate share.
//!
//! * [`golden`]: conversations recorded from the Go programs, with what they mean.
//! * [`wire`]: a second reader and writer of the classic wire, sharing no code with the crates under test.
//! * [`pipe`]: an in-memory connection that chokes, splits, ends or breaks when told to.
//! * [`port`]: where clients dial in memory, and how their connections began.
//! * [`raw`]: a peer that says exactly the bytes it is told to say.
//! * [`relay`]: a way over real sockets that is long and narrow.
//! * [`tls`]: certificates made on the spot.
//! * [`programs`]: curl, nginx, Python's web server and any other program, as children that never outlive a test.
//! * [`fuzz`]: the bodies of the fuzz targets, and the runner of their committed corpus.
//!
//! Everything here panics with a message instead of returning an error, unless a test may want to see the error: a
//! test that cannot be set up has failed.

pub mod fuzz;
pub mod golden;
pub mod pipe;
pub mod port;
pub mod programs;
pub mod raw;
pub mod relay;
pub mod tls;
pub mod wire;
