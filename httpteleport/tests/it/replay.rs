//! Whole recorded conversations against our own client and server: the Go side says what it said then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use httpteleport::{Body, Client, Compression, Limits, Server};
use testkit::golden::{self, HttpReplyFacts, HttpRequestFacts, Messages, Transcript};
use testkit::raw::RawPeer;
use testkit::wire::http::read_request;
use testkit::wire::{Decompressor, HttpReply, decompress, frame, read_http_replies};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

fn conversations() -> Vec<Transcript> {
    let http = golden::all().into_iter().filter(|transcript| matches!(transcript.messages, Messages::Http { .. }));
    let http: Vec<_> = http.collect();
    assert!(http.len() >= 10, "get1, mixed100 and httptp in three codings, and the batched one");
    http
}

fn facts(transcript: &Transcript) -> (&[HttpRequestFacts], &[HttpReplyFacts]) {
    match &transcript.messages {
        Messages::Http { requests, replies } => (requests, replies),
        Messages::Tlv { .. } => panic!("{} is no HTTP", transcript.name),
    }
}

fn ours(transcript: &Transcript) -> Compression {
    transcript.compression.name().parse().expect("a compression")
}

fn wide() -> Limits {
    Limits::default().with_peer_max_head(64 << 10)
}

/// Descriptions hold bytes as Latin-1.
fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|char| u8::try_from(u32::from(char)).expect("Latin-1")).collect()
}

/// Recorded header lines without those that end at a hop, sorted by name.
fn end_to_end(headers: &[(String, String)]) -> Vec<(String, Vec<u8>)> {
    let hop = ["connection", "keep-alive", "content-length", "transfer-encoding", "expect"];
    let headers = headers.iter().map(|(name, value)| (name.to_lowercase(), latin1(value)));
    let mut headers: Vec<_> = headers.filter(|(name, _)| !hop.contains(&name.as_str())).collect();
    headers.sort_by(|a, b| a.0.cmp(&b.0));
    headers
}

fn sorted(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    let mut headers: Vec<_> =
        headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
    headers.sort_by(|a, b| a.0.cmp(&b.0));
    headers
}

fn check_request(name: &str, seen: &Request<Body>, recorded: &HttpRequestFacts) {
    let what = format!("{name}, request {}", recorded.id);
    assert_eq!((seen.method().as_str(), seen.uri().to_string()), (&*recorded.method, recorded.uri.clone()), "{what}");
    assert_eq!(sorted(seen.headers()), end_to_end(&recorded.headers), "{what}");
    assert_eq!(golden::sha256_16(seen.body().as_bytes()), recorded.body_sha256_16, "{what}");
}

/// Says the recorded bytes in pieces of at most `piece` bytes while it reads everything that is answered.
async fn say_and_hear(io: DuplexStream, raw: &[u8], piece: usize) -> Vec<u8> {
    let (mut reading, mut writing) = tokio::io::split(io);
    let saying = async {
        for bytes in raw.chunks(piece) {
            writing.write_all(bytes).await.expect("the server reads");
            if piece < 100 {
                tokio::task::yield_now().await;
            }
        }
        writing.shutdown().await.expect("a half-close");
    };
    let mut heard = Vec::new();
    let (_, read) = tokio::join!(saying, reading.read_to_end(&mut heard));
    read.expect("the server ends it in order");
    heard
}

