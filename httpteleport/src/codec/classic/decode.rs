//! From bytes to messages, however they are cut into pieces.

use bytes::{Buf, Bytes, BytesMut};

use super::head;
use super::lines::{Found, Search};
use super::oversize::Oversize;
use super::payload::Payload;
use crate::codec::error::{Fault, MessageKind};
use crate::{Limits, lazy};

/// What is remembered of a message that has not arrived whole.
#[derive(Default)]
pub struct Partial {
    stage: Stage,
    /// Bytes of blank lines before the start line.
    blank: usize,
    /// Only the head will come, whatever it says.
    bodiless: bool,
}

#[derive(Default)]
enum Stage {
    /// Before the start line, where blank lines may stand.
    #[default]
    Start,
    Head(Search),
    Oversize(Oversize),
    // Rare, and much larger than the others.
    Payload(Box<(Result<Message, Fault>, Payload)>),
}

impl Partial {
    /// For the reply to a `HEAD` that went over the wire as such, from a peer that sends the length of a body and no body.
    ///
    /// That is how the Go `httptp` answers, and it cannot be read without knowing the method. A client of this crate never
    /// asks like that; recorded traffic may hold it.
    #[doc(hidden)]
    pub fn for_head_without_body() -> Self {
        Self { bodiless: true, ..Self::default() }
    }
}

impl std::fmt::Debug for Partial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.stage {
            Stage::Start => "Partial(start)",
            Stage::Head(_) => "Partial(head)",
            Stage::Oversize(_) => "Partial(head over the limit)",
            Stage::Payload(_) => "Partial(body)",
        })
    }
}

/// A message read to its end: itself, or why it is refused.
pub(super) type Whole<M> = Result<M, Fault>;

/// A message of either direction.
enum Message {
    Request(lazy::Request),
    Reply(lazy::Response),
}

/// Takes one request from the front of `input`, once it is whole.
pub(super) fn request(
    partial: &mut Partial,
    input: &mut BytesMut,
    limits: &Limits,
) -> Result<Option<Whole<lazy::Request>>, Fault> {
    match message(MessageKind::Request, partial, input, limits)? {
        None => Ok(None),
        Some(Ok(Message::Request(request))) => Ok(Some(Ok(request))),
        Some(Ok(Message::Reply(_))) => Err(WRONG_PARTIAL),
        Some(Err(fault)) => Ok(Some(Err(fault))),
    }
}

/// Takes one reply from the front of `input`, once it is whole.
pub(super) fn reply(
    partial: &mut Partial,
    input: &mut BytesMut,
    limits: &Limits,
) -> Result<Option<Whole<lazy::Response>>, Fault> {
    match message(MessageKind::Reply, partial, input, limits)? {
        None => Ok(None),
        Some(Ok(Message::Reply(reply))) => Ok(Some(Ok(reply))),
        Some(Ok(Message::Request(_))) => Err(WRONG_PARTIAL),
        Some(Err(fault)) => Ok(Some(Err(fault))),
    }
}

const WRONG_PARTIAL: Fault = Fault::Malformed("its first part was decoded as a message of the other direction");

#[inline]
fn message(
    kind: MessageKind,
    partial: &mut Partial,
    input: &mut BytesMut,
    limits: &Limits,
) -> Result<Option<Whole<Message>>, Fault> {
    loop {
        match &mut partial.stage {
            Stage::Start => {
                if !skip_blank_lines(&mut partial.blank, input, limits)? {
                    return Ok(None);
                }
                partial.stage = Stage::Head(Search::default());
            }
            Stage::Head(search) => match search.advance(input, limits.max_head()) {
                Found::Nothing => return Ok(None),
                Found::TooLong => partial.stage = Stage::Oversize(Oversize::new(partial.bodiless)),
                Found::End { end, blank, lines } => {
                    let head = input.split_to(end - blank).freeze();
                    input.advance(blank);
                    let (message, extent) = match kind {
                        MessageKind::Request => {
                            let (request, extent) = head::request(head, lines, limits)?;
                            (request.map(Message::Request), extent)
                        }
                        MessageKind::Reply => {
                            let (reply, extent) = head::reply(head, lines, partial.bodiless, limits)?;
                            (reply.map(Message::Reply), extent)
                        }
                    };
                    let payload = Payload::new(extent, message.is_ok(), limits)?;
                    return finish(partial, message, payload, input);
                }
            },
            Stage::Oversize(oversize) => {
                let Some(extent) = oversize.read(kind, input, limits)? else { return Ok(None) };
                let refused = Err(Fault::HeadTooLarge { limit: limits.max_head() });
                let payload = Payload::new(extent, false, limits)?;
                return finish(partial, refused, payload, input);
            }
            Stage::Payload(rest) => {
                let Some(bytes) = rest.1.read(input)? else { return Ok(None) };
                let message = std::mem::replace(&mut rest.0, Err(Fault::BadValue));
                partial.stage = Stage::default();
                return Ok(Some(join(message, bytes)));
            }
        }
    }
}

/// Reads the body behind a head that was just read. Most are there already, and nothing has to be put aside for them.
#[inline]
fn finish(
    partial: &mut Partial,
    message: Whole<Message>,
    mut payload: Payload,
    input: &mut BytesMut,
) -> Result<Option<Whole<Message>>, Fault> {
    if let Some(bytes) = payload.read(input)? {
        partial.stage = Stage::default();
        return Ok(Some(join(message, bytes)));
    }
    partial.stage = Stage::Payload(Box::new((message, payload)));
    Ok(None)
}

#[inline]
fn join(message: Whole<Message>, bytes: Whole<Bytes>) -> Whole<Message> {
    let mut message = message?;
    *match &mut message {
        Message::Request(request) => request.body_mut(),
        Message::Reply(reply) => reply.body_mut(),
    } = bytes?.into();
    Ok(message)
}

/// Drops CRLF and LF at the front of `input` and counts them; true once something else is there.
fn skip_blank_lines(blank: &mut usize, input: &mut BytesMut, limits: &Limits) -> Result<bool, Fault> {
    loop {
        let length = match input[..] {
            [] | [b'\r'] => return Ok(false),
            [b'\n', ..] => 1,
            [b'\r', b'\n', ..] => 2,
            _ => return Ok(true),
        };
        *blank += length;
        if *blank > limits.max_head() {
            return Err(Fault::Malformed("it begins with blank lines without end"));
        }
        input.advance(length);
    }
}
