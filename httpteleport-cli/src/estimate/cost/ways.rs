//! The ways that traffic can go, and the rows of the table.

use fastrpc::Compression;
use fastrpc::wire::framed::codec::RecordCodec;

/// How exchanges travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// HTTP/1.1 on one connection, the next request after the reply.
    Http1 {
        /// Whether each body is gzipped.
        gzip: bool,
    },
    /// HTTP/2 on one connection.
    Http2 {
        /// Whether each body is gzipped.
        gzip: bool,
    },
    /// Teleported on the classic wire, each side with this compression.
    Teleport(Compression),
    /// Teleported on the framed wire, each side with this compression.
    Framed(RecordCodec),
}

impl Way {
    /// Every way, in the order in which tables show them; the first one is what the others are compared with.
    pub const ALL: [Self; 12] = [
        Self::Http1 { gzip: false },
        Self::Http1 { gzip: true },
        Self::Http2 { gzip: false },
        Self::Http2 { gzip: true },
        Self::Teleport(Compression::None),
        Self::Teleport(Compression::Snappy),
        Self::Teleport(Compression::Flate),
        Self::Framed(RecordCodec::None),
        Self::Framed(RecordCodec::Lz4),
        Self::Framed(RecordCodec::ZstdSmall),
        Self::Framed(RecordCodec::Zstd),
        Self::Framed(RecordCodec::ZstdMax),
    ];

    /// As rows are called.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Http1 { gzip: false } => "http1".to_owned(),
            Self::Http1 { gzip: true } => "http1_gzip".to_owned(),
            Self::Http2 { gzip: false } => "http2".to_owned(),
            Self::Http2 { gzip: true } => "http2_gzip".to_owned(),
            Self::Teleport(compression) => compression.to_string(),
            Self::Framed(codec) => format!("framed_{codec}"),
        }
    }

    /// As people read it.
    #[must_use]
    pub fn title(self) -> String {
        match self {
            Self::Http1 { gzip: false } => "HTTP/1.1".to_owned(),
            Self::Http1 { gzip: true } => "HTTP/1.1 + gzip".to_owned(),
            Self::Http2 { gzip: false } => "HTTP/2".to_owned(),
            Self::Http2 { gzip: true } => "HTTP/2 + gzip".to_owned(),
            Self::Teleport(compression) => format!("teleport, {compression}"),
            Self::Framed(codec) => format!("framed, {codec}"),
        }
    }

    /// How many messages a flush it is measured with.
    #[must_use]
    pub fn flushes(self) -> &'static [usize] {
        match self {
            Self::Http1 { .. } => &[1],
            Self::Http2 { .. } | Self::Teleport(_) | Self::Framed(_) => &[1, 4, 16, 64],
        }
    }
}

/// One line of a sample's table.
#[derive(Clone, Debug)]
pub struct Row {
    /// `bytes/SAMPLE/WAY/MESSAGES`.
    pub name: String,
    /// How its exchanges travel.
    pub way: Way,
    /// Calls that are made at once, and so leave in one flush.
    pub messages: usize,
}

/// The rows of a sample.
#[must_use]
pub fn rows(sample: &str) -> Vec<Row> {
    let row = |way: Way, messages: usize| {
        let name = format!("bytes/{sample}/{}/{messages}", way.name());
        Row { name, way, messages }
    };
    Way::ALL.into_iter().flat_map(|way| way.flushes().iter().map(move |messages| row(way, *messages))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_named_after_sample_way_and_flush() {
        let rows = rows("rtb");
        assert_eq!(rows[0].name, "bytes/rtb/http1/1");
        assert!(rows.iter().any(|row| row.name == "bytes/rtb/flate/16"));
        assert_eq!(rows.len(), 2 + 10 * 4);
    }
}
