//! Which hosts certificates are ordered for.

use regex_lite::{Regex, RegexBuilder};

/// A name that is nobody's: a pattern that takes it takes all.
const NOBODYS: &str = "x7q2.anybody-could-order-this.invalid";

/// A regular expression that takes whole names, in lower case.
#[derive(Clone, Debug)]
pub(crate) struct HostPattern(Regex);

impl HostPattern {
    /// Reads one. It need not begin with `^` and end with `$`, though it may.
    ///
    /// # Errors
    ///
    /// It is no regular expression, or takes any name at all.
    pub(crate) fn parse(text: &str) -> Result<HostPattern, String> {
        let built = |text: &str| RegexBuilder::new(text).case_insensitive(true).size_limit(1 << 20).build();
        // By itself first, or a bracket in it could close the one around it.
        let regex = built(text).and_then(|_| built(&format!("^(?:{text})$")));
        let regex = regex.map_err(|error| format!("is no regular expression: {error}").replace('\n', " "))?;
        if regex.is_match(NOBODYS) {
            return Err("takes any name, so anyone could order certificates; write for example (www\\.)?example\\.com"
                .to_owned());
        }
        Ok(HostPattern(regex))
    }

    /// Whether it takes this name.
    pub(crate) fn takes(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

impl PartialEq for HostPattern {
    fn eq(&self, other: &HostPattern) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_takes_whole_names() {
        for text in ["(www\\.)?example\\.com", "^(www\\.)?example\\.com$", "example\\.com|www\\.example\\.com"] {
            let pattern = HostPattern::parse(text).expect(text);
            assert!(pattern.takes("example.com") && pattern.takes("www.example.com"), "{text}");
            for name in ["example.com.evil.test", "evil-example.com", "xexample.com", "www.example.comx", ""] {
                assert!(!pattern.takes(name), "{text}: {name}");
            }
        }
    }

    #[test]
    fn one_that_takes_anything_is_none() {
        for text in ["^.*$", ".*", ".+", "", "(", "[a-z0-9.-]+", "a|.*", "a)|(b"] {
            let pattern = HostPattern::parse(text);
            assert!(pattern.is_err() || text.is_empty(), "{text}");
        }
    }
}
