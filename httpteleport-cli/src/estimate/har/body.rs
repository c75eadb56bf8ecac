//! Bodies of an archive.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;

use super::entry::LeftOut;
use crate::estimate::cost::framed::MOST_BODY;

/// The body of a reply.
#[derive(Deserialize)]
pub(super) struct Content {
    /// Its size when decoded; -1 where it is not known.
    #[serde(default)]
    size: Option<f64>,
    text: Option<String>,
    encoding: Option<String>,
}

/// The body of a request.
#[derive(Deserialize)]
pub(super) struct PostData {
    text: Option<String>,
    /// Not of HAR 1.2, but written for bodies that are no text.
    encoding: Option<String>,
}

impl Content {
    /// The body. `carried` is its size on the network.
    pub(super) fn into_bytes(self, carried: Option<f64>) -> Result<Bytes, LeftOut> {
        decode(self.text, self.encoding.as_deref(), self.size.or(carried))
    }
}

impl PostData {
    /// The body. `carried` is its size on the network.
    pub(super) fn into_bytes(self, carried: Option<f64>) -> Result<Bytes, LeftOut> {
        decode(self.text, self.encoding.as_deref(), carried)
    }
}

fn decode(text: Option<String>, encoding: Option<&str>, size: Option<f64>) -> Result<Bytes, LeftOut> {
    // Whoever saves no contents leaves the text out, or empty.
    let text = text.filter(|text| !text.is_empty());
    let bytes = match (text, encoding) {
        (Some(text), None | Some("")) => Bytes::from(text),
        (Some(text), Some("base64")) => Bytes::from(STANDARD.decode(text).map_err(|_| LeftOut::WithoutBody)?),
        (Some(_), Some(_)) => return Err(LeftOut::WithoutBody),
        (None, _) if size.is_some_and(|size| size > 0.0) => return Err(LeftOut::WithoutBody),
        (None, _) => Bytes::new(),
    };
    if bytes.len() > MOST_BODY { Err(LeftOut::TooLarge) } else { Ok(bytes) }
}
