//! From bytes to messages, however they are cut into pieces.

use bytes::{Buf, Bytes, BytesMut};

use super::framing::Extent;
use super::head::{Facts, Read, ReplyFacts, RequestFacts};
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
    Payload(Box<(Whole<(Bytes, AnyFacts)>, Payload)>),
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

    /// Whether nothing of the message has been looked at.
    fn is_fresh(&self) -> bool {
        matches!(self.stage, Stage::Start)
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

/// The facts of a message of either direction.
enum AnyFacts {
    Request(RequestFacts),
    Reply(ReplyFacts),
}

/// A direction that messages go.
trait Direction: Facts {
    const KIND: MessageKind;
    fn wrap(self) -> AnyFacts;
    fn unwrap(any: AnyFacts) -> Option<Self>;
}

impl Direction for RequestFacts {
    const KIND: MessageKind = MessageKind::Request;

    fn wrap(self) -> AnyFacts {
        AnyFacts::Request(self)
    }

    fn unwrap(any: AnyFacts) -> Option<Self> {
        if let AnyFacts::Request(facts) = any { Some(facts) } else { None }
    }
}

impl Direction for ReplyFacts {
    const KIND: MessageKind = MessageKind::Reply;

    fn wrap(self) -> AnyFacts {
        AnyFacts::Reply(self)
    }

    fn unwrap(any: AnyFacts) -> Option<Self> {
        if let AnyFacts::Reply(facts) = any { Some(facts) } else { None }
    }
}

/// Takes one request from the front of `input`, once it is whole.
#[inline]
pub(super) fn request(
    partial: &mut Partial,
    input: &mut BytesMut,
    limits: &Limits,
) -> Result<Option<Whole<lazy::Request>>, Fault> {
    message::<RequestFacts>(partial, input, limits)
}

/// Takes one reply from the front of `input`, once it is whole.
#[inline]
pub(super) fn reply(
    partial: &mut Partial,
    input: &mut BytesMut,
    limits: &Limits,
) -> Result<Option<Whole<lazy::Response>>, Fault> {
    message::<ReplyFacts>(partial, input, limits)
}

/// Most messages have arrived whole when their first byte is looked at; others go step by step.
#[inline]
fn message<F: Direction>(
    partial: &mut Partial,
    input: &mut BytesMut,
    limits: &Limits,
) -> Result<Option<Whole<F::Message>>, Fault> {
    if partial.is_fresh()
        && input.len() > SHORTEST
        && !matches!(input[0], b'\r' | b'\n')
        && let Ok(Some(Read { facts: Ok(facts), extent: Extent::Length(body), text, end })) =
            F::read(input, partial.bodiless, limits)
        && end <= limits.max_head()
        && body <= limits.max_body() as u64
        && body <= (input.len() - end) as u64
    {
        let text = take_head(input, text, end);
        let body = take(input, usize::try_from(body).unwrap_or_default());
        return Ok(Some(Ok(facts.into_message(text, body.into()))));
    }
    in_steps::<F>(partial, input, limits)
}

/// No message is shorter.
const SHORTEST: usize = "GET / HTTP/1.1\n\n".len() - 1;

/// The text of a head at the front of `input`; its blank line is dropped.
#[inline]
fn take_head(input: &mut BytesMut, text: usize, end: usize) -> Bytes {
    let head = input.split_to(text).freeze();
    input.advance(end - text);
    head
}

#[inline]
pub(super) fn take(input: &mut BytesMut, len: usize) -> Bytes {
    if len == 0 { Bytes::new() } else { input.split_to(len).freeze() }
}

fn in_steps<F: Direction>(
    partial: &mut Partial,
    input: &mut BytesMut,
    limits: &Limits,
) -> Result<Option<Whole<F::Message>>, Fault> {
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
                Found::End { end } => {
                    let Some(read) = F::read(&input[..end], partial.bodiless, limits)? else { return Err(NO_END) };
                    let text = take_head(input, read.text, end);
                    let refusal = read.facts.as_ref().err().copied();
                    let payload = Payload::new(read.extent, refusal.is_none(), limits)?;
                    let message = read.facts.map(|facts| (text, facts.wrap()));
                    partial.stage = Stage::Payload(Box::new((message, payload)));
                }
            },
            Stage::Oversize(oversize) => {
                let Some(extent) = oversize.read(F::KIND, input, limits)? else { return Ok(None) };
                let refused = Err(Fault::HeadTooLarge { limit: limits.max_head() });
                partial.stage = Stage::Payload(Box::new((refused, Payload::new(extent, false, limits)?)));
            }
            Stage::Payload(rest) => {
                let Some(body) = rest.1.read(input)? else { return Ok(None) };
                let Stage::Payload(rest) = std::mem::take(&mut partial.stage) else { return Err(WRONG_PARTIAL) };
                return rest.0.and_then(|(text, facts)| Ok((text, facts, body?))).map_or_else(
                    |fault| Ok(Some(Err(fault))),
                    |(text, facts, body)| {
                        let facts = F::unwrap(facts).ok_or(WRONG_PARTIAL)?;
                        Ok(Some(Ok(facts.into_message(text, body.into()))))
                    },
                );
            }
        }
    }
}

const WRONG_PARTIAL: Fault = Fault::Malformed("its first part was decoded as a message of the other direction");
const NO_END: Fault = Fault::Malformed("its head has no end");

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
