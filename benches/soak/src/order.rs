//! What a call asks for, and what its reply says: the heads.

use fastrpc::BoxError;

/// What the far side is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Take the body, answer with a body that comes whole.
    Small,
    /// The same after a while.
    Later,
    /// Answer with a body in pieces.
    Down,
    /// Take a body in pieces, say how many bytes there were.
    Up,
    /// Give a body back piece by piece.
    Echo,
    /// Break the call off.
    Fail,
    /// End without an answer.
    Forget,
    /// Never end.
    Never,
}

impl Kind {
    pub(crate) const ALL: [Self; 8] =
        [Self::Small, Self::Later, Self::Down, Self::Up, Self::Echo, Self::Fail, Self::Forget, Self::Never];
}

/// The head of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) kind: Kind,
    /// No other call has it; seed of all content of this call.
    pub(crate) id: u64,
    /// Where the content begins.
    pub(crate) from: u64,
    /// Bytes of the reply's body (`Small`, `Later`, `Down`) or of the call's (`Up`, `Echo`).
    pub(crate) length: u64,
    /// Milliseconds between one step of the far side and the next.
    pub(crate) pause: u64,
}

impl Order {
    pub(crate) fn encode(self) -> impl FnOnce(&mut Vec<u8>) -> Result<(), BoxError> {
        move |out| {
            out.push(self.kind as u8);
            for number in [self.id, self.from, self.length, self.pause] {
                out.extend_from_slice(&number.to_le_bytes());
            }
            Ok(())
        }
    }

    pub(crate) fn decode(head: &[u8]) -> Option<Self> {
        let (&kind, rest) = head.split_first()?;
        let kind = *Kind::ALL.get(usize::from(kind))?;
        let (numbers, []) = rest.as_chunks::<8>() else { return None };
        let [id, from, length, pause] = *numbers else { return None };
        let [id, from, length, pause] = [id, from, length, pause].map(u64::from_le_bytes);
        Some(Self { kind, id, from, length, pause })
    }
}

/// The head of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Of the call.
    pub(crate) id: u64,
    /// Bytes of its body that came and were right; `u64::MAX` when one was wrong.
    pub(crate) taken: u64,
}

impl Answer {
    pub(crate) fn encode(self) -> impl FnOnce(&mut Vec<u8>) -> Result<(), BoxError> {
        move |out| {
            out.extend_from_slice(&self.id.to_le_bytes());
            out.extend_from_slice(&self.taken.to_le_bytes());
            Ok(())
        }
    }

    pub(crate) fn decode(head: &[u8]) -> Option<Self> {
        let ([id, taken], []) = head.as_chunks::<8>() else { return None };
        Some(Self { id: u64::from_le_bytes(*id), taken: u64::from_le_bytes(*taken) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_as_they_are_written() {
        for kind in Kind::ALL {
            let order = Order { kind, id: 1 << 40, from: 2, length: 3, pause: 4 };
            let mut head = Vec::new();
            order.encode()(&mut head).unwrap();
            assert_eq!(Order::decode(&head), Some(order));
            assert_eq!(Order::decode(&head[1..]), None);
        }
        let mut head = Vec::new();
        Answer { id: 7, taken: 8 }.encode()(&mut head).unwrap();
        assert_eq!(Answer::decode(&head), Some(Answer { id: 7, taken: 8 }));
    }
}
