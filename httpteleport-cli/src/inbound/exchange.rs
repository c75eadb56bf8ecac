//! From a client's request, as hyper has it, to its reply.

use std::convert::Infallible;

use http::header::{CONNECTION, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version, request};
use hyper::body::{Body as _, Incoming};

use super::activity::{Activity, Busy};
use super::bodiless;
use super::http::{Ends, Shared};
use super::http2::{has_blank_ends, size_of_head};
use super::policy::Bodies;
use super::upgrade::{Asked, Next};
use super::upload::Upload;
use crate::access_log;
use crate::balance::Load;
use crate::body::Body;
use crate::grpc;
use crate::headers;
use crate::listen::Client;
use crate::refusal::{Caller, Reason, Refusal};
use crate::request::{BodyFault, RequestBody};
use crate::router::Routed;
use crate::spans;
use crate::trailers;

impl Shared {
    /// The reply to a request that has begun; what has to follow it, if it agrees to another protocol, is left in `next`.
    ///
    /// The reply, and the request's body as long as it comes, keep the connection busy.
    pub(super) async fn answer(
        &self,
        mut request: Request<Incoming>,
        ends: Ends,
        activity: &Activity,
        running: Busy,
        next: &Next,
    ) -> Result<Response<Body>, Infallible> {
        self.traffic.requests.started();
        if let Some(reply) = self.tokens.as_ref().and_then(|tokens| tokens.reply(&request)) {
            return Ok(self.proven(&request, reply, ends, running));
        }
        let mut span = self.traces.begin(&mut request, ends.caller);
        let (method, version) = (request.method().clone(), request.version());
        let (client, admitted) = self.admit(&request, ends.caller.client);
        let caller = Caller { client, grpc: grpc::reply_type(&request), ..ends.caller };
        if let Some(span) = &mut span {
            span.of(client);
        }
        let logged = self.access_log.as_ref().map(|log| log.begin(&request, client));
        let mut asked = None;
        let answered = self.shutdown.unless_cut(async {
            let Routed { request, proxy, slot, after } =
                self.read(request, ends, client, admitted, activity, &mut asked).await?;
            let mut reply = proxy.forward(request, caller, slot, span.as_ref()).await;
            after.apply(&mut reply);
            Ok::<_, Refusal>(reply)
        });
        let mut reply = match answered.await {
            Some(Ok(reply)) => reply,
            Some(Err(refusal)) => {
                asked = None;
                let mut reply = caller.turn_away(&refusal, &self.counters);
                if version < Version::HTTP_2 && !refusal.0.is_harmless() {
                    reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                reply
            }
            // A client whose kept connection ended without a byte would take it that nobody has seen its request, and repeat it.
            None => {
                asked = None;
                caller.refuse(StatusCode::BAD_GATEWAY, "this process ends, and the reply has not come in time")
            }
        };
        // Said in time it is believed: a client sends nothing more on this connection.
        if version < Version::HTTP_2 && self.shutdown.has_begun() {
            reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if version == Version::HTTP_11 {
            trailers::announce_those_of_grpc(&mut reply);
        }
        if version < Version::HTTP_2 {
            headers::leave_nameless(&mut reply);
        }
        reply.body_mut().keep_busy(running);
        let (mut reply, mut agreed) = match asked {
            None => (reply, None),
            Some(asked) => asked.answered(reply, |refusal| caller.turn_away(refusal, &self.counters)),
        };
        bodiless::take_body(&method, &mut reply);
        let status = reply.status();
        self.traffic.requests.replied(status);
        // Of another protocol what counts is what is said in it.
        let body = agreed.as_mut().map_or(reply.body_mut(), |agreed| agreed.body_mut());
        access_log::answered(logged, status, body);
        spans::answered(span, status, body);
        if let Some(agreed) = agreed {
            next.set(agreed);
        }
        Ok(reply)
    }

    /// Counts and logs the reply to an authority that has asked whether a name is ours. No limit and no route has a say in it.
    fn proven(
        &self,
        request: &Request<Incoming>,
        mut reply: Response<Body>,
        ends: Ends,
        running: Busy,
    ) -> Response<Body> {
        bodiless::take_body(request.method(), &mut reply);
        reply.body_mut().keep_busy(running);
        let client = self.policy.load().gate.client(request.headers(), ends.caller.client);
        let logged = self.access_log.as_ref().map(|log| log.begin(request, client));
        let status = reply.status();
        self.traffic.requests.replied(status);
        access_log::answered(logged, status, reply.body_mut());
        reply
    }

    /// Whose request it is, and whether it may go on.
    fn admit(&self, request: &Request<Incoming>, peer: Client) -> (Client, Result<Admitted, Refusal>) {
        let policy = self.policy.load();
        let client = policy.gate.client(request.headers(), peer);
        // Of HTTP/1.1 hyper goes by it.
        if request.version() == Version::HTTP_2 && size_of_head(request) > policy.gate.max_head {
            return (client, Err(Refusal::new(Reason::LargeHead, "the request's head is too large")));
        }
        if request.version() == Version::HTTP_2 && has_blank_ends(request.headers()) {
            return (client, Err(Refusal::new(Reason::Malformed, "a field begins or ends with a blank")));
        }
        // What HTTP/1.1 asks for by GET.
        let is_extended = *request.method() == Method::CONNECT && Asked::protocol(request).is_some();
        let method = if is_extended { &Method::GET } else { request.method() };
        let load = policy.gate.admit(method, request.headers(), client);
        (client, load.map(|load| Admitted { load, bodies: policy.bodies }))
    }

    /// Makes the request one for an upstream, and finds its way. Small bodies are read whole first. What remains to be done for
    /// one that asks for another protocol is left in `asked`.
    async fn read(
        &self,
        mut request: Request<Incoming>,
        ends: Ends,
        client: Client,
        admitted: Result<Admitted, Refusal>,
        activity: &Activity,
        asked: &mut Option<Box<Asked>>,
    ) -> Result<Routed, Refusal> {
        let protocol = Asked::protocol(&request);
        // What hyper noted about this connection is of no use on the next one.
        request.extensions_mut().clear();
        let (mut parts, body) = request.into_parts();
        let Admitted { load, bodies } = match admitted {
            Ok(admitted) => admitted,
            Err(refusal) => {
                // Its drop sees to what the client still sends.
                drop(Upload::new(body, &parts, Bodies::default(), Some(activity.hold()), &self.counters, client));
                return Err(refusal);
            }
        };
        let (body, length) = match protocol {
            None if body.is_end_stream() => (RequestBody::default(), Some(0)),
            None => {
                let mut upload = Upload::new(body, &parts, bodies, Some(activity.hold()), &self.counters, client);
                if let Err(fault) = upload.read_ahead().await {
                    if fault == BodyFault::Gone {
                        self.note_gone(parts, ends);
                    }
                    return Err(fault.refusal());
                }
                upload.announce(&mut parts.headers);
                upload.into_body()
            }
            Some(protocol) => {
                let (body, remaining) = Asked::new(&parts);
                *asked = Some(Box::new(remaining));
                parts.extensions.insert(protocol);
                (body, None)
            }
        };
        let mut request = Request::from_parts(parts, body);
        headers::prepare_request(&mut request, || ends.own_address(), length)?;
        let policy = self.policy.load();
        policy.gate.tell(&mut request, ends.caller.client, client);
        policy.router.route(Box::new(request), load)
    }
}

impl Shared {
    /// Counts a request whose client has hung up before its body was whole: for the group that it was for, as if some of it had been on
    /// its way.
    fn note_gone(&self, head: request::Parts, ends: Ends) {
        let mut request = Request::from_parts(head, RequestBody::default());
        if headers::prepare_request(&mut request, || ends.own_address(), Some(0)).is_ok() {
            self.policy.load().router.note_gone(&request);
        }
    }
}

/// What holds for a request that may go on.
struct Admitted {
    /// What it occupies of its client's limits.
    load: Option<Load>,
    bodies: Bodies,
}
