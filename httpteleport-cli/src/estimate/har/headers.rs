//! Header fields of an archive.

use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, EXPECT, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHORIZATION, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use serde::Deserialize;

use super::entry::LeftOut;

/// Bytes of the longest head: every way can carry that much.
const MOST_BYTES: usize = 60_000;
/// Fields of the longest head: as many as hyper reads.
const MOST_FIELDS: usize = 100;

/// Fields, as they are written.
pub(super) type Fields = Vec<Field>;

#[derive(Deserialize)]
pub(super) struct Field {
    name: String,
    value: String,
}

/// What belongs to the connection that was recorded, or is told anew with the body that is sent.
const NOT_PASSED: [HeaderName; 8] =
    [CONNECTION, CONTENT_LENGTH, EXPECT, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// The fields that every way carries, and whether they said that the body was encoded.
pub(super) fn headers(fields: &Fields) -> Result<(HeaderMap, bool), LeftOut> {
    let size: usize = fields.iter().map(|field| field.name.len() + field.value.len() + 4).sum();
    if size > MOST_BYTES || fields.len() > MOST_FIELDS {
        return Err(LeftOut::TooLarge);
    }
    let (mut headers, mut was_encoded) = (HeaderMap::with_capacity(fields.len()), false);
    // Names that begin with a colon are HTTP/2's own way to say what is said elsewhere.
    for field in fields.iter().filter(|field| !field.name.starts_with(':')) {
        let name: HeaderName = field.name.parse().map_err(|_| LeftOut::Malformed)?;
        if name == CONTENT_ENCODING {
            was_encoded = true;
            continue;
        }
        if NOT_PASSED.contains(&name) || name == KEEP_ALIVE || name == PROXY_CONNECTION {
            continue;
        }
        // Several of the same name may be one here, a line each.
        for value in field.value.split('\n') {
            let value = HeaderValue::from_bytes(value.trim().as_bytes()).map_err(|_| LeftOut::Malformed)?;
            headers.append(name.clone(), value);
        }
    }
    if headers.len() > MOST_FIELDS { Err(LeftOut::TooLarge) } else { Ok((headers, was_encoded)) }
}
