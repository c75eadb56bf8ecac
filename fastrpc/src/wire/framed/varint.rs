//! Integers below 2^32 in groups of 7 bits, the lowest first; bit 7 says that another group follows.

/// Bytes of the longest varint.
pub(super) const MAX_LEN: usize = 5;

/// The groups of `value`, and how many there are.
pub(super) fn groups(mut value: u32) -> ([u8; MAX_LEN], usize) {
    let mut groups = [0; MAX_LEN];
    let mut last = 0;
    while value >= 0x80 {
        groups[last] = low_bits(value) | 0x80;
        value >>= 7;
        last += 1;
    }
    groups[last] = low_bits(value);
    (groups, last + 1)
}

/// Appends `value`.
#[inline]
pub fn put(value: u32, out: &mut Vec<u8>) {
    match value {
        0..0x80 => out.push(low_bits(value)),
        0x80..0x4000 => out.extend_from_slice(&two(value)),
        _ => {
            let (groups, length) = groups(value);
            out.extend_from_slice(&groups[..length]);
        }
    }
}

/// The groups of a value below 2^14 that takes two, as most lengths and ids do.
#[inline]
pub(super) fn two(value: u32) -> [u8; 2] {
    [low_bits(value) | 0x80, low_bits(value >> 7)]
}

/// How many bytes `value` takes.
pub(super) fn len(value: u32) -> usize {
    let bits = (32 - value.leading_zeros()).max(1);
    bits.div_ceil(7) as usize
}

/// Takes a varint from the front of `input`. `None` if there is none: it is cut off, over 2^32 - 1, or longer than needed.
#[inline]
pub fn take(input: &mut &[u8]) -> Option<u32> {
    let (value, rest) = match *input {
        [byte, rest @ ..] if *byte < 0x80 => (u32::from(*byte), rest),
        [low, high @ 1..0x80, rest @ ..] => (u32::from(low & 0x7f) | u32::from(*high) << 7, rest),
        // Ids after a while.
        [low, middle @ 0x80..=0xff, high @ 1..0x80, rest @ ..] => {
            (u32::from(low & 0x7f) | u32::from(middle & 0x7f) << 7 | u32::from(*high) << 14, rest)
        }
        _ => return take_long(input),
    };
    *input = rest;
    Some(value)
}

fn take_long(input: &mut &[u8]) -> Option<u32> {
    let mut value = 0u64;
    for (at, &byte) in input.iter().take(MAX_LEN).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            let padded = byte == 0 && at > 0;
            *input = &input[at + 1..];
            return u32::try_from(value).ok().filter(|_| !padded);
        }
    }
    None
}

pub(super) fn low_bits(value: u32) -> u8 {
    (value & 0x7f) as u8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_put_is_taken(bits in 0..=32u32, noise: u32) {
            let value = if bits == 0 { 0 } else { noise >> (32 - bits) };
            let mut bytes = Vec::new();
            put(value, &mut bytes);
            prop_assert_eq!(bytes.len(), len(value));
            for cut in 0..bytes.len() {
                prop_assert_eq!(take(&mut &bytes[..cut]), None);
            }
            bytes.push(7);
            let mut input = &bytes[..];
            prop_assert_eq!(take(&mut input), Some(value));
            prop_assert_eq!(input, &[7][..]);
        }
    }

    #[test]
    fn too_large_and_padded_ones_are_none() {
        for bad in [&[0x80, 0x00][..], &[0xff, 0xff, 0xff, 0xff, 0x1f], &[0x80, 0x80, 0x80, 0x80, 0x80, 0x01]] {
            assert_eq!(take(&mut &bad[..]), None, "{bad:x?}");
        }
    }
}
