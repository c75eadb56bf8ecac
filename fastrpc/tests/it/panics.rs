//! Law 8: a panic costs its call alone, and what fails to encode leaves nothing in the stream.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use fastrpc::codec::tlv::{Reply, Request, Tlv};
use fastrpc::{BoxError, Call, Client, Codec, Compression, Decoded, Dispatch, ErrorKind, Failure, Handler, Server};

use crate::support::*;

const DISPATCHES: [Dispatch; 3] = [Dispatch::Inline, Dispatch::Spawn, Dispatch::Pipeline];

/// Panics where its name says.
struct Fragile;

struct FragileFuture {
    name: String,
    polled: bool,
}

impl Handler<Tlv> for Fragile {
    fn call(&self, call: Call<Request>) -> impl Future<Output = Reply> + Send {
        let name = String::from_utf8_lossy(&call.request().name).into_owned();
        assert!(name != "in the handler", "as asked: {name}");
        FragileFuture { name, polled: false }
    }
}

impl Future for FragileFuture {
    type Output = Reply;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Reply> {
        assert!(self.name != "at first", "as asked: {}", self.name);
        if !self.polled && self.name != "at once" {
            self.polled = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        assert!(self.name != "after a wait", "as asked: {}", self.name);
        Poll::Ready(Reply::new(self.name.clone()))
    }
}

impl Drop for FragileFuture {
    fn drop(&mut self) {
        let asked = self.name == "in drop" || self.name == "in drop at once";
        assert!(!asked || std::thread::panicking(), "as asked: {}", self.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_handlers_panic_costs_its_call_alone() {
    quiet();
    for dispatch in DISPATCHES {
        let settings = server().dispatch(dispatch).concurrency(1);
        let (mut peer, _, _, serving) = served(settings, Fragile).await;
        let mut panics = 0;
        for name in ["at once", "later", "in the handler", "at first", "after a wait", "in drop", "at once", "later"] {
            panics += 1;
            peer.ask(panics, name).await;
            let expected = if matches!(name, "at once" | "later") { name } else { "panicked" };
            assert_eq!(peer.answer().await, (panics, expected.to_owned()), "{dispatch:?}");
        }
        peer.finish().await;
        peer.expect_end().await;
        serving.await.unwrap().unwrap();
    }
}

/// A codec that fails or panics while it encodes what begins with `fail` or `panic`, after it has written some.
struct Treacherous;

fn treason(text: &str, out: &mut Vec<u8>) -> Result<(), BoxError> {
    out.extend_from_slice(b"half of somethi");
    assert!(!text.starts_with("panic"), "as asked: {text}");
    if text.starts_with("fail") {
        return Err("as asked".into());
    }
    if text.starts_with("shorten") {
        out.clear();
        return Ok(());
    }
    out.truncate(out.len() - 15);
    out.push(u8::try_from(text.len()).unwrap());
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

fn text(input: &mut BytesMut) -> Option<String> {
    let len = usize::from(*input.first()?);
    if input.len() <= len {
        return None;
    }
    Some(String::from_utf8(input.split_to(len + 1)[1..].to_vec()).unwrap())
}

impl Codec for Treacherous {
    type Request = String;
    type Reply = String;
    type Partial = ();

    fn encode_request(&self, request: &String, out: &mut Vec<u8>) -> Result<(), BoxError> {
        treason(request.strip_prefix("client: ").unwrap_or("fine"), &mut Vec::new())?;
        treason(request, out)
    }

    fn decode_request(&self, (): &mut (), input: &mut BytesMut) -> Result<Option<Decoded<String, String>>, BoxError> {
        Ok(text(input).map(Decoded::Message))
    }

    fn encode_reply(&self, reply: &String, out: &mut Vec<u8>) -> Result<(), BoxError> {
        treason(reply, out)
    }

    fn decode_reply(&self, (): &mut (), input: &mut BytesMut) -> Result<Option<Decoded<String, BoxError>>, BoxError> {
        Ok(text(input).map(Decoded::Message))
    }

    fn failure(&self, failure: Failure<'_>) -> String {
        match failure {
            Failure::Unencodable(error) => format!("unencodable: {error}"),
            _ => panic!("this codec cannot even say {failure:?}"),
        }
    }
}

/// What the server answers to each request: its text without the `server: `.
async fn obey(call: Call<String>) -> String {
    let request = call.into_request();
    let (slow, rest) = request.strip_prefix("slowly ").map_or((false, &*request), |rest| (true, rest));
    if slow {
        tokio::task::yield_now().await;
    }
    assert!(rest != "handler panic", "as asked");
    rest.strip_prefix("server: ").unwrap_or(rest).to_owned()
}

async fn treacherous(dispatch: Dispatch) -> Client<Treacherous> {
    let (here, there) = testkit::pipe::duplex();
    let server = Server::builder(Treacherous)
        .wire(fastrpc::Wire::Classic)
        .compression(Compression::Flate)
        .dispatch(dispatch)
        .build()
        .unwrap();
    tokio::spawn(async move { server.serve_connection(there, None, std::sync::Arc::new(obey)).await });
    let (client, driver) =
        Client::builder(Treacherous).wire(fastrpc::Wire::Classic).max_pending(2).handshake(here).await.unwrap();
    tokio::spawn(driver);
    client
}

#[tokio::test]
async fn a_request_that_cannot_be_encoded_leaves_nothing_in_the_stream() {
    quiet();
    let client = treacherous(Dispatch::Inline).await;
    for _ in 0..3 {
        // Beside a call that is fine, in one batch.
        let mut fine = client.call("fine".to_owned());
        assert!(poll_once(&mut fine).is_pending());
        let error = client.call("fail".to_owned()).await.unwrap_err();
        assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Encode, false));
        assert_eq!(fine.await.unwrap(), "fine");
        assert_eq!(client.send(&"fail".to_owned()).unwrap_err().kind(), ErrorKind::Encode);
        assert_eq!(client.call("shorten".to_owned()).await.unwrap_err().kind(), ErrorKind::Encode);

        let panicking = client.clone();
        assert!(tokio::spawn(async move { panicking.call("panic".to_owned()).await }).await.unwrap_err().is_panic());
        let panicking = client.clone();
        assert!(tokio::spawn(async move { panicking.send(&"panic".to_owned()) }).await.unwrap_err().is_panic());
        assert_eq!(client.call("next".to_owned()).await.unwrap(), "next");
        assert_eq!(client.pending(), 0);
    }
}

#[tokio::test]
async fn a_reply_that_cannot_be_encoded_is_told_and_leaves_nothing_in_the_stream() {
    quiet();
    for dispatch in DISPATCHES {
        let client = treacherous(dispatch).await;
        for speed in ["", "slowly "] {
            let call = |what: &str| client.call(format!("{speed}{what}"));
            let (failed, fine) = tokio::join!(call("server: fail"), call("fine"));
            assert_eq!(failed.unwrap(), "unencodable: as asked");
            assert_eq!(fine.unwrap(), "fine");
            assert!(call("server: panic").await.unwrap().contains("panicked"));
            assert!(call("server: shorten").await.unwrap().contains("shortened"));
            assert_eq!(call("next").await.unwrap(), "next");
        }
        assert_eq!(client.pending(), 0);
    }
}

/// When there is no way to tell a caller, its connection ends, instead of leaving the call without an answer.
#[tokio::test(start_paused = true)]
async fn a_failure_that_cannot_be_told_ends_the_connection() {
    quiet();
    for dispatch in DISPATCHES {
        for speed in ["", "slowly "] {
            let client = treacherous(dispatch).await;
            let error = client.call(format!("{speed}handler panic")).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Connection, "{dispatch:?} {error:?}");
        }
    }
}

/// Keeps the panics that tests ask for out of the output.
pub(crate) fn quiet() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let shout = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let payload = info.payload();
            let text = payload.downcast_ref::<String>().map_or("", String::as_str);
            let text = payload.downcast_ref::<&str>().copied().unwrap_or(text);
            if !text.contains("as asked") && !text.contains("cannot even say") && !text.starts_with("decode_re") {
                shout(info);
            }
        }));
    });
}
