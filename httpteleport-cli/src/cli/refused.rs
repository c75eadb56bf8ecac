//! Errors of clap in one line that begins with the option, as all errors of this program are.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Says an error in a line; `None` for help and the version, which are none.
pub(crate) fn in_a_line(error: &clap::Error) -> Option<String> {
    let about = || text(error, ContextKind::InvalidArg).map(name);
    let line = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            return None;
        }
        ErrorKind::UnknownArgument => about().map(|about| unknown(error, about)),
        ErrorKind::InvalidSubcommand => text(error, ContextKind::InvalidSubcommand).map(|word| {
            let guess = guess(error, ContextKind::SuggestedSubcommand);
            let guess = guess.map_or_else(|| HELP.to_owned(), |guess| format!("did you mean {guess}?"));
            format!("{}: unknown command; {}", without_password(word), stray(word, &guess))
        }),
        ErrorKind::ArgumentConflict => conflict(error),
        ErrorKind::MissingRequiredArgument => missing(error),
        ErrorKind::InvalidValue => about().map(|about| invalid(error, about)),
        ErrorKind::ValueValidation => about().map(|about| refused(error, about)),
        ErrorKind::InvalidUtf8 => Some("an argument is not UTF-8; write it anew".to_owned()),
        _ => None,
    };
    // What none of these tell, as far as clap says it in a line.
    let first = || error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    Some(line.unwrap_or_else(first))
}

/// Where all of it is told.
const HELP: &str = "httptp --help lists what there is";

fn unknown(error: &clap::Error, about: &str) -> String {
    if !about.starts_with('-') {
        return format!("{}: belongs to no option; {}", without_password(about), stray(about, "drop it"));
    }
    match guess(error, ContextKind::SuggestedArg) {
        Some(guess) => format!("{about}: unknown option; did you mean {}?", name(&guess)),
        None => format!("{about}: unknown option; {HELP}"),
    }
}

/// Two that exclude each other, or one twice; a command that does not stand first, or a word that clap takes for one.
fn conflict(error: &clap::Error) -> Option<String> {
    if let Some(word) = text(error, ContextKind::InvalidSubcommand) {
        let word = without_password(word);
        return Some(if super::is_command(&word) {
            format!("{word}: a command stands first, with options of its own; drop what stands before it")
        } else {
            format!("{word}: belongs to no option; {}", stray(&word, "drop it, or write its option before it"))
        });
    }
    let about = name(text(error, ContextKind::InvalidArg)?);
    let prior = guess(error, ContextKind::PriorArg)?;
    Some(match name(&prior) {
        "--in" if about == "--in" => {
            "--in: is given twice; drop one of them, or write several listeners into a file for --config".to_owned()
        }
        prior if prior == about => format!("{about}: is given twice; drop one of them"),
        prior => format!("{about}: excludes {prior}; drop one of them"),
    })
}

/// What to do about a word that stands alone.
fn stray<'a>(word: &str, otherwise: &'a str) -> &'a str {
    match word {
        "true" | "false" => "put it to its option with =, such as --in-get-only=true",
        "help" => "did you mean --help?",
        "version" => "did you mean --version?",
        _ => otherwise,
    }
}

fn missing(error: &clap::Error) -> Option<String> {
    let about = guess(error, ContextKind::InvalidArg)?;
    let usage = error.get(ContextKind::Usage).map(ToString::to_string)?;
    let usage = usage.lines().next()?.trim_start_matches("Usage: ").replace(['<', '>'], "");
    Some(format!("{}: is missing; write {usage}", name(&about)))
}

/// A value that is none of a list, or none at all.
fn invalid(error: &clap::Error, about: &str) -> String {
    let value = text(error, ContextKind::InvalidValue).unwrap_or_default();
    let whole = text(error, ContextKind::InvalidArg).unwrap_or_default().replace(['<', '>'], "");
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(known)) if !value.is_empty() => {
            let (last, others) =
                known.split_last().map_or(("", Default::default()), |(last, others)| (&**last, others));
            format!("{about} {}: use {} or {last}", without_password(value), others.join(", "))
        }
        _ => format!("{about}: needs a value; write {whole}"),
    }
}

