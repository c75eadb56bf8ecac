//! Files that cannot be read, or hold anything.

use proptest::prelude::*;

use super::*;

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let missing = ConfigFile { path: "/nonexistent/web.toml".into(), typed: Typed::default() };
    assert_eq!(missing.load().expect_err("not there"), ["/nonexistent/web.toml: cannot read the file: no such file"]);
    let (_folder, config) = file(&"#".repeat(2 << 20), Typed::default());
    let large = config.load().expect_err("too large");
    assert!(large[0].ends_with("web.toml: is larger than 1048576 bytes; no settings need that"), "{large:?}");
    let endless = ConfigFile { path: "/dev/zero".into(), typed: Typed::default() };
    assert_eq!(
        endless.load().expect_err("too large"),
        ["/dev/zero: is larger than 1048576 bytes; no settings need that"]
    );
}

proptest! {
    /// A text that is nearly settings: the example with pieces cut out, doubled and mixed.
    #[test]
    fn whatever_is_in_a_file_comes_to_an_end(cuts in prop::collection::vec((any::<prop::sample::Index>(), 0..40usize, "[\\[\\]a-z_=\"0-9.{}, \n]{0,6}"), 1..6)) {
        let mut text = DOCS.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example").to_owned();
        for (at, length, put) in cuts {
            let start = at.index(text.len());
            let end = (start + length).min(text.len());
            if text.is_char_boundary(start) && text.is_char_boundary(end) {
                text.replace_range(start..end, &put);
            }
        }
        // The certificates are not there, so it is never fine; each line says where.
        for line in mistakes(&text) {
            prop_assert!(line.starts_with("web.toml:"), "{}", line);
            prop_assert!(!line.contains('\n'), "{}", line);
        }
    }
}
