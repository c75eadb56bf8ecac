//! Messages of Go's fastrpc/tlv: u32 length, bytes; name and value to ask, a value to answer.

use super::{Error, bad, take, take_u32};

/// The most bytes that a name or a value may have.
pub const MAX_LEN: usize = 1 << 20;

/// A TLV request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlvRequest {
    /// The name, any bytes.
    pub name: Vec<u8>,
    /// The value, any bytes.
    pub value: Vec<u8>,
}

/// A TLV reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlvReply {
    /// The value, any bytes.
    pub value: Vec<u8>,
}

impl TlvRequest {
    /// A request of these bytes.
    pub fn new(name: &[u8], value: &[u8]) -> Self {
        Self { name: name.to_vec(), value: value.to_vec() }
    }

    /// The message, without an id.
    pub fn bytes(&self) -> Vec<u8> {
        [field(&self.name), field(&self.value)].concat()
    }
}

impl TlvReply {
    /// A reply of these bytes.
    pub fn new(value: &[u8]) -> Self {
        Self { value: value.to_vec() }
    }

    /// The message, without an id.
    pub fn bytes(&self) -> Vec<u8> {
        field(&self.value)
    }
}

/// Reads a request off the front of `bytes`; the second value is its length.
///
/// # Errors
///
/// It is not whole, or a length is over [`MAX_LEN`].
pub fn read_request(bytes: &[u8]) -> Result<(TlvRequest, usize), Error> {
    let mut rest = bytes;
    let name = take_field(&mut rest, "name")?;
    let value = take_field(&mut rest, "value")?;
    Ok((TlvRequest { name, value }, bytes.len() - rest.len()))
}

/// Reads a reply off the front of `bytes`; the second value is its length.
///
/// # Errors
///
/// It is not whole, or its length is over [`MAX_LEN`].
pub fn read_reply(bytes: &[u8]) -> Result<(TlvReply, usize), Error> {
    let mut rest = bytes;
    let value = take_field(&mut rest, "value")?;
    Ok((TlvReply { value }, bytes.len() - rest.len()))
}

fn field(bytes: &[u8]) -> Vec<u8> {
    let len = u32::try_from(bytes.len()).expect("a field is under 4 GiB");
    [&len.to_le_bytes(), bytes].concat()
}

fn take_field(bytes: &mut &[u8], part: &'static str) -> Result<Vec<u8>, Error> {
    let len = take_u32(bytes, part)? as usize;
    if len > MAX_LEN {
        return Err(bad(format!("a TLV {part} claims {len} bytes; {MAX_LEN} are allowed")));
    }
    take(bytes, len, part).map(<[u8]>::to_vec)
}
