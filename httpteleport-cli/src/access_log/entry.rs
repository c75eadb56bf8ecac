//! What a line tells.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::header::{HOST, HeaderName, HeaderValue, REFERER, USER_AGENT};
use http::{Method, Request, StatusCode, Uri, Version};

use super::AccessLog;
use crate::host::without_user;
use crate::listen::Client;
use crate::trace_context;

/// One request and its reply.
pub(super) struct Entry {
    pub(super) asked: Asked,
    /// None if it was given up before there was one.
    pub(super) status: Option<StatusCode>,
    /// Of the reply's body.
    pub(super) bytes: u64,
    pub(super) took: Duration,
    pub(super) upstream: Option<String>,
}

/// What the request says of itself.
pub(super) struct Asked {
    pub(super) at: SystemTime,
    pub(super) client: Client,
    /// This and the target are none of a request that could not be read.
    pub(super) method: Option<Method>,
    pub(super) target: Option<Uri>,
    pub(super) version: Version,
    pub(super) host: Option<HeaderValue>,
    pub(super) referer: Option<HeaderValue>,
    pub(super) agent: Option<HeaderValue>,
    pub(super) trace: Option<String>,
}

impl Asked {
    /// As cheap copies as there are.
    pub(super) fn of<B>(request: &Request<B>, client: Client) -> Asked {
        let headers = request.headers();
        let field = |name: HeaderName| headers.get(name).cloned();
        Asked {
            at: SystemTime::now(),
            client,
            method: Some(request.method().clone()),
            target: Some(target(request)),
            version: request.version(),
            host: authority(request.uri()).or_else(|| field(HOST)),
            referer: field(REFERER),
            agent: field(USER_AGENT),
            trace: trace_context::trace(headers).map(str::to_owned),
        }
    }

    /// What is known of one of HTTP/1.1 that could not be read.
    pub(super) fn unread(client: Client) -> Asked {
        let (at, version) = (SystemTime::now(), Version::HTTP_11);
        let (method, target, host, referer, agent, trace) = (None, None, None, None, None, None);
        Asked { at, client, method, target, version, host, referer, agent, trace }
    }
}

/// The target as the client has said it; over HTTP/2 it says the host apart.
fn target<B>(request: &Request<B>) -> Uri {
    let path = request.uri().path_and_query().filter(|_| request.version() == Version::HTTP_2);
    path.map_or_else(|| request.uri().clone(), |path| path.clone().into())
}

/// The host that the target names.
fn authority(target: &Uri) -> Option<HeaderValue> {
    HeaderValue::from_str(without_user(target.authority()?)).ok()
}

/// A request that is being served. When it is dropped, whatever became of it, its line is written.
pub(crate) struct Exchange {
    log: Arc<AccessLog>,
    asked: Option<Asked>,
    began: Instant,
    status: Option<StatusCode>,
    bytes: u64,
    upstream: Option<String>,
}

impl Exchange {
    pub(super) fn new(log: Arc<AccessLog>, asked: Asked) -> Exchange {
        Exchange { log, asked: Some(asked), began: Instant::now(), status: None, bytes: 0, upstream: None }
    }

    /// It turned out whose request it is.
    pub(crate) fn of(&mut self, client: Client) {
        if let Some(asked) = &mut self.asked {
            asked.client = client;
        }
    }

    /// The head of its reply is there.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// So much more of the reply's body went to the client.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// Whose reply it is.
    pub(crate) fn by(&mut self, upstream: &str) {
        self.upstream = Some(upstream.to_owned());
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let Some(asked) = self.asked.take() else { return };
        let (took, upstream) = (self.began.elapsed(), self.upstream.take());
        self.log.write(Entry { asked, status: self.status, bytes: self.bytes, took, upstream });
    }
}