/// Our server hears a recorded Go client and is heard in turn, decoded by the second reader.
async fn serve_recorded(transcript: &Transcript, piece: usize) {
    let name = &transcript.name;
    let (requests, _) = facts(transcript);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let handler = move |request: Request<Body>| {
        let log = Arc::clone(&log);
        async move {
            let mark = HeaderValue::from_str(&format!("{} {}", request.method(), request.uri())).expect("a value");
            let mut response = Response::new(Body::from(request.body().as_bytes().clone()));
            response.headers_mut().insert(HeaderName::from_static("x-asked"), mark);
            log.lock().expect("no panic").push(request);
            response
        }
    };
    let server = Server::builder(wide())
        .wire(httpteleport::Wire::Classic)
        .compression(ours(transcript))
        .build()
        .expect("a server");
    let (near, far) = tokio::io::duplex(64 << 10);
    let serving = tokio::spawn(async move { server.serve_connection(far, None, Arc::new(handler)).await });
    let heard = timeout(PATIENCE, say_and_hear(near, &transcript.client.raw, piece)).await.expect("in time");
    serving.await.expect("no panic").expect("a half-close is a good end");

    let seen = seen.lock().expect("no panic");
    assert_eq!(seen.len(), requests.len(), "{name}");
    for (seen, recorded) in seen.iter().zip(requests) {
        check_request(name, seen, recorded);
    }

    assert_eq!(heard[..15], *transcript.server.hello_bytes(), "{name}: the hello of Go's server");
    let plain = decompress(transcript.compression, &heard[15..], 64 << 20).expect("a stream");
    let replies = read_http_replies(&plain, |_| false).expect("replies that tell their own end");
    let mut by_id: HashMap<u32, &HttpReply> = replies.iter().map(|reply| (reply.id, &reply.message)).collect();
    assert_eq!((replies.len(), by_id.len()), (requests.len(), requests.len()), "{name}: one reply for each");
    for recorded in requests {
        let what = format!("{name}, reply {}", recorded.id);
        let reply = by_id.remove(&recorded.id).unwrap_or_else(|| panic!("{what} is missing"));
        let asked = format!("{} {}", recorded.method, recorded.uri);
        assert_eq!((reply.status, reply.value("x-asked")), (200, Some(asked.as_str())), "{what}");
        match recorded.method.as_str() {
            "HEAD" => assert!(reply.body.is_empty(), "{what}"),
            _ => assert_eq!(golden::sha256_16(&reply.body), recorded.body_sha256_16, "{what}"),
        }
    }
}

#[tokio::test]
async fn our_server_answers_recorded_clients() {
    for transcript in conversations() {
        serve_recorded(&transcript, usize::MAX).await;
        serve_recorded(&transcript, 1460).await;
    }
}

#[tokio::test]
async fn our_server_answers_recorded_clients_byte_by_byte() {
    for transcript in conversations().iter().filter(|transcript| transcript.client.raw.len() < 50_000) {
        serve_recorded(transcript, 1).await;
        serve_recorded(transcript, 7).await;
    }
}

/// The recorded requests, as a user of our client makes them.
fn to_make(recorded: &HttpRequestFacts, body: &[u8]) -> Request<Body> {
    let mut request = Request::new(Body::from(body.to_vec()));
    *request.method_mut() = Method::from_bytes(recorded.method.as_bytes()).expect("a method");
    *request.uri_mut() = recorded.uri.parse().expect("a URI");
    for (name, value) in &recorded.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
        request.headers_mut().append(name, HeaderValue::from_bytes(&latin1(value)).expect("a value"));
    }
    request
}

/// The recorded messages of one direction, as raw bytes, by id: cut out of the stream where the description says.
fn cut(plain: &[u8], starts: &[(u32, usize)]) -> HashMap<u32, Vec<u8>> {
    let ends = starts.iter().skip(1).map(|(_, offset)| *offset).chain([plain.len()]);
    starts.iter().zip(ends).map(|((id, start), end)| (*id, plain[start + 4..end].to_vec())).collect()
}

