//! Conversations recorded from the Go programs, loaded from `golden/`; its README says what each one is.

use std::fs;
use std::path::{Path, PathBuf};

use ring::digest::{SHA256, digest};
use serde::Deserialize;

use crate::wire::Compression;

/// One recorded conversation.
#[derive(Debug)]
pub struct Transcript {
    /// The name of its files, `mixed100_flate` for instance.
    pub name: String,
    /// The sniff header of both hellos.
    pub sniff: Vec<u8>,
    /// How both sides compressed.
    pub compression: Compression,
    /// What the client said.
    pub client: Recording,
    /// What the server said.
    pub server: Recording,
    /// What was in it.
    pub messages: Messages,
    /// Whether replies to HEAD carry the body that their length header announces.
    pub head_reply_has_body: bool,
}

/// All bytes of one direction.
#[derive(Debug)]
pub struct Recording {
    /// Everything, hello first.
    pub raw: Vec<u8>,
    /// How many of these bytes are the hello.
    pub hello_len: usize,
    /// The hello's version, compression and TLS bytes, as the description has them.
    pub hello: HelloBytes,
    /// How long the stream after the hello is when decompressed.
    pub plain_len: usize,
    /// The SHA-256 of the decompressed stream, in hex.
    pub plain_sha256: String,
}

impl Recording {
    /// The hello's bytes.
    pub fn hello_bytes(&self) -> &[u8] {
        &self.raw[..self.hello_len]
    }

    /// The compressed stream that follows the hello.
    pub fn stream(&self) -> &[u8] {
        &self.raw[self.hello_len..]
    }
}

/// The last three bytes of a hello.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub struct HelloBytes {
    /// Protocol version.
    pub version: u8,
    /// Compression: 0 flate, 1 none, 2 snappy.
    pub compress: u8,
    /// TLS flag.
    pub tls: u8,
}

/// The messages of a conversation, each list in the order of its stream.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Messages {
    /// HTTP requests and replies.
    Http {
        /// From the client.
        requests: Vec<HttpRequestFacts>,
        /// From the server.
        #[serde(rename = "responses")]
        replies: Vec<HttpReplyFacts>,
    },
    /// TLV requests and replies.
    Tlv {
        /// From the client.
        requests: Vec<TlvRequestFacts>,
        /// From the server.
        #[serde(rename = "responses")]
        replies: Vec<TlvReplyFacts>,
    },
}

/// What is known of a recorded HTTP request.
#[derive(Debug, Deserialize)]
pub struct HttpRequestFacts {
    /// The id in front of it.
    pub id: u32,
    /// Where the id starts in the decompressed stream.
    pub offset: usize,
    /// `GET`, `POST`, ...
    pub method: String,
    /// The target, as sent.
    pub uri: String,
    /// Header lines in order; the bytes as latin-1.
    pub headers: Vec<(String, String)>,
    /// Bytes of the body, after dechunking.
    pub body_len: usize,
    /// [`sha256_16`] of the body.
    pub body_sha256_16: String,
    /// The number of the call in its script.
    pub tag: u32,
}

/// What is known of a recorded HTTP reply.
#[derive(Debug, Deserialize)]
pub struct HttpReplyFacts {
    /// The id in front of it.
    pub id: u32,
    /// Where the id starts in the decompressed stream.
    pub offset: usize,
    /// The status code.
    pub status: u16,
    /// The reason phrase.
    pub reason: String,
    /// Header lines in order; the bytes as latin-1.
    pub headers: Vec<(String, String)>,
    /// Bytes of the body, after dechunking.
    pub body_len: usize,
    /// [`sha256_16`] of the body.
    pub body_sha256_16: String,
    /// The number of the call in its script.
    pub tag: u32,
}

/// What is known of a recorded TLV request.
#[derive(Debug, Deserialize)]
pub struct TlvRequestFacts {
    /// The id in front of it; 0 wants no reply.
    pub id: u32,
    /// Where the id starts in the decompressed stream.
    pub offset: usize,
    /// The name; its bytes as latin-1.
    pub name: String,
    /// Bytes of the value.
    pub value_len: usize,
    /// [`sha256_16`] of the value.
    pub value_sha256_16: String,
}

/// What is known of a recorded TLV reply.
#[derive(Debug, Deserialize)]
pub struct TlvReplyFacts {
    /// The id in front of it.
    pub id: u32,
    /// Where the id starts in the decompressed stream.
    pub offset: usize,
    /// Bytes of the value.
    pub value_len: usize,
    /// [`sha256_16`] of the value.
    pub value_sha256_16: String,
}

/// All conversations, by name.
///
/// # Panics
///
/// A file is missing, damaged or not described rightly.
pub fn all() -> Vec<Transcript> {
    let folder = folder();
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("a readable folder").file_name().into_string().expect("names are ASCII"))
        .filter_map(|file| file.strip_suffix(".json").map(str::to_owned))
        .collect();
    names.sort();
    names.iter().map(|name| load(name)).collect()
}

/// The conversation of that name.
///
/// # Panics
///
/// As [`all`].
pub fn load(name: &str) -> Transcript {
    let description = read(&format!("{name}.json"));
    let description: Description =
        serde_json::from_slice(&description).unwrap_or_else(|error| panic!("golden/{name}.json: {error}"));
    description.load(name)
}

/// The SHA-256 of `bytes` in lower-case hex, 64 digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The first 16 hex digits of the SHA-256 of `bytes`, as the descriptions shorten it.
pub fn sha256_16(bytes: &[u8]) -> String {
    let mut hex = sha256_hex(bytes);
    hex.truncate(16);
    hex
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn read(file: &str) -> Vec<u8> {
    let path = folder().join(file);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The JSON file, as far as it is used here.
#[derive(Deserialize)]
struct Description {
    #[serde(default = "http_sniff")]
    sniff: String,
    handshake: Both<HelloBytes>,
    raw_sha256: Both<String>,
    plain_len: Both<usize>,
    plain_sha256: Both<String>,
    #[serde(default = "yes")]
    head_response_has_body: bool,
    #[serde(flatten)]
    messages: Messages,
}

#[derive(Deserialize)]
struct Both<T> {
    c2s: T,
    s2c: T,
}

fn http_sniff() -> String {
    "httpteleport".to_owned()
}

fn yes() -> bool {
    true
}

impl Description {
    fn load(self, name: &str) -> Transcript {
        let hello_len = self.sniff.len() + 3;
        let recording = |way: &str, hello, sha256: &str, plain_len, plain_sha256| {
            let raw = read(&format!("{name}.{way}.bin"));
            assert_eq!(sha256_hex(&raw), sha256, "golden/{name}.{way}.bin is not the file that was recorded");
            Recording { raw, hello_len, hello, plain_len, plain_sha256 }
        };
        Transcript {
            name: name.to_owned(),
            compression: Compression::from_byte(self.handshake.c2s.compress).expect("a known compression"),
            client: recording(
                "c2s",
                self.handshake.c2s,
                &self.raw_sha256.c2s,
                self.plain_len.c2s,
                self.plain_sha256.c2s,
            ),
            server: recording(
                "s2c",
                self.handshake.s2c,
                &self.raw_sha256.s2c,
                self.plain_len.s2c,
                self.plain_sha256.s2c,
            ),
            sniff: self.sniff.into_bytes(),
            messages: self.messages,
            head_reply_has_body: self.head_response_has_body,
        }
    }
}
