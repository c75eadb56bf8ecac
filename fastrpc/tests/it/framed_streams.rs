//! The streams of a framed connection, scene by scene: who goes first, who waits, and what ends the connection.

use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use fastrpc::internals::framed::{Filled, Key, Received, Reset, Role, Streams, Violation};
use fastrpc::wire::framed::frame::{self, CloseCode, Frame, ResetCode, TooLong};
use fastrpc::wire::framed::settings::Settings;
use tokio::time::Instant;

mod credit;
mod rules;

/// Both ends, and the time.
pub(crate) struct Pair {
    pub(crate) client: Streams<()>,
    pub(crate) server: Streams<()>,
    pub(crate) now: Instant,
}

impl Pair {
    pub(crate) fn new(ours: Settings) -> Self {
        let (client, server) = (Role::Client, Role::Server);
        Self {
            client: Streams::new(client, ours.clone(), ours.clone(), 1 << 24, Instant::now()),
            server: Streams::new(server, ours.clone(), ours, 1 << 24, Instant::now()),
            now: Instant::now(),
        }
    }

    /// Takes everything that the client has to send to the server.
    pub(crate) fn up(&mut self) -> Vec<Received> {
        carry(&mut self.client, &mut self.server, self.now)
    }

    pub(crate) fn down(&mut self) -> Vec<Received> {
        carry(&mut self.server, &mut self.client, self.now)
    }

    /// A call that is under way; the keys of both ends.
    pub(crate) fn call(&mut self, body: &[u8], more: bool) -> (Key, Key) {
        let client = open(&mut self.client, b"call", body, more);
        let received = self.up();
        let Some(Received::Call { key, .. }) = received.into_iter().next() else { panic!("no call came") };
        (client, key)
    }
}

pub(crate) fn carry(from: &mut Streams<()>, to: &mut Streams<()>, now: Instant) -> Vec<Received> {
    let mut all = Vec::new();
    while let Some(record) = record(from, now) {
        all.extend(receive(to, &record).expect("the rules are kept"));
    }
    all
}

pub(crate) fn record(from: &mut Streams<()>, now: Instant) -> Option<Bytes> {
    let mut record = Vec::new();
    (from.fill(&mut record, now) != Filled::Nothing).then(|| record.into())
}

pub(crate) fn receive(to: &mut Streams<()>, record: &Bytes) -> Result<Vec<Received>, Violation> {
    let mut rest = &record[..];
    let mut all = Vec::new();
    while !rest.is_empty() {
        all.push(to.receive(Frame::take(&mut rest)?, record, Instant::now(), || ())?);
    }
    Ok(all)
}

pub(crate) fn open(client: &mut Streams<()>, head: &[u8], body: &[u8], more: bool) -> Key {
    client.open((), 0, false, writes(head), &Bytes::copy_from_slice(body), more).expect("the head is short")
}

pub(crate) fn writes(head: &[u8]) -> impl FnOnce(&mut Vec<u8>) -> Result<(), TooLong> {
    move |out| {
        out.extend_from_slice(head);
        Ok(())
    }
}

/// What a record holds, a word a frame.
pub(crate) fn words(record: &Bytes) -> Vec<String> {
    let mut rest = &record[..];
    let mut words = Vec::new();
    while !rest.is_empty() {
        words.push(match Frame::take(&mut rest).unwrap() {
            Frame::Call { body, .. } => format!("call+{}", body.len()),
            Frame::Reply { id, body, .. } => format!("reply {id}+{}", body.len()),
            Frame::Data { id, body, end } => format!("data {id}+{}{}", body.len(), if end { "." } else { "" }),
            Frame::Trailers { id, .. } => format!("trailers {id}"),
            Frame::Reset { id, code, .. } => format!("reset {id} {code}"),
            Frame::Credit { id, bytes } => format!("credit {id}+{bytes}"),
            other => format!("{other:?}"),
        });
    }
    words
}

pub(crate) fn piece(streams: &mut Streams<()>, key: Key) -> Poll<Option<Bytes>> {
    streams.poll_piece(key, Waker::noop()).map(|piece| piece.map(|piece| piece.expect("the stream goes on")))
}

pub(crate) fn settings(connection: u32, stream: u32) -> Settings {
    Settings { connection_credit: connection, stream_credit: stream, ..Settings::default() }
}

pub(crate) fn frames(write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut record = Vec::new();
    write(&mut record);
    record.into()
}

