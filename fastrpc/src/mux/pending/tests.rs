//! Each rule of the table.

use std::time::Duration;

use super::*;

/// Every message was sent.
const ALL: u64 = u64::MAX;

fn table() -> (Pending<u32>, Instant) {
    (Pending::default(), Instant::now())
}

fn poll(pending: &mut Pending<u32>, key: Key) -> Poll<Outcome<u32>> {
    pending.poll(key, Waker::noop(), &mut None)
}

#[test]
fn a_reply_completes_its_call_once() {
    let (mut pending, now) = table();
    let key = pending.insert(now, 0).unwrap();
    assert!(poll(&mut pending, key).is_pending());
    assert!(matches!(pending.complete(key.id(), ALL, 7), Arrival::Completed(Some(_))));
    assert!(matches!(pending.complete(key.id(), ALL, 8), Arrival::Unclaimed(8)));
    assert!(matches!(poll(&mut pending, key), Poll::Ready(Outcome::Reply(7))));
    assert_eq!((pending.waiting(), pending.occupied()), (0, 0));
}

#[test]
fn a_cancelled_slot_is_not_taken_again_before_its_reply_came() {
    let (mut pending, now) = table();
    let dropped = pending.insert(now, 0).unwrap();
    assert!(pending.cancel(dropped, true).0);
    let next = pending.insert(now, 10).unwrap();
    assert_ne!(dropped.index(), next.index());
    assert_eq!(pending.quarantined(), 1);
    assert!(matches!(pending.complete(dropped.id(), ALL, 1), Arrival::Unclaimed(1)));
    assert_eq!(pending.quarantined(), 0);
    let reused = pending.insert(now, 20).unwrap();
    assert_eq!(reused.index(), dropped.index());
    assert_ne!(reused.id(), dropped.id());
    assert!(matches!(pending.complete(dropped.id(), ALL, 2), Arrival::Unclaimed(2)), "an answer twice finds nobody");
    assert!(poll(&mut pending, reused).is_pending());
}

#[test]
fn an_expired_call_stays_expired_and_its_slot_waits_for_the_late_reply() {
    let (mut pending, now) = table();
    let late = pending.insert(now + Duration::from_millis(5), 0).unwrap();
    let later = pending.insert(now + Duration::from_millis(50), 10).unwrap();
    let mut wakers = Vec::new();
    pending.expire(now + Duration::from_millis(5), 10, &mut wakers, |message, sent| {
        assert_eq!((message, sent), (0, true));
    });
    assert_eq!(pending.next_deadline(), Some(now + Duration::from_millis(50)));
    assert!(matches!(poll(&mut pending, late), Poll::Ready(Outcome::Expired { sent: true })));
    assert_eq!(pending.quarantined(), 1);
    assert!(matches!(pending.complete(late.id(), ALL, 1), Arrival::Unclaimed(1)));
    assert_eq!((pending.quarantined(), pending.waiting()), (0, 1));
    assert!(poll(&mut pending, later).is_pending());
}

#[test]
fn the_end_of_the_connection_fails_all_and_tells_what_never_left() {
    let (mut pending, now) = table();
    let sent = pending.insert(now, 0).unwrap();
    let unsent = pending.insert(now, 10).unwrap();
    let dropped = pending.insert(now, 5).unwrap();
    pending.cancel(dropped, true);
    let cause = Arc::new(Error::config("gone"));
    assert_eq!(pending.fail_all(&cause, 10, &mut Vec::new()), 2);
    assert!(matches!(poll(&mut pending, sent), Poll::Ready(Outcome::Failed { sent: true, .. })));
    assert!(matches!(poll(&mut pending, unsent), Poll::Ready(Outcome::Failed { sent: false, .. })));
    assert_eq!(pending.occupied(), 0);
}

#[test]
fn ids_are_never_zero_and_generations_wrap() {
    let (mut pending, now) = table();
    for _ in 0..2 * GENERATIONS {
        let key = pending.insert(now, 0).unwrap();
        assert!(key.id() != 0 && key.generation() != 0);
        pending.cancel(key, false);
    }
}

#[test]
fn an_unsent_call_has_no_reply() {
    let (mut pending, now) = table();
    let key = pending.insert(now, 5).unwrap();
    assert!(matches!(pending.complete(key.id(), 5, 1), Arrival::Unclaimed(1)));
    assert!(poll(&mut pending, key).is_pending());
    assert!(matches!(pending.complete(key.id(), 6, 2), Arrival::Completed(_)));
}

#[test]
fn ids_do_not_come_again_after_memory_was_given_back() {
    let (mut pending, now) = table();
    let keys: Vec<_> = (0..5000).map(|_| pending.insert(now, 0).unwrap()).collect();
    for key in &keys {
        pending.cancel(*key, false);
    }
    pending.shrink();
    assert_eq!(pending.capacity(), 0);
    let key = pending.insert(now, 0).unwrap();
    assert!(!keys.contains(&key));
}
