//! TLS handshakes of clients that come to nothing.

use std::fmt::Display;
use std::io;

use rustls::InvalidMessage;
use tokio::net::TcpStream;

use super::cause;
use crate::counters::Counters;
use crate::outbound::one_line;

/// Waits for the first byte of a client; whether it hangs up before that. Load balancers look so whether a port is there.
pub(crate) async fn says_nothing(stream: &TcpStream) -> bool {
    !matches!(stream.peek(&mut [0]).await, Ok(1..))
}

/// Counts and logs that the handshake with `whom` has failed.
pub(crate) fn note_failed(whom: impl Display, error: &io::Error, counters: &Counters) {
    let why = match error.kind() {
        io::ErrorKind::UnexpectedEof => "the client hung up in the middle of it".to_owned(),
        _ if speaks_no_tls(error) => "the client does not speak TLS".to_owned(),
        _ => one_line(error),
    };
    counters.failed_handshake.note("TLS handshake", whom, format_args!("failed: {why}"));
}

/// Whether what came is something else than TLS.
fn speaks_no_tls(error: &io::Error) -> bool {
    matches!(cause(error), Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)))
}

/// Whether what a client has sent begins as TLS does.
pub(crate) fn begins(sent: &[u8]) -> bool {
    sent.starts_with(&[22, 3])
}
