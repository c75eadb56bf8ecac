//! Bytes of a body that were read ahead.

use bytes::Bytes;

/// Bytes that came in pieces; most come in one, which is kept as it is.
#[derive(Default)]
pub(super) struct Pieces {
    first: Bytes,
    rest: Vec<u8>,
}

impl Pieces {
    pub(super) fn len(&self) -> usize {
        self.first.len() + self.rest.len()
    }

    pub(super) fn push(&mut self, piece: Bytes) {
        if self.first.is_empty() {
            self.first = piece;
        } else {
            self.rest.extend_from_slice(&piece);
        }
    }

    pub(super) fn into_bytes(self) -> Bytes {
        if self.rest.is_empty() {
            return self.first;
        }
        let mut whole = Vec::with_capacity(self.len());
        whole.extend_from_slice(&self.first);
        whole.extend_from_slice(&self.rest);
        whole.into()
    }
}
