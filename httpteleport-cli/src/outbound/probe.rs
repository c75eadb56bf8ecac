//! Asking an upstream whether it is well, over a connection of its own.

use http::header::{CONNECTION, HOST, HeaderValue, USER_AGENT};
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::connection::Unanswered;
use super::dial::Spoken;
use super::http::HttpUpstream;
use super::multiplexed::Lent;
use super::undialled::Undialled;
use super::{Upstream, one_line};
use crate::health::Options;
use crate::interims;
use crate::request::RequestBody;

/// Why it has not shown that it is well, in one line.
pub(crate) enum Ill {
    /// It is not.
    Bad(String),
    /// It could not be asked, for want of files or ports here.
    Unasked(String),
}

impl From<Undialled> for Ill {
    fn from(undialled: Undialled) -> Ill {
        let line = undialled.line().to_owned();
        if undialled.is_shortage() { Ill::Unasked(line) } else { Ill::Bad(line) }
    }
}

impl Upstream {
    /// Asks it whether it is well. Has no limit of time of its own; cancel safe.
    ///
    /// HTTP upstreams are asked for the path of the options, and have to answer with its status; teleport ones have to open
    /// a connection and answer its first bytes.
    pub(crate) async fn probe(&self, options: &Options) -> Result<(), Ill> {
        match self {
            Upstream::Http(upstream) => upstream.probe(options).await,
            Upstream::Teleport(upstream) => upstream.probe().await,
        }
    }
}

impl HttpUpstream {
    async fn probe(&self, options: &Options) -> Result<(), Ill> {
        let status = self.ask(&options.path, options).await?.status();
        if options.good.has(status) {
            Ok(())
        } else {
            Err(Ill::Bad(format!("{} answers {}", options.path, status.as_u16())))
        }
    }

    async fn ask(&self, path: &str, options: &Options) -> Result<Response<Incoming>, Ill> {
        let mut request = Request::new(RequestBody::default());
        *request.uri_mut() = path.parse().map_err(|_| Ill::Bad(format!("{path:?} is no path")))?;
        let headers = request.headers_mut();
        headers.insert(HOST, options.host.clone().unwrap_or_else(|| self.dialer.host()));
        headers.insert(USER_AGENT, HeaderValue::from_static("httptp-health"));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        let (deadline, patience) = (Instant::now() + options.timeout, options.timeout);
        let mut connection = match self.dialer.dial().await? {
            Spoken::One(connection) => connection,
            Spoken::Two(connection) => {
                request.headers_mut().remove(CONNECTION);
                let asked =
                    self.multiplexed.exchange(Lent::alone(connection), Box::new(request), deadline, patience).await;
                return asked.map(|(reply, _)| reply).map_err(|failure| Ill::Bad(failure.reason));
            }
        };
        match connection.exchange(request, &self.interims, deadline, patience).await {
            Ok(reply) => Ok(reply),
            Err(Unanswered::Flooded) => Err(Ill::Bad(interims::FLOODED.to_owned())),
            Err(Unanswered::Late) => Err(Ill::Bad("no reply in time".to_owned())),
            Err(Unanswered::Failed(error)) => Err(Ill::Bad(one_line(error.error()))),
        }
    }
}
