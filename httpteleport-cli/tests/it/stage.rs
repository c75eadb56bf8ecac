//! A program before an origin that the test plays itself.

use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::client::Client;
use crate::program::{PATIENCE, Program};

/// The program, and the socket of its origin.
pub(crate) struct Stage {
    pub(crate) program: Program,
    pub(crate) listener: TcpListener,
}

impl Stage {
    pub(crate) async fn start() -> Stage {
        Stage::with(&[]).await
    }

    /// With more options.
    pub(crate) async fn with(more: &[&str]) -> Stage {
        Stage::before("http://127.0.0.1:0", more).await
    }

    /// With another input.
    pub(crate) async fn before(input: &str, more: &[&str]) -> Stage {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let out = format!("http://{}", listener.local_addr().expect("an address"));
        let args = [&["--in", input, "--out", &out], more].concat();
        Stage { program: Program::start(&args).await, listener }
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.program.address()).await
    }

    /// The origin's end of the next connection.
    pub(crate) async fn accept(&self) -> Client {
        Client::over(timeout(PATIENCE, self.listener.accept()).await.expect("in time").expect("a connection").0)
    }
}