/// A value that its reader refuses.
fn refused(error: &clap::Error, about: &str) -> String {
    let cause = std::error::Error::source(error);
    let why = match cause {
        Some(cause) => cause.to_string(),
        None => "not valid".to_owned(),
    };
    match text(error, ContextKind::InvalidValue).unwrap_or_default() {
        "" => format!("{about}: {why}"),
        value => format!("{about} {}: {why}", without_password(value)),
    }
}

fn text(error: &clap::Error, kind: ContextKind) -> Option<&str> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text),
        _ => None,
    }
}

/// The first of what may be several.
fn guess(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => texts.first().cloned(),
        _ => None,
    }
}

/// `--out` of `--out <URL[,URL...]>`, `--in-get-only` of `--in-get-only[=<BOOL>]`, `FILE` of `<FILE>`.
fn name(text: &str) -> &str {
    let text = text.split([' ', '[', '=']).next().unwrap_or(text);
    text.trim_matches(['<', '>', '.'])
}

/// A URL typed with a password must not end in a log.
fn without_password(value: &str) -> String {
    match (value.find("://"), value.rfind('@')) {
        (Some(start), Some(end)) if start < end => format!("{}***{}", &value[..start + 3], &value[end..]),
        _ => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::cli::{Stop, parse};

    fn told(line: &str) -> String {
        match parse(std::iter::once("httptp").chain(line.split_whitespace()).map(OsString::from)) {
            Err(Stop::Usage(lines)) => lines.join("\n"),
            Err(Stop::Clap(error)) => format!("clap's: {error}"),
            Ok(_) => "nothing".to_owned(),
        }
    }

    #[test]
    fn every_error_is_one_line_that_names_what_it_is_about() {
        let help = "httptp --help lists what there is";
        let bogus = &*format!("--bogus: unknown option; {help}");
        let verb = &*format!("zebra: unknown command; {help}");
        let cases = [
            ("--inn http://:0", "--inn: unknown option; did you mean --in?"),
            ("--bogus", bogus),
            ("--bogus=5", bogus),
            ("demo --secnds 5", "--secnds: unknown option; did you mean --seconds?"),
            ("zebra", verb),
            ("demoo", "demoo: unknown command; did you mean demo?"),
            ("check a b", "b: belongs to no option; drop it"),
            ("--wire auto zebra", "zebra: belongs to no option; drop it, or write its option before it"),
            (
                "--wire auto check x",
                "check: a command stands first, with options of its own; drop what stands before it",
            ),
            ("--wire auto --wire auto", "--wire: is given twice; drop one of them"),
            (
                "--in http://:1 --in http://:2",
                "--in: is given twice; drop one of them, or write several listeners into a file for --config",
            ),
            (
                "--in http://:1,http://:2",
                "--in http://:1,http://:2: takes one URL; write several listeners into a file for --config, each with its own",
            ),
            (
                "--in-get-only true",
                "true: belongs to no option; put it to its option with =, such as --in-get-only=true",
            ),
            ("help", "help: unknown command; did you mean --help?"),
            ("--wire auto help", "help: belongs to no option; did you mean --help?"),
            ("demo version", "version: belongs to no option; did you mean --version?"),
            (
                "--admin http://localhost:8040",
                "--admin http://localhost:8040: write HOST:PORT, or nothing to turn it off",
            ),
            ("--out http://web:80:81", "--out http://web:80:81: more than one port; write HOST:PORT"),
            ("cert --for a --renew --overwrite", "--renew: excludes --overwrite; drop one of them"),
            ("cert", "--for: is missing; write httptp cert --for NAME[,NAME...]"),
            ("check", "FILE: is missing; write httptp check FILE"),
            ("estimate", "FILE: is missing; write httptp estimate FILE..."),
            ("demo --seconds", "--seconds: needs a value; write --seconds N"),
            ("--wire", "--wire: needs a value; write --wire WIRE"),
            ("--in-tls-cert= --wire auto", "--in-tls-cert: needs a value; write --in-tls-cert FILE[,FILE...]"),
            ("completions basch", "SHELL basch: use bash, elvish, fish, powershell or zsh"),
            ("demo --seconds many", "--seconds many: give a whole number from 1 to 3600"),
            (
                "estimate x.har --requests-per-second -5",
                "--requests-per-second -5: give a number above 0, at most 1000000000",
            ),
            ("--price-per-gb -1", "--price-per-gb -1: give a number from 0 to 1000000, for example 0.09"),
            (
                "--in-max-body-size 1GB",
                "--in-max-body-size 1GB: is no size; write bytes, such as 65536, or 64KiB, 4MiB, 1GiB",
            ),
            ("--out-max-header-size 2MiB", "--out-max-header-size 2MiB: use 256 to 1048576 bytes"),
            (
                "--admin 127.0.0:80",
                "--admin 127.0.0:80: \"127.0.0\" is no IPv4 address; write all four numbers, such as 127.0.0.1, or a name",
            ),
            ("--retry-budget 101", "--retry-budget 101: give a whole number from 0 to 100"),
            ("--in-get-only=maybe", "--in-get-only maybe: use true or false"),
            (
                "--in-allow=",
                "--in-allow: names no network; write an address such as 10.0.0.1 or a network such as 10.0.0.0/8 or 2001:db8::/32",
            ),
        ];
        for (line, want) in cases {
            assert_eq!(told(line), want, "{line}");
        }
    }

    #[test]
    fn numbers_below_zero_are_values_and_no_options() {
        let size = "is no size; write bytes, such as 65536, or 64KiB, 4MiB, 1GiB";
        let time = "write a duration such as 300ms, 1.5s, 1m30s or 100us";
        let count = |most: u32| format!("give a whole number from 1 to {most}");
        let cases = [
            ("--in-max-body-size", "-1", size.to_owned()),
            ("--in-max-header-size", "-1KiB", size.to_owned()),
            ("--concurrency", "-1", count(1_000_000)),
            ("--client-rate", "-5", count(10_000_000)),
            ("--out-conns-per-addr", "-1.5", count(1024)),
            ("--out-timeout", "-1s", time.to_owned()),
            ("--in-delay", "-.5ms", time.to_owned()),
            ("-inMaxBodySize", "-1", size.to_owned()),
            ("-inMaxHeaderSize", "-1KiB", size.to_owned()),
            ("-concurrency", "-1", count(1_000_000)),
            ("--outConnsPerAddr", "-7", count(1024)),
            ("-outTimeout", "-1s", time.to_owned()),
            ("demo --seconds", "-1", count(3600)),
            ("cert --for a --days", "-1", count(3650)),
            ("estimate x --price-per-gb", "-1", "give a number from 0 to 1000000, for example 0.09".to_owned()),
            (
                "--in-socket-mode",
                "-660",
                "is no mode of a socket; write three octal digits of which the first is 6 or 7, such as \"660\""
                    .to_owned(),
            ),
        ];
        for (option, value, want) in cases {
            let name = option.rsplit(' ').next().unwrap_or_default();
            for line in [format!("{option} {value}"), format!("{option}={value}")] {
                assert_eq!(told(&line), format!("{name} {value}: {want}"), "{line}");
            }
        }
        assert_eq!(told("cert --for a --renew -1"), "-1: unknown option; httptp --help lists what there is");
        assert_eq!(told("check -1"), "-1: unknown option; httptp --help lists what there is");
        assert_eq!(told("--in-get-only -1"), "-1: unknown option; httptp --help lists what there is");
    }

    #[test]
    fn help_is_no_error() {
        for line in ["--help", "-V", "", "demo --help"] {
            assert!(told(line).starts_with("clap's: "), "{line}");
        }
    }

    #[test]
    fn hides_passwords() {
        assert_eq!(without_password("http://me:secret@h:1"), "http://***@h:1");
        assert_eq!(without_password("1@2"), "1@2");
    }
}
