//! Random text of many kinds: words, names, identifiers, tokens.

use std::fmt::Write as _;

use fastrand::Rng;

/// Words that hold sentences together; about every second one is such.
const SMALL: [&str; 40] = [
    "the", "of", "and", "to", "a", "in", "is", "that", "for", "it", "with", "as", "on", "be", "at", "by", "this",
    "from", "or", "are", "was", "but", "not", "have", "you", "which", "can", "all", "will", "one", "has", "if", "more",
    "when", "there", "so", "what", "we", "about", "into",
];

const STEMS: [&str; 247] = [
    "account", "agree", "anchor", "answer", "apple", "arrive", "artist", "autumn", "bake", "balance", "banner",
    "barrel", "basket", "beacon", "blend", "board", "border", "bottle", "branch", "bread", "breeze", "bridge",
    "bright", "bronze", "brush", "bucket", "build", "burn", "butter", "cable", "call", "camp", "candle", "canvas",
    "carbon", "carpet", "carry", "cedar", "center", "chain", "chalk", "change", "charge", "chart", "check", "cherry",
    "choose", "circle", "class", "clean", "clever", "climb", "clock", "cloud", "coast", "coffee", "collect", "colour",
    "common", "copper", "copy", "corner", "cotton", "count", "course", "cover", "craft", "cream", "cross", "crystal",
    "current", "curve", "cycle", "dance", "deliver", "depend", "desert", "design", "detail", "dinner", "direct",
    "divide", "doctor", "double", "draft", "draw", "dream", "drift", "drive", "early", "earth", "eastern", "edge",
    "effort", "elder", "engine", "enter", "escape", "even", "expect", "explain", "fabric", "factor", "farm", "fashion",
    "feather", "field", "figure", "filter", "final", "finger", "finish", "flame", "float", "flower", "follow",
    "forest", "form", "fountain", "frame", "fresh", "friend", "frost", "garden", "gather", "general", "gentle",
    "glass", "golden", "grain", "granite", "green", "ground", "guess", "guide", "hammer", "handle", "harbour",
    "harvest", "hazel", "heart", "help", "honey", "horizon", "house", "hunt", "impress", "island", "ivory", "join",
    "journey", "judge", "jungle", "kettle", "kind", "kitchen", "ladder", "lamp", "large", "learn", "leather", "lemon",
    "letter", "level", "linen", "listen", "little", "local", "machine", "magnet", "maple", "marble", "mark", "market",
    "master", "measure", "meadow", "member", "metal", "minute", "mirror", "model", "moment", "morning", "motion",
    "mountain", "music", "narrow", "native", "nature", "needle", "north", "notice", "number", "ocean", "offer",
    "office", "olive", "open", "orange", "order", "paint", "paper", "partner", "pattern", "pebble", "people", "pepper",
    "piano", "picture", "pilot", "plain", "planet", "plant", "pocket", "point", "polish", "present", "press",
    "promise", "quarter", "quick", "quiet", "reason", "record", "remain", "repair", "report", "river", "round",
    "sample", "season", "second", "shadow", "silver", "simple", "spring", "stone", "summer", "table", "timber",
    "travel", "valley", "velvet", "village", "window", "winter",
];

/// What turns a stem into more words.
const ENDINGS: [&str; 10] = ["", "", "", "s", "ed", "ing", "er", "ly", "less", "able"];
const BEGINNINGS: [&str; 10] = ["", "", "", "", "", "", "re", "un", "over", "out"];

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// One of the items, each as likely.
pub(super) fn pick<'a, T: ?Sized>(random: &mut Rng, items: &[&'a T]) -> &'a T {
    items[random.usize(..items.len())]
}

/// An index below `count`, the first ones far more likely: how visitors spread over sites, or requests over users.
pub(super) fn skewed(random: &mut Rng, count: u32) -> usize {
    let x = random.f64();
    let scaled = f64::from(count) * x * x * x;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to count")]
    let index = scaled as u32;
    index.min(count - 1) as usize
}

/// A word with meaning.
pub(super) fn word(random: &mut Rng) -> String {
    [pick(random, &BEGINNINGS), pick(random, &STEMS), pick(random, &ENDINGS)].concat()
}

/// Words with a hyphen between them.
pub(super) fn slug(random: &mut Rng, words: usize) -> String {
    (0..words).map(|_| word(random)).collect::<Vec<_>>().join("-")
}

