//! Frames and settings of the framed wire: what is written is read, and bytes that are nothing are told as such.

use fastrpc::wire::framed::frame::{
    CloseCode, Frame, FrameError, MAX_FRAME, MAX_TEXT, ResetCode, TooLong, put_call, put_close, put_credit, put_data,
    put_drain, put_interim, put_ping, put_pong, put_reply, put_reset, put_trailers,
};
use fastrpc::wire::framed::settings::{MAX_CREDIT, MAX_SETTINGS, Settings};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::seeded;

/// Any frame that can be written, with what it holds.
#[derive(Clone, Debug)]
enum Any {
    Call { time_left: u32, one_way: bool, head: Vec<u8>, body: Vec<u8>, end: bool },
    Reply { id: u32, head: Vec<u8>, body: Vec<u8>, end: bool },
    Interim { id: u32, head: Vec<u8> },
    Data { id: u32, body: Vec<u8>, end: bool },
    Trailers { id: u32, trailers: Vec<u8> },
    Reset { id: u32, code: u8, text: String },
    Credit { id: u32, bytes: u32 },
    Ping([u8; 8]),
    Pong([u8; 8]),
    Drain,
    Close { code: u8, last: u32, text: String },
}

impl Any {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Call { time_left, one_way, head, body, end } => {
                assert!(put_call(out, *time_left, *one_way, head.len(), writes(head), body, *end).unwrap());
            }
            Self::Reply { id, head, body, end } => {
                assert!(put_reply(out, *id, head.len(), writes(head), body, *end).unwrap());
            }
            Self::Interim { id, head } => put_interim(out, *id, head).unwrap(),
            Self::Data { id, body, end } => {
                let (first, second) = body.split_at(body.len() / 2);
                put_data(out, *id, [first, second].into_iter(), *end).unwrap();
            }
            Self::Trailers { id, trailers } => put_trailers(out, *id, trailers).unwrap(),
            Self::Reset { id, code, text } => put_reset(out, *id, ResetCode::from_byte(*code), text),
            Self::Credit { id, bytes } => put_credit(out, *id, *bytes),
            Self::Ping(bytes) => put_ping(out, *bytes),
            Self::Pong(bytes) => put_pong(out, *bytes),
            Self::Drain => put_drain(out),
            Self::Close { code, last, text } => put_close(out, CloseCode::from_byte(*code), *last, text),
        }
    }

    fn frame(&self) -> Frame<'_> {
        match self {
            &Self::Call { time_left, one_way, ref head, ref body, end } => {
                Frame::Call { time_left, one_way, head, body, end }
            }
            &Self::Reply { id, ref head, ref body, end } => Frame::Reply { id, head, body, end },
            &Self::Interim { id, ref head } => Frame::Interim { id, head },
            &Self::Data { id, ref body, end } => Frame::Data { id, body, end },
            &Self::Trailers { id, ref trailers } => Frame::Trailers { id, trailers },
            &Self::Reset { id, code, ref text } => {
                Frame::Reset { id, code: ResetCode::from_byte(code), text: text.as_bytes() }
            }
            &Self::Credit { id, bytes } => Frame::Credit { id, bytes },
            &Self::Ping(bytes) => Frame::Ping(bytes),
            &Self::Pong(bytes) => Frame::Pong(bytes),
            Self::Drain => Frame::Drain,
            &Self::Close { code, last, ref text } => {
                Frame::Close { code: CloseCode::from_byte(code), last, text: text.as_bytes() }
            }
        }
    }
}

fn writes(head: &[u8]) -> impl FnOnce(&mut Vec<u8>) -> Result<(), TooLong> {
    move |out| {
        out.extend_from_slice(head);
        Ok(())
    }
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..300),
        (any::<u8>(), 16_000..17_000usize).prop_map(|(byte, length)| vec![byte; length])
    ]
}

fn text() -> impl Strategy<Value = String> {
    "[a-zäß ]{0,60}"
}

/// Numbers of every length.
fn number() -> impl Strategy<Value = u32> {
    (any::<u32>(), 0..32u32).prop_map(|(number, shift)| number >> shift)
}

