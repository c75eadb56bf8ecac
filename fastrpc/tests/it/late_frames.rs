//! Frames of the framed wire that change nothing: a few are honest, many are a flood.

use bytes::Bytes;
use fastrpc::internals::framed::{Key, Received, Role, Streams, Violation};
use fastrpc::wire::framed::frame::{self, CloseCode, ResetCode};
use fastrpc::wire::framed::settings::Settings;

use crate::framed_streams::{Pair, data, frames, open, receive, record, settings, writes};

/// Beyond what a peer may send at once.
const MANY: usize = 10_001;

/// A pair whose first call is over, at both ends.
fn over() -> Pair {
    let mut pair = Pair::new(Settings { calls: 1000, ..settings(100_000, 20_000) });
    let (call, key) = pair.call(b"", false);
    pair.server.reply(key, writes(b"done"), &Bytes::new(), false).unwrap();
    pair.down();
    pair.client.release(call);
    pair.server.release(key);
    assert!(pair.client.is_empty() && pair.server.is_empty());
    pair
}

#[test]
fn many_frames_that_change_nothing_end_the_connection() {
    let reset = frames(|out| frame::put_reset(out, 1, ResetCode::Cancelled, ""));
    let credit = frames(|out| frame::put_credit(out, 1, 1000));
    let trailers = frames(|out| frame::put_trailers(out, 1, b"t").unwrap());
    let reply = frames(|out| assert!(frame::put_reply(out, 1, 9, writes(b"r"), b"", true).unwrap()));
    let cases = [
        (Role::Server, reset.clone()),
        (Role::Server, credit.clone()),
        (Role::Server, trailers.clone()),
        (Role::Server, data(1, 0, true)),
        (Role::Client, reset),
        (Role::Client, credit),
        (Role::Client, trailers),
        (Role::Client, data(1, 0, true)),
        (Role::Client, reply),
        (Role::Client, frames(|out| frame::put_pong(out, [0; 8]))),
        (Role::Server, frames(|out| frame::put_pong(out, [0; 8]))),
        (Role::Client, frames(frame::put_drain)),
        (Role::Server, frames(frame::put_drain)),
    ];
    for (role, record) in cases {
        let mut pair = over();
        let end = if role == Role::Client { &mut pair.client } else { &mut pair.server };
        let mut taken = (0..2 * MANY).map(|_| receive(end, &record));
        assert!(taken.by_ref().take(MANY - 1).all(|outcome| outcome.is_ok()), "{role:?} {record:?}");
        let flood = taken.find_map(Result::err);
        let text = "too many frames that change nothing".into();
        assert_eq!(flood, Some(Violation { code: CloseCode::Flood, text }), "{role:?} {record:?}");
    }
}

#[test]
fn what_comes_late_for_honest_calls_is_no_flood() {
    let mut pair = Pair::new(settings(100_000, 20_000));
    for id in 1..=u32::try_from(2 * MANY).unwrap() {
        let (call, key) = pair.call(b"", true);
        pair.server.reply(key, writes(b"early"), &Bytes::new(), false).unwrap();
        pair.down();
        pair.client.release(call);
        pair.server.release(key);
        // The client had sent these before it knew.
        let late = frames(|out| {
            frame::put_credit(out, id, 1000);
            frame::put_reset(out, id, ResetCode::Cancelled, "");
        });
        receive(&mut pair.server, &late).unwrap();
    }
}

/// What ends either side, where so many calls at a time are all given up: before their server has answered them, or while all
/// replies are under way.
fn given_up_together(calls: usize, answered: bool) -> [Option<Violation>; 2] {
    let at_a_time = u32::try_from(calls).unwrap();
    let mut pair = Pair::new(Settings { calls: at_a_time, ..settings(1 << 24, 1 << 16) });
    let keys: Vec<_> = (0..calls).map(|_| open(&mut pair.client, b"call", b"", false)).collect();
    let arrived: Vec<_> = pair.up().iter().filter_map(called).collect();
    assert_eq!(arrived.len(), calls);
    for key in arrived.into_iter().filter(|_| answered) {
        pair.server.interim(key, writes(b"soon")).unwrap();
        pair.server.reply(key, writes(b"reply"), &Bytes::new(), false).unwrap();
        pair.server.release(key);
    }
    let down: Vec<_> = std::iter::from_fn(|| record(&mut pair.server, pair.now)).collect();
    for key in keys {
        pair.client.reset(key, ResetCode::Cancelled, "");
        pair.client.release(key);
    }
    let up: Vec<_> = std::iter::from_fn(|| record(&mut pair.client, pair.now)).collect();
    let ends = |end: &mut Streams<()>, records: &[Bytes]| records.iter().find_map(|record| receive(end, record).err());
    [ends(&mut pair.client, &down), ends(&mut pair.server, &up)]
}

/// The call that has come, if it is one.
pub(crate) fn called(received: &Received) -> Option<Key> {
    if let Received::Call { key, .. } = received { Some(*key) } else { None }
}

#[test]
fn as_many_calls_as_there_may_be_can_be_given_up_together() {
    for calls in [900, 20_000] {
        for answered in [false, true] {
            assert_eq!(given_up_together(calls, answered), [None, None], "{calls} {answered}");
        }
    }
}
