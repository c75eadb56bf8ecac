//! Recorded traffic: pairs of files, `NAME.req.zst` and `NAME.resp.zst`.
//!
//! Each is a zstd stream of records: `u32le head length | u32le body length | head | body`. The head is HTTP/1.1 text up to
//! and with its blank line. Record k of the one file is answered by record k of the other.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use super::framed::MOST_BODY;
use super::sample::Sample;
use crate::outbound::plain;
use crate::traffic::Exchange;
use anyhow::{Context, Result, anyhow, bail, ensure};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};

const REQUESTS: &str = ".req.zst";
const REPLIES: &str = ".resp.zst";
/// No head or body of a recording is longer than this; a file that says so is no recording.
const MOST: usize = MOST_BODY;
const MOST_FIELDS: usize = 128;

const NO_HEAD: &str = "its head is not HTTP/1.1";

/// A pair of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    folder: PathBuf,
    name: String,
}

/// The recordings that `paths` name: files of either kind, or folders.
///
/// # Errors
///
/// A path is neither, or a folder has none.
pub fn find(paths: &[PathBuf]) -> Result<Vec<Recording>> {
    let mut found = Vec::new();
    for path in paths {
        let mut here = if path.is_dir() { in_folder(path)? } else { vec![of_file(path)?] };
        here.retain(|recording| !found.contains(recording));
        found.append(&mut here);
    }
    Ok(found)
}

fn in_folder(folder: &Path) -> Result<Vec<Recording>> {
    let mut found = Vec::new();
    let unread = |error: io::Error| anyhow!("{}: cannot read the folder: {}", folder.display(), plain(&error));
    for entry in folder.read_dir().map_err(unread)? {
        if let Some(name) = entry.map_err(unread)?.file_name().to_str().and_then(|name| name.strip_suffix(REQUESTS)) {
            found.push(Recording { folder: folder.to_owned(), name: name.to_owned() });
        }
    }
    ensure!(!found.is_empty(), "{}: holds no NAME{REQUESTS}; name another folder", folder.display());
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

/// Whether a file is called as one of a pair.
#[must_use]
pub fn is_recording(path: &Path) -> bool {
    path.file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| name.ends_with(REQUESTS) || name.ends_with(REPLIES))
}

fn of_file(path: &Path) -> Result<Recording> {
    let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some(name) = file.strip_suffix(REQUESTS).or_else(|| file.strip_suffix(REPLIES)) else {
        bail!("{}: is no folder and not called NAME{REQUESTS} or NAME{REPLIES}", path.display());
    };
    Ok(Recording { folder: path.parent().unwrap_or(Path::new("")).to_owned(), name: name.to_owned() })
}

impl Recording {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file of its requests.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.join(format!("{}{REQUESTS}", self.name))
    }

    /// Reads exchanges, until they have so many bytes together. `None` when it holds event streams: whole messages are
    /// what is compared here, and a reply in many records never ends.
    ///
    /// # Errors
    ///
    /// Which file cannot be read, and at which record.
    pub fn read(&self, bytes: usize) -> Result<Option<Sample>> {
        let mut requests = Records::open(&self.path())?;
        let mut replies = Records::open(&self.folder.join(format!("{}{REPLIES}", self.name)))?;
        let (mut exchanges, mut total) = (Vec::new(), 0);
        while total < bytes {
            let (Some(request), Some(reply)) = (requests.next()?, replies.next()?) else { break };
            if reply.head.is_empty() || request.head.is_empty() {
                return Ok(None);
            }
            total += request.size() + reply.size();
            let request = as_request(request).with_context(|| requests.place())?;
            exchanges.push(Exchange { request, response: as_response(reply).with_context(|| replies.place())? });
        }
        ensure!(!exchanges.is_empty(), "{}: holds no exchange", requests.path.display());
        let is_stream = exchanges.iter().any(|it| it.response.headers().contains_key(http::header::TRANSFER_ENCODING));
        Ok((!is_stream).then(|| Sample::taken(self.name.clone(), exchanges, bytes)))
    }
}

struct Record {
    head: Vec<u8>,
    body: Vec<u8>,
}

impl Record {
    fn size(&self) -> usize {
        self.head.len() + self.body.len()
    }
}

struct Records {
    path: PathBuf,
    reader: zstd::Decoder<'static, BufReader<File>>,
    count: usize,
}

impl Records {
    fn open(path: &Path) -> Result<Self> {
        let open = || zstd::Decoder::new(File::open(path)?);
        let unread = |error| anyhow!("{}: cannot read the file: {}", path.display(), plain(&error));
        let reader = open().map_err(unread)?;
        Ok(Self { path: path.to_owned(), reader, count: 0 })
    }

    fn place(&self) -> String {
        format!("{}, record {}", self.path.display(), self.count)
    }

    fn next(&mut self) -> Result<Option<Record>> {
        self.count += 1;
        self.read().with_context(|| self.place())
    }

    fn read(&mut self) -> Result<Option<Record>> {
        let mut lengths = [0; 8];
        if self.reader.read(&mut lengths[..1]).map_err(|error| fault(&error))? == 0 {
            return Ok(None);
        }
        self.reader.read_exact(&mut lengths[1..]).map_err(|error| fault(&error))?;
        let [a, b, c, d, e, f, g, h] = lengths;
        let head = self.bytes(u32::from_le_bytes([a, b, c, d]))?;
        let body = self.bytes(u32::from_le_bytes([e, f, g, h]))?;
        Ok(Some(Record { head, body }))
    }

