//! Law 8 for values whose drop panics: replies and requests cost their call at the most, never the connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use bytes::BytesMut;
use fastrpc::{BoxError, Call, Client, Codec, Compression, Decoded, Dispatch, Failure, Server};

use crate::panics::quiet;
use crate::support::*;

/// A byte; the drop of an odd one panics, unless its thread does so already.
#[derive(Debug)]
struct Mine(u8, Arc<AtomicUsize>);

impl Drop for Mine {
    fn drop(&mut self) {
        if self.0 % 2 == 1 && !std::thread::panicking() {
            self.1.fetch_add(1, SeqCst);
            panic!("as asked: {}", self.0);
        }
    }
}

/// Sends bytes. What a client holds is even: half of it goes out as a request, and of replies the even part is taken.
#[derive(Clone, Default)]
struct Bytes(Arc<AtomicUsize>);

impl Codec for Bytes {
    type Request = Mine;
    type Reply = Mine;
    type Partial = ();

    fn encode_request(&self, request: &Mine, out: &mut Vec<u8>) -> Result<(), BoxError> {
        out.push(request.0 / 2);
        Ok(())
    }

    fn decode_request(&self, (): &mut (), input: &mut BytesMut) -> Result<Option<Decoded<Mine, Mine>>, BoxError> {
        Ok((!input.is_empty()).then(|| Decoded::Message(Mine(input.split_to(1)[0], self.0.clone()))))
    }

    fn encode_reply(&self, reply: &Mine, out: &mut Vec<u8>) -> Result<(), BoxError> {
        out.push(reply.0);
        Ok(())
    }

    fn decode_reply(&self, (): &mut (), input: &mut BytesMut) -> Result<Option<Decoded<Mine, BoxError>>, BoxError> {
        Ok((!input.is_empty()).then(|| Decoded::Message(Mine(input.split_to(1)[0] & !1, self.0.clone()))))
    }

    fn failure(&self, _: Failure<'_>) -> Mine {
        Mine(100, self.0.clone())
    }
}

#[tokio::test(start_paused = true)]
async fn a_reply_or_request_whose_drop_panics_costs_its_call_alone() {
    quiet();
    for dispatch in [Dispatch::Inline, Dispatch::Spawn, Dispatch::Pipeline] {
        let codec = Bytes::default();
        let panics = codec.0.clone();
        let (here, there) = testkit::pipe::duplex();
        let builder = Server::builder(codec.clone())
            .wire(fastrpc::Wire::Classic)
            .compression(Compression::None)
            .dispatch(dispatch)
            .concurrency(1);
        let server = builder.build().unwrap();
        let running = server.clone();
        // A request of 4 or 5 is answered after a wait; one of 1 or 5 is dropped by the handler, and that panics.
        let handler = async |call: Call<Mine>| {
            let (asked, count) = (call.request().0, call.request().1.clone());
            if asked >= 4 {
                tokio::time::sleep(ms(1)).await;
            }
            drop(call);
            Mine(asked + 7, count)
        };
        tokio::spawn(async move { server.serve_connection(there, None, Arc::new(handler)).await });
        let (client, driver) = Client::builder(codec)
            .wire(fastrpc::Wire::Classic)
            .compression(Compression::None)
            .handshake(here)
            .await
            .unwrap();
        tokio::spawn(driver);
        for (asked, answer) in [(0, 6), (1, 100), (2, 8), (4, 10), (5, 100), (0, 6)] {
            let sent = Mine(asked * 2, Arc::default());
            let reply = client.call(sent).await.unwrap();
            assert_eq!(reply.0, answer, "{dispatch:?} {asked}");
        }
        settle().await;
        assert_eq!(running.stats().pending, 0, "{dispatch:?}: every permit is back");
        assert_eq!((running.stats().connection_errors, running.stats().errors), (0, 2), "{dispatch:?}");
        assert_eq!(panics.load(SeqCst), 6, "{dispatch:?}: two requests and four replies");
    }
}
