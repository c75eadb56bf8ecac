//! What `--in-compress` and `--out-compress` say, of either wire.

use std::fmt;
use std::str::FromStr;

use httpteleport::{Compression, RecordCodec, Wire};

/// How one side compresses what it sends over teleport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Compress {
    name: &'static str,
    /// On the classic wire.
    pub(crate) classic: Compression,
    /// On the framed wire.
    pub(crate) framed: RecordCodec,
    /// The wire that the name is of; `None` for both.
    of: Option<Wire>,
}

const CLASSIC: Option<Wire> = Some(Wire::Classic);
const FRAMED: Option<Wire> = Some(Wire::Framed);

/// All that may be said. Who names what is of one wire gets the other's default on that.
const ALL: [(&str, Compression, RecordCodec, Option<Wire>); 7] = [
    ("zstd", Compression::Flate, RecordCodec::Zstd, FRAMED),
    ("zstd-small", Compression::Flate, RecordCodec::ZstdSmall, FRAMED),
    ("zstd-max", Compression::Flate, RecordCodec::ZstdMax, FRAMED),
    ("lz4", Compression::Flate, RecordCodec::Lz4, FRAMED),
    ("none", Compression::None, RecordCodec::None, None),
    ("flate", Compression::Flate, RecordCodec::Zstd, CLASSIC),
    ("snappy", Compression::Snappy, RecordCodec::Zstd, CLASSIC),
];

impl Compress {
    /// What it comes to on the wires that may be spoken, for people.
    pub(crate) fn on(self, wire: Wire) -> String {
        let (classic, framed) = (self.classic.to_string(), self.framed.to_string());
        match wire {
            Wire::Classic => classic,
            Wire::Framed => framed,
            Wire::Auto if classic == framed => classic,
            Wire::Auto => format!("{framed}, {classic} on the classic wire"),
        }
    }

    /// Whether it names what no wire that may be spoken has; if so, which wire has it.
    pub(crate) fn misses(self, wire: Wire) -> Option<&'static str> {
        match (self.of?, wire) {
            (Wire::Framed, Wire::Classic) => Some("framed"),
            (Wire::Classic, Wire::Framed) => Some("classic"),
            _ => None,
        }
    }
}

impl Default for Compress {
    fn default() -> Compress {
        let (name, classic, framed, _) = ALL[0];
        Compress { name, classic, framed, of: None }
    }
}

impl From<(&'static str, Compression, RecordCodec, Option<Wire>)> for Compress {
    fn from((name, classic, framed, of): (&'static str, Compression, RecordCodec, Option<Wire>)) -> Compress {
        Compress { name, classic, framed, of }
    }
}

impl FromStr for Compress {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Compress, &'static str> {
        let known = ALL.into_iter().find(|(known, ..)| *known == name);
        known.map(Compress::from).ok_or("use zstd, zstd-small, zstd-max, lz4, none, flate or snappy")
    }
}

impl fmt::Display for Compress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Reads the value of `--wire`.
pub(crate) fn wire(name: &str) -> Result<Wire, &'static str> {
    match name {
        "auto" => Ok(Wire::Auto),
        "classic" => Ok(Wire::Classic),
        "framed" => Ok(Wire::Framed),
        _ => Err("use auto, classic or framed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_one_wire_leaves_the_other_its_default() {
        let on = |name: &str| {
            let compress: Compress = name.parse().unwrap();
            (compress.classic, compress.framed)
        };
        assert_eq!(on("flate"), (Compression::Flate, RecordCodec::Zstd));
        assert_eq!(on("snappy"), (Compression::Snappy, RecordCodec::Zstd));
        assert_eq!(on("zstd-max"), (Compression::Flate, RecordCodec::ZstdMax));
        assert_eq!(on("none"), (Compression::None, RecordCodec::None));
        let default = Compress::default();
        assert_eq!((default.classic, default.framed), (Compression::Flate, RecordCodec::Zstd));
        assert!([Wire::Auto, Wire::Classic, Wire::Framed].iter().all(|wire| default.misses(*wire).is_none()));
    }

    #[test]
    fn people_are_told_what_it_comes_to() {
        let on = |name: &str, wire| name.parse::<Compress>().unwrap().on(wire);
        assert_eq!(on("lz4", Wire::Auto), "lz4, flate on the classic wire");
        assert_eq!(on("none", Wire::Auto), "none");
        assert_eq!((on("flate", Wire::Framed), on("flate", Wire::Classic)), ("zstd".into(), "flate".into()));
    }
}