    fn bytes(&mut self, length: u32) -> Result<Vec<u8>> {
        let length = usize::try_from(length)?;
        ensure!(length <= MOST, "says it has {length} bytes; a recording has at most {MOST}");
        let mut bytes = vec![0; length];
        self.reader.read_exact(&mut bytes).map_err(|error| fault(&error))?;
        Ok(bytes)
    }
}

/// Why a recording cannot be read on.
fn fault(error: &io::Error) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => anyhow!("the file ends in the middle of it; copy it again, whole"),
        // What zstd says, and nothing else makes.
        io::ErrorKind::Other => {
            anyhow!("the file is no zstd stream, or damaged; give NAME{REQUESTS} and NAME{REPLIES}, or a HAR")
        }
        _ => anyhow!("cannot read the file: {}", plain(error)),
    }
}

fn as_request(record: Record) -> Result<Request<Bytes>> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut parsed = httparse::Request::new(&mut fields);
    ensure!(parsed.parse(&record.head).context(NO_HEAD)?.is_complete(), "its head has no blank line");
    let mut request = Request::builder()
        .method(parsed.method.unwrap_or_default())
        .uri(parsed.path.unwrap_or_default())
        .body(Bytes::from(record.body))
        .context(NO_HEAD)?;
    *request.headers_mut() = as_headers(parsed.headers)?;
    Ok(request)
}

fn as_response(record: Record) -> Result<Response<Bytes>> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut parsed = httparse::Response::new(&mut fields);
    ensure!(parsed.parse(&record.head).context(NO_HEAD)?.is_complete(), "its head has no blank line");
    let mut response = Response::builder().status(parsed.code.unwrap_or_default()).body(Bytes::from(record.body))?;
    *response.headers_mut() = as_headers(parsed.headers)?;
    Ok(response)
}

fn as_headers(fields: &[httparse::Header<'_>]) -> Result<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        headers.append(HeaderName::from_bytes(field.name.as_bytes())?, HeaderValue::from_bytes(field.value)?);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn record(head: &str, body: &[u8]) -> Vec<u8> {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("short").to_le_bytes();
        [&length(head.as_bytes())[..], &length(body), head.as_bytes(), body].concat()
    }

    fn write(folder: &Path, file: &str, records: &[Vec<u8>]) {
        let packed = zstd::encode_all(&records.concat()[..], 1).expect("zstd");
        fs::write(folder.join(file), packed).expect("a file");
    }

    const REQUEST: &str = "POST /bid?x=1 HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\n";
    const REPLY: &str = "HTTP/1.1 204 No Content\r\nX-A: 1\r\nX-A: 2\r\n\r\n";

    #[test]
    fn a_pair_is_read_by_either_name_or_its_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), "a.req.zst", &[record(REQUEST, b"{}"), record(REQUEST, b"[]")]);
        write(folder.path(), "a.resp.zst", &[record(REPLY, b""), record(REPLY, b"")]);
        let paths = [folder.path().to_owned(), folder.path().join("a.req.zst"), folder.path().join("a.resp.zst")];
        let found = find(&paths).expect("found");
        assert_eq!(found.iter().map(Recording::name).collect::<Vec<_>>(), ["a"]);

        let sample = found[0].read(1 << 20).expect("read").expect("whole messages");
        let Exchange { request, response } = &sample.exchanges[1];
        assert_eq!((request.uri().to_string().as_str(), &request.body()[..]), ("/bid?x=1", &b"[]"[..]));
        assert_eq!((response.status().as_u16(), response.headers().get_all("x-a").iter().count()), (204, 2));
        assert_eq!(found[0].read(1).expect("read").expect("whole messages").exchanges.len(), 1);
    }

    #[test]
    fn event_streams_are_no_sample() {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), "s.req.zst", &[record(REQUEST, b"{}"), record(REQUEST, b"{}")]);
        write(folder.path(), "s.resp.zst", &[record(REPLY, b""), record("", b"data: 1")]);
        let found = find(&[folder.path().to_owned()]).expect("found");
        assert!(found[0].read(1 << 20).expect("read").is_none());
    }

    #[test]
    fn bad_files_are_named_with_their_record() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = |found: Result<Vec<Recording>>| {
            let read = found.and_then(|found| found[0].read(1 << 20));
            format!("{:#}", read.map(|_| ()).expect_err("a fault"))
        };
        assert!(error(find(&[folder.path().to_owned()])).contains("holds no NAME.req.zst"));
        assert!(error(find(&[folder.path().join("x.zst")])).contains("is no folder and not called NAME.req.zst"));
        write(folder.path(), "a.resp.zst", &[record(REPLY, b"")]);
        write(folder.path(), "a.req.zst", &[u32::MAX.to_le_bytes().to_vec(), vec![0; 4]]);
        assert!(error(find(&[folder.path().to_owned()])).contains("a.req.zst, record 1: says it has 4294967295 bytes"));
        write(folder.path(), "a.req.zst", &[record("GET / HTTP/1.1\r\n", b"")]);
        assert!(error(find(&[folder.path().to_owned()])).contains("a.req.zst, record 1: its head has no blank line"));
    }
}
