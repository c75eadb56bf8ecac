//! From a client's request, as hyper has it, to its reply.

use std::convert::Infallible;

use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use hyper::body::{Body as _, Incoming};

use super::http::{Ends, Shared};
use super::rest::Activity;
use super::upgrade::{Asked, Next};
use super::upload::Upload;
use crate::body::Body;
use crate::headers;
use crate::refusal::Refusal;
use crate::request::BodyFault;
use crate::router::Routed;

impl Shared {
    /// The reply; what has to follow it, if it agrees to another protocol, is left in `next`.
    ///
    /// The reply, and the request's body as long as it comes, keep the connection busy.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        ends: Ends,
        activity: &Activity,
        next: &Next,
    ) -> Result<Response<Body>, Infallible> {
        let running = activity.begin();
        let version = request.version();
        let (reply, asked) = match self.read(request, ends, activity).await {
            Ok((request, asked)) => (request.forward(ends.caller).await, asked),
            Err(Refusal(status, why)) => {
                let mut reply = ends.caller.refuse(status, &why);
                if version < Version::HTTP_2 {
                    reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                (reply, None)
            }
        };
        let reply = reply.map(|body| body.of_caller(running));
        Ok(match asked {
            None => reply,
            Some(asked) => asked.answered(reply, next, |why| ends.caller.refuse(StatusCode::BAD_GATEWAY, why)),
        })
    }

    /// Makes the request one for an upstream, and finds its way. Small bodies are read whole first.
    async fn read(
        &self,
        mut request: Request<Incoming>,
        ends: Ends,
        activity: &Activity,
    ) -> Result<(Routed, Option<Box<Asked>>), Refusal> {
        let protocol = Asked::protocol(&request);
        // What hyper noted about this connection is of no use on the next one.
        request.extensions_mut().clear();
        let (parts, body) = request.into_parts();
        let (body, length, asked) = match protocol {
            None => {
                let running = if body.is_end_stream() { None } else { activity.hold() };
                let mut upload = Upload::new(body, &parts, self.max_body, running);
                upload.read_ahead().await.map_err(BodyFault::refusal)?;
                let (body, length) = upload.into_body();
                (body, length, None)
            }
            Some(protocol) => {
                let (body, asked) = Asked::new(protocol, &parts);
                (body, None, Some(Box::new(asked)))
            }
        };
        let mut request = Request::from_parts(parts, body);
        if let Some(asked) = &asked {
            request.extensions_mut().insert(asked.protocol.clone());
        }
        headers::prepare_request(&mut request, || ends.own_address(), length)?;
        Ok((self.router.route(Box::new(request))?, asked))
    }
}