/// Words in title case.
pub(super) fn name(random: &mut Rng, words: usize) -> String {
    (0..words).map(|_| capital(&word(random))).collect::<Vec<_>>().join(" ")
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Sentences of about `length` bytes in all, without anything that JSON would escape.
pub(super) fn prose(random: &mut Rng, length: usize) -> String {
    let mut text = String::with_capacity(length + 100);
    while text.len() < length {
        for place in 0..random.usize(5..16) {
            let next = if random.bool() { pick(random, &SMALL).to_owned() } else { word(random) };
            match place {
                0 => text.push_str(&capital(&next)),
                _ => text.push_str(&next),
            }
            text.push_str(if random.usize(..9) == 0 { ", " } else { " " });
        }
        text.truncate(text.trim_end_matches([' ', ',']).len());
        text.push_str(". ");
    }
    text.truncate(text.trim_end().len());
    text
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(random: &mut Rng, digits: usize) -> String {
    (0..digits).map(|_| char::from(b"0123456789abcdef"[random.usize(..16)])).collect()
}

/// Characters as in base64 for URLs.
pub(super) fn token(random: &mut Rng, length: usize) -> String {
    (0..length).map(|_| char::from(ALPHABET[random.usize(..64)])).collect()
}

/// A version 4 UUID.
pub(super) fn uuid(random: &mut Rng) -> String {
    let variant = pick(random, &["8", "9", "a", "b"]);
    let mut text = hex(random, 8);
    for (prefix, digits) in [("-", 4), ("-4", 3), ("-", 0), (variant, 3), ("-", 12)] {
        text.push_str(prefix);
        text.push_str(&hex(random, digits));
    }
    text
}

/// A W3C trace context.
pub(super) fn traceparent(random: &mut Rng) -> String {
    format!("00-{}-{}-01", hex(random, 32), hex(random, 16))
}

/// A public IPv4 address, or what looks like one.
pub(super) fn address(random: &mut Rng) -> String {
    format!("{}.{}.{}.{}", random.u8(11..=220), random.u8(..), random.u8(..), random.u8(1..=254))
}

/// A host name with a top-level domain.
pub(super) fn domain(random: &mut Rng) -> String {
    let second = if random.bool() { word(random) } else { String::new() };
    format!("{}{second}.{}", word(random), pick(random, &["com", "com", "net", "org", "io", "de", "co.uk", "fr", "in"]))
}

/// An amount of money below `most`.
pub(super) fn amount(random: &mut Rng, most: u32) -> String {
    format!("{}.{:02}", random.u32(..most), random.u8(..100))
}

/// A browser's name for itself.
pub(super) fn user_agent(random: &mut Rng) -> String {
    let chrome = 150 - skewed(random, 12);
    let webkit = "AppleWebKit/537.36 (KHTML, like Gecko)";
    match random.u8(..8) {
        0..3 => {
            let device = pick(
                random,
                &["Android 10; K", "Android 15; Pixel 9", "Android 14; SM-A556B", "Android 13; 2201117TG"],
            );
            format!("Mozilla/5.0 (Linux; {device}) {webkit} Chrome/{chrome}.0.0.0 Mobile Safari/537.36")
        }
        3..5 => format!(
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_{0} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
             Version/18.{0} Mobile/15E148 Safari/604.1",
            skewed(random, 8)
        ),
        5 => format!("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {webkit} Chrome/{chrome}.0.0.0 Safari/537.36"),
        6 => format!("Mozilla/5.0 (Windows NT 10.0; Win64; x64) {webkit} Chrome/{chrome}.0.0.0 Safari/537.36"),
        _ => {
            let version = 144 - skewed(random, 10);
            format!("Mozilla/5.0 (X11; Linux x86_64; rv:{version}.0) Gecko/20100101 Firefox/{version}.0")
        }
    }
}

/// Unpadded base64 for URLs (RFC 4648, section 5), as in JSON web tokens.
pub(super) fn base64url(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let padded = [group[0], *group.get(1).unwrap_or(&0), *group.get(2).unwrap_or(&0)];
        let bits = u32::from_be_bytes([0, padded[0], padded[1], padded[2]]);
        for place in 0..=group.len() {
            text.push(char::from(ALPHABET[(bits >> (18 - 6 * place)) as usize & 63]));
        }
    }
    text
}

/// Joins what `make` gives for each number below `count` with commas.
pub(super) fn list(count: usize, mut make: impl FnMut(usize) -> String) -> String {
    let mut text = String::new();
    for n in 0..count {
        let comma = if n == 0 { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = write!(text, "{comma}{}", make(n));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_every_remainder() {
        for (plain, coded) in
            [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg"), ("\u{ff}?", "w78_")]
        {
            assert_eq!(base64url(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn identifiers_have_their_form() {
        let mut random = Rng::with_seed(1);
        let uuid = uuid(&mut random);
        let lengths: Vec<_> = uuid.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{uuid}");
        assert_eq!(uuid.as_bytes()[14], b'4');
        assert_eq!(traceparent(&mut random).len(), 55);
    }
}
