//! HTTP archives, which browsers' network tools and many proxies save: HAR 1.2, JSON.
//!
//! Their bodies are as a program sees them, decompressed, whatever the network carried. So each exchange is made as a server
//! would send it that leaves compression to the link.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use serde_json::error::Category;

use self::entry::{Entry, LeftOut};
use super::traffic::Recorded;
use crate::estimate::cost::sample::Sample;
use crate::outbound::plain;

mod body;
mod entry;
mod headers;

/// A larger file is refused: it is held in memory, and what it holds several times over.
const MOST_BYTES: u64 = 256 << 20;
/// What some programs write before JSON.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[derive(Deserialize)]
struct Archive {
    log: Log,
}

#[derive(Deserialize)]
struct Log {
    entries: Vec<Entry>,
}

/// Reads the exchanges of an archive, until they have so many bytes together.
///
/// # Errors
///
/// One line that names the file: it cannot be read, is no HAR, or holds nothing that can be carried.
pub(super) fn read(path: &Path, bytes: usize) -> anyhow::Result<Recorded> {
    let shown = path.display();
    let Archive { log } = parse(path).with_context(|| shown.to_string())?;
    let (mut exchanges, mut left_out, mut decoded) = (Vec::new(), BTreeMap::<LeftOut, usize>::new(), 0);
    for entry in log.entries {
        match entry.into_exchange() {
            Ok((exchange, was_encoded)) => {
                decoded += usize::from(was_encoded);
                exchanges.push(exchange);
            }
            Err(why) => *left_out.entry(why).or_default() += 1,
        }
    }
    let left_out: Vec<(String, usize)> = left_out.into_iter().map(|(why, count)| (why.to_string(), count)).collect();
    if exchanges.is_empty() {
        let why = left_out.iter().map(|(why, count)| format!("{count} {why}")).collect::<Vec<_>>().join(", ");
        let why = if why.is_empty() { "it has no entries".to_owned() } else { why };
        bail!("{shown}: holds no exchange that can be carried: {why}; save the archive again, with its contents");
    }
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let all = exchanges.len();
    Ok(Recorded { sample: Sample::taken(name, exchanges, bytes), all: Some(all), left_out, decoded })
}

fn parse(path: &Path) -> anyhow::Result<Archive> {
    let file = File::open(path).map_err(|error| anyhow::anyhow!("cannot read the file: {}", plain(&error)))?;
    let mut text = Vec::new();
    let read = file.take(MOST_BYTES + 1).read_to_end(&mut text);
    read.map_err(|error| anyhow::anyhow!("cannot read the file: {}", plain(&error)))?;
    let is_small = text.len() as u64 <= MOST_BYTES;
    ensure!(is_small, "is larger than the {MOST_BYTES} bytes that are read; save fewer entries");
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&text);
    serde_json::from_slice(text).map_err(|error| anyhow::anyhow!(fault(&error)))
}

fn fault(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    match error.classify() {
        Category::Syntax => {
            format!(
                "is no HAR: it is not JSON at line {line}, column {column}; give a HAR, NAME.req.zst, or a folder of these"
            )
        }
        Category::Eof => "ends in the middle of its JSON; save it again, whole".to_owned(),
        Category::Data | Category::Io => {
            let what = lacking(&error.to_string());
            format!("is no HAR: {what} at line {line}, column {column}; give a HAR, NAME.req.zst, or a folder of these")
        }
    }
}

/// What JSON that is none of a HAR lacks, in our words.
fn lacking(error: &str) -> String {
    let named = error.strip_prefix("missing field `").and_then(|rest| rest.split_once('`'));
    match named {
        Some((name, _)) => format!("its JSON lacks {name:?}"),
        None => "its JSON is built otherwise".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read_text(text: &[u8]) -> anyhow::Result<Recorded> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("shop.har");
        fs::write(&path, text).expect("written");
        read(&path, 1 << 20)
    }

    const ENTRY: &str = r#"{"request":{"method":"GET","url":"http://h/a","headers":[]},
        "response":{"status":200,"headers":[],"content":{"text":"yes"}}}"#;
    const CACHED: &str = r#"{"_fromCache":"disk","request":{"method":"GET","url":"http://h/a","headers":[]},
        "response":{"status":200,"headers":[],"content":{"size":3}}}"#;

    #[test]
    fn entries_become_exchanges_in_their_order() {
        let text = format!("\u{feff}{{\"log\":{{\"version\":\"1.2\",\"entries\":[{ENTRY},{CACHED},{ENTRY}]}}}}");
        let recorded = read_text(text.as_bytes()).expect("a HAR");
        assert_eq!((recorded.sample.name.as_str(), recorded.sample.exchanges.len()), ("shop", 2));
        assert_eq!(recorded.left_out, [("from the browser's cache".to_owned(), 1)]);
        assert_eq!((recorded.all, recorded.decoded), (Some(2), 0));
    }

    #[test]
    fn faults_are_one_line_that_names_the_file_and_says_what_to_do() {
        let cases = [
            (b"not json".to_vec(), "shop.har: is no HAR: it is not JSON at line 1, column 2; give a HAR"),
            (br#"{"log":{"entries":["#.to_vec(), "shop.har: ends in the middle of its JSON; save it again, whole"),
            (b"{}".to_vec(), "shop.har: is no HAR: its JSON lacks \"log\" at line 1, column 2; give"),
            (b"127.0.0.1 localhost".to_vec(), "shop.har: is no HAR: its JSON is built otherwise at line 1, column"),
            (b"7".to_vec(), "shop.har: is no HAR: its JSON is built otherwise at line 1, column 1; give a HAR"),
            (br#"{"log":{"entries":[{}]}}"#.to_vec(), "its JSON lacks \"request\" at line 1"),
            (br#"{"log":{"entries":[]}}"#.to_vec(), "holds no exchange that can be carried: it has no entries"),
            (
                format!(r#"{{"log":{{"entries":[{CACHED}]}}}}"#).into_bytes(),
                "shop.har: holds no exchange that can be carried: 1 from the browser's cache; save the archive again",
            ),
        ];
        for (text, want) in cases {
            let error = format!("{:#}", read_text(&text).map(|_| ()).expect_err(want));
            assert!(error.contains(want) && !error.contains('\n'), "{error}");
        }
        let error = format!("{:#}", read(Path::new("/nonexistent/x.har"), 1).map(|_| ()).expect_err("no file"));
        assert_eq!(error, "/nonexistent/x.har: cannot read the file: no such file");
    }

    #[test]
    fn a_file_without_end_is_refused() {
        let error = format!("{:#}", read(Path::new("/dev/zero"), 1).map(|_| ()).expect_err("too large"));
        assert!(error.starts_with("/dev/zero: is larger than the 268435456 bytes"), "{error}");
    }
}
