//! Recorded TLV conversations: decoded in any pieces, answered by our server, and received by our client.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use fastrpc::codec::tlv::{Reply, Request, Tlv};
use fastrpc::wire::compress::Decoder;
use fastrpc::{Call, Client, Codec, Compression, Decoded, Protocol, Server};
use testkit::golden::{self, Messages, Recording, TlvReplyFacts, TlvRequestFacts, Transcript, sha256_16};
use testkit::raw::RawPeer;
use testkit::wire::{Hello, decompress, frame, read_frames, tlv};

use crate::pieces;
use crate::support::*;

fn transcripts() -> Vec<Transcript> {
    let all = golden::all().into_iter().filter(|transcript| matches!(transcript.messages, Messages::Tlv { .. }));
    let all: Vec<_> = all.collect();
    assert_eq!(all.len(), 6);
    all
}

fn facts(transcript: &Transcript) -> (&[TlvRequestFacts], &[TlvReplyFacts]) {
    match &transcript.messages {
        Messages::Tlv { requests, replies } => (requests, replies),
        Messages::Http { .. } => unreachable!("filtered"),
    }
}

fn compression(transcript: &Transcript) -> Compression {
    Compression::from_wire_byte(transcript.compression.byte()).unwrap()
}

fn protocol(transcript: &Transcript) -> Protocol {
    Protocol::new(transcript.sniff.clone(), transcript.client.hello.version).unwrap()
}

fn hello_of(transcript: &Transcript) -> Hello {
    Hello::new(&transcript.sniff, transcript.client.hello.version, transcript.compression)
}

/// What a recorded server answered to a value.
fn answer(value: &[u8]) -> Vec<u8> {
    [b"re:", value].concat()
}

/// Decodes a recording that arrives in such pieces, as an id and a hash of what `message` gives.
fn decode<M>(
    recording: &Recording,
    compression: Compression,
    lengths: &[usize],
    mut message: impl FnMut(&mut BytesMut) -> Option<M>,
) -> Vec<(u32, M)> {
    let mut decoder = Decoder::new(compression);
    let (mut plain, mut messages, mut id) = (BytesMut::new(), Vec::new(), None);
    for mut piece in pieces(recording.stream(), lengths) {
        while !piece.is_empty() {
            decoder.decode(&mut piece, &mut plain, 1000).unwrap();
            loop {
                if id.is_none() && plain.len() >= 4 {
                    id = Some(plain.get_u32_le());
                }
                let Some(known) = id else { break };
                let Some(message) = message(&mut plain) else { break };
                messages.push((known, message));
                id = None;
            }
        }
    }
    assert!(plain.is_empty() && id.is_none());
    messages
}

#[test]
fn recordings_decode_whole_byte_by_byte_and_cut_at_random() {
    let codec = Tlv::new();
    let mut random = fastrand::Rng::with_seed(0x7e1e);
    for transcript in transcripts() {
        let (requests, replies) = facts(&transcript);
        let mut cuts = vec![vec![usize::MAX], vec![1]];
        cuts.extend((0..10).map(|_| (0..50).map(|_| random.usize(1..3000)).collect()));
        for cut in cuts {
            let read = decode(&transcript.client, compression(&transcript), &cut, |input| {
                match codec.decode_request(&mut (), input).unwrap()? {
                    Decoded::Message(request) => Some((request.name.to_vec(), sha256_16(&request.value))),
                    Decoded::Refused(_) => panic!("recorded requests are fine"),
                }
            });
            let told = requests.iter().map(|fact| {
                let name = fact.name.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
                (fact.id, (name, fact.value_sha256_16.clone()))
            });
            assert!(read.into_iter().eq(told), "{} {cut:?}", transcript.name);
            let read = decode(&transcript.server, compression(&transcript), &cut, |input| {
                match codec.decode_reply(&mut (), input).unwrap()? {
                    Decoded::Message(reply) => Some(sha256_16(&reply.value)),
                    Decoded::Refused(_) => panic!("recorded replies are fine"),
                }
            });
            assert!(read.into_iter().eq(replies.iter().map(|fact| (fact.id, fact.value_sha256_16.clone()))));
        }
    }
}

