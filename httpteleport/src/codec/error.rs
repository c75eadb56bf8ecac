//! What can be wrong with one message.

use std::error::Error as StdError;
use std::fmt;

use http::StatusCode;

/// Which of the two messages of a call is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageKind {
    /// The request, on its way from client to server.
    Request,
    /// The reply, on its way back.
    Reply,
}

/// A message that cannot be sent, is not acceptable, or is not HTTP at all.
///
/// It is small, holds no bytes of the message, and tells [which message](Self::message) and [what](Self::fault) was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodecError {
    message: MessageKind,
    fault: Fault,
}

/// What was wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// What we were to send has a longer head than the peer accepts: it would close the connection.
    PeerHeadLimit {
        /// [`Limits::peer_max_head`](crate::Limits::peer_max_head), in bytes.
        limit: usize,
    },
    /// The head that arrived is over the limit.
    HeadTooLarge {
        /// [`Limits::max_head`](crate::Limits::max_head), in bytes.
        limit: usize,
    },
    /// More header lines arrived than the limit allows.
    TooManyHeaders {
        /// [`Limits::max_headers`](crate::Limits::max_headers).
        limit: usize,
    },
    /// The body that arrived, or that was collected to be sent, is over the limit.
    BodyTooLarge {
        /// [`Limits::max_body`](crate::Limits::max_body), in bytes.
        limit: usize,
    },
    /// The request names no host, neither in a `Host` header nor in its URI.
    MissingHost,
    /// The request has more than one `Host` header.
    RepeatedHost,
    /// `CONNECT` asks for a tunnel, which the classic wire cannot carry.
    Connect,
    /// It asks to turn its stream into another protocol, and the classic wire has no streams.
    NoStreams,
    /// A status 1xx, which is not an answer.
    Interim(StatusCode),
    /// The method is not a token.
    BadMethod,
    /// The request target is not a URI.
    BadTarget,
    /// The request speaks neither HTTP/1.0 nor HTTP/1.1.
    BadVersion,
    /// The status is not in 100..=999.
    BadStatus,
    /// A header name is not a token.
    BadName,
    /// A header value holds a control byte or, on the framed wire, a blank at one of its ends.
    BadValue,
    /// A head of the framed wire ends in the middle of something.
    CutHead,
    /// A field that concerns one connection came over the framed wire, which has others for that.
    ConnectionField,
    /// `Content-Length` is not a number, says two, or stands where none may be.
    BadLength,
    /// The body is not as long as `Content-Length` says.
    WrongLength,
    /// The host holds what no host can.
    BadHost,
    /// The protocol that is asked for is none, is given twice, or a scheme without one is.
    BadProtocol,
    /// A trailer says what has to be known before the body, or what is not believed behind it.
    NotATrailer,
    /// A final status, or 101, as that of an interim head.
    NotInterim(StatusCode),
    /// The end of the message cannot be known; what was wrong with it. The connection ends.
    Malformed(&'static str),
    /// The message was refused and is longer than what is read just to find its end. The connection ends.
    SkipLimit {
        /// [`Limits::max_skip`](crate::Limits::max_skip), in bytes.
        limit: u64,
    },
}

impl CodecError {
    pub(crate) fn new(message: MessageKind, fault: Fault) -> Self {
        Self { message, fault }
    }

    pub(crate) fn request(fault: Fault) -> Self {
        Self::new(MessageKind::Request, fault)
    }

    pub(crate) fn reply(fault: Fault) -> Self {
        Self::new(MessageKind::Reply, fault)
    }

    /// The message that was wrong.
    pub fn message(&self) -> MessageKind {
        self.message
    }

    /// What was wrong with it.
    pub fn fault(&self) -> Fault {
        self.fault
    }

