//! How a line looks.

use std::fmt::Write as _;
use std::str::FromStr;
use std::time::SystemTime;

use http::header::HeaderValue;
use http::{Method, Uri};
use serde_json::json;

use super::entry::{Asked, Entry, UNKNOWN};

/// The kinds of lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// As Apache and nginx write it.
    #[default]
    Combined,
    /// An object a line.
    Json,
}

impl FromStr for Format {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Format, &'static str> {
        match name {
            "combined" => Ok(Format::Combined),
            "json" => Ok(Format::Json),
            _ => Err("use combined or json"),
        }
    }
}

/// What nginx writes for a request whose client went away before its reply.
const GIVEN_UP: u16 = 499;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

impl Format {
    /// Appends the line of an entry.
    pub(super) fn line(self, entry: &Entry, line: &mut String) {
        match self {
            Format::Combined => combined(entry, line),
            Format::Json => json_line(entry, line),
        }
        line.push('\n');
    }
}

fn combined(entry: &Entry, line: &mut String) {
    let Entry { asked, bytes, .. } = entry;
    let (method, target, version) = (method(asked), target(asked), &asked.version);
    let (client, time, status) = (client(asked), clock(asked.at).combined, status(entry));
    // Writing to a String cannot fail.
    let _ = write!(line, "{client} - - [{time}] \"{method} ");
    quoted(line, target.as_bytes());
    let _ = write!(line, " {version}\" {status} {bytes} \"");
    quoted(line, bytes_of(asked.referer.as_ref()));
    line.push_str("\" \"");
    quoted(line, bytes_of(asked.agent.as_ref()));
    line.push('"');
}

