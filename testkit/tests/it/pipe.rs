//! The pipe does what it is commanded, also while somebody waits on it.

use std::io::ErrorKind;

use testkit::pipe::{End, duplex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::{JoinHandle, yield_now};
use tokio_test_task::task;

/// Polls a future by hand and counts its wake-ups.
mod tokio_test_task {
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll, Wake, Waker};

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) struct Task<'a, T> {
        future: Pin<Box<dyn Future<Output = T> + 'a>>,
        count: Arc<Count>,
    }

    pub(super) fn task<'a, T>(future: impl Future<Output = T> + 'a) -> Task<'a, T> {
        Task { future: Box::pin(future), count: Arc::default() }
    }

    impl<T> Task<'_, T> {
        pub(super) fn poll(&mut self) -> Poll<T> {
            let waker = Waker::from(Arc::clone(&self.count));
            self.future.as_mut().poll(&mut Context::from_waker(&waker))
        }

        pub(super) fn wakes(&self) -> usize {
            self.count.0.load(Ordering::Relaxed)
        }
    }
}

/// Writes `bytes` on a task of its own; returns the end when done.
fn write(mut end: End, bytes: &'static [u8]) -> JoinHandle<End> {
    tokio::spawn(async move {
        end.write_all(bytes).await.unwrap();
        end
    })
}

async fn read(end: &mut End, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    end.read_exact(&mut bytes).await.unwrap();
    bytes
}

#[tokio::test]
async fn both_directions_carry_bytes_independently() {
    let (mut a, mut b) = duplex();
    a.write_all(b"there").await.unwrap();
    b.write_all(b"and back").await.unwrap();
    assert_eq!(read(&mut b, 5).await, b"there");
    assert_eq!(read(&mut a, 8).await, b"and back");
    assert_eq!((a.outgoing().written(), a.incoming().read(), b.incoming().unread()), (5, 8, 0));
}

#[tokio::test]
async fn capacity_blocks_writes_and_reading_frees_them() {
    let (a, mut b) = duplex();
    let way = a.outgoing();
    way.set_capacity(4);
    let writer = write(a, b"0123456789");
    way.writer_blocked().await;
    assert_eq!((way.written(), way.unread()), (4, 4));
    assert_eq!(read(&mut b, 1).await, b"0");
    way.written_reaches(5).await;
    assert_eq!(way.unread(), 4);
    // Raising it frees a waiting writer at once.
    way.set_capacity(64);
    let _a = writer.await.unwrap();
    assert_eq!(read(&mut b, 9).await, b"123456789");
}

#[tokio::test]
async fn an_allowance_counts_bytes_and_does_not_come_back_by_reading() {
    let (a, mut b) = duplex();
    let way = a.outgoing();
    way.allow(3);
    let writer = write(a, b"abcdefgh");
    way.writer_blocked().await;
    assert_eq!(read(&mut b, 3).await, b"abc");
    yield_now().await;
    assert_eq!(way.written(), 3);
    way.allow(2);
    assert_eq!(read(&mut b, 2).await, b"de");
    way.writer_blocked().await;
    way.allow_all();
    assert_eq!(read(&mut b, 3).await, b"fgh");
    writer.await.unwrap();
}

#[tokio::test]
async fn a_choked_direction_does_not_stop_the_other() {
    let (mut a, mut b) = duplex();
    a.outgoing().choke();
    let mut pending = task(a.write(b"x"));
    assert!(pending.poll().is_pending());
    drop(pending);
    b.write_all(b"still here").await.unwrap();
    assert_eq!(read(&mut a, 10).await, b"still here");
}

#[tokio::test]
async fn reads_come_in_the_pieces_given() {
    let (mut a, mut b) = duplex();
    a.write_all(b"0123456789").await.unwrap();
    b.incoming().read_in_pieces(&[1, 3]);
    let mut sizes = Vec::new();
    let mut buf = [0; 64];
    for _ in 0..4 {
        sizes.push(b.read(&mut buf).await.unwrap());
    }
    assert_eq!(sizes, [1, 3, 1, 3]);
    b.incoming().read_in_pieces(&[]);
    assert_eq!(b.read(&mut buf).await.unwrap(), 2);
}

#[tokio::test]
async fn writes_are_taken_in_the_piece_given() {
    let (mut a, mut b) = duplex();
    a.outgoing().write_in_pieces(3);
    assert_eq!(a.write(b"01234").await.unwrap(), 3);
    assert_eq!(a.write(b"34").await.unwrap(), 2);
    assert_eq!(read(&mut b, 5).await, b"01234");
}

