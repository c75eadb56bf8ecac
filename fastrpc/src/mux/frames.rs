//! Cuts the incoming stream into ids and messages.

use bytes::{Buf, BytesMut};

use crate::codec::BoxError;

/// Reads `id (4 bytes, little-endian) | message` frames; the message tells its own end. See `docs/wire.md`.
#[derive(Debug, Default)]
pub(crate) struct Frames<P> {
    id: Option<u32>,
    partial: P,
}

impl<P: Default> Frames<P> {
    /// The next whole message, decoded by `decode`, or `None` until more bytes came.
    pub(crate) fn next<M>(
        &mut self,
        input: &mut BytesMut,
        decode: impl FnOnce(&mut P, &mut BytesMut) -> Result<Option<M>, BoxError>,
    ) -> Result<Option<(u32, M)>, BoxError> {
        let id = match self.id {
            Some(id) => id,
            None if input.len() < size_of::<u32>() => return Ok(None),
            None => *self.id.insert(input.get_u32_le()),
        };
        let Some(message) = decode(&mut self.partial, input)? else { return Ok(None) };
        self.id = None;
        self.partial = P::default();
        Ok(Some((id, message)))
    }

    /// Whether a message has begun and is not whole.
    pub(crate) fn is_midway(&self, input: &BytesMut) -> bool {
        self.id.is_some() || !input.is_empty()
    }
}