fn frame() -> impl Strategy<Value = Any> {
    let id = || number().prop_map(|id| id.max(1));
    prop_oneof![
        (number(), any::<bool>(), bytes(), bytes(), any::<bool>())
            .prop_map(|(time_left, one_way, head, body, end)| Any::Call { time_left, one_way, head, body, end }),
        (id(), bytes(), bytes(), any::<bool>()).prop_map(|(id, head, body, end)| Any::Reply { id, head, body, end }),
        (id(), bytes()).prop_map(|(id, head)| Any::Interim { id, head }),
        (id(), bytes(), any::<bool>()).prop_map(|(id, body, end)| Any::Data { id, body, end }),
        (id(), bytes()).prop_map(|(id, trailers)| Any::Trailers { id, trailers }),
        (id(), any::<u8>(), text()).prop_map(|(id, code, text)| Any::Reset { id, code, text }),
        (number(), number()).prop_map(|(id, bytes)| Any::Credit { id, bytes }),
        any::<[u8; 8]>().prop_map(Any::Ping),
        any::<[u8; 8]>().prop_map(Any::Pong),
        Just(Any::Drain),
        (any::<u8>(), number(), text()).prop_map(|(code, last, text)| Any::Close { code, last, text }),
    ]
}

/// All frames of a record.
fn frames(mut record: &[u8]) -> Result<Vec<Frame<'_>>, FrameError> {
    let mut frames = Vec::new();
    while !record.is_empty() {
        frames.push(Frame::take(&mut record)?);
    }
    Ok(frames)
}

proptest! {
    #![proptest_config(seeded(300))]

    #[test]
    fn what_is_written_is_read(written in vec(frame(), 1..8)) {
        let mut record = Vec::new();
        written.iter().for_each(|frame| frame.put(&mut record));
        let expected: Vec<_> = written.iter().map(Any::frame).collect();
        prop_assert_eq!(frames(&record).unwrap(), expected);
    }

    #[test]
    fn a_frame_that_is_cut_is_none(written in frame(), cut: prop::sample::Index) {
        let mut record = Vec::new();
        written.put(&mut record);
        record.truncate(cut.index(record.len()));
        prop_assert_eq!(Frame::take(&mut &record[..]), Err(FrameError::Cut));
    }

    #[test]
    fn no_bytes_are_too_odd(mut record in vec(any::<u8>(), 0..64), kind in 0..12u8) {
        if let Some(first) = record.first_mut() {
            *first = (*first & 0xf0) | kind;
        }
        let _ = frames(&record);
    }

    #[test]
    fn settings_survive(
        codecs in vec(any::<u8>(), 0..300), window_log in 10..=27u32, credits in (0..=MAX_CREDIT, 0..=MAX_CREDIT),
        calls in 1..=u32::MAX, head in 1..=61_000u32, ping_ms: u32, behind in vec(any::<u8>(), 0..9),
    ) {
        let (connection_credit, stream_credit) = credits;
        let settings = Settings { codecs, window_log, connection_credit, stream_credit, calls, head, ping_ms };
        let mut bytes = Vec::new();
        settings.encode(&mut bytes);
        for cut in 0..bytes.len() {
            prop_assert_eq!(Settings::decode(&bytes[..cut]).unwrap(), None);
        }
        let length = bytes.len();
        bytes.extend(behind);
        prop_assert_eq!(Settings::decode(&bytes).unwrap(), Some((settings, length)));
    }

    #[test]
    fn no_settings_are_too_odd(mut bytes in vec(0..20u8, 2..40)) {
        bytes[0] = u8::try_from(bytes.len() - 2).unwrap();
        bytes[1] = 0;
        let _ = Settings::decode(&bytes);
    }
}

#[test]
fn frames_of_the_wrong_shape_are_named() {
    for (bytes, text) in [
        ("00 00 00", "frames of kind 0 do not exist"),
        ("0c 00 00", "frames of kind 12 do not exist"),
        ("41 00 02 00 00", "a call frame has the flags 0x40"),
        ("24 01 00", "a data frame has the flags 0x20"),
        ("05 01 00", "a trailers frame has the flags 0x00"),
        ("16 01 01 00", "a reset frame has the flags 0x10"),
        ("01 01 02 00 00", "a call frame has the id 1"),
        ("02 00 01 00", "a reply frame has the id 0"),
        ("0a 01 00", "a drain frame has the id 1"),
        ("01 00 01 00", "a call frame has a payload of the wrong shape"),
        ("02 01 02 02 48", "a reply frame has a payload of the wrong shape"),
        ("06 01 00", "a reset frame has a payload of the wrong shape"),
        ("07 00 02 01 01", "a credit frame has a payload of the wrong shape"),
        ("08 00 07 01 02 03 04 05 06 07", "a ping frame has a payload of the wrong shape"),
        ("0a 00 01 00", "a drain frame has a payload of the wrong shape"),
        ("0b 00 01 00", "a close frame has a payload of the wrong shape"),
        ("04 01 05 00", "a frame is cut off at the end of its record, or a number in it is longer than needed"),
        ("0a 80 00 00", "a frame is cut off at the end of its record, or a number in it is longer than needed"),
    ] {
        let bytes = crate::hex(bytes);
        assert_eq!(Frame::take(&mut &bytes[..]).unwrap_err().to_string(), text);
    }
}

