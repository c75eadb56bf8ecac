//! Guesses at what was meant, where a word is known by nobody.

/// What is likelier than this may be told.
const ENOUGH: f64 = 0.75;

/// A guess at which word was meant: `; did you mean url?` Dashes before words do not count.
pub(crate) fn meant<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    asked(likely(word, known))
}

/// The known word that was meant, as far as that may be told.
pub(crate) fn likely<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    nearest(word, known, ENOUGH)
}

/// Asks whether a guess is right, if there is one.
pub(crate) fn asked(guess: Option<&str>) -> String {
    guess.map(|guess| format!("; did you mean {guess}?")).unwrap_or_default()
}

/// The known word that is likest, if it is like enough: 1 is the same, 0 another one altogether.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>, enough: f64) -> Option<&'a str> {
    let word = word.trim_start_matches('-');
    let likeness = |known: &str| {
        let known = known.trim_start_matches('-');
        // One slip of the finger makes a short word another one altogether.
        let slip = if strsim::osa_distance(word, known) == 1 { 0.9 } else { 0.0 };
        strsim::jaro_winkler(word, known).max(slip)
    };
    // Where most letters differ nobody would have guessed.
    let is_near = |known: &&str| {
        let known = known.trim_start_matches('-');
        2 * strsim::osa_distance(word, known) <= word.chars().count().max(known.chars().count())
    };
    let known = known.filter(is_near);
    let known = known.map(|known| (likeness(known), known)).filter(|(likeness, _)| *likeness > enough);
    known.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_like_a_known_word_is_told() {
        let meant = |word| meant(word, ["url", "max_body_size", "--in-allow", "-inAllowIP"].into_iter());
        assert_eq!(meant("urk"), "; did you mean url?");
        assert_eq!(meant("max_body"), "; did you mean max_body_size?");
        assert_eq!(meant("--in-alow"), "; did you mean --in-allow?");
        assert_eq!(meant("-inAllow"), "; did you mean -inAllowIP?");
        assert_eq!(meant("zebra"), "");
        let meant = |word| super::meant(word, ["wire", "c", "concurrency"].into_iter());
        assert_eq!((meant("workers"), meant("1"), meant("config")), Default::default());
    }
}
