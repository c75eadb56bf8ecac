//! What a head would take as HTTP/1.1 text: this is what limits count, so that they say the same on either wire.

/// Bytes of a request line and of the blank line behind the fields, without method and target.
pub(super) const REQUEST_LINE: usize = b"  HTTP/1.1\r\n\r\n".len();
/// Bytes of a status line without a reason, and of the blank line.
pub(super) const STATUS_LINE: usize = b"HTTP/1.1 200 \r\n\r\n".len();
/// Bytes of a field's line without name and value.
pub(super) const FIELD: usize = b": \r\n".len();
/// The field that asks for a protocol, by the name that HTTP/2 has for it.
pub(super) const PROTOCOL: &str = ":protocol";
/// The field with the scheme, likewise.
pub(super) const SCHEME: &str = ":scheme";
