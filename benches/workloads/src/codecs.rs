//! The four steps of a codec by themselves, over and over: no connection, no runtime.

use std::fmt;
use std::hint::black_box;

use bytes::BytesMut;
use fastrpc::Codec;
use fastrpc::codec::{BoxError, Decoded};

use crate::messages::{Message, Sample};

/// What a codec does for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The client writes.
    EncodeRequest,
    /// The server reads.
    DecodeRequest,
    /// The server writes.
    EncodeReply,
    /// The client reads.
    DecodeReply,
}

impl Step {
    /// In the order of a call.
    pub const ALL: [Self; 4] = [Self::EncodeRequest, Self::DecodeRequest, Self::EncodeReply, Self::DecodeReply];
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::EncodeRequest => "encode_request",
            Self::DecodeRequest => "decode_request",
            Self::EncodeReply => "encode_reply",
            Self::DecodeReply => "decode_reply",
        })
    }
}

/// Messages of one read: so many are decoded before the next ones come, into the same memory. And of one batch: so many are
/// encoded before the buffer is empty again. Where a message lies decides how memcpy goes about it, which is a tenth of what a
/// small one takes; in a batch they lie everywhere, so that the figure does not depend on where a program's heap begins.
pub const READ: u64 = 32;

/// Does one step `times` times.
///
/// # Panics
///
/// When the codec does not take its own sample.
pub fn run<C: Sample>(step: Step, message: Message, times: u64) {
    let codec = C::codec();
    match step {
        Step::EncodeRequest => encode_requests(&codec, &C::request(message), times),
        Step::EncodeReply => encode_replies(&codec, &C::reply(message), times),
        Step::DecodeRequest => {
            let wire = written(|out| codec.encode_request(&C::request(message), out));
            decode_requests(&codec, &wire, times);
        }
        Step::DecodeReply => {
            let wire = written(|out| codec.encode_reply(&C::reply(message), out));
            decode_replies(&codec, &wire, times);
        }
    }
}

/// What `encode` writes: [`READ`] messages.
fn written(encode: impl Fn(&mut Vec<u8>) -> Result<(), BoxError>) -> Vec<u8> {
    let mut wire = Vec::new();
    for _ in 0..READ {
        encode(&mut wire).expect("a sample is encoded");
    }
    wire
}

// The loops are functions of their own so that a profile shows them by name, apart from what was prepared for them.

#[inline(never)]
fn encode_requests<C: Codec>(codec: &C, request: &C::Request, times: u64) {
    let mut out = Vec::new();
    for number in 0..times {
        if number % READ == 0 {
            out.clear();
        }
        codec.encode_request(black_box(request), &mut out).expect("a sample is encoded");
        black_box(out.as_slice());
    }
}

#[inline(never)]
fn encode_replies<C: Codec>(codec: &C, reply: &C::Reply, times: u64) {
    let mut out = Vec::new();
    for number in 0..times {
        if number % READ == 0 {
            out.clear();
        }
        codec.encode_reply(black_box(reply), &mut out).expect("a sample is encoded");
        black_box(out.as_slice());
    }
}

#[inline(never)]
fn decode_requests<C: Codec>(codec: &C, wire: &[u8], times: u64) {
    let mut input = BytesMut::new();
    for _ in 0..times {
        if input.is_empty() {
            input.extend_from_slice(wire);
        }
        match codec.decode_request(&mut C::Partial::default(), &mut input) {
            Ok(Some(Decoded::Message(request))) => drop(black_box(request)),
            _ => panic!("a whole and good request is decoded"),
        }
    }
}

#[inline(never)]
fn decode_replies<C: Codec>(codec: &C, wire: &[u8], times: u64) {
    let mut input = BytesMut::new();
    for _ in 0..times {
        if input.is_empty() {
            input.extend_from_slice(wire);
        }
        match codec.decode_reply(&mut C::Partial::default(), &mut input) {
            Ok(Some(Decoded::Message(reply))) => drop(black_box(reply)),
            _ => panic!("a whole and good reply is decoded"),
        }
    }
}
