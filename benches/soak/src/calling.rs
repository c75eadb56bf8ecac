//! The near side: calls of every kind, some of them given up.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use fastrpc::{Error, ErrorKind};
use tokio::time::{sleep, timeout};

use crate::content::Content;
use crate::link::{BodyReader, BodyWriter, Link, SendBody};
use crate::order::{Answer, Kind, Order};
use crate::report::one;
use crate::run::Scene;
use crate::serving::{PIECE, rest};

/// Nothing that is wanted takes so long.
const LIMIT: Duration = Duration::from_secs(60);

/// Why a call did not go as it should.
pub(crate) enum Trouble {
    Failed(Error),
    Wrong(String),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// What is left to do after a trouble.
#[derive(PartialEq, Eq)]
pub(crate) enum After {
    /// It may be made once more.
    Again,
    /// Its connection was cut, so nothing is known of it.
    Cut,
    /// It was a fault.
    Fault,
}

impl Scene {
    /// Judges a trouble on this link, and counts it. Another link may take a moment, which is waited for.
    pub(crate) async fn judge(&self, link: &Link, order: Order, trouble: &Trouble) -> After {
        sleep(Duration::from_millis(10)).await;
        match trouble {
            Trouble::Failed(_) if link.is_cut() => {
                one(&self.tally.cut);
                After::Cut
            }
            Trouble::Failed(error) if link.is_draining() && error.may_retry() => {
                one(&self.tally.again);
                After::Again
            }
            Trouble::Failed(error) => {
                self.tally.fault(format!("{order:?} failed: {error:?}"));
                After::Fault
            }
            Trouble::Wrong(what) => {
                self.tally.fault(format!("{order:?}: {what}"));
                After::Fault
            }
        }
    }

    /// Calls until it is told to stop.
    pub(crate) async fn calls(self: Arc<Self>, mut random: Rng) {
        while !self.stopped() {
            let order = self.random_order(&mut random);
            let link = self.link();
            match call(&link, order, &mut random).await {
                Ok(Ending::Whole) => one(&self.tally.calls),
                Ok(Ending::Dropped) => one(&self.tally.dropped),
                Err(trouble) => {
                    self.judge(&link, order, &trouble).await;
                }
            }
        }
    }

    fn random_order(&self, random: &mut Rng) -> Order {
        // Half of them are small, as calls are.
        let kind = if random.bool() { Kind::Small } else { random.choice(Kind::ALL).unwrap_or(Kind::Small) };
        let length = match kind {
            Kind::Down | Kind::Up | Kind::Echo => random.u64(0..300_000),
            _ if random.u8(0..16) == 0 => random.u64(0..40_000),
            _ => random.u64(0..3000),
        };
        let slow = random.u8(0..10) == 0;
        let pause = if slow || kind == Kind::Later { random.u64(1..100) } else { 0 };
        Order { kind, id: self.next_id(), from: 0, length, pause }
    }
}

enum Ending {
    Whole,
    Dropped,
}

async fn call(link: &Link, order: Order, random: &mut Rng) -> Result<Ending, Trouble> {
    let pieces = matches!(order.kind, Kind::Up | Kind::Echo);
    let content = Content::new(order.id);
    let asked = if pieces { 0 } else { random.u64(0..2000) };
    let body = if pieces { SendBody::Pieces } else { SendBody::Whole(content.bytes(0, asked)) };
    let limit = if order.kind == Kind::Never { Duration::from_millis(random.u64(1..500)) } else { LIMIT };
    let (reply, writer) = link.caller.call(order.encode(), body, Some(limit))?;
    let breaks_off = pieces && random.u8(0..8) == 0;
    let gives_up = random.u8(0..8) == 0;

    let writing = write(writer, order, if breaks_off { order.length / 2 } else { order.length }, breaks_off);
    let reading = async {
        let mut reply = reply; // Given up in here, it is cancelled at once.
        let reply = if gives_up {
            match timeout(Duration::from_millis(random.u64(0..300)), &mut reply).await {
                Ok(reply) => reply,
                Err(_) => return Ok(Ending::Dropped), // The future is dropped, the call with it.
            }
        } else {
            (&mut reply).await
        };
        match (order.kind, reply) {
            (Kind::Fail | Kind::Forget, Err(error)) if error.kind() == ErrorKind::Reset => Ok(Ending::Whole),
            (Kind::Never, Err(error)) if error.is_timeout() => Ok(Ending::Whole),
            (_, Err(error)) if breaks_off && !link.is_cut() && !error.is_timeout() => Ok(Ending::Dropped),
            (_, Err(error)) => Err(error.into()),
            (Kind::Fail | Kind::Forget | Kind::Never, Ok(_)) => Err(Trouble::Wrong("it has a reply".to_owned())),
            (_, Ok(reply)) => {
                let taken = if order.kind == Kind::Up { order.length } else { asked };
                check(
                    &reply.head,
                    order,
                    if order.kind == Kind::Echo || order.kind == Kind::Down { 0 } else { taken },
                )?;
                let length = if order.kind == Kind::Up { 0 } else { order.length };
                let tired = random.u8(0..6) == 0 && matches!(order.kind, Kind::Down | Kind::Echo);
                if random.u8(0..40) == 0 {
                    sleep(Duration::from_secs(2)).await; // Somebody who looks away.
                }
                match read(reply.body, order, if tired { length / 2 } else { length }, tired).await {
                    Err(Trouble::Failed(_)) if breaks_off && !link.is_cut() => Ok(Ending::Dropped),
                    Err(trouble) => Err(trouble),
                    Ok(()) if tired => Ok(Ending::Dropped),
                    Ok(()) if breaks_off => Err(Trouble::Wrong("a broken body came whole".to_owned())),
                    Ok(()) => Ok(Ending::Whole),
                }
            }
        }
    };
    let (_, ending) = tokio::join!(writing, reading);
    ending
}

/// Writes so many bytes of the body, and its end unless it breaks off. The reply tells what became of it.
async fn write(writer: Option<BodyWriter>, order: Order, length: u64, breaks_off: bool) {
    let (Some(mut writer), content) = (writer, Content::new(order.id)) else { return };
    let mut at = 0;
    while at < length {
        let piece = PIECE.min(length - at);
        if writer.write(content.bytes(at, piece)).await.is_err() {
            return;
        }
        at += piece;
    }
    if !breaks_off {
        let _ = writer.finish(None);
    }
}

/// Whether a reply is of this call.
pub(crate) fn check(head: &[u8], order: Order, taken: u64) -> Result<(), Trouble> {
    let expected = Answer { id: order.id, taken };
    match Answer::decode(head) {
        Some(answer) if answer == expected => Ok(()),
        answer => Err(Trouble::Wrong(format!("its reply says {answer:?}"))),
    }
}

/// Reads a body of this length, or a part of it.
async fn read(mut body: BodyReader, order: Order, length: u64, part: bool) -> Result<(), Trouble> {
    let (content, mut at) = (Content::new(order.id), 0);
    while !part || at < length {
        let Some(piece) = body.piece().await else { break };
        let piece = piece?;
        if !content.is(at, &piece) {
            return Err(Trouble::Wrong(format!("its body is not its own behind {at} bytes")));
        }
        at += piece.len() as u64;
        rest(order.pause).await;
    }
    if part || at == length { Ok(()) } else { Err(Trouble::Wrong(format!("its body ended after {at} bytes"))) }
}
