//! What several modules use: messages to bytes and back, in one piece or cut.

use bytes::BytesMut;
use fastrpc::codec::{BoxError, Codec, Decoded};
use http::{Request, Response};
use httpteleport::{Body, ClassicCodec, CodecError, Fault, Limits, Reply};

/// What one decoding comes to.
pub(crate) type Outcome<M, R> = Result<Option<Decoded<M, R>>, BoxError>;

pub(crate) fn codec() -> ClassicCodec {
    ClassicCodec::default()
}

/// A codec that sends heads of any length.
pub(crate) fn wide_codec() -> ClassicCodec {
    ClassicCodec::new(Limits::default().with_peer_max_head(64 << 10))
}

pub(crate) fn fault(error: &BoxError) -> Fault {
    error.downcast_ref::<CodecError>().expect("the codec's own error").fault()
}

/// The text of an encoded request.
pub(crate) fn sent(request: &Request<Body>) -> String {
    let mut out = b"before".to_vec();
    codec().encode_request(request, &mut out).expect("it can be sent");
    String::from_utf8(out.split_off(6)).expect("text")
}

/// Why a request is not sent.
pub(crate) fn not_sent(request: &Request<Body>) -> Fault {
    fault(&codec().encode_request(request, &mut Vec::new()).expect_err("it cannot be sent"))
}

/// The text of an encoded reply.
pub(crate) fn sent_reply(reply: &Reply) -> String {
    let mut out = b"before".to_vec();
    codec().encode_reply(reply, &mut out).expect("it can be sent");
    String::from_utf8(out.split_off(6)).expect("text")
}

/// The one request that `wire` is, decoded whole and, with the same outcome, byte by byte.
pub(crate) fn received(wire: impl AsRef<[u8]>) -> Request<Body> {
    received_with(&codec(), wire.as_ref())
}

pub(crate) fn received_with(codec: &ClassicCodec, wire: &[u8]) -> Request<Body> {
    let [whole, bytewise] = [usize::MAX, 1].map(|step| match in_pieces(codec, wire, step, Codec::decode_request) {
        Ok(Some(Decoded::Message(request))) => request,
        other => panic!("{other:?}"),
    });
    assert_eq!(format!("{whole:?}"), format!("{bytewise:?}"));
    whole
}

/// The one reply that `wire` is.
pub(crate) fn received_reply(wire: impl AsRef<[u8]>) -> Response<Body> {
    let [whole, bytewise] =
        [usize::MAX, 1].map(|step| match in_pieces(&codec(), wire.as_ref(), step, Codec::decode_reply) {
            Ok(Some(Decoded::Message(reply))) => reply.into_response(&http::Method::GET),
            other => panic!("{other:?}"),
        });
    assert_eq!(format!("{whole:?}"), format!("{bytewise:?}"));
    whole
}

/// Why the connection ends over `wire`, whether it comes whole or byte by byte.
pub(crate) fn fatal(wire: impl AsRef<[u8]>) -> Fault {
    fatal_of(&codec(), wire.as_ref(), Codec::decode_request)
}

pub(crate) fn fatal_reply(wire: impl AsRef<[u8]>) -> Fault {
    fatal_of(&codec(), wire.as_ref(), Codec::decode_reply)
}

fn fatal_of<M, R>(codec: &ClassicCodec, wire: &[u8], decode: Decode<M, R>) -> Fault
where
    M: std::fmt::Debug,
    R: std::fmt::Debug,
{
    let [whole, bytewise] =
        [usize::MAX, 1].map(|step| fault(&in_pieces(codec, wire, step, decode).expect_err("the connection ends")));
    assert_eq!(whole, bytewise);
    whole
}

type Partial = <ClassicCodec as Codec>::Partial;
type Decode<M, R> = fn(&ClassicCodec, &mut Partial, &mut BytesMut) -> Outcome<M, R>;

/// Feeds `wire` in pieces of `step` bytes; the message has to end with its last byte and not before.
pub(crate) fn in_pieces<M, R>(codec: &ClassicCodec, wire: &[u8], step: usize, decode: Decode<M, R>) -> Outcome<M, R> {
    let (mut partial, mut input) = (Partial::default(), BytesMut::new());
    let mut pieces = wire.chunks(step.min(wire.len().max(1)));
    while let Some(piece) = pieces.next() {
        input.extend_from_slice(piece);
        if let Some(decoded) = decode(codec, &mut partial, &mut input)? {
            assert!(input.is_empty(), "left over: {input:?}");
            assert!(pieces.next().is_none(), "it ended too early");
            return Ok(Some(decoded));
        }
    }
    Ok(None)
}

/// The refusals' test: `wire` is refused, and a good message behind it decodes. Gives the server's answer.
pub(crate) fn refused(codec: &ClassicCodec, wire: &[u8]) -> Reply {
    let good = b"GET /next HTTP/1.1\r\nHost: h\r\n\r\n";
    let [whole, bytewise] = [usize::MAX, 1].map(|step| {
        let (first, second) = two(codec, &[wire, good].concat(), step, Codec::decode_request);
        assert!(matches!(second, Decoded::Message(request) if request.uri() == "/next"), "out of step");
        match first {
            Decoded::Refused(reply) => reply,
            Decoded::Message(request) => panic!("{request:?}"),
        }
    });
    assert_eq!(format!("{whole:?}"), format!("{bytewise:?}"));
    whole
}

/// The same for a reply. Gives the error of its call.
pub(crate) fn refused_reply(codec: &ClassicCodec, wire: &[u8]) -> Fault {
    let good = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext";
    let [whole, bytewise] = [usize::MAX, 1].map(|step| {
        let (first, second) = two(codec, &[wire, good].concat(), step, Codec::decode_reply);
        assert!(matches!(second, Decoded::Message(reply) if reply.response().body().len() == 4), "out of step");
        match first {
            Decoded::Refused(error) => fault(&error),
            Decoded::Message(reply) => panic!("{reply:?}"),
        }
    });
    assert_eq!(whole, bytewise);
    whole
}

/// The two messages that `wire` is.
fn two<M, R>(codec: &ClassicCodec, wire: &[u8], step: usize, decode: Decode<M, R>) -> (Decoded<M, R>, Decoded<M, R>) {
    let (mut partial, mut input, mut found) = (Partial::default(), BytesMut::new(), Vec::new());
    for piece in wire.chunks(step.min(wire.len())) {
        input.extend_from_slice(piece);
        while let Some(decoded) = decode(codec, &mut partial, &mut input).expect("the connection goes on") {
            partial = Partial::default();
            found.push(decoded);
        }
    }
    assert!(input.is_empty() && found.len() == 2, "{} messages, left over: {input:?}", found.len());
    let second = found.pop().unwrap();
    (found.pop().unwrap(), second)
}

pub(crate) fn with_body(codec: &ClassicCodec, limit: usize) -> ClassicCodec {
    ClassicCodec::new(codec.limits().with_max_body(limit))
}
