//! A DNS server that says nothing until it is told to, and then that there is no such name: it holds whoever starts.

use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use crate::program::PATIENCE;

/// The server.
pub(crate) struct SilentDns {
    /// For `--resolver`.
    pub(crate) address: String,
    asked: Arc<Notify>,
    speaks: watch::Sender<bool>,
}

impl SilentDns {
    pub(crate) async fn start() -> SilentDns {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("an address").to_string();
        let asked = Arc::<Notify>::default();
        let tell = Arc::clone(&asked);
        let (speaks, mut told) = watch::channel(false);
        tokio::spawn(async move {
            let (mut question, mut open) = ([0; 512], Vec::new());
            loop {
                tokio::select! {
                    came = socket.recv_from(&mut question) => {
                        let (length, from) = came.expect("a question");
                        open.push((no_such_name(&question[..length]), from));
                        tell.notify_one();
                    }
                    changed = told.changed() => if changed.is_err() { return },
                }
                if *told.borrow() {
                    for (answer, from) in open.drain(..) {
                        socket.send_to(&answer, from).await.expect("sent");
                    }
                }
            }
        });
        SilentDns { address, asked, speaks }
    }

    /// Waits until somebody has asked.
    pub(crate) async fn is_asked(&self) {
        timeout(PATIENCE, self.asked.notified()).await.expect("in time");
    }

    /// Answers all questions from now on.
    pub(crate) fn speak(&self) {
        self.speaks.send(true).expect("it runs");
    }
}

/// The answer to a question that there is no such name (RFC 1035, section 4.1.1).
fn no_such_name(question: &[u8]) -> Vec<u8> {
    let mut answer = question.to_vec();
    answer[2] |= 0x80;
    answer[3] = 0x83;
    answer
}