#[test]
fn settings_that_make_no_sense_are_named() {
    for (bytes, text) in [
        ("01 10", "4097 bytes of settings are over the limit of 4096"),
        ("03 00 02 01", ""),
        ("02 00 02 01", "the last of the settings is cut off"),
        ("01 00 80", "the last of the settings is cut off"),
        ("06 00 02 01 14 02 01 15", "setting 2 is given twice"),
        ("03 00 02 01 09", "the setting \"window\" has a value that it cannot have"),
        ("03 00 02 01 1c", "the setting \"window\" has a value that it cannot have"),
        ("04 00 02 02 14 00", "the setting \"window\" has a value that it cannot have"),
        ("02 00 05 00", "the setting \"calls\" has a value that it cannot have"),
        ("07 00 03 05 80 80 80 80 08", "the setting \"connection credit\" has a value that it cannot have"),
        ("05 00 06 03 c9 dc 03", "the setting \"head\" has a value that it cannot have"),
    ] {
        let decoded = Settings::decode(&crate::hex(bytes));
        match decoded {
            Ok(none) => assert_eq!((none, text), (None, ""), "{bytes}"),
            Err(error) => assert_eq!(error.to_string(), text, "{bytes}"),
        }
    }
}

#[test]
fn settings_of_a_kind_that_is_not_known_are_skipped() {
    let bytes = crate::hex("0a 00 63 02 01 02 07 01 05 80 01 00");
    let (settings, length) = Settings::decode(&bytes).unwrap().unwrap();
    assert_eq!((settings, length), (Settings { ping_ms: 5, ..Settings::default() }, 12));
}

#[test]
fn settings_fill_their_room() {
    let mut bytes = Vec::new();
    Settings { codecs: vec![9; MAX_SETTINGS - 3], ..Settings::default() }.encode(&mut bytes);
    let (settings, length) = Settings::decode(&bytes).unwrap().unwrap();
    assert_eq!((settings.codecs.len(), length), (MAX_SETTINGS - 3, MAX_SETTINGS + 2));
}

#[test]
fn a_frame_that_no_record_holds_is_refused_and_leaves_nothing() {
    let mut out = b"before".to_vec();
    let long = vec![0; MAX_FRAME];
    let error = put_call(&mut out, 0, false, 9, writes(b"long head!"), b"", true).unwrap_err();
    assert_eq!(error.to_string(), "10 bytes in one frame are over the limit of 9");
    put_reply(&mut out, 1, usize::MAX, writes(&long), b"", true).unwrap_err();
    put_data(&mut out, 1, [&long[..]].into_iter(), true).unwrap_err();
    assert_eq!(out, b"before");
    put_data(&mut out, u32::MAX, [&long[..MAX_FRAME - 21]].into_iter(), true).unwrap();
    assert!(out.len() - 6 <= MAX_FRAME);
}

#[test]
fn a_body_that_does_not_fit_beside_its_head_is_left_out() {
    let mut out = Vec::new();
    let head = vec![b'h'; 50_000];
    assert!(!put_call(&mut out, 0, false, 50_000, writes(&head), &[0; 12_000], true).unwrap());
    let call = Frame::Call { time_left: 0, one_way: false, head: &head, body: b"", end: false };
    assert_eq!(frames(&out).unwrap(), [call]);
}

#[test]
fn an_encoder_that_fails_leaves_nothing() {
    #[derive(Debug)]
    struct Own;
    impl From<TooLong> for Own {
        fn from(_: TooLong) -> Self {
            Self
        }
    }
    let mut out = b"before".to_vec();
    let fails = |out: &mut Vec<u8>| {
        out.extend_from_slice(b"half");
        Err(Own)
    };
    put_call(&mut out, 0, false, 9, fails, b"body", true).unwrap_err();
    assert_eq!(out, b"before");
}

#[test]
fn long_texts_are_cut_at_a_character() {
    let mut out = Vec::new();
    put_reset(&mut out, 1, ResetCode::Failed, &"ß".repeat(MAX_TEXT));
    put_close(&mut out, CloseCode::Flood, 1, &format!("x{}", "ß".repeat(MAX_TEXT)));
    let frames = frames(&out).unwrap();
    let Frame::Reset { text: reset, .. } = frames[0] else { panic!("{frames:?}") };
    let Frame::Close { text: close, .. } = frames[1] else { panic!("{frames:?}") };
    assert_eq!((reset.len(), close.len()), (MAX_TEXT, MAX_TEXT - 1));
    std::str::from_utf8(close).unwrap();
}