/// Our server hears what the recorded client said, and answers as the recorded server did.
#[tokio::test(start_paused = true)]
async fn our_server_answers_recorded_clients() {
    let mut random = fastrand::Rng::with_seed(0x7e1e);
    for transcript in transcripts() {
        let server = Server::builder(Tlv::new())
            .wire(fastrpc::Wire::Classic)
            .compression(compression(&transcript))
            .protocol(protocol(&transcript));
        let (here, there) = testkit::pipe::duplex();
        let sizes: Vec<_> = (0..50).map(|_| random.usize(1..2000)).collect();
        here.outgoing().read_in_pieces(&sizes);
        here.outgoing().set_capacity(usize::MAX);
        let server = server.build().unwrap();
        let handler = Arc::new(async |call: Call<Request>| {
            let request = call.into_request();
            let pause = std::str::from_utf8(&request.name).ok().and_then(|name| name.strip_prefix("sleep"));
            tokio::time::sleep(ms(pause.map_or(0, |pause| pause.parse().unwrap()))).await;
            Reply::new(answer(&request.value))
        });
        let serving = tokio::spawn(async move { server.serve_connection(there, None, handler).await });
        let mut peer = RawPeer::new(here);
        peer.send(&transcript.client.raw).await; // Hello and calls in one go.
        peer.finish().await;
        let heard = peer.hear_hello(&transcript.sniff).await;
        assert_eq!(heard.bytes(), transcript.server.hello_bytes(), "{}", transcript.name);
        peer.begin(&hello_of(&transcript), &heard);
        let mut answers = HashMap::new();
        while let Some(frame) = peer.next_frame(tlv::read_reply).await {
            let before = answers.insert(frame.id, sha256_16(&frame.message.value));
            assert!(before.is_none(), "each call has one reply");
        }
        let (_, replies) = facts(&transcript);
        let told: HashMap<_, _> = replies.iter().map(|fact| (fact.id, fact.value_sha256_16.clone())).collect();
        assert_eq!(answers, told, "{}", transcript.name);
        drop(peer);
        serving.await.unwrap().unwrap();
    }
}

/// Our client makes the recorded calls of a server that says what the recorded one said, in its order. Ids are ours:
/// a client chooses them.
#[tokio::test(start_paused = true)]
async fn our_client_hears_recorded_servers() {
    for transcript in transcripts() {
        let plain = decompress(transcript.compression, transcript.client.stream(), 1 << 24).unwrap();
        let asked = read_frames(&plain, tlv::read_request).unwrap();
        let plain = decompress(transcript.compression, transcript.server.stream(), 1 << 24).unwrap();
        let answered = read_frames(&plain, tlv::read_reply).unwrap();

        let (here, there) = testkit::pipe::duplex();
        let builder = Client::builder(Tlv::new())
            .wire(fastrpc::Wire::Classic)
            .compression(compression(&transcript))
            .protocol(protocol(&transcript));
        let hello = hello_of(&transcript);
        let (opened, mut peer) = tokio::join!(builder.handshake(here), RawPeer::server(there, &hello));
        let (client, driver) = opened.unwrap();
        tokio::spawn(driver);

        let mut calls = HashMap::new();
        for frame in &asked {
            let request = Request::new(frame.message.name.clone(), frame.message.value.clone());
            if frame.id == 0 {
                client.send(&request).unwrap();
                continue;
            }
            let mut call = client.call(request);
            assert!(poll_once(&mut call).is_pending());
            calls.insert(frame.id, call);
        }
        let mut ids = HashMap::new();
        for frame in &asked {
            let heard = peer.frame(tlv::read_request).await;
            assert_eq!(heard.message, frame.message);
            assert_eq!(heard.id == 0, frame.id == 0);
            ids.insert(frame.id, heard.id);
        }
        for reply in &answered {
            peer.say(&frame(ids[&reply.id], &reply.message.bytes())).await;
            let heard = calls.remove(&reply.id).unwrap().await.unwrap();
            assert_eq!(heard.value, reply.message.value);
        }
        assert!(calls.is_empty() && client.pending() == 0);
    }
}

/// The recorded bytes as they are: every id in them is unknown to our client, which lets them pass.
#[tokio::test(start_paused = true)]
async fn recorded_replies_nobody_asked_for_are_let_pass() {
    for transcript in transcripts() {
        let (here, there) = testkit::pipe::duplex();
        let builder = Client::builder(Tlv::new())
            .wire(fastrpc::Wire::Classic)
            .protocol(protocol(&transcript))
            .compression(Compression::None);
        let hello = hello_of(&transcript);
        let (opened, mut peer) = tokio::join!(builder.handshake(here), RawPeer::server(there, &hello));
        let (client, driver) = opened.unwrap();
        let driver = tokio::spawn(driver);
        peer.send(transcript.server.stream()).await;
        settle().await;
        let (_, replies) = facts(&transcript);
        assert_eq!(client.stats().late_replies, replies.len() as u64, "{}", transcript.name);
        assert!(!driver.is_finished());
        assert_eq!(client.stats().bytes_in, transcript.server.plain_len as u64);
    }
}
