//! From a client's request, as hyper has it, to its reply.

use std::convert::Infallible;

use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use hyper::body::{Body as _, Incoming};

use super::http::{Ends, Shared};
use super::policy::Policy;
use super::rest::Activity;
use super::upgrade::{Asked, Next};
use super::upload::Upload;
use crate::access_log;
use crate::balance::Load;
use crate::body::Body;
use crate::headers;
use crate::listen::Client;
use crate::refusal::{Caller, Refusal};
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
        self.traffic.requests.started();
        let version = request.version();
        let policy = self.policy.load_full();
        let client = policy.gate.client(request.headers(), ends.caller.client);
        let caller = Caller { client, ..ends.caller };
        let logged = self.access_log.as_ref().map(|log| log.begin(&request, client));
        let (reply, asked) = match read(&policy, request, ends, client, activity).await {
            Ok((request, load, asked)) => (request.forward(caller).await.map(|body| body.of_client(load)), asked),
            Err(refusal) => {
                let mut reply = caller.turn_away(&refusal, &self.counters);
                if version < Version::HTTP_2 && !refusal.0.is_harmless() {
                    reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                (reply, None)
            }
        };
        let reply = reply.map(|body| body.of_caller(running));
        let reply = match asked {
            None => reply,
            Some(asked) => asked.answered(reply, next, |why| caller.refuse(StatusCode::BAD_GATEWAY, why)),
        };
        self.traffic.requests.replied(reply.status());
        Ok(access_log::answered(logged, reply))
    }
}

/// Makes the request one for an upstream, and finds its way. Small bodies are read whole first.
async fn read(
    policy: &Policy,
    mut request: Request<Incoming>,
    ends: Ends,
    client: Client,
    activity: &Activity,
) -> Result<(Routed, Option<Load>, Option<Box<Asked>>), Refusal> {
    let protocol = Asked::protocol(&request);
    // What hyper noted about this connection is of no use on the next one.
    request.extensions_mut().clear();
    let (parts, body) = request.into_parts();
    let limits = (policy.max_body, policy.patience);
    let upload = |body, running| Upload::new(body, &parts, limits, running, &policy.gate.counters);
    let load = match policy.gate.admit(&parts.method, &parts.headers, client) {
        Ok(load) => load,
        Err(refusal) => {
            // Its drop sees to what the client still sends.
            drop(upload(body, activity.hold()));
            return Err(refusal);
        }
    };
    let (body, length, asked) = match protocol {
        None => {
            let running = if body.is_end_stream() { None } else { activity.hold() };
            let mut upload = upload(body, running);
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
    policy.gate.tell(request.headers_mut(), ends.caller.client, client);
    Ok((policy.router.route(Box::new(request))?, load, asked))
}