#[tokio::test]
async fn held_bytes_stay_on_their_way() {
    let (mut a, mut b) = duplex();
    let way = a.outgoing();
    way.hold();
    a.write_all(b"abc").await.unwrap();
    drop(a);
    let mut buf = [0; 8];
    let mut reading = task(b.read(&mut buf));
    assert!(reading.poll().is_pending());
    way.deliver(2);
    assert_eq!(reading.wakes(), 1);
    assert!(matches!(reading.poll(), std::task::Poll::Ready(Ok(2))));
    drop(reading);
    assert!(task(b.read(&mut buf)).poll().is_pending(), "the rest, and the end, are held");
    way.deliver_all();
    assert_eq!(b.read(&mut buf).await.unwrap(), 1);
    assert_eq!(b.read(&mut buf).await.unwrap(), 0);
}

#[tokio::test]
async fn the_end_comes_after_what_was_written() {
    let (mut a, mut b) = duplex();
    a.write_all(b"last words").await.unwrap();
    a.outgoing().end();
    assert_eq!(a.write(b"more").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    let mut text = String::new();
    b.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "last words");
    // A half-close: the other direction goes on.
    b.write_all(b"reply").await.unwrap();
    assert_eq!(read(&mut a, 5).await, b"reply");
}

#[tokio::test]
async fn shutdown_and_drop_end_the_direction() {
    let (mut a, mut b) = duplex();
    let way = a.outgoing();
    a.shutdown().await.unwrap();
    way.ended().await;
    assert_eq!(b.read(&mut [0; 8]).await.unwrap(), 0);
    b.write_all(b"unread").await.unwrap();
    drop(a);
    b.outgoing().closed().await;
    assert_eq!(b.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn a_broken_direction_fails_both_who_wait() {
    let (mut a, mut b) = duplex();
    let way = a.outgoing();
    let mut buf = [0; 8];
    let mut reading = task(b.read(&mut buf));
    assert!(reading.poll().is_pending());
    way.choke();
    assert!(reading.poll().is_pending());
    let mut writing = task(a.write(b"x"));
    assert!(writing.poll().is_pending());
    way.fail(ErrorKind::ConnectionReset);
    assert_eq!(writing.wakes(), 1);
    let kind = |poll: std::task::Poll<std::io::Result<usize>>| match poll {
        std::task::Poll::Ready(Err(error)) => Some(error.kind()),
        _ => None,
    };
    assert_eq!(kind(reading.poll()), Some(ErrorKind::ConnectionReset));
    assert_eq!(kind(writing.poll()), Some(ErrorKind::ConnectionReset));
    drop(writing);
    assert_eq!(a.flush().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn ends_wake_exactly_when_something_came() {
    let (mut a, mut b) = duplex();
    a.outgoing().set_capacity(2);
    let mut buf = [0; 8];
    let mut reading = task(b.read(&mut buf));
    assert!(reading.poll().is_pending());
    assert_eq!(a.write(b"abc").await.unwrap(), 2);
    assert_eq!(reading.wakes(), 1);
    let mut writing = task(a.write(b"c"));
    assert!(writing.poll().is_pending());
    assert_eq!(reading.wakes(), 1, "a write that moved nothing wakes nobody");
    assert!(reading.poll().is_ready());
    assert_eq!(writing.wakes(), 1);
    assert!(writing.poll().is_ready());
}

#[tokio::test]
async fn the_recording_has_what_was_written_since() {
    let (mut a, mut b) = duplex();
    a.write_all(b"before").await.unwrap();
    let way = a.outgoing();
    way.record();
    a.write_all(b"after").await.unwrap();
    assert_eq!(read(&mut b, 6).await, b"before");
    drop(b);
    assert_eq!(way.recorded(), b"after");
}

#[tokio::test]
async fn a_watcher_sees_the_reader_wait() {
    let (mut a, mut b) = duplex();
    let way = a.outgoing();
    let reader = tokio::spawn(async move { read(&mut b, 4).await });
    way.reader_blocked().await;
    a.write_all(b"ab").await.unwrap();
    way.read_reaches(2).await;
    a.write_all(b"cd").await.unwrap();
    assert_eq!(reader.await.unwrap(), b"abcd");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_megabyte_crosses_in_odd_pieces_on_two_threads() {
    let (a, mut b) = duplex();
    let way = a.outgoing();
    way.set_capacity(1000);
    way.write_in_pieces(333);
    way.read_in_pieces(&[1, 70, 7, 900]);
    let sent: &'static [u8] = (0..1_000_000u32).flat_map(u32::to_le_bytes).take(1 << 20).collect::<Vec<_>>().leak();
    let writer = write(a, sent);
    assert!(read(&mut b, sent.len()).await == sent);
    writer.await.unwrap();
}
