//! Names of fields that programs behind the proxy may take for the same: CGI and what came of it have `X-Real-IP` and `X_Real_IP`
//! both as `HTTP_X_REAL_IP`.

use http::header::{HeaderMap, HeaderName};

/// Fields that mean something here, or are changed here. A client that spells one of them otherwise wants to be heard in its stead.
#[derive(Debug, Default)]
pub(crate) struct Spellings {
    names: Vec<HeaderName>,
    /// One of them is spelt with `_` itself, so that other spellings need none.
    unusual: bool,
}

impl Spellings {
    /// Those of these names that can be spelt otherwise.
    pub(crate) fn new<'a>(names: impl IntoIterator<Item = &'a HeaderName>) -> Spellings {
        let names = names.into_iter().filter(|name| name.as_str().contains(['-', '_']));
        let names: Vec<HeaderName> = names.cloned().collect();
        let unusual = names.iter().any(has_underscore);
        Spellings { names, unusual }
    }

    /// Removes all that is spelt otherwise. What is spelt as it should be stays.
    pub(crate) fn remove_others(&self, headers: &mut HeaderMap) {
        if self.names.is_empty() || !(self.unusual || headers.keys().any(has_underscore)) {
            return;
        }
        let is_other = |name: &HeaderName| {
            !self.names.contains(name) && self.names.iter().any(|known| are_alike(known.as_str(), name.as_str()))
        };
        let others: Vec<HeaderName> = headers.keys().filter(|name| is_other(name)).cloned().collect();
        for name in others {
            headers.remove(name);
        }
    }
}

/// Removes all of these names, however they are spelt.
pub(crate) fn remove_alike(headers: &mut HeaderMap, names: &[HeaderName]) {
    let is_one = |name: &&HeaderName| names.iter().any(|known| are_alike(known.as_str(), name.as_str()));
    let alike: Vec<HeaderName> = headers.keys().filter(is_one).cloned().collect();
    for name in alike {
        headers.remove(name);
    }
}

fn has_underscore(name: &HeaderName) -> bool {
    name.as_str().as_bytes().contains(&b'_')
}

/// Whether they are the same to who makes no difference between `-` and `_`.
pub(crate) fn are_alike(one: &str, other: &str) -> bool {
    let plain = |byte| if byte == b'_' { b'-' } else { byte };
    one.len() == other.len() && one.bytes().map(plain).eq(other.bytes().map(plain))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_other_spellings_of_these_names_go() {
        for (known, sent, want) in [
            (
                "x-real-ip",
                &["x-real-ip", "x_real-ip", "x_real_ip", "x-real_ip", "x_real_ipx", "a_b"][..],
                &["x-real-ip", "x_real_ipx", "a_b"][..],
            ),
            ("x_real-ip", &["x-real-ip", "x_real-ip", "x_real_ip", "a-b"], &["x_real-ip", "a-b"]),
            ("forwarded", &["forwarded", "for_warded"], &["forwarded", "for_warded"]),
        ] {
            let mut headers = HeaderMap::new();
            for name in sent {
                headers.append(HeaderName::from_static(name), HeaderValue::from_static("1"));
                headers.append(HeaderName::from_static(name), HeaderValue::from_static("2"));
            }
            Spellings::new([&HeaderName::from_static(known)]).remove_others(&mut headers);
            let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
            let mut want = want.to_vec();
            left.sort_unstable();
            want.sort_unstable();
            assert_eq!(left, want, "{known}");
        }
    }
}
