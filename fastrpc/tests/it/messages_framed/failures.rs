//! What fails at the server, and what codecs do.

use super::*;

#[tokio::test(start_paused = true)]
async fn panics_overload_and_what_cannot_be_encoded_are_answered_and_counted() {
    quiet();
    for dispatch in [Dispatch::Inline, Dispatch::Spawn] {
        let (server, port, handler) = scene(serves().concurrency(1).dispatch(dispatch));
        let client = port.client(framed());
        assert_eq!(client.call(ask("panic")).await.unwrap().value, "panicked");
        let value = client.call(ask("too long")).await.unwrap().value;
        assert!(value.starts_with(b"unencodable: "), "{value:?}");
        let slow = spawned(&client, ask("slow"));
        handler.runs(1).await;
        assert_eq!(client.call(ask("x")).await.unwrap().value, "overloaded at 1");
        client.send(&ask("x")).unwrap(); // It is over the limit too, and not answered.
        settle().await;
        assert_eq!(server.stats().pending, 1);
        handler.0.gate.add_permits(1);
        slow.await.unwrap().unwrap();
        assert_eq!(client.call(ask("x")).await.unwrap().value, "x");
        let stats = server.stats();
        assert_eq!((stats.calls, stats.replies, stats.errors, stats.overloads, stats.pending), (6, 2, 2, 2, 0));
        let stats = client.stats();
        assert_eq!((stats.calls, stats.replies, stats.errors, stats.connections), (6, 5, 0, 1));
    }
}

/// A codec that fails or panics where a name says.
struct Treacherous(Tlv);

impl Codec for Treacherous {
    type Request = Request;
    type Reply = Reply;
    type Partial = <Tlv as Codec>::Partial;

    fn encode_request(&self, request: &Request, out: &mut Vec<u8>) -> Result<(), BoxError> {
        out.extend_from_slice(b"half of somethi");
        assert!(request.name != "panic in encode", "as asked");
        out.truncate(out.len() - 15);
        self.0.encode_request(request, out)
    }

    fn decode_request(
        &self,
        partial: &mut Self::Partial,
        input: &mut BytesMut,
    ) -> Result<Option<Decoded<Request, Reply>>, BoxError> {
        let decoded = self.0.decode_request(partial, input)?;
        if let Some(Decoded::Message(request)) = &decoded {
            assert!(request.name != "panic in decode", "as asked");
            if request.name == "refused" {
                return Ok(Some(Decoded::Refused(Reply::new("not wanted"))));
            }
        }
        Ok(decoded)
    }

    fn encode_reply(&self, reply: &Reply, out: &mut Vec<u8>) -> Result<(), BoxError> {
        out.extend_from_slice(b"half of somethi");
        assert!(reply.value != "panic in reply" && reply.value != "panic in both", "as asked");
        out.truncate(out.len() - 15);
        self.0.encode_reply(reply, out)
    }

    fn decode_reply(
        &self,
        partial: &mut Self::Partial,
        input: &mut BytesMut,
    ) -> Result<Option<Decoded<Reply, BoxError>>, BoxError> {
        let decoded = self.0.decode_reply(partial, input)?;
        if let Some(Decoded::Message(reply)) = &decoded {
            assert!(reply.value != "panic in decoded reply", "as asked");
            if reply.value == "unwelcome" {
                return Ok(Some(Decoded::Refused("unwelcome".into())));
            }
        }
        Ok(decoded)
    }

    fn failure(&self, failure: Failure<'_>) -> Reply {
        self.0.failure(failure)
    }
}

#[tokio::test(start_paused = true)]
async fn a_codec_that_panics_or_refuses_costs_its_call_alone() {
    quiet();
    let server = Server::builder(Treacherous(codec())).wire(Wire::Framed).build().unwrap();
    let dialled = Arc::<AtomicUsize>::default();
    let (counted, serving) = (dialled.clone(), server.clone());
    let dial = move || {
        let (here, there) = duplex();
        let server = serving.clone();
        let handler = |call: Call<Request>| async move { Reply::new(call.into_request().name) };
        tokio::spawn(async move { server.serve_connection(there, None, Arc::new(handler)).await });
        counted.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Ok(here))
    };
    let builder = Client::builder(Treacherous(codec())).wire(Wire::Framed).max_pending(1);
    let client = builder.connect_with("port", dial).unwrap();
    // The first waits for a connection, and is encoded elsewhere.
    for _ in 0..2 {
        for name in ["panic in encode", "panic in decoded reply"] {
            let call = client.clone();
            tokio::spawn(async move { call.call(ask(name)).await }).await.unwrap_err();
            assert_eq!(client.pending(), 0, "{name}");
        }
        let sender = client.clone();
        tokio::spawn(async move { sender.send(&ask("panic in encode")) }).await.unwrap_err();
        let reset = |name| client.call(ask(name));
        assert_eq!(reset("panic in decode").await.unwrap_err().kind(), ErrorKind::Reset);
        let value = client.call(ask("panic in reply")).await.unwrap().value;
        assert!(value.starts_with(b"unencodable: "), "{value:?}");
        assert_eq!(client.call(ask("refused")).await.unwrap().value, "not wanted");
        assert_eq!(client.call(ask("unwelcome")).await.unwrap_err().kind(), ErrorKind::Refused);
        assert_eq!(client.call(ask("fine")).await.unwrap().value, "fine");
        assert_eq!((client.pending(), server.stats().pending), (0, 0));
    }
    assert_eq!(dialled.load(Ordering::SeqCst), 1);
}
