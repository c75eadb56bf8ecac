//! What every request has to pass before its body is read, whatever it came over.

use std::sync::Arc;

use http::{HeaderMap, Method, Request};
use tokio::time::Instant;

use crate::balance::Load;
use crate::clients::Clients;
use crate::config;
use crate::counters::Counters;
use crate::forwarded::Identity;
use crate::headers::check_expectation;
use crate::listen::Client;
use crate::refusal::{Reason, Refusal};
use crate::request::{RequestBody, withhold};
use crate::spelling::Spellings;
use crate::trailers::Withheld;

/// As many fields hyper takes of HTTP/1.1 where nobody says.
const MOST_FIELDS: usize = 100;

/// The gate of one listener.
pub(super) struct Gate {
    get_only: bool,
    max_headers: usize,
    /// Bytes of a head.
    pub(super) max_head: usize,
    clients: Option<Arc<Clients>>,
    identity: Identity,
    /// The header that it tells addresses in.
    withheld: Withheld,
    /// The fields that tell of it.
    identifying: Spellings,
    tls: bool,
    pub(super) counters: Arc<Counters>,
}

impl Gate {
    /// The gate of a listener with these settings. What clients have asked for so far counts on where they have the same limits
    /// as before.
    pub(super) fn new(settings: &config::Listener, counters: Arc<Counters>, before: Option<&Gate>) -> Gate {
        let limits = settings.limits.client;
        let same = before.and_then(|gate| gate.clients.clone()).filter(|clients| clients.limits() == limits);
        Gate {
            get_only: settings.limits.get_only,
            max_headers: settings.limits.max_headers.unwrap_or(usize::MAX),
            max_head: settings.limits.max_header_size,
            clients: same.or_else(|| Clients::new(limits).map(Arc::new)),
            identity: settings.identity.clone(),
            withheld: Withheld::new(settings.identity.header.iter()),
            identifying: settings.identity.spellings(),
            tls: settings.endpoint.scheme.is_tls(),
            counters,
        }
    }

    /// Finds out whose request it is that `peer` has handed over.
    pub(super) fn client(&self, headers: &HeaderMap, peer: Client) -> Client {
        self.identity.client(headers, peer)
    }

    /// Lets the client's request in; it counts as its client's until what this returns is dropped.
    ///
    /// # Errors
    ///
    /// It may not go on.
    pub(super) fn admit(&self, method: &Method, headers: &HeaderMap, client: Client) -> Result<Option<Load>, Refusal> {
        if self.get_only && method != Method::GET {
            return Err(Refusal::new(Reason::Method, "only GET is let in"));
        }
        if headers.len() > self.max_headers {
            return Err(Refusal::new(Reason::LargeHead, "the request's head has too many fields"));
        }
        check_expectation(headers)?;
        match &self.clients {
            Some(clients) => clients.admit(client, Instant::now()),
            None => Ok(None),
        }
    }

    /// Which limit a head of HTTP/1.1 is over of which so much was read; `None` where that does not show.
    pub(super) fn exceeded(&self, head: &[u8]) -> Option<String> {
        let most = if self.max_headers == usize::MAX { MOST_FIELDS } else { self.max_headers };
        let lines = head.iter().filter(|byte| **byte == b'\n').count();
        if head.len() > self.max_head {
            Some(format!("it is over the {} bytes of --in-max-header-size", self.max_head))
        } else {
            // The first is no field.
            (lines > most).then(|| format!("it has more fields than the {most} of --in-max-headers"))
        }
    }

    /// Tells upstreams whose request it is, and leaves nothing that they could take for that.
    pub(super) fn tell(&self, request: &mut Request<RequestBody>, peer: Client, client: Client) {
        self.identifying.remove_others(request.headers_mut());
        self.identity.tell(request.headers_mut(), peer, client, self.tls);
        withhold(request, &self.withheld);
    }
}
