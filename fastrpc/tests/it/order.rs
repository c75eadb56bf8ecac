//! Law 2: an id is registered before its first byte can leave.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::support::*;

/// A server inside a stream: it answers from within `poll_write`, before the writer has got control back.
struct Prompt {
    heard: Vec<u8>,
    said: Vec<u8>,
    greeted: bool,
    reader: Option<Waker>,
}

impl AsyncRead for Prompt {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.said.is_empty() {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let len = self.said.len().min(buf.remaining());
        buf.put_slice(&self.said[..len]);
        self.said.drain(..len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Prompt {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.heard.extend_from_slice(bytes);
        if !self.greeted && self.heard.len() >= 10 {
            self.greeted = true;
            self.heard.drain(..10);
            self.said.extend(hello(fastrpc::Compression::None).bytes());
        }
        while self.greeted && self.heard.len() >= 4 {
            let id = u32::from_le_bytes([self.heard[0], self.heard[1], self.heard[2], self.heard[3]]);
            let Ok((request, len)) = testkit::wire::tlv::read_request(&self.heard[4..]) else { break };
            self.heard.drain(..4 + len);
            let reply = reply_bytes(id, &request.name);
            self.said.extend(reply);
        }
        self.reader.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_reply_from_within_the_write_finds_its_call() {
    let prompt = || async { Ok(Prompt { heard: Vec::new(), said: Vec::new(), greeted: false, reader: None }) };
    let client = client().connect_with("prompt", prompt).unwrap();
    for n in 0..100 {
        let name = n.to_string();
        assert_eq!(client.call(ask(&name)).timeout(ms(100)).await.unwrap().value, name);
    }
    assert_eq!(client.stats().late_replies, 0);
}
