//! How the records of one direction are compressed.

use std::{error::Error, fmt, str::FromStr};

/// The setting of a sender. Three of them are zstd: the receiver decodes them all alike.
///
/// A context is the memory that compression of one direction takes on each side, from the first compressed record on.
/// Measured with zstd 1.5.7 and lz4_flex 0.14 on 64 bits, in KiB of 1,024 bytes:
///
/// | setting | parameters | to encode | to decode |
/// |---|---|---|---|
/// | `none`       | records as they are                           | 0     | 0     |
/// | `lz4`        | linked blocks of up to 64 KiB                 | 280   | 128   |
/// | `zstd-small` | level 1, window 2^20, 2^16 hashes, match of 7 | 2,042 | 1,502 |
/// | `zstd`       | level 1, window 2^22, 2^17 hashes, match of 7 | 5,370 | 4,574 |
/// | `zstd-max`   | level 6, window 2^22                          | 7,418 | 4,574 |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RecordCodec {
    /// Not at all.
    None,
    /// LZ4: contexts of little memory, for about twice the bytes of zstd and not much less CPU.
    Lz4,
    /// Zstandard over the last 4 MiB: small and quick, at several MiB a connection.
    #[default]
    Zstd,
    /// Zstandard over the last 1 MiB: for many connections.
    ZstdSmall,
    /// Zstandard at level 6: a little smaller, at three times the CPU.
    ZstdMax,
}

/// Parameters of a zstd context; neither content size nor checksum is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ZstdParameters {
    pub(super) level: i32,
    /// Log2 of the window, in bytes.
    pub(super) window_log: u8,
    /// Log2 of the entries of the hash table and the shortest match, where they are not the level's own. Level 1's own table
    /// is too small for the window: twice the memory gives fewer bytes than level 3, for less CPU.
    pub(super) table: Option<(u8, u8)>,
}

impl RecordCodec {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::None, Self::Lz4, Self::Zstd, Self::ZstdSmall, Self::ZstdMax];

    /// The byte that begins its records and names it in a hello's settings: 0 raw, 1 lz4, 2 zstd, whatever its parameters.
    pub const fn wire_byte(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Lz4 => 1,
            Self::Zstd | Self::ZstdSmall | Self::ZstdMax => 2,
        }
    }

    /// Bytes that the context of a sender takes at most: for a budget of contexts.
    pub const fn encode_memory(self) -> usize {
        match self {
            Self::None => 0,
            Self::Lz4 => 280 << 10,
            Self::Zstd => 5_370 << 10,
            Self::ZstdSmall => 2_042 << 10,
            Self::ZstdMax => 7_418 << 10,
        }
    }

    /// Bytes that the context of a receiver takes at most, for what a sender of this setting writes. Of a peer that may be
    /// any sender the setting is not known: there it is the window of one's own settings and 478 KiB.
    pub const fn decode_memory(self) -> usize {
        match self {
            Self::None => 0,
            Self::Lz4 => 128 << 10,
            Self::ZstdSmall => 1_502 << 10,
            Self::Zstd | Self::ZstdMax => 4_574 << 10,
        }
    }

    /// The parameters of a setting that is zstd.
    pub(super) const fn zstd(self) -> Option<ZstdParameters> {
        match self {
            Self::None | Self::Lz4 => None,
            Self::Zstd => Some(ZstdParameters { level: 1, window_log: 22, table: Some((17, 7)) }),
            Self::ZstdSmall => Some(ZstdParameters { level: 1, window_log: 20, table: Some((16, 7)) }),
            Self::ZstdMax => Some(ZstdParameters { level: 6, window_log: 22, table: None }),
        }
    }
}

/// Its name: `none`, `lz4`, `zstd`, `zstd-small` or `zstd-max`.
impl fmt::Display for RecordCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "none",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
            Self::ZstdSmall => "zstd-small",
            Self::ZstdMax => "zstd-max",
        })
    }
}

impl FromStr for RecordCodec {
    type Err = UnknownRecordCodec;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "none" => Ok(Self::None),
            "lz4" => Ok(Self::Lz4),
            "zstd" => Ok(Self::Zstd),
            "zstd-small" => Ok(Self::ZstdSmall),
            "zstd-max" => Ok(Self::ZstdMax),
            _ => Err(UnknownRecordCodec { name: name.to_owned() }),
        }
    }
}

/// A name that is no [`RecordCodec`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownRecordCodec {
    name: String,
}

impl fmt::Display for UnknownRecordCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown compression {:?}: choose none, lz4, zstd, zstd-small or zstd-max", self.name)
    }
}

impl Error for UnknownRecordCodec {}

/// Whether `bytes` look compressed or encrypted already, so that they had better go raw past a context.
///
/// A sample of 256 bytes from the middle is counted: random bytes have about 162 different values there, text and JSON
/// fewer than 100, and more than 140 says that compressing is a waste. Fewer than 141 bytes never look so.
pub fn looks_incompressible(bytes: &[u8]) -> bool {
    const SAMPLE: usize = 256;
    const MOST_VALUES: u32 = 140;
    let start = bytes.len().saturating_sub(SAMPLE) / 2;
    let mut seen = [0u64; 4];
    for &byte in bytes[start..].iter().take(SAMPLE) {
        seen[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }
    seen.iter().map(|word| word.count_ones()).sum::<u32>() > MOST_VALUES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for codec in RecordCodec::ALL {
            assert_eq!(codec.to_string().parse(), Ok(codec));
        }
        let error = "gzip".parse::<RecordCodec>().unwrap_err().to_string();
        assert_eq!(error, "unknown compression \"gzip\": choose none, lz4, zstd, zstd-small or zstd-max");
    }

    #[test]
    fn more_than_140_values_in_the_middle_look_incompressible() {
        let values = |count: usize| (0..=255u8).cycle().take(count).collect::<Vec<_>>();
        assert!(!looks_incompressible(&[]));
        assert!(!looks_incompressible(&values(140)));
        assert!(looks_incompressible(&values(141)));
        assert!(!looks_incompressible(&(0..140u8).cycle().take(256).collect::<Vec<_>>()));
        // A sample in the middle is what counts, and all of that.
        let inside = |middle: &[u8]| [&[b' '; 1000][..], middle, &[b' '; 1000]].concat();
        assert!(looks_incompressible(&inside(&values(256))));
        assert!(!looks_incompressible(&[values(256), vec![b' '; 1000]].concat()));
    }
}
