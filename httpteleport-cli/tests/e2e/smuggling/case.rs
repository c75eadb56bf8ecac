//! What one client sends on one connection, and what is to become of it.

/// A case of the corpus. Its texts are short for more:
///
/// * `INNER` is a request of 40 bytes (hexadecimal 28), which may be read as one only where the case says so;
/// * `OUTER` are the request line and `Host` of a `POST`;
/// * `CHUNKS` are a body that has `INNER` in its only chunk;
/// * `many!` are 5,000 letters;
/// * `/outer`, and what else begins so, gets the number of its case, so that each origin can tell them apart.
///
/// A harmless request follows each, the last one on its connection.
pub(super) struct Case {
    pub(super) about: &'static str,
    sent: &'static str,
    /// What the client is answered, in order: a status, or the request as the origin has understood it: method, target,
    /// host, bytes of its body.
    want: &'static [&'static str],
    /// Where an origin answers otherwise, or a wire does not carry it: its name, and what the client is answered then.
    unless: &'static [(&'static str, &'static [&'static str])],
}

/// The request that follows each case, as the origin sees it.
pub(super) const AFTER: &str = "GET /after h 0";
/// It is refused, and nothing else on its connection is read.
pub(super) const BAD: &[&str] = &["400"];
/// A body of 40 bytes, and all is well.
pub(super) const AS_A_BODY: &[&str] = &["POST /outer h 40", AFTER];
/// It is passed on without a body.
pub(super) const EMPTY: &[&str] = &["POST /outer h 0", AFTER];

pub(super) const fn case(about: &'static str, sent: &'static str, want: &'static [&'static str]) -> Case {
    Case { about, sent, want, unless: &[] }
}

impl Case {
    pub(super) const fn unless(mut self, origins: &'static [(&'static str, &'static [&'static str])]) -> Case {
        self.unless = origins;
        self
    }

    /// The bytes of the case with this number, with what follows it.
    pub(super) fn bytes(&self, number: usize) -> Vec<u8> {
        let after = "GET /after HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
        numbered(&[self.sent, after].concat(), number).into_bytes()
    }

    /// What is wanted where these, an origin or a wire, take part.
    pub(super) fn wanted(&self, names: &[&str]) -> &'static [&'static str] {
        self.unless.iter().find(|(name, _)| names.contains(name)).map_or(self.want, |(_, want)| want)
    }
}

/// A text with what is short in it made long.
pub(super) fn numbered(text: &str, number: usize) -> String {
    let mut text = text.replace("many!", &"x".repeat(5000)).replace("CHUNKS", "28\r\nINNER\r\n0\r\n\r\n");
    text = text.replace("OUTER", "POST /outer HTTP/1.1\r\nHost: h\r\n");
    text = text.replace("INNER", "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n");
    ["/outer", "/smuggled", "/after"]
        .iter()
        .fold(text, |text, target| text.replace(target, &format!("/c{number:03}{target}")))
}

/// The number of the case that a text belongs to, and the text without it.
pub(super) fn unnumbered(text: &str) -> (Option<usize>, String) {
    let mark = text.match_indices("/c").find_map(|(at, _)| {
        let digits = text.get(at + 2..at + 5)?;
        digits.parse::<usize>().ok().map(|number| (number, text.replace(&text[at..at + 5], "")))
    });
    match mark {
        Some((number, text)) => (Some(number), text),
        None => (None, text.to_owned()),
    }
}

/// Text whose characters are bytes, as the text that those bytes are.
pub(super) fn text(bytes: &str) -> String {
    let bytes: Vec<u8> = bytes.chars().map(|byte| u8::try_from(byte).expect("a byte")).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
