//! Peers that break the rules.

use fastrpc::wire::framed::settings::Settings;

use super::*;
use crate::late_frames::called;

fn reply(id: u32, end: bool) -> Bytes {
    frames(|out| assert!(frame::put_reply(out, id, 9, writes(b"r"), b"", end).unwrap()))
}

#[test]
fn what_a_server_may_not_send() {
    let cases: [(&[Bytes], &str); 7] = [
        (&[reply(2, true)], "a frame is for call 2, and the last one was 1"),
        (&[reply(1, false), reply(1, true)], "call 1 was answered twice"),
        (&[data(1, 1, false)], "a body came ahead of the reply to call 1"),
        (&[reply(1, false), data(1, 20_001, false)], "more came than the credit of call 1"),
        (&[reply(1, true), data(1, 1, false)], "more came for call 1 behind its end"),
        (
            &[reply(1, false), frames(|out| frame::put_interim(out, 1, b"i").unwrap())],
            "an interim head came behind the reply to call 1",
        ),
        (
            &[frames(|out| assert!(frame::put_call(out, 0, false, 9, writes(b"c"), b"", true).unwrap()))],
            "a server opened a call",
        ),
    ];
    for (records, text) in cases {
        let mut pair = Pair::new(settings(100_000, 20_000));
        pair.call(b"", true);
        let outcome = records.iter().try_for_each(|record| receive(&mut pair.client, record).map(drop));
        assert_eq!(outcome.unwrap_err().text, text);
    }
}

#[test]
fn what_a_client_may_not_send() {
    let credit = |id, bytes| frames(|out| frame::put_credit(out, id, bytes));
    let cases: [(&[Bytes], CloseCode, &str); 7] = [
        (&[reply(1, true)], CloseCode::Protocol, "a client sent a reply (to call 1)"),
        (&[data(2, 1, false)], CloseCode::Protocol, "a frame is for call 2, and the last one was 1"),
        (&[data(1, 1, true), data(1, 1, true)], CloseCode::Protocol, "more came for call 1 behind its end"),
        (&[data(1, 20_001, false)], CloseCode::Credit, "more came than the credit of call 1"),
        (&[data(1, 20_000, false), data(1, 1, false)], CloseCode::Credit, "more came than the credit of call 1"),
        (&[credit(0, u32::MAX)], CloseCode::Credit, "credit was granted beyond 2^31 - 1"),
        (&[credit(1, (1 << 31) - 1)], CloseCode::Credit, "credit was granted beyond 2^31 - 1"),
    ];
    for (records, code, text) in cases {
        let mut pair = Pair::new(settings(100_000, 20_000));
        pair.call(b"", true);
        let outcome = records.iter().try_for_each(|record| receive(&mut pair.server, record).map(drop));
        assert_eq!(outcome.unwrap_err(), Violation { code, text: text.into() });
    }
}

#[test]
fn a_body_that_is_whole_needs_no_credit_and_has_a_limit() {
    let mut pair = Pair::new(settings(0, 0));
    let (call, key) = pair.call(&[1; 16_384], false);
    pair.server.reply(key, writes(b""), &Bytes::from(vec![2; 16_384]), false).unwrap();
    let received = pair.down();
    assert!(matches!(&received[..], [Received::Reply { body: Some(body), .. }] if body.len() == 16_384));
    pair.client.release(call);

    open(&mut pair.client, b"call", &[1; 16_385], false);
    assert_eq!(words(&record(&mut pair.client, pair.now).unwrap()), ["call+0"], "the body waits for credit");
    let long = frames(|out| {
        assert!(frame::put_call(out, 0, false, 9, writes(b"c"), &[0; 16_385], true).unwrap());
    });
    let text = "16385 bytes came whole with the head of call 2: 16384 may";
    assert_eq!(receive(&mut pair.server, &long).unwrap_err().text, text);
}

#[test]
fn what_crosses_a_reset_is_dropped_and_its_credit_returns() {
    let mut pair = Pair::new(settings(100_000, 20_000));
    let (up, key) = pair.call(b"", true);
    pair.client.push(up, Bytes::from(vec![0; 9000]));
    let under_way = record(&mut pair.client, pair.now).unwrap();
    pair.server.reset(key, ResetCode::Failed, "broken");
    receive(&mut pair.server, &under_way).unwrap();
    receive(&mut pair.server, &data(1, 5000, true)).unwrap();
    assert_eq!(pair.server.balance().unread, 0);
}

#[test]
fn floods_end_the_connection_with_their_name() {
    let cases: [(Bytes, usize, &str); 4] = [
        (frames(|out| frame::put_ping(out, [0; 8])), 11, "too many pings"),
        (frames(|out| frame::put_credit(out, 0, 63)), 110, "too many tiny credits"),
        (data(1, 0, false), 110, "too many empty frames"),
        (
            frames(|out| {
                assert!(frame::put_call(out, 0, false, 9, writes(b"c"), b"", false).unwrap());
            }),
            1100,
            "too many resets",
        ),
    ];
    for (record, most, text) in cases {
        let mut pair = Pair::new(Settings { calls: 1000, ..settings(100_000, 20_000) });
        pair.call(b"", true);
        let mut told = None;
        for n in 0..most {
            let received = match receive(&mut pair.server, &record) {
                Ok(received) => received,
                Err(violation) => {
                    told = Some(violation);
                    break;
                }
            };
            if text.ends_with("resets") {
                let id = u32::try_from(n).unwrap() + 2;
                let reset = frames(|out| frame::put_reset(out, id, ResetCode::Cancelled, ""));
                told = receive(&mut pair.server, &reset).err();
                // Its handler is gone.
                received.iter().filter_map(called).for_each(|key| _ = pair.server.release(key));
                if told.is_some() {
                    break;
                }
            }
        }
        assert_eq!(told, Some(Violation { code: CloseCode::Flood, text: text.into() }));
    }
}
