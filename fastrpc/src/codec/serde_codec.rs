//! What the serde codecs have in common: everything but how a value becomes bytes.

/// Defines a public codec type over a [`Format`](super::serde_frame::Format).
macro_rules! serde_codec {
    ($(#[$doc:meta])* $name:ident over $format:ident) => {
        $(#[$doc])*
        pub struct $name<Req, Rep> {
            frames: Frames<$format>,
            types: PhantomData<fn(Req) -> Rep>,
        }

        impl<Req, Rep> $name<Req, Rep> {
            /// A codec with the default cap of 4 MiB a message.
            pub fn new() -> Self {
                Self { frames: Frames::new(DEFAULT_MAX_LEN), types: PhantomData }
            }

            /// Caps messages at `max_len` bytes, at most 64 MiB: a longer one is not sent, or refused when it comes.
            #[must_use]
            pub fn max_len(mut self, max_len: usize) -> Self {
                self.frames = Frames::new(max_len);
                self
            }
        }

        impl<Req, Rep> Codec for $name<Req, Rep>
        where
            Req: Serialize + DeserializeOwned + Send + 'static,
            Rep: Serialize + DeserializeOwned + Send + 'static,
        {
            type Request = Req;
            type Reply = Result<Rep, RemoteFailure>;
            type Partial = Partial;

            fn encode_request(&self, request: &Req, out: &mut Vec<u8>) -> Result<(), BoxError> {
                self.frames.encode_request(request, out)
            }

            fn decode_request(
                &self,
                partial: &mut Partial,
                input: &mut BytesMut,
            ) -> Result<Option<Decoded<Req, Self::Reply>>, BoxError> {
                self.frames.decode_request(partial, input)
            }

            fn encode_reply(&self, reply: &Self::Reply, out: &mut Vec<u8>) -> Result<(), BoxError> {
                self.frames.encode_reply(reply, out)
            }

            fn decode_reply(
                &self,
                partial: &mut Partial,
                input: &mut BytesMut,
            ) -> Result<Option<Decoded<Self::Reply, BoxError>>, BoxError> {
                self.frames.decode_reply(partial, input)
            }

            fn failure(&self, failure: Failure<'_>) -> Self::Reply {
                Err(RemoteFailure::of(&failure))
            }
        }

        impl<Req, Rep> Default for $name<Req, Rep> {
            fn default() -> Self {
                Self::new()
            }
        }

        impl<Req, Rep> Clone for $name<Req, Rep> {
            fn clone(&self) -> Self {
                Self { frames: self.frames, types: PhantomData }
            }
        }

        impl<Req, Rep> fmt::Debug for $name<Req, Rep> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.frames).finish()
            }
        }
    };
}
pub(super) use serde_codec;