pub(crate) fn data(id: u32, length: usize, end: bool) -> Bytes {
    frames(|out| frame::put_data(out, id, [&vec![0; length][..]].into_iter(), end).unwrap())
}

// ---- whose turn it is ----

#[test]
fn small_calls_overtake_a_large_body_and_leave_it_a_quarter() {
    let mut pair = Pair::new(settings(1 << 24, 1 << 24));
    let (large, _) = pair.call(b"", true);
    pair.client.push(large, Bytes::from(vec![0; 1 << 20]));
    assert_eq!(words(&record(&mut pair.client, pair.now).unwrap())[0], "data 1+16384");

    // Under a flood of small calls, each of 4 KiB.
    for _ in 0..64 {
        open(&mut pair.client, &[7; 4000], b"", false);
    }
    let (mut small, mut body) = (0, 0);
    for _ in 0..3 {
        for word in words(&record(&mut pair.client, pair.now).unwrap()) {
            match word.strip_prefix("data 1+") {
                Some(bytes) => body += bytes.parse::<usize>().unwrap(),
                None => small += 4000,
            }
        }
    }
    let share = body * 100 / (small + body);
    assert!((20..=30).contains(&share), "{small} bytes of small calls, {body} of the body");
}

#[test]
fn bodies_take_turns() {
    let mut pair = Pair::new(settings(1 << 24, 1 << 24));
    let keys = [(); 3].map(|()| pair.call(b"", true).0);
    keys.iter().for_each(|key| pair.client.push(*key, Bytes::from(vec![0; 60_000])));
    let mut order = Vec::new();
    while let Some(record) = record(&mut pair.client, pair.now) {
        order.extend(words(&record).iter().map(|word| word.as_bytes()[5] - b'0'));
    }
    for turn in order[..9].chunks(3) {
        assert_eq!(turn.iter().sum::<u8>(), 6, "each has its turn: {order:?}");
    }
}

#[test]
fn bodies_that_do_not_compress_have_records_of_their_own_and_starve_nobody() {
    let mut pair = Pair::new(settings(1 << 24, 1 << 24));
    let (raw, _) = pair.call(b"", true);
    pair.client.send_raw(raw);
    pair.client.push(raw, Bytes::from(vec![0; 200_000]));
    for _ in 0..40 {
        open(&mut pair.client, &[7; 4000], b"", false);
    }
    let mut kinds = Vec::new();
    let mut bytes = Vec::new();
    loop {
        let mut record = Vec::new();
        let filled = pair.client.fill(&mut record, pair.now);
        if filled == Filled::Nothing {
            break;
        }
        let raw = words(&record.into()).iter().filter(|word| word.starts_with("data 1")).count();
        assert_eq!(raw > 0, filled == Filled::Raw, "a record is raw or it is not");
        kinds.push(filled);
        bytes.push(raw);
    }
    assert_eq!(kinds[..4], [Filled::Frames, Filled::Raw, Filled::Frames, Filled::Raw]);
}

// ---- ends ----

#[test]
fn a_call_that_was_not_sent_is_taken_back_without_a_word() {
    let mut pair = Pair::new(settings(100_000, 20_000));
    let first = open(&mut pair.client, b"one", &[0; 5000], false);
    open(&mut pair.client, b"two", b"", false);
    pair.client.reset(first, ResetCode::Cancelled, "");
    assert_eq!(pair.client.release(first), Some(()));
    let record = record(&mut pair.client, pair.now).unwrap();
    assert_eq!(words(&record), ["call+0"]);
    assert_eq!(pair.client.balance().credit, 100_000);
}

#[test]
fn a_reply_before_the_end_of_its_call_stands_and_stops_the_call() {
    let mut pair = Pair::new(settings(100_000, 20_000));
    let (up, key) = pair.call(&[0; 100], true);
    pair.server.reply(key, writes(b"413"), &Bytes::from_static(b"enough"), false).unwrap();
    let received = pair.down();
    let [Received::Reply { body: Some(body), .. }, Received::Reset { .. }] = &received[..] else {
        panic!("{received:?}")
    };
    assert_eq!(&body[..], b"enough");
    assert!(matches!(pair.client.poll_room(up, Waker::noop()), Poll::Ready(Err(_))), "nobody takes the rest");
    assert_eq!((pair.client.release(up), pair.server.release(key)), (Some(()), Some(())));
}

