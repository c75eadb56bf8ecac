//! `traceparent`, as W3C Trace Context has it, read strictly.

use http::header::{HeaderMap, HeaderValue};

use crate::trace_context::TRACEPARENT;

/// Whoever comes before is sampled.
pub(super) const SAMPLED: u8 = 1;
/// Flags that are handed on: sampled, and that the trace's id is random.
const KNOWN: u8 = SAMPLED | 2;

/// The place of a span in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Context {
    pub(super) trace: u128,
    pub(super) span: u64,
    pub(super) flags: u8,
}

impl Context {
    /// The caller's, if the request has exactly one that is as it should be. Versions to come are read as far as they are like this
    /// one.
    pub(super) fn read(headers: &HeaderMap) -> Option<Context> {
        let mut fields = headers.get_all(TRACEPARENT).iter();
        let (Some(field), None) = (fields.next(), fields.next()) else { return None };
        let text = field.to_str().ok()?.trim_matches([' ', '\t']);
        let (known, rest) = text.split_at_checked(55)?;
        let mut parts = known.split('-');
        let version = hex(parts.next()?, 2)?;
        let (trace, span, flags) = (hex(parts.next()?, 32)?, hex(parts.next()?, 16)?, hex(parts.next()?, 2)?);
        let follows = if version == 0 { rest.is_empty() } else { rest.is_empty() || rest.starts_with('-') };
        if parts.next().is_some() || version == 0xff || trace == 0 || span == 0 || !follows {
            return None;
        }
        let (span, flags) = (u64::try_from(span).ok()?, u8::try_from(flags).ok()?);
        Some(Context { trace, span, flags: flags & KNOWN })
    }

    /// What those who come next are told.
    pub(super) fn value(self) -> Option<HeaderValue> {
        let Context { trace, span, flags } = self;
        HeaderValue::from_str(&format!("00-{trace:032x}-{span:016x}-{flags:02x}")).ok()
    }
}

/// So many digits, none of them in upper case.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let good = text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    good.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn read(values: &[&str]) -> Option<Context> {
        let field = |value: &&str| (TRACEPARENT, HeaderValue::from_str(value).expect("a value"));
        Context::read(&values.iter().map(field).collect())
    }

    #[test]
    fn what_is_good_is_read_and_written_again() {
        let context = read(&[GOOD]).expect("good");
        let want = Context { trace: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, span: 0xb7ad_6b71_6920_3331, flags: 1 };
        assert_eq!(context, want);
        assert_eq!(context.value().expect("ASCII"), GOOD);
        assert_eq!(read(&[&GOOD.replace("-01", "-00")]).map(|context| context.flags), Some(0));
        assert_eq!(read(&[&GOOD.replace("-01", "-ff")]).map(|context| context.flags), Some(3), "others are unknown");
        for later in [
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "fe-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-comes",
        ] {
            assert_eq!(read(&[later]), Some(want), "{later}");
        }
        assert_eq!(read(&[&format!(" {GOOD}\t")]), Some(want));
    }

    #[test]
    fn what_is_not_is_none() {
        let bad = [
            "",
            "nonsense",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-011",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.what",
            "0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-001",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-cb7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333g-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01",
        ];
        for text in bad {
            assert_eq!(read(&[text]), None, "{text}");
        }
        assert_eq!(read(&[GOOD, GOOD]), None, "which of them?");
        assert_eq!(read(&[]), None);
    }

    proptest! {
        #[test]
        fn nothing_that_comes_does_harm(bytes in proptest::collection::vec(any::<u8>(), 0..80), at in 0..55_usize, byte in any::<u8>()) {
            let mut near = GOOD.as_bytes().to_vec();
            near[at] = byte;
            for bytes in [bytes, near] {
                let Ok(value) = HeaderValue::from_bytes(&bytes) else { continue };
                let headers = HeaderMap::from_iter([(TRACEPARENT, value)]);
                let Some(context) = Context::read(&headers) else { continue };
                let again = HeaderMap::from_iter([(TRACEPARENT, context.value().expect("ASCII"))]);
                prop_assert_eq!(Context::read(&again), Some(context));
            }
        }
    }
}