/// Our client makes the recorded calls, all at once, to a peer that answers with the recorded bytes in the recorded order.
/// Only the ids are put in: each client counts in its own way.
async fn call_recorded(transcript: &Transcript) {
    let name = &transcript.name;
    let (requests, replies) = facts(transcript);
    let limit = 64 << 20;
    let client_plain = decompress(transcript.compression, transcript.client.stream(), limit).expect("a stream");
    let mut server_plain = Decompressor::new(transcript.compression, limit);
    let server_plain = server_plain.push(transcript.server.stream()).expect("a stream");
    let asked = cut(&client_plain, &requests.iter().map(|fact| (fact.id, fact.offset)).collect::<Vec<_>>());
    let answers = cut(&server_plain, &replies.iter().map(|fact| (fact.id, fact.offset)).collect::<Vec<_>>());
    let bodies: HashMap<u32, Vec<u8>> =
        asked.iter().map(|(id, bytes)| (*id, read_request(bytes).expect("a request").0.body)).collect();

    let (near, far) = tokio::io::duplex(64 << 10);
    let said = transcript.server.hello_bytes().to_vec();
    let compression = transcript.compression;
    let opening = async {
        let mut peer = RawPeer::new(far);
        let heard = peer.hear_hello(b"httpteleport").await;
        peer.send(&said).await;
        peer.begin(&testkit::wire::Hello::http(compression), &heard);
        peer
    };
    let builder = Client::builder(wide()).wire(httpteleport::Wire::Classic).compression(ours(transcript));
    let (opened, mut peer) = tokio::join!(builder.handshake(near), opening);
    let (client, driver) = opened.expect("a handshake");
    tokio::spawn(driver);

    // Calls whose method HEAD the recording answered without a body cannot be replayed: no byte says so.
    let can_be_read = |fact: &&HttpRequestFacts| fact.method != "HEAD" || transcript.head_reply_has_body;
    let requests: Vec<_> = requests.iter().filter(can_be_read).collect();
    let mut calls = tokio::task::JoinSet::new();
    for &recorded in &requests {
        let (id, client) = (recorded.id, client.clone());
        let mut request = to_make(recorded, &bodies[&id]);
        // So that the peer knows which of the recorded calls it is.
        request.headers_mut().insert("x-recorded", HeaderValue::from(id));
        calls.spawn(async move { (id, client.call(request).await) });
    }
    let mut ids = HashMap::new();
    for _ in 0..requests.len() {
        let seen = timeout(PATIENCE, peer.frame(read_request)).await.expect("in time");
        let recorded: u32 = seen.message.value("x-recorded").and_then(|id| id.parse().ok()).expect("our mark");
        assert_eq!(seen.message.body, bodies[&recorded], "{name}, request {recorded}");
        assert!(ids.insert(recorded, seen.id).is_none());
    }
    for reply in replies.iter().filter(|reply| ids.contains_key(&reply.id)) {
        // Now and then a reply that nobody has asked for, as after a call that timed out.
        let late = frame(0x7000_0000 + reply.id, &answers[&reply.id]);
        let theirs = frame(ids[&reply.id], &answers[&reply.id]);
        peer.say(&if reply.id % 5 == 0 { [late, theirs].concat() } else { theirs }).await;
    }
    let replies: HashMap<u32, &HttpReplyFacts> = replies.iter().map(|fact| (fact.id, fact)).collect();
    let methods: HashMap<u32, &str> = requests.iter().map(|fact| (fact.id, fact.method.as_str())).collect();
    while let Some(call) = timeout(PATIENCE, calls.join_next()).await.expect("in time") {
        let (id, result) = call.expect("no panic");
        let (got, recorded) = (result.unwrap_or_else(|error| panic!("{name}, reply {id}: {error}")), replies[&id]);
        let what = format!("{name}, reply {id}");
        assert_eq!(got.status().as_u16(), recorded.status, "{what}");
        if methods[&id] == "HEAD" {
            assert!(got.body().is_empty(), "{what}");
            assert_eq!(got.headers()["content-length"], recorded.body_len.to_string(), "{what}");
        } else {
            assert_eq!(sorted(got.headers()), end_to_end(&recorded.headers), "{what}");
            assert_eq!(golden::sha256_16(got.body().as_bytes()), recorded.body_sha256_16, "{what}");
        }
    }
    let stats = client.stats();
    assert_eq!(stats.replies, requests.len() as u64, "{name}");
}

#[tokio::test]
async fn our_client_takes_recorded_replies() {
    for transcript in conversations() {
        call_recorded(&transcript).await;
    }
}

#[tokio::test]
async fn recorded_replies_to_nobody_leave_the_client_well() {
    for transcript in conversations().iter().filter(|transcript| transcript.head_reply_has_body) {
        let (near, far) = tokio::io::duplex(64 << 10);
        let opening = async {
            let mut peer = RawPeer::new(far);
            let heard = peer.hear_hello(b"httpteleport").await;
            // The whole recording at once, hello and all, as it was: to a client that has asked for nothing.
            peer.send(&transcript.server.raw).await;
            (peer, heard)
        };
        let builder = Client::builder(wide()).wire(httpteleport::Wire::Classic).compression(Compression::None);
        let handshake = async {
            let (client, driver) = builder.handshake(near).await.expect("a handshake");
            tokio::spawn(driver);
            client
        };
        let (client, (mut peer, heard)) =
            timeout(PATIENCE, Box::pin(async { tokio::join!(handshake, opening) })).await.expect("read");
        let calling = tokio::spawn(async move {
            let request = Request::get("http://test/after").body(Body::empty()).expect("a request");
            client.call(request).timeout(PATIENCE).await.map(|response| response.status())
        });
        // A fresh compressor may go on where the recorded one has flushed.
        peer.begin(&testkit::wire::Hello::http(transcript.compression), &heard);
        let seen = timeout(PATIENCE, peer.frame(read_request)).await.expect("in time");
        assert_eq!(seen.message.target, "/after");
        peer.say(&frame(seen.id, &HttpReply::new(204, "No Content").bytes())).await;
        assert_eq!(calling.await.expect("no panic").expect("a reply"), 204, "{}", transcript.name);
    }
}
