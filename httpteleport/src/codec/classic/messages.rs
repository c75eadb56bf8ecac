//! The types that requests and replies can have.

use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};

use super::encode;
use super::reply::Reply;
use crate::codec::error::Fault;
use crate::{Body, Limits, lazy};

/// A type of requests that [`ClassicCodec`](super::ClassicCodec) carries: `http::Request<Body>` or
/// [`lazy::Request`].
pub trait RequestMessage: sealed::Sealed + Send + Sized + 'static {
    #[doc(hidden)]
    fn encode(&self, limits: &Limits, out: &mut Vec<u8>) -> Result<(), Fault>;
    #[doc(hidden)]
    fn received(request: lazy::Request) -> Result<Self, Fault>;
}

/// A type of replies that [`ClassicCodec`](super::ClassicCodec) carries: [`Reply`] or [`lazy::Response`].
pub trait ReplyMessage: sealed::Sealed + Send + Sized + 'static {
    #[doc(hidden)]
    fn encode(&self, limits: &Limits, out: &mut Vec<u8>) -> Result<(), Fault>;
    #[doc(hidden)]
    fn received(reply: lazy::Response) -> Result<Self, Fault>;
    /// A short reply in plain text.
    #[doc(hidden)]
    fn text(status: StatusCode, text: String) -> Self;
}

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

impl RequestMessage for http::Request<Body> {
    #[inline]
    fn encode(&self, limits: &Limits, out: &mut Vec<u8>) -> Result<(), Fault> {
        encode::request(self, limits, out)
    }

    fn received(request: lazy::Request) -> Result<Self, Fault> {
        request.into_http()
    }
}

impl RequestMessage for lazy::Request {
    #[inline]
    fn encode(&self, limits: &Limits, out: &mut Vec<u8>) -> Result<(), Fault> {
        encode::lazy_request(self, limits, out)
    }

    #[inline]
    fn received(request: lazy::Request) -> Result<Self, Fault> {
        Ok(request)
    }
}

impl ReplyMessage for Reply {
    #[inline]
    fn encode(&self, limits: &Limits, out: &mut Vec<u8>) -> Result<(), Fault> {
        encode::reply(self, limits, out)
    }

    fn received(reply: lazy::Response) -> Result<Self, Fault> {
        let head_length = reply.whole_length();
        Ok(Reply { response: reply.into_http()?, to_head: false, head_length })
    }

    fn text(status: StatusCode, text: String) -> Self {
        let mut response = http::Response::new(Body::from(text));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, TEXT);
        Reply::new(response)
    }
}

impl ReplyMessage for lazy::Response {
    #[inline]
    fn encode(&self, limits: &Limits, out: &mut Vec<u8>) -> Result<(), Fault> {
        encode::lazy_reply(self, limits, out)
    }

    #[inline]
    fn received(reply: lazy::Response) -> Result<Self, Fault> {
        Ok(reply)
    }

    fn text(status: StatusCode, text: String) -> Self {
        lazy::Response::new(status).with_header(&CONTENT_TYPE, &TEXT).with_body(text)
    }
}

mod sealed {
    pub trait Sealed {}

    impl Sealed for http::Request<crate::Body> {}
    impl Sealed for crate::Reply {}
    impl Sealed for crate::lazy::Request {}
    impl Sealed for crate::lazy::Response {}
}