fn json_line(entry: &Entry, line: &mut String) {
    let Entry { asked, bytes, took, upstream, .. } = entry;
    let text = |value: &Option<HeaderValue>| {
        value.as_ref().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let object = json!({
        "time": clock(asked.at).rfc3339,
        "client": client(asked),
        "method": method(asked),
        "host": text(&asked.host),
        "target": target(asked),
        "version": asked.version.to_string(),
        "status": status(entry),
        "bytes": bytes,
        "seconds": took.as_secs_f64(),
        "referer": text(&asked.referer),
        "user_agent": text(&asked.agent),
        "upstream": upstream,
        "trace": asked.trace,
    });
    let _ = write!(line, "{object}");
}

fn method(asked: &Asked) -> &str {
    asked.method.as_ref().map_or(UNKNOWN, Method::as_str)
}

fn target(asked: &Asked) -> String {
    asked.target.as_ref().map_or_else(|| UNKNOWN.to_owned(), Uri::to_string)
}

/// The address alone: who reads logs has it in no other way.
fn client(asked: &Asked) -> String {
    asked.client.address().map_or_else(|| "unix".to_owned(), |address| address.to_string())
}

fn status(entry: &Entry) -> u16 {
    entry.status.map_or(GIVEN_UP, |status| status.as_u16())
}

fn bytes_of(value: Option<&HeaderValue>) -> &[u8] {
    value.map_or(UNKNOWN.as_bytes(), HeaderValue::as_bytes)
}

/// Nothing that a client sends ends a field or a line.
fn quoted(line: &mut String, bytes: &[u8]) {
    for byte in bytes {
        match byte {
            b'"' | b'\\' => {
                line.push('\\');
                line.push(char::from(*byte));
            }
            b' '..=b'~' => line.push(char::from(*byte)),
            other => {
                let _ = write!(line, "\\x{other:02X}");
            }
        }
    }
}

/// A time as both formats write it, in UTC.
struct Clock {
    combined: String,
    rfc3339: String,
}

fn clock(at: SystemTime) -> Clock {
    // `Thu, 26 Nov 2026 04:06:38 GMT` (RFC 9110, 5.6.7).
    let date = httpdate::fmt_http_date(at);
    let (day, month, year, time) = (&date[5..7], &date[8..11], &date[12..16], &date[17..25]);
    let number = MONTHS.iter().position(|name| *name == month).map_or(0, |index| index + 1);
    let millis = at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.subsec_millis());
    Clock {
        combined: format!("{day}/{month}/{year}:{time} +0000"),
        rfc3339: format!("{year}-{number:02}-{day}T{time}.{millis:03}Z"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::header::{HOST, REFERER, USER_AGENT};
    use http::{Request, StatusCode};
    use serde_json::Value;

    use super::*;
    use crate::listen::Client;

    fn entry(agent: &[u8]) -> Entry {
        let request = Request::get("/a%2Fb?x=1")
            .header(HOST, "h.example")
            .header(REFERER, "http://before.example/")
            .header(USER_AGENT, HeaderValue::from_bytes(agent).expect("a value"))
            .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
            .body(())
            .expect("a request");
        let client = Client::Tcp("192.0.2.7:4711".parse().expect("an address"));
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_666_998_042);
        let asked = Asked { at, ..Asked::of(&request, client) };
        let (took, upstream) = (Duration::from_millis(12), Some("http://10.0.0.1:80".to_owned()));
        Entry { asked, status: Some(StatusCode::OK), bytes: 2326, took, upstream }
    }

    fn line(format: Format, entry: &Entry) -> String {
        let mut line = String::new();
        format.line(entry, &mut line);
        line
    }

    #[test]
    fn combined_is_as_others_write_it() {
        assert_eq!(
            line(Format::Combined, &entry(b"curl/8")),
            "192.0.2.7 - - [26/Nov/2026:04:23:18 +0000] \"GET /a%2Fb?x=1 HTTP/1.1\" 200 2326 \"http://before.example/\" \
             \"curl/8\"\n"
        );
    }

    #[test]
    fn json_has_all_that_is_known() {
        let line = line(Format::Json, &entry(b"curl/8"));
        let value: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(line.lines().count(), 1);
        for (name, want) in [
            ("time", "2026-11-26T04:23:18.042Z".into()),
            ("client", "192.0.2.7".into()),
            ("host", "h.example".into()),
            ("target", "/a%2Fb?x=1".into()),
            ("status", 200.into()),
            ("bytes", 2326.into()),
            ("seconds", Value::from(0.012)),
            ("upstream", "http://10.0.0.1:80".into()),
            ("trace", "0af7651916cd43dd8448eb211c80319c".into()),
        ] {
            assert_eq!(value[name], want, "{name}");
        }
    }

    #[test]
    fn of_what_could_not_be_read_little_is_known() {
        let asked = Asked::unread(Client::Unix, b"GET / HTTP/9.9\r\n");
        let status = Some(StatusCode::BAD_REQUEST);
        let entry = Entry { asked, status, bytes: 0, took: Duration::ZERO, upstream: None };
        let combined = line(Format::Combined, &entry);
        assert!(
            combined.starts_with("unix - - [") && combined.ends_with("] \"- - HTTP/9.9\" 400 0 \"-\" \"-\"\n"),
            "{combined}"
        );
        let json: Value = serde_json::from_str(&line(Format::Json, &entry)).expect("JSON");
        assert_eq!((&json["method"], &json["target"], &json["status"]), (&"-".into(), &"-".into(), &400.into()));
    }

    #[test]
    fn no_client_can_end_a_field_or_a_line() {
        let line = line(Format::Combined, &entry(b"a\" \\ \xfc\t"));
        assert!(line.ends_with("\"a\\\" \\\\ \\xFC\\x09\"\n"), "{line}");
        assert_eq!(line.lines().count(), 1);
    }

    #[test]
    fn a_request_without_a_reply_was_given_up() {
        let entry = Entry { status: None, ..entry(b"") };
        assert!(line(Format::Combined, &entry).contains("\" 499 2326 "));
    }
}
