//! Two ends of an in-memory connection that counts what goes through it.
//!
//! A direction takes whatever is written: the calls that wait for a reply bound it. So room never decides where a flight
//! ends, and the few bytes in it stay in the cache, as tokio's own pipe would not have it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::tcp::{Flights, Tcp};

/// What went through a pipe, both ways.
#[derive(Clone, Debug)]
pub struct Meter {
    up: Way,
    down: Way,
}

impl Meter {
    /// Flights from the near end to the far end, and back.
    #[must_use]
    pub fn flights(&self) -> (Flights, Flights) {
        (self.up.lock().total(), self.down.lock().total())
    }
}

/// One end. Its direction ends when it is dropped.
#[derive(Debug)]
pub struct End {
    sent: Way,
    received: Way,
}

/// Makes a pipe: its near end, its far end, its meter.
#[must_use]
pub fn metered(tcp: Tcp) -> (End, End, Meter) {
    let (up, down) = (Way::new(tcp), Way::new(tcp));
    let near = End { sent: up.clone(), received: down.clone() };
    let far = End { sent: down.clone(), received: up.clone() };
    (near, far, Meter { up, down })
}

/// One direction. Connections have to be `Send`; here both ends are on one thread and nothing waits for the lock.
#[derive(Clone, Debug)]
struct Way(Arc<Mutex<Inside>>);

#[derive(Debug)]
struct Inside {
    tcp: Tcp,
    bytes: Vec<u8>,
    read: usize,
    reader: Option<Waker>,
    closed: bool,
    ended: Flights,
    /// Bytes written since the other end read last: a flight that still grows.
    open: u64,
}

impl Way {
    fn new(tcp: Tcp) -> Self {
        let ended = Flights::default();
        Self(Arc::new(Mutex::new(Inside {
            tcp,
            bytes: Vec::new(),
            read: 0,
            reader: None,
            closed: false,
            ended,
            open: 0,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        let mut inside = self.lock();
        inside.closed = true;
        inside.wake_reader();
    }
}

impl Inside {
    fn write(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.open += bytes.len() as u64;
        self.wake_reader();
    }

    fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<()> {
        let waiting = &self.bytes[self.read..];
        if waiting.is_empty() && !self.closed {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let taken = waiting.len().min(buffer.remaining());
        buffer.put_slice(&waiting[..taken]);
        self.read += taken;
        if self.read == self.bytes.len() {
            self.bytes.clear();
            self.read = 0;
        }
        self.end_flight();
        Poll::Ready(())
    }

    fn end_flight(&mut self) {
        let open = std::mem::take(&mut self.open);
        if open > 0 {
            self.ended.add(open, self.tcp);
        }
    }

    fn total(&mut self) -> Flights {
        self.end_flight();
        self.ended
    }
}

impl AsyncRead for End {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.received.lock().poll_read(cx, buffer).map(Ok)
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.sent.lock().write(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut inside = self.sent.lock();
        slices.iter().for_each(|slice| inside.write(slice));
        Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.sent.close();
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.sent.close();
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn what_is_written_before_a_read_is_one_flight() {
        let (mut near, mut far, meter) = metered(Tcp::PLAIN);
        near.write_all(&[1; 700]).await.expect("room");
        near.write_all(&[2; 700]).await.expect("room");
        let mut seen = vec![0; 1400];
        far.read_exact(&mut seen).await.expect("all of it");
        assert_eq!((seen[699], seen[700]), (1, 2));
        near.write_all(&[1; 10]).await.expect("room");
        far.write_all(&[1; 1461]).await.expect("room");
        let (up, down) = meter.flights();
        assert_eq!(up, Flights { count: 2, payload: 1410, segments: 2, pure_acks: 0 });
        assert_eq!(down, Flights { count: 1, payload: 1461, segments: 2, pure_acks: 1 });
    }

    #[tokio::test]
    async fn an_end_that_is_dropped_ends_its_direction_after_its_bytes() {
        let (mut near, far, _) = metered(Tcp::PLAIN);
        let reading = tokio::spawn(async move {
            let (mut far, mut seen) = (far, Vec::new());
            far.read_to_end(&mut seen).await.map(|_| seen)
        });
        near.write_all(b"last words").await.expect("room");
        drop(near);
        assert_eq!(reading.await.expect("no panic").expect("an end"), b"last words");
    }
}
