//! Memory that small messages are decoded from, so that they need none of their own.

use std::cell::RefCell;

use bytes::BytesMut;

/// Bytes at a time. What is kept of a message keeps as many.
const CHUNK: usize = 4096;
/// Longer messages have memory of their own.
const SMALL: usize = CHUNK / 4;

thread_local! {
    static SCRATCH: RefCell<BytesMut> = RefCell::default();
}

/// Has `read` take a copy of `message` apart. Small ones share a chunk, which is used again when nothing of them is kept.
pub(super) fn read<T>(message: &[u8], read: impl FnOnce(&mut BytesMut) -> T) -> T {
    if message.len() > SMALL {
        return read(&mut BytesMut::from(message));
    }
    // It is elsewhere when a codec makes calls of its own, or the thread ends.
    let mut scratch = SCRATCH.try_with(RefCell::take).unwrap_or_default();
    scratch.clear();
    if scratch.capacity() < message.len() && !scratch.try_reclaim(CHUNK) {
        scratch = BytesMut::with_capacity(CHUNK);
    }
    scratch.extend_from_slice(message);
    let result = read(&mut scratch);
    if scratch.capacity() <= CHUNK {
        let _ = SCRATCH.try_with(|place| place.replace(scratch));
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_messages_share_memory_that_is_used_again() {
        let mut begins = (0..1000u32).map(|n| read(&n.to_le_bytes(), |message| message.split().as_ptr().addr()));
        let first = begins.next().unwrap();
        assert!(begins.all(|begin| begin.abs_diff(first) < CHUNK), "one chunk holds them all in turn");
    }

    #[test]
    fn what_is_kept_stays_as_it_is_and_what_is_left_goes() {
        let take = |n: u32| read(&n.to_le_bytes(), |message| message.split_to(3).freeze());
        let kept: Vec<_> = (0..5000).map(take).collect();
        assert!((0..5000u32).zip(&kept).all(|(n, message)| message[..] == n.to_le_bytes()[..3]));
        assert_eq!(read(&[7; SMALL + 1], BytesMut::split)[..], [7; SMALL + 1]);
    }

    #[test]
    fn one_may_be_read_while_another_is() {
        let (inner, outer) = read(b"outer", |outer| (read(b"inner", BytesMut::split), outer.split()));
        assert_eq!((&inner[..], &outer[..]), (&b"inner"[..], &b"outer"[..]));
    }
}
