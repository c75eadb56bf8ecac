//! Callers: each sends generated requests over an HTTP/1.1 connection of its own, one at a time.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::origin::Replies;
use super::tally::Tally;
use super::traffic::{Exchange, Generator, Shape, request_size, response_size};
use crate::outbound::{one_line, plain};

/// The traffic of one shape. No exchange comes twice.
pub(super) struct Load {
    front: SocketAddr,
    replies: Arc<Replies>,
    generator: Mutex<Generator>,
    tally: Mutex<Tally>,
}

impl Load {
    /// Traffic to the front, to which the origin answers with `replies`.
    pub(super) fn new(shape: Shape, seed: u64, front: SocketAddr, replies: Arc<Replies>) -> Load {
        Load { front, replies, generator: Mutex::new(Generator::new(shape, seed)), tally: Mutex::new(Tally::new()) }
    }

    /// Calls for so long; every caller makes at least one call and ends its last one.
    pub(super) async fn run(self: &Arc<Load>, callers: usize, time: Duration, stop: &CancellationToken) {
        let end = Instant::now() + time;
        let mut tasks = JoinSet::new();
        for _ in 0..callers {
            let (load, stop) = (Arc::clone(self), stop.clone());
            tasks.spawn(async move {
                if let Err(why) = load.caller(end, &stop).await {
                    load.tally().fail(why);
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            if ended.is_err() {
                self.tally().fail("a caller panicked".to_owned());
            }
        }
    }

    /// What the callers have seen so far.
    pub(super) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls until the end. An error means that the connection is of no use any more.
    async fn caller(&self, end: Instant, stop: &CancellationToken) -> Result<(), String> {
        let mut sender = connect(self.front).await?;
        loop {
            self.call(&mut sender).await?;
            if Instant::now() >= end || stop.is_cancelled() {
                return Ok(());
            }
        }
    }

    async fn call(&self, sender: &mut SendRequest<Full<Bytes>>) -> Result<(), String> {
        let Exchange { request, response } = self.next_exchange();
        let size = request_size(&request) + response_size(&response);
        let _expected = self.replies.expect(&request, response.clone());
        sender.ready().await.map_err(|error| one_line(&error))?;
        let started = Instant::now();
        let reply = sender.send_request(request.map(Full::new)).await.map_err(|error| one_line(&error))?;
        let (head, body) = reply.into_parts();
        let body = body.collect().await.map_err(|error| one_line(&error))?.to_bytes();
        let took = started.elapsed();
        match check(&Response::from_parts(head, body), &response) {
            Ok(()) => self.tally().add(size, took),
            Err(why) => self.tally().fail(why),
        }
        Ok(())
    }

    fn next_exchange(&self) -> Exchange {
        self.generator.lock().unwrap_or_else(PoisonError::into_inner).next_exchange()
    }
}

/// Whether the reply is the one that the origin was to give, size and all.
fn check(found: &Response<Bytes>, wanted: &Response<Bytes>) -> Result<(), String> {
    if found.status() == wanted.status() && found.body() == wanted.body() {
        return match (response_size(found), response_size(wanted)) {
            (found, wanted) if found == wanted => Ok(()),
            (found, wanted) => Err(format!("the reply has {found} bytes instead of {wanted}")),
        };
    }
    let text = String::from_utf8_lossy(found.body());
    let start: String = text.lines().next().unwrap_or_default().chars().take(200).collect();
    Err(format!("status {} instead of {}: {start}", found.status().as_u16(), wanted.status().as_u16()))
}

async fn connect(front: SocketAddr) -> Result<SendRequest<Full<Bytes>>, String> {
    let stream = TcpStream::connect(front).await.map_err(|error| plain(&error))?;
    stream.set_nodelay(true).map_err(|error| plain(&error))?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| one_line(&error))?;
    // Its errors reach the call that runs.
    tokio::spawn(connection);
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_reply_is_told_in_one_line() {
        let reply = |status: u16, body: &'static str| {
            Response::builder().status(status).body(Bytes::from_static(body.as_bytes())).expect("a reply")
        };
        assert_eq!(check(&reply(200, "x"), &reply(200, "x")), Ok(()));
        let why = check(&reply(504, "no reply\nin time"), &reply(204, "")).expect_err("wrong");
        assert_eq!(why, "status 504 instead of 204: no reply");
        assert!(check(&reply(200, "y"), &reply(200, "x")).is_err());
        let mut longer = reply(200, "x");
        longer.headers_mut().insert("x-more", http::HeaderValue::from_static("1"));
        assert_eq!(check(&longer, &reply(200, "x")).expect_err("longer"), "the reply has 31 bytes instead of 20");
    }
}
