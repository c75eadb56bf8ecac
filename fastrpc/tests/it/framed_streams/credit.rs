//! Credit, and readers that lag.

use super::*;

#[test]
fn a_body_waits_for_credit_and_a_reader_gives_it() {
    let mut pair = Pair::new(settings(100_000, 20_000));
    let (up, key) = pair.call(b"", true);
    pair.client.push(up, Bytes::from(vec![1; 50_000]));
    pair.up();
    assert!(record(&mut pair.client, pair.now).is_none(), "20,000 are under way");
    let mut read = 0;
    while read < 50_000 {
        while let Poll::Ready(Some(piece)) = piece(&mut pair.server, key) {
            read += piece.len();
        }
        pair.down();
        pair.up();
    }
    assert_eq!(read, 50_000);
}

#[test]
fn a_slow_reader_does_not_stall_its_neighbour() {
    let mut pair = Pair::new(settings(160_000, 20_000));
    let (slow, _) = pair.call(b"", true);
    pair.client.push(slow, Bytes::from(vec![1; 500_000]));
    let (quick, key) = pair.call(b"", true);
    pair.client.push(quick, Bytes::from(vec![2; 500_000]));
    let mut read = 0;
    for _ in 0..200 {
        pair.up();
        while let Poll::Ready(Some(piece)) = piece(&mut pair.server, key) {
            assert!(piece.iter().all(|byte| *byte == 2));
            read += piece.len();
        }
        pair.down();
    }
    assert_eq!(read, 500_000);
}

#[test]
fn windows_open_on_a_long_way_and_stay_an_eighth() {
    let mut pair = Pair::new(settings(1 << 20, 1 << 16));
    pair.server.measured(Duration::from_millis(150));
    let (up, key) = pair.call(b"", true);
    let mut rates = Vec::new();
    for _ in 0..12 {
        let mut read = 0;
        while let Poll::Ready(Ok(_)) = pair.client.poll_room(up, Waker::noop()) {
            pair.client.push(up, Bytes::from(vec![0; 1 << 22]));
        }
        pair.up();
        while let Poll::Ready(Some(piece)) = piece(&mut pair.server, key) {
            read += piece.len();
        }
        pair.now += Duration::from_millis(150);
        pair.down();
        rates.push(read);
    }
    // 200 Mbit/s at 150 ms are 3.75 MB under way; it ends at an eighth of 16 MiB.
    assert!(rates[0] == 1 << 16 && rates[11] == 1 << 21, "{rates:?}");
}

#[test]
fn unread_bodies_are_broken_off_when_the_whole_connection_waits_for_them() {
    let mut pair = Pair::new(settings(20_000, 20_000));
    let (whole, lying) = pair.call(b"", true);
    pair.client.push(whole, Bytes::from(vec![1; 10_000]));
    pair.client.finish(whole, None).unwrap();
    let (endless, lying_too) = pair.call(b"", true);
    pair.client.push(endless, Bytes::from(vec![1; 20_000]));
    pair.up();

    let limit = Duration::from_secs(10);
    pair.server.reset_stalled(pair.now, limit);
    pair.server.reset_stalled(pair.now + Duration::from_secs(9), limit);
    assert_eq!((pair.server.reset_of(lying), pair.server.reset_of(lying_too)), (None, None));
    pair.server.reset_stalled(pair.now + limit, limit);
    for key in [lying, lying_too] {
        let Poll::Ready(Some(Err(gone))) = pair.server.poll_piece(key, Waker::noop()) else { panic!("it is told") };
        assert_eq!(
            gone.0.unwrap().to_string(),
            "this side reset the stream: stalled (nobody has read its body for 10 s while others waited)"
        );
    }
    pair.down();
    assert_eq!(
        pair.client.reset_of(endless).map(|reset| (reset.code, reset.by_peer)),
        Some((ResetCode::Stalled, true))
    );
    assert_eq!(pair.server.balance().unread, 0);
}
