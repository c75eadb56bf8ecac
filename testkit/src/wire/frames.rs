//! Frames: a little-endian u32 id, then a message that tells its own end.

use super::http::{self, HttpReply};
use super::{Error, take_u32};

/// A message with its id and its place in the decompressed stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame<M> {
    /// The id in front of the message.
    pub id: u32,
    /// Where the id starts, in decompressed bytes after the hello.
    pub offset: usize,
    /// The message.
    pub message: M,
}

/// The bytes of a frame: `id`, then `message` as it is.
pub fn frame(id: u32, message: &[u8]) -> Vec<u8> {
    [&id.to_le_bytes(), message].concat()
}

/// Reads one frame off the front of `bytes`, its message with `read`; the second value is the frame's length.
///
/// # Errors
///
/// [`Error::Incomplete`] while the frame is not whole, [`Error::Bad`] when it is wrong.
pub fn read_frame<M>(
    mut bytes: &[u8],
    read: impl FnOnce(&[u8]) -> Result<(M, usize), Error>,
) -> Result<(Frame<M>, usize), Error> {
    let id = take_u32(&mut bytes, "id")?;
    let (message, len) = read(bytes)?;
    Ok((Frame { id, offset: 0, message }, 4 + len))
}

/// Reads all frames of a decompressed stream, each message with `read`.
///
/// # Errors
///
/// A frame is wrong, or the last one is not whole.
pub fn read_frames<M>(
    plain: &[u8],
    mut read: impl FnMut(&[u8]) -> Result<(M, usize), Error>,
) -> Result<Vec<Frame<M>>, Error> {
    let mut frames = Vec::new();
    let mut offset = 0;
    while offset < plain.len() {
        let (frame, len) = read_frame(&plain[offset..], &mut read)?;
        frames.push(Frame { offset, ..frame });
        offset += len;
    }
    Ok(frames)
}

/// Reads all HTTP replies of a stream in which the replies to the ids that `bodiless` picks have no body, whatever
/// their headers say. That is how Go's `httptp` answers HEAD.
///
/// # Errors
///
/// As [`read_frames`].
pub fn read_http_replies(plain: &[u8], bodiless: impl Fn(u32) -> bool) -> Result<Vec<Frame<HttpReply>>, Error> {
    let mut frames = Vec::new();
    let mut offset = 0;
    while offset < plain.len() {
        let id = take_u32(&mut &plain[offset..], "id")?;
        let read = if bodiless(id) { http::read_bodiless_reply } else { http::read_reply };
        let (frame, len) = read_frame(&plain[offset..], read)?;
        frames.push(Frame { offset, ..frame });
        offset += len;
    }
    Ok(frames)
}
