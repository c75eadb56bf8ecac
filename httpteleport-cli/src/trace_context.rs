//! W3C Trace Context: passed as it is, and begun where nobody has, if asked for.

use fastrand::Rng;
use http::header::{Entry, HeaderMap, HeaderName, HeaderValue};

/// The field that names a trace and the caller's place in it.
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Begins a trace, unless the request is a part of one. It is not sampled: who records decides for itself.
pub(crate) fn begin(headers: &mut HeaderMap) {
    if let Entry::Vacant(place) = headers.entry(TRACEPARENT)
        && let Ok(value) = HeaderValue::from_str(&traceparent(&mut Rng::new()))
    {
        place.insert(value);
    }
}

/// Version, trace, parent, flags. Ids of zeros are none.
fn traceparent(random: &mut Rng) -> String {
    format!("00-{:032x}-{:016x}-00", random.u128(1..), random.u64(1..))
}

/// The trace that a request is a part of, if it says so as it should.
pub(crate) fn trace(headers: &HeaderMap) -> Option<&str> {
    let trace = headers.get(TRACEPARENT)?.to_str().ok()?.split('-').nth(1)?;
    (trace.len() == 32 && trace.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_begins_where_there_is_none() {
        let mut headers = HeaderMap::new();
        begin(&mut headers);
        let begun = headers[TRACEPARENT].clone();
        let parts: Vec<_> = begun.to_str().expect("ASCII").split('-').map(str::len).collect();
        assert_eq!(parts, [2, 32, 16, 2]);
        assert!(trace(&headers).is_some());
        begin(&mut headers);
        assert_eq!(headers[TRACEPARENT], begun, "it is kept");
    }

    #[test]
    fn a_trace_is_told_if_it_is_one() {
        let with = |value: &'static str| HeaderMap::from_iter([(TRACEPARENT, HeaderValue::from_static(value))]);
        let good = with("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        assert_eq!(trace(&good), Some("0af7651916cd43dd8448eb211c80319c"));
        assert!(trace(&with("00-0af7-b7ad6b7169203331-01")).is_none() && trace(&with("nonsense")).is_none());
    }
}
