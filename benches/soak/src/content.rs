//! Bytes that are known by their seed and their place, so that each can be checked wherever it arrives.

use bytes::Bytes;

/// Bytes that are made at once.
const WORD: u64 = 8;

/// An endless row of bytes: half of them are letters, which compress, half are noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    seed: u64,
}

impl Content {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// So many of its bytes from `from` on.
    pub(crate) fn bytes(self, from: u64, length: u64) -> Bytes {
        let mut bytes = Vec::new();
        self.pieces(from, length, |piece| {
            bytes.extend_from_slice(piece);
            true
        });
        bytes.into()
    }

    /// Whether these are its bytes from `from` on.
    pub(crate) fn is(self, from: u64, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        self.pieces(from, bytes.len() as u64, |piece| {
            let (here, behind) = rest.split_at(piece.len());
            rest = behind;
            here == piece
        })
    }

    fn pieces(self, from: u64, length: u64, mut take: impl FnMut(&[u8]) -> bool) -> bool {
        let (mut at, end) = (from, from + length);
        while at < end {
            let word = self.word(at / WORD);
            let word = &word[usize::try_from(at % WORD).expect("below 8")..];
            let word = &word[..word.len().min(usize::try_from(end - at).unwrap_or(usize::MAX))];
            if !take(word) {
                return false;
            }
            at += word.len() as u64;
        }
        true
    }

    /// The word of this number, as splitmix64 makes it.
    fn word(self, number: u64) -> [u8; 8] {
        let mut word = self.seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^= word >> 31;
        if self.seed.is_multiple_of(2) {
            word = (word & 0x0f0f_0f0f_0f0f_0f0f) | 0x6060_6060_6060_6060;
        }
        word.to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_itself_and_no_other() {
        for content in [Content::new(6), Content::new(7)] {
            let all = content.bytes(0, 1000);
            for (from, length) in [(0u16, 1000u16), (1, 7), (3, 3), (7, 3), (8, 16), (13, 500), (999, 1), (5, 0)] {
                let part = content.bytes(from.into(), length.into());
                assert_eq!(part, all[from.into()..][..length.into()]);
                assert!(content.is(from.into(), &part));
                assert!(length < 3 || !content.is(u64::from(from) + 1, &part), "{from} {length}");
            }
            let mut wrong = all.to_vec();
            wrong[700] ^= 1;
            assert!(!content.is(0, &wrong));
        }
    }
}
