//! What each side says behind its hello about what it takes: type, length and value, unknown types skipped.

use std::{error::Error, fmt};

use super::varint;

/// Bytes of all settings together, at most.
pub const MAX_SETTINGS: usize = 4096;
/// Credit never exceeds this.
pub const MAX_CREDIT: u32 = (1 << 31) - 1;
/// The longest head or trailers that a side may announce: with its frame it has to fit a record.
pub const MAX_HEAD: u32 = 61_000;

/// Bytes of the length before the settings.
const LENGTH: usize = 2;
const WINDOW_LOGS: std::ops::RangeInclusive<u32> = 10..=27;

/// What the sender of a hello takes. The default is what a peer that gives no settings takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The bytes of the codecs that it decodes, the preferred ones first. Bytes of unknown meaning are kept.
    pub codecs: Vec<u8>,
    /// log2 of the largest zstd window that it decodes, 10 to 27.
    pub window_log: u32,
    /// Body bytes that may be under way on the connection, at most [`MAX_CREDIT`].
    pub connection_credit: u32,
    /// Body bytes that may be under way on a stream, at most [`MAX_CREDIT`].
    pub stream_credit: u32,
    /// Calls that may be open at a time.
    pub calls: u32,
    /// The longest head or trailers, in bytes, at most [`MAX_HEAD`].
    pub head: u32,
    /// The least milliseconds between two pings.
    pub ping_ms: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            codecs: Vec::new(),
            window_log: 22,
            connection_credit: 1 << 20,
            stream_credit: 1 << 16,
            calls: u32::MAX,
            head: 16 * 1024,
            ping_ms: 500,
        }
    }
}

/// The settings that are one number.
const NUMBERS: [Number; 6] = [
    Number { kind: 2, name: "window", least: *WINDOW_LOGS.start(), most: *WINDOW_LOGS.end() },
    Number { kind: 3, name: "connection credit", least: 0, most: MAX_CREDIT },
    Number { kind: 4, name: "stream credit", least: 0, most: MAX_CREDIT },
    Number { kind: 5, name: "calls", least: 1, most: u32::MAX },
    Number { kind: 6, name: "head", least: 1, most: MAX_HEAD },
    Number { kind: 7, name: "ping", least: 0, most: u32::MAX },
];

struct Number {
    kind: u32,
    name: &'static str,
    least: u32,
    most: u32,
}

const CODECS: u32 = 1;

impl Settings {
    /// Appends the length and those settings that differ from the default.
    ///
    /// # Panics
    ///
    /// When they name so many codecs that they pass [`MAX_SETTINGS`].
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend([0; LENGTH]);
        let default = Self::default();
        if self.codecs != default.codecs {
            put(CODECS, &self.codecs, out);
        }
        for (number, (value, usual)) in NUMBERS.iter().zip(self.numbers().into_iter().zip(default.numbers())) {
            if value != usual {
                let mut bytes = Vec::new();
                varint::put(value, &mut bytes);
                put(number.kind, &bytes, out);
            }
        }
        let length = out.len() - start - LENGTH;
        assert!(length <= MAX_SETTINGS, "{length} bytes of settings are over the limit of {MAX_SETTINGS}");
        let length = u16::try_from(length).expect("4,096 at the most");
        out[start..start + LENGTH].copy_from_slice(&length.to_le_bytes());
    }

    /// Reads settings from the front of `input`, and tells how many bytes they took; `None` while they have not arrived
    /// whole.
    ///
    /// # Errors
    ///
    /// They make no sense. A length over the limit is told at once.
    pub fn decode(input: &[u8]) -> Result<Option<(Self, usize)>, SettingsError> {
        let Some((length, rest)) = input.split_first_chunk::<LENGTH>() else { return Ok(None) };
        let length = usize::from(u16::from_le_bytes(*length));
        if length > MAX_SETTINGS {
            return Err(SettingsError(Fault::TooLong(length)));
        }
        let Some(mut fields) = rest.get(..length) else { return Ok(None) };
        let mut settings = Self::default();
        let mut seen = Vec::new();
        while !fields.is_empty() {
            let (kind, value) = field(&mut fields).ok_or(SettingsError(Fault::Cut))?;
            if seen.contains(&kind) {
                return Err(SettingsError(Fault::Twice(kind)));
            }
            seen.push(kind);
            settings.set(kind, value)?;
        }
        Ok(Some((settings, LENGTH + length)))
    }

    fn set(&mut self, kind: u32, mut value: &[u8]) -> Result<(), SettingsError> {
        if kind == CODECS {
            self.codecs = value.to_vec();
            return Ok(());
        }
        let Some(at) = NUMBERS.iter().position(|number| number.kind == kind) else { return Ok(()) };
        let number = &NUMBERS[at];
        let taken = varint::take(&mut value).filter(|_| value.is_empty());
        let taken = taken.filter(|taken| (number.least..=number.most).contains(taken));
        *self.number_mut(at) = taken.ok_or(SettingsError(Fault::Value(number.name)))?;
        Ok(())
    }

    /// In the order of [`NUMBERS`].
    fn numbers(&self) -> [u32; NUMBERS.len()] {
        [self.window_log, self.connection_credit, self.stream_credit, self.calls, self.head, self.ping_ms]
    }

    fn number_mut(&mut self, at: usize) -> &mut u32 {
        [
            &mut self.window_log,
            &mut self.connection_credit,
            &mut self.stream_credit,
            &mut self.calls,
            &mut self.head,
            &mut self.ping_ms,
        ][at]
    }
}

fn put(kind: u32, value: &[u8], out: &mut Vec<u8>) {
    varint::put(kind, out);
    varint::put(u32::try_from(value.len()).unwrap_or(u32::MAX), out);
    out.extend_from_slice(value);
}

fn field<'a>(fields: &mut &'a [u8]) -> Option<(u32, &'a [u8])> {
    let kind = varint::take(fields)?;
    let length = varint::take(fields)? as usize;
    let (value, rest) = fields.split_at_checked(length)?;
    *fields = rest;
    Some((kind, value))
}

/// Settings that make no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError(Fault);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Fault {
    TooLong(usize),
    Cut,
    Twice(u32),
    Value(&'static str),
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Fault::TooLong(length) => write!(f, "{length} bytes of settings are over the limit of {MAX_SETTINGS}"),
            Fault::Cut => f.write_str("the last of the settings is cut off"),
            Fault::Twice(kind) => write!(f, "setting {kind} is given twice"),
            Fault::Value(name) => write!(f, "the setting {name:?} has a value that it cannot have"),
        }
    }
}

impl Error for SettingsError {}
