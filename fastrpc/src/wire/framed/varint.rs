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
    if value < 0x80 {
        return out.push(low_bits(value));
    }
    let (groups, length) = groups(value);
    out.extend_from_slice(&groups[..length]);
}

/// How many bytes `value` takes.
pub(super) fn len(value: u32) -> usize {
    let bits = (32 - value.leading_zeros()).max(1);
    bits.div_ceil(7) as usize
}

/// Takes a varint from the front of `input`. `None` if there is none: it is cut off, over 2^32 - 1, or longer than needed.
#[inline]
pub fn take(input: &mut &[u8]) -> Option<u32> {
    if let [byte, rest @ ..] = input
        && *byte < 0x80
    {
        *input = rest;
        return Some(u32::from(*byte));
    }
    take_long(input)
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

fn low_bits(value: u32) -> u8 {
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
