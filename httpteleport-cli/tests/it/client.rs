//! A client that sends exactly the bytes it is told to.

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use crate::program::PATIENCE;

/// One connection.
pub(crate) struct Client<S = TcpStream>(BufReader<S>);

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    /// Status line and fields, as they came.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line")
    }

    /// The value of a field, by its name in lower case.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }
}

impl Client {
    pub(crate) async fn connect(address: &str) -> Client {
        Client::over(TcpStream::connect(address).await.expect("a connection"))
    }

    /// Both ways apart. Nothing may have been read ahead.
    pub(crate) fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        assert!(self.0.buffer().is_empty());
        self.0.into_inner().into_split()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) fn over(stream: S) -> Client<S> {
        Client(BufReader::new(stream))
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(bytes.as_ref()).await.expect("sent");
        self.0.get_mut().flush().await.expect("sent");
    }

    /// Whether the connection has not ended, as far as can be seen now.
    pub(crate) async fn is_open(&mut self) -> bool {
        tokio::select! {
            biased;
            _ = self.0.fill_buf() => false,
            () = std::future::ready(()) => true,
        }
    }

    /// Sends a request and reads its reply.
    pub(crate) async fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Reply {
        self.send(bytes).await;
        self.reply().await
    }

    pub(crate) async fn get(&mut self, target: &str) -> Reply {
        self.ask(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n")).await
    }

    /// The head of the next reply, an interim one too.
    pub(crate) async fn head(&mut self) -> Reply {
        let mut head = String::new();
        loop {
            let line = timeout(PATIENCE, self.0.read_line(&mut head)).await.expect("in time").expect("a line");
            assert!(line > 0, "the connection ended inside a head: {head:?}");
            if head.ends_with("\r\n\r\n") {
                return Reply { head, body: Vec::new() };
            }
        }
    }

    /// The next head of a request; `None` when the connection ends before it.
    pub(crate) async fn try_head(&mut self) -> Option<String> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if !matches!(self.0.read_line(&mut head).await, Ok(1..)) {
                return None;
            }
        }
        Some(head)
    }

    /// The next reply with its body.
    pub(crate) async fn reply(&mut self) -> Reply {
        let mut reply = self.head().await;
        if let Some(length) = reply.field("content-length") {
            let mut body = vec![0; length.parse().expect("a length")];
            timeout(PATIENCE, self.0.read_exact(&mut body)).await.expect("in time").expect("the whole body");
            reply.body = body;
        } else if reply.field("transfer-encoding") == Some("chunked") {
            reply.body = self.chunks().await;
        }
        reply
    }

    /// The next so many bytes.
    pub(crate) async fn exactly(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        timeout(PATIENCE, self.0.read_exact(&mut bytes)).await.expect("in time").expect("so many bytes");
        bytes
    }

    async fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let mut line = String::new();
            timeout(PATIENCE, self.0.read_line(&mut line)).await.expect("in time").expect("a line");
            let size = usize::from_str_radix(line.trim(), 16).expect("a chunk size");
            let mut chunk = vec![0; size + 2];
            timeout(PATIENCE, self.0.read_exact(&mut chunk)).await.expect("in time").expect("a chunk");
            if size == 0 {
                return body;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }

    /// What comes until the connection's end, which may be a reset.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = timeout(PATIENCE, self.0.read_to_end(&mut rest)).await.expect("in time");
        rest
    }
}
