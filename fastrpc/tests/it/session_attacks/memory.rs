//! What may not pile up.

use super::*;

#[test]
fn an_unread_byte_does_not_keep_its_record() {
    struct Owner(Vec<u8>, Arc<AtomicUsize>);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    impl Drop for Owner {
        fn drop(&mut self) {
            self.1.fetch_sub(self.0.len(), Ordering::SeqCst);
        }
    }
    let settings = Settings::default();
    let mut server = Streams::new(Role::Server, settings.clone(), settings, 1 << 24, Instant::now());
    let held = Arc::new(AtomicUsize::new(0));
    let give = |server: &mut Streams<()>, frames: Vec<u8>| {
        held.fetch_add(frames.len(), Ordering::SeqCst);
        receive(server, &Bytes::from_owner(Owner(frames, held.clone()))).unwrap();
    };
    let mut frames = Vec::new();
    frame::put_call(&mut frames, 0, false, 9, none, b"", false).unwrap();
    frame::put_call(&mut frames, 0, false, 9, none, b"", false).unwrap();
    frame::put_reset(&mut frames, 2, ResetCode::Cancelled, "");
    give(&mut server, frames);
    for _ in 0..1000 {
        let mut frames = Vec::new();
        frame::put_data(&mut frames, 1, [&b"x"[..]].into_iter(), false).unwrap();
        for _ in 0..9 {
            frame::put_reset(&mut frames, 2, ResetCode::Cancelled, &"0".repeat(250)); // Of a call that is over.
        }
        give(&mut server, frames);
    }
    assert_eq!(server.balance().unread, 1000);
    assert!(held.load(Ordering::SeqCst) < 500_000, "{} bytes are kept for 1,000", held.load(Ordering::SeqCst));
}

#[test]
fn a_stalled_reader_of_a_reset_stream_is_told() {
    let settings = Settings { connection_credit: 1000, stream_credit: 1000, ..Settings::default() };
    let mut client = Streams::new(Role::Client, settings.clone(), settings, 1 << 24, Instant::now());
    let key = client.open::<TooLong>((), 0, false, |_| Ok(()), &Bytes::new(), true).unwrap();
    client.fill(&mut Vec::new(), Instant::now());
    let mut frames = Vec::new();
    frame::put_reply(&mut frames, 1, 9, none, b"", false).unwrap();
    frame::put_data(&mut frames, 1, [&[7; 1000][..]].into_iter(), true).unwrap();
    frame::put_reset(&mut frames, 1, ResetCode::Cancelled, ""); // The reply stands.
    receive(&mut client, &frames.into()).unwrap();
    let now = Instant::now();
    let limit = Duration::from_secs(10);
    client.reset_stalled(now, limit);
    client.reset_stalled(now + limit, limit);
    println!("{:?}", client.balance());
    while let Poll::Ready(Some(Ok(_))) = client.poll_piece(key, Waker::noop()) {}
    assert!(client.poll_piece(key, Waker::noop()).is_ready(), "nothing more comes, and nobody says so");
}

#[test]
fn trailers_that_are_too_long_have_a_budget() {
    let settings = Settings::default();
    let mut server = Streams::new(Role::Server, settings.clone(), settings, 1 << 24, Instant::now());
    let mut over = false;
    for n in 1..=20_000u32 {
        let mut frames = Vec::new();
        frame::put_call(&mut frames, 0, false, 9, none, b"", false).unwrap();
        frame::put_trailers(&mut frames, n, &[0; 16_385]).unwrap();
        match receive(&mut server, &frames.into()) {
            Ok(received) => {
                for one in received {
                    if let Received::Call { key, .. } = one {
                        server.release(key);
                    }
                }
            }
            Err(_) => {
                over = true;
                break;
            }
        }
    }
    let mut bytes = 0;
    let mut record = Vec::new();
    while !over && server.fill(&mut record, Instant::now()) != Filled::Nothing {
        bytes += record.len();
        record.clear();
    }
    assert!(
        over,
        "20,000 handlers were begun and broken off; {bytes} bytes of resets waited; is waiting_heads {}",
        server.waiting_heads()
    );
}

#[test]
fn heads_of_cancelled_calls_do_not_pile_up() {
    let settings = Settings::default();
    let mut client = Streams::new(Role::Client, settings.clone(), settings, 1 << 24, Instant::now());
    for _ in 0..10_000 {
        let key = client.open::<TooLong>((), 0, false, |_| Ok(()), &vec![7; 10_000].into(), false).unwrap();
        client.reset(key, ResetCode::Cancelled, "");
        client.release(key);
    }
    assert_eq!(client.len(), 0);
    assert!(client.waiting_heads() < 1 << 20, "{} bytes for nobody", client.waiting_heads());
}
