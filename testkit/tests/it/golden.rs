//! Every recording reads as its description says, with the reader of this crate.

use testkit::golden::{self, Messages, Recording, Transcript, sha256_16, sha256_hex};
use testkit::wire::{Compressor, Hello, decompress, frame, http, read_frames, read_http_replies, tlv};

#[test]
fn all_recordings_are_there() {
    let names: Vec<String> = golden::all().into_iter().map(|transcript| transcript.name).collect();
    assert_eq!(names.len(), 16);
    assert!(names.is_sorted());
}

#[test]
fn sha256_is_sha256() {
    assert_eq!(sha256_16(b""), "e3b0c44298fc1c14");
    assert_eq!(sha256_hex(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#[test]
fn every_recording_reads_as_described() {
    for transcript in golden::all() {
        let (client, server) = (plain(&transcript, &transcript.client), plain(&transcript, &transcript.server));
        match &transcript.messages {
            Messages::Http { requests, replies } => {
                let frames = read_frames(&client, http::read_request).unwrap();
                assert_eq!(frames.len(), requests.len(), "{}", transcript.name);
                for (frame, facts) in frames.iter().zip(requests) {
                    let message = &frame.message;
                    assert_eq!((frame.id, frame.offset), (facts.id, facts.offset));
                    assert_eq!((&message.method, &message.target), (&facts.method, &facts.uri));
                    assert_eq!(message.headers, facts.headers);
                    assert_eq!(
                        (message.body.len(), sha256_16(&message.body)),
                        (facts.body_len, facts.body_sha256_16.clone())
                    );
                }
                let head = |id| requests.iter().any(|request| request.id == id && request.method == "HEAD");
                let frames = read_http_replies(&server, |id| head(id) && !transcript.head_reply_has_body).unwrap();
                assert_eq!(frames.len(), replies.len(), "{}", transcript.name);
                for (frame, facts) in frames.iter().zip(replies) {
                    let message = &frame.message;
                    assert_eq!((frame.id, frame.offset), (facts.id, facts.offset));
                    assert_eq!((message.status, &message.reason), (facts.status, &facts.reason));
                    assert_eq!(message.headers, facts.headers);
                    assert_eq!(
                        (message.body.len(), sha256_16(&message.body)),
                        (facts.body_len, facts.body_sha256_16.clone())
                    );
                }
            }
            Messages::Tlv { requests, replies } => {
                let frames = read_frames(&client, tlv::read_request).unwrap();
                assert_eq!(frames.len(), requests.len(), "{}", transcript.name);
                for (frame, facts) in frames.iter().zip(requests) {
                    let name: String = frame.message.name.iter().map(|&byte| char::from(byte)).collect();
                    assert_eq!((frame.id, frame.offset, &name), (facts.id, facts.offset, &facts.name));
                    assert_eq!(frame.message.value.len(), facts.value_len);
                    assert_eq!(sha256_16(&frame.message.value), facts.value_sha256_16);
                }
                let frames = read_frames(&server, tlv::read_reply).unwrap();
                assert_eq!(frames.len(), replies.len(), "{}", transcript.name);
                for (frame, facts) in frames.iter().zip(replies) {
                    assert_eq!((frame.id, frame.offset), (facts.id, facts.offset));
                    assert_eq!(frame.message.value.len(), facts.value_len);
                    assert_eq!(sha256_16(&frame.message.value), facts.value_sha256_16);
                }
            }
        }
    }
}

/// The decompressed stream of one direction, its hello and its checksum compared with the description.
fn plain(transcript: &Transcript, recording: &Recording) -> Vec<u8> {
    let (hello, stream) = Hello::read(&transcript.sniff, &recording.raw).unwrap();
    assert_eq!((hello.version, hello.compression), (recording.hello.version, recording.hello.compress));
    assert_eq!(hello.tls, recording.hello.tls);
    assert_eq!((hello.bytes(), stream), (recording.hello_bytes().to_vec(), recording.stream()));
    let plain = decompress(transcript.compression, stream, 1 << 24).unwrap();
    assert_eq!((plain.len(), sha256_hex(&plain)), (recording.plain_len, recording.plain_sha256.clone()));
    plain
}

#[test]
fn what_was_read_can_be_written_again() {
    let transcript = golden::load("tlv20_flate");
    let read = plain(&transcript, &transcript.client);
    let frames = read_frames(&read, tlv::read_request).unwrap();
    let written: Vec<u8> = frames.iter().flat_map(|f| frame(f.id, &f.message.bytes())).collect();
    assert_eq!(written, read);

    let transcript = golden::load("mixed100_snappy");
    let read = plain(&transcript, &transcript.server);
    let frames = read_frames(&read, http::read_reply).unwrap();
    let written: Vec<u8> = frames.iter().flat_map(|f| frame(f.id, &f.message.bytes())).collect();
    assert_eq!(read_frames(&written, http::read_reply).unwrap(), frames);

    // One flush of Go's, byte for byte: identifier, kind of chunk, checksum and all.
    let transcript = golden::load("get1_snappy");
    let packed = Compressor::new(transcript.compression).flush(&plain(&transcript, &transcript.client));
    assert_eq!(packed, transcript.client.stream());
}