    /// The status with which a server or a proxy answers a caller whose call failed like this.
    ///
    /// 431, 413, 400, 501 or 505 for a request, 502 for any reply.
    pub fn status(&self) -> StatusCode {
        if self.message == MessageKind::Reply {
            return StatusCode::BAD_GATEWAY;
        }
        match self.fault {
            Fault::PeerHeadLimit { .. } | Fault::HeadTooLarge { .. } | Fault::TooManyHeaders { .. } => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Fault::BodyTooLarge { .. } | Fault::SkipLimit { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Fault::Connect | Fault::NoStreams => StatusCode::NOT_IMPLEMENTED,
            Fault::BadVersion => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Fault::MissingHost
            | Fault::RepeatedHost
            | Fault::Interim(_)
            | Fault::BadMethod
            | Fault::BadTarget
            | Fault::BadStatus
            | Fault::BadName
            | Fault::BadValue
            | Fault::CutHead
            | Fault::ConnectionField
            | Fault::BadLength
            | Fault::WrongLength
            | Fault::BadHost
            | Fault::BadProtocol
            | Fault::NotATrailer
            | Fault::NotInterim(_)
            | Fault::Malformed(_) => StatusCode::BAD_REQUEST,
        }
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.message {
            MessageKind::Request => "request: ",
            MessageKind::Reply => "reply: ",
        })?;
        match self.fault {
            Fault::PeerHeadLimit { limit } => {
                write!(f, "its head is over the {limit} bytes that the peer accepts; send fewer or shorter headers")
            }
            Fault::HeadTooLarge { limit } => {
                write!(f, "its head is over the limit of {limit} bytes; send fewer or shorter headers")
            }
            Fault::TooManyHeaders { limit } => {
                write!(f, "it has more than {limit} header lines; send fewer")
            }
            Fault::BodyTooLarge { limit } => {
                write!(f, "its body is over the limit of {limit} bytes; send less, or raise the limit on this side")
            }
            Fault::MissingHost => f.write_str("it names no host; set a Host header or use a URI with an authority"),
            Fault::RepeatedHost => f.write_str("it has more than one Host header; send one"),
            Fault::Connect => f.write_str("CONNECT needs a tunnel, which this wire cannot carry; connect directly"),
            Fault::NoStreams => f.write_str(
                "it asks for another protocol, which needs a stream, and the classic wire has none; use the framed one",
            ),
            Fault::Interim(status) => {
                write!(f, "status {} is interim and answers nothing; send a final status", status.as_u16())
            }
            Fault::BadMethod => f.write_str("its method is not a token"),
            Fault::BadTarget => f.write_str("its target is not a URI; percent-encode what does not belong in one"),
            Fault::BadVersion => f.write_str("its version is not supported; use HTTP/1.1"),
            Fault::BadStatus => f.write_str("its status is not in 100..=999"),
            Fault::BadName => f.write_str("a header name is not a token; remove it"),
            Fault::BadValue => f.write_str("a header value holds a control byte or a blank at an end; remove it"),
            Fault::CutHead => f.write_str("its head ends in the middle of a field; send it whole"),
            Fault::ConnectionField => f.write_str(
                "a header of one hop (Connection, Transfer-Encoding, Upgrade, TE and the like) is in it; remove it",
            ),
            Fault::BadLength => {
                f.write_str("its Content-Length is not one number that may be there; send one, or none")
            }
            Fault::WrongLength => f.write_str("its body is not as long as its Content-Length says; send all of it"),
            Fault::BadHost => {
                f.write_str("its host holds what no host can; send a name or address, and a port if need be")
            }
            Fault::BadProtocol => f.write_str(
                "what it says of protocol or scheme cannot be; name one protocol, in a request, and its scheme",
            ),
            Fault::NotATrailer => {
                f.write_str("a trailer frames, routes, authenticates or describes the message; send it as a header")
            }
            Fault::NotInterim(status) => {
                write!(f, "status {} is not one of an interim head; send a status 1xx but 101", status.as_u16())
            }
            Fault::Malformed(what) => write!(f, "its end cannot be known: {what}; is the peer a teleport node?"),
            Fault::SkipLimit { limit } => {
                write!(f, "it is refused and longer than the {limit} bytes that are read to find its end")
            }
        }
    }
}

impl StdError for CodecError {}