#[test]
fn too_many_calls_and_long_heads_are_refused_alone() {
    let mut pair = Pair::new(settings(100_000, 20_000));
    let server = Settings { calls: 2, head: 10, ..settings(100_000, 20_000) };
    pair.server = Streams::new(Role::Server, server, settings(100_000, 20_000), 1 << 24, pair.now);
    let keys = [&b"1"[..], b"longer than ten", b"2", b"3"].map(|head| open(&mut pair.client, head, b"body", false));
    pair.up();
    pair.down();
    let told = keys.map(|key| pair.client.reset_of(key).map(|reset| (reset.code, reset.text.to_string())));
    let long = (ResetCode::TooLarge, "a head of 15 bytes is over the limit of 10".to_owned());
    let many = (ResetCode::Refused, "too many calls at a time".to_owned());
    assert_eq!(told, [None, Some(long), None, Some(many)]);
}

#[test]
fn heads_that_the_peer_does_not_take_are_not_sent() {
    let mut pair = Pair::new(settings(100_000, 20_000));
    let long = TooLong { length: 20_000, limit: 16_384 };
    let (_, key) = pair.call(b"", false);
    let opened = pair.client.open((), 0, false, writes(&[0; 20_000]), &Bytes::new(), false);
    assert_eq!((opened.unwrap_err(), pair.client.len()), (long, 1));
    assert_eq!(pair.server.interim(key, writes(&[0; 20_000])).unwrap_err(), long);
    assert_eq!(pair.server.reply(key, writes(&[0; 20_000]), &Bytes::new(), true).unwrap_err(), long);
    pair.server.reply(key, writes(b"short"), &Bytes::new(), true).expect("another one may be made");
    assert_eq!(pair.server.finish(key, Some(Bytes::from(vec![0; 20_000]))).unwrap_err(), long);
    pair.server.finish(key, None).expect("it has not ended");
}

#[test]
fn a_drain_of_a_client_goes_behind_its_last_call_and_one_of_a_server_ahead_of_all() {
    let mut pair = Pair::new(settings(100_000, 20_000));
    let (_, key) = pair.call(b"", false);
    open(&mut pair.client, b"last", b"", false);
    pair.client.drain();
    let received = pair.up();
    assert!(matches!(received[..], [Received::Call { .. }, Received::Drain]), "{received:?}");
    pair.server.reply(key, writes(b""), &Bytes::new(), false).unwrap();
    pair.server.drain();
    assert_eq!(words(&record(&mut pair.server, pair.now).unwrap()), ["Drain", "reply 1+0"]);
    assert!(pair.server.peer_drains() && !pair.client.peer_drains());

    open(&mut pair.client, b"one more", b"", false);
    let late = record(&mut pair.client, pair.now).unwrap();
    assert_eq!(receive(&mut pair.server, &late).unwrap_err().text, "a call came behind the drain");
}

#[test]
fn control_alone_travels_raw() {
    let mut pair = Pair::new(settings(100_000, 20_000));
    let mut record = Vec::new();
    pair.client.ping([7; 8]);
    assert_eq!(pair.client.fill(&mut record, pair.now), Filled::Control);
    pair.client.ping([8; 8]);
    open(&mut pair.client, b"call", b"", false);
    record.clear();
    assert_eq!(pair.client.fill(&mut record, pair.now), Filled::Frames);
}

#[test]
fn close_is_the_last_word() {
    let mut pair = Pair::new(settings(100_000, 20_000));
    let (call, _) = pair.call(b"", false);
    pair.server.close(CloseCode::Flood, "too many pings");
    pair.server.close(CloseCode::Done, "a second reason is not told");
    pair.server.ping([0; 8]);
    let received = pair.down();
    let [Received::Close { code: CloseCode::Flood, text }] = &received[..] else { panic!("{received:?}") };
    assert_eq!(text, "too many pings");
    assert!(record(&mut pair.server, pair.now).is_none());

    let reset = Reset { code: ResetCode::Failed, text: "the connection ended".into(), by_peer: true };
    pair.client.end(&reset);
    assert_eq!((pair.client.reset_of(call), pair.client.open_calls()), (Some(&reset), 0));
    let mut ping = Vec::new();
    frame::put_ping(&mut ping, [0; 8]);
    assert_eq!(receive(&mut pair.client, &ping.into()).unwrap_err().text, "a frame came behind the last one");
}
