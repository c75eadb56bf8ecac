//! HTTP heads as fastrpc's streams have them.

use bytes::Bytes;
use fastrpc::BoxError;
use fastrpc::stream::HeadCodec;
use http::{request, response};

use crate::Limits;
use crate::codec::framed;

/// Heads of HTTP messages within these limits. A reply of status 1xx goes ahead of the reply.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadsOf(pub(crate) Limits);

impl HeadCodec for HeadsOf {
    type Request = request::Parts;
    type Reply = response::Parts;

    fn encode_request(&self, request: &request::Parts, out: &mut Vec<u8>) -> Result<(), BoxError> {
        Ok(framed::encode_request(request, &self.0, out)?)
    }

    fn decode_request(&self, head: &Bytes) -> Result<request::Parts, BoxError> {
        Ok(framed::decode_request(head, &self.0)?)
    }

    fn encode_reply(&self, reply: &response::Parts, out: &mut Vec<u8>) -> Result<(), BoxError> {
        Ok(framed::encode_reply(reply, &self.0, out)?)
    }

    fn decode_reply(&self, head: &Bytes) -> Result<response::Parts, BoxError> {
        Ok(framed::decode_reply(head, &self.0)?)
    }
}
