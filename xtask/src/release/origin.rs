//! A server of HTTP that answers every request alike.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use anyhow::{Context, Result};

/// What it answers.
pub(super) const BODY: &str = "from the origin";

/// Serves as long as this process runs.
pub(super) struct Origin {
    port: u16,
}

impl Origin {
    /// Starts one on a free port.
    ///
    /// # Errors
    ///
    /// There is none.
    pub(super) fn start() -> Result<Origin> {
        let listener = TcpListener::bind("127.0.0.1:0").context("no port for an origin")?;
        let port = listener.local_addr()?.port();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Whoever breaks off is heard of by the other side.
                let _ = answer(stream);
            }
        });
        Ok(Origin { port })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

/// Answers one request without a body, and closes.
fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    for line in BufReader::new(stream.try_clone()?).lines() {
        if line?.is_empty() {
            break;
        }
    }
    let length = BODY.len();
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{BODY}")
}
