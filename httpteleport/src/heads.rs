//! In which types a client or a server speaks.

use http::Method;

use crate::codec::classic::{ReplyMessage, RequestMessage};
use crate::codec::error::Fault;
use crate::{Body, Reply, lazy};

/// In which types a [`Client`](crate::Client) or a [`Server`](crate::Server) speaks: [`Eager`], the default, or [`Lazy`].
pub trait Heads: sealed::Sealed + Sized + Send + Sync + 'static {
    /// Requests.
    type Request: RequestMessage;
    /// Responses.
    type Response: Send + 'static;
    #[doc(hidden)]
    type Reply: ReplyMessage;

    #[doc(hidden)]
    fn method(request: &Self::Request) -> &Method;
    #[doc(hidden)]
    fn reply(asked: &Method, response: Self::Response) -> Self::Reply;
    #[doc(hidden)]
    fn response(asked: &Method, reply: lazy::Response) -> Result<Self::Response, Fault>;
    /// Types of which the framed wire makes heads; `None` for those that are the classic wire's alone.
    #[doc(hidden)]
    const FRAMED: Option<Framed<Self>>;
}

/// To the types of the `http` crate and back.
#[doc(hidden)]
pub struct Framed<H: Heads> {
    pub(crate) request: fn(http::Request<Body>) -> H::Request,
    pub(crate) into_request: fn(H::Request) -> http::Request<Body>,
    pub(crate) response: fn(http::Response<Body>) -> H::Response,
    pub(crate) into_response: fn(H::Response) -> http::Response<Body>,
}

/// The types of the `http` crate.
#[derive(Clone, Copy, Debug)]
pub enum Eager {}

/// The types of [`lazy`].
#[derive(Clone, Copy, Debug)]
pub enum Lazy {}

impl Heads for Eager {
    type Request = http::Request<Body>;
    type Response = http::Response<Body>;
    type Reply = Reply;

    fn method(request: &http::Request<Body>) -> &Method {
        request.method()
    }

    fn reply(asked: &Method, response: http::Response<Body>) -> Reply {
        Reply::answering(asked, response)
    }

    fn response(asked: &Method, reply: lazy::Response) -> Result<http::Response<Body>, Fault> {
        reply.answering(asked).into_http()
    }

    const FRAMED: Option<Framed<Self>> = Some(Framed {
        request: |request| request,
        into_request: |request| request,
        response: |response| response,
        into_response: |response| response,
    });
}

impl Heads for Lazy {
    type Request = lazy::Request;
    type Response = lazy::Response;
    type Reply = lazy::Response;

    fn method(request: &lazy::Request) -> &Method {
        request.method()
    }

    fn reply(asked: &Method, response: lazy::Response) -> lazy::Response {
        response.answering(asked)
    }

    fn response(asked: &Method, reply: lazy::Response) -> Result<lazy::Response, Fault> {
        Ok(reply.answering(asked))
    }

    const FRAMED: Option<Framed<Self>> = None;
}

mod sealed {
    pub trait Sealed {}

    impl Sealed for super::Eager {}
    impl Sealed for super::Lazy {}
}
