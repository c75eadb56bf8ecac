//! The command line of Go's `httptp` in the words of ours: a unit file that starts that one starts this one.
//!
//! Go's syntax: one dash or two; `-name=value` or `-name value`; a boolean alone is true, and takes a value only after `=`; a flag
//! that comes twice counts as it came last. What is no flag of Go's stays as it is, so both spellings mix.

use std::ffi::{OsStr, OsString};

use crate::meant::meant;

mod idle;

pub(crate) use idle::without_idle;

/// What the value of a flag is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Goes on as it is, an empty one as well.
    Text,
    /// The same; an empty one means that the flag was not given.
    Optional,
    /// A whole number, as Go writes it in a program, or as we do.
    Number,
    /// A time.
    Time,
    /// Yes or no.
    Bool,
    /// Addresses, without the scheme that stands in the flag named.
    Addresses(&'static str),
    /// The scheme of another flag's addresses.
    Scheme,
}

/// All flags, and the options that they are here.
const FLAGS: [(&str, &str, Kind); 25] = [
    ("autocertCacheDir", "--autocert-cache-dir", Kind::Optional),
    ("autocertHostRegexp", "--autocert-host-regexp", Kind::Optional),
    ("clientIPHeader", "--in-client-ip-header", Kind::Optional),
    ("concurrency", "--concurrency", Kind::Number),
    ("expvarAddr", "--admin", Kind::Text),
    ("in", "--in", Kind::Addresses("inType")),
    ("inAllowIP", "--in-allow", Kind::Optional),
    ("inCompress", "--in-compress", Kind::Text),
    ("inDelay", "--in-delay", Kind::Time),
    ("inGetOnly", "--in-get-only", Kind::Bool),
    ("inMaxBodySize", "--in-max-body-size", Kind::Number),
    ("inMaxHeaderSize", "--in-max-header-size", Kind::Number),
    ("inTLSCert", "--in-tls-cert", Kind::Optional),
    ("inTLSKey", "--in-tls-key", Kind::Optional),
    ("inTLSSessionTicketKey", "--in-tls-session-ticket-key", Kind::Optional),
    ("inType", "--in", Kind::Scheme),
    ("logAllErrors", "--log-all-errors", Kind::Bool),
    ("out", "--out", Kind::Addresses("outType")),
    ("outCompress", "--out-compress", Kind::Text),
    ("outConnsPerAddr", "--out-conns-per-addr", Kind::Number),
    ("outDelay", "--out-delay", Kind::Time),
    ("outMaxHeaderSize", "--out-max-header-size", Kind::Number),
    ("outTimeout", "--out-timeout", Kind::Time),
    ("outType", "--out", Kind::Scheme),
    ("reusePort", "--reuse-port", Kind::Bool),
];

/// Where Go's `httptp` listens and connects to if it is not told, and the schemes of these.
const DEFAULTS: [(&str, &str, &str, &str); 2] =
    [("in", "inType", "http", "127.0.0.1:8080"), ("out", "outType", "teleport", "127.0.0.1:8043")];

/// An option's name here, and as it was typed.
pub(crate) type Spelt = (String, String);

/// A command line in our words.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Translated {
    /// The arguments, the program's name first.
    pub(crate) args: Vec<OsString>,
    /// The options that came as flags of Go's.
    pub(crate) spelt: Vec<Spelt>,
}

/// One flag as it was typed.
#[derive(Clone, Debug)]
struct Given {
    name: &'static str,
    option: &'static str,
    kind: Kind,
    /// With its dashes.
    typed: String,
    value: String,
}

/// Translates a command line, whose first argument is the program's name.
///
/// # Errors
///
/// One line: a flag of Go's that lacks its value, or has one that is none of Go's.
pub(crate) fn translate(args: impl IntoIterator<Item = OsString>) -> Result<Translated, String> {
    let mut args = args.into_iter();
    let mut ours: Vec<OsString> = args.next().into_iter().collect();
    let mut given: Vec<Given> = Vec::new();
    while let Some(arg) = args.next() {
        if arg == "--" {
            ours.push(arg);
            break;
        }
        let Some((mut flag, value)) = arg.to_str().and_then(read) else {
            ours.push(arg);
            continue;
        };
        flag.value = match (value, flag.kind) {
            (Some(value), _) => value,
            (None, Kind::Bool) => "true".to_owned(),
            (None, _) => {
                let next = args.next().filter(|next| !looks_like_a_flag(next));
                let next = next.ok_or_else(|| format!("{}: needs a value", flag.typed))?;
                next.into_string().map_err(|_| format!("{}: its value is not UTF-8", flag.typed))?
            }
        };
        // An address with its scheme is one of ours, of which there may be several.
        if matches!(flag.kind, Kind::Addresses(_)) && is_url(&flag.value) {
            ours.push(format!("{}={}", flag.option, flag.value).into());
        }
        given.retain(|earlier| earlier.name != flag.name);
        given.push(flag);
    }
    let mut spelt = Vec::new();
    let mut words = Vec::new();
    for flag in &given {
        let Some(value) = flag.in_our_words()? else { continue };
        words.push(format!("{}={value}", flag.option).into());
        spelt.push((flag.option.to_owned(), flag.typed.clone()));
    }
    for (name, scheme_name, scheme, address) in DEFAULTS {
        let find = |name| given.iter().find(|flag| flag.name == name);
        if let Some((typed, value)) = addresses(find(name), find(scheme_name), scheme, address)? {
            words.push(format!("--{name}={value}").into());
            spelt.push(typed);
        }
    }
    // Behind the program's name, before whatever ends the options.
    ours.splice(1.min(ours.len())..1.min(ours.len()), words);
    ours.extend(args);
    Ok(Translated { args: ours, spelt })
}

/// The option of a flag of Go's, which is named without its dashes.
pub(crate) fn option(flag: &str) -> Option<&'static str> {
    FLAGS.iter().find(|(name, ..)| *name == flag).map(|(_, option, _)| *option)
}

/// A line in Go's words: options that Go's httptp has are called as there.
pub(crate) fn in_words_of_go(line: &str) -> String {
    let is_of_names = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
    let words = line.split_inclusive(|letter| !is_of_names(letter));
    let respelt = words.map(|word| {
        let option = word.trim_end_matches(|letter| !is_of_names(letter));
        match FLAGS.iter().find(|(_, ours, _)| *ours == option) {
            Some((name, ours, _)) => format!("-{name}{}", &word[ours.len()..]),
            None => word.to_owned(),
        }
    });
    respelt.collect()
}

/// What is wrong with a word of one dash that is no flag: clap would take its first letter for one. `options` are what there is beside
/// Go's flags.
pub(crate) fn unknown(args: &[OsString], options: &[String]) -> Option<String> {
    let words = args.iter().skip(1).take_while(|arg| *arg != "--").filter_map(|arg| arg.to_str());
    let flag = |word: &str| {
        let name = word.strip_prefix('-')?.split('=').next()?;
        let is_one = name.starts_with(|first: char| first.is_ascii_alphabetic()) && name.len() > 1;
        is_one.then(|| format!("-{name}"))
    };
    let typed = words.filter_map(flag).next()?;
    let flags: Vec<_> = FLAGS.iter().map(|(name, ..)| format!("-{name}")).collect();
    let known = flags.iter().chain(options).map(String::as_str);
    match meant(&typed, known) {
        guess if guess.is_empty() => Some(format!("{typed}: unknown flag; httptp --help lists what there is")),
        guess => Some(format!("{typed}: unknown flag{guess}")),
    }
}

/// Go would take it for a value; whoever wrote it has forgotten one.
fn looks_like_a_flag(arg: &OsStr) -> bool {
    let name = arg.as_encoded_bytes().strip_prefix(b"-");
    name.and_then(<[u8]>::first).is_some_and(|first| first.is_ascii_alphabetic() || *first == b'-')
}

/// The flag that an argument names, and its value if it brings it.
fn read(arg: &str) -> Option<(Given, Option<String>)> {
    let dashes = if arg.starts_with("--") { 2 } else { usize::from(arg.starts_with('-')) };
    let (name, value) = match arg.get(dashes..)?.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (&arg[dashes..], None),
    };
    let (name, option, kind) = *FLAGS.iter().find(|flag| dashes > 0 && flag.0 == name)?;
    let typed = arg[..dashes + name.len()].to_owned();
    Some((Given { name, option, kind, typed, value: String::new() }, value))
}

impl Given {
    /// The value for our option; `None` where that is not to be given at all. Addresses come apart.
    fn in_our_words(&self) -> Result<Option<String>, String> {
        let Given { typed, value, .. } = self;
        match self.kind {
            Kind::Text => Ok(Some(value.clone())),
            Kind::Optional => Ok(Some(value.clone()).filter(|value| !value.is_empty())),
            Kind::Time => Ok(Some(value.strip_prefix('+').unwrap_or(value).to_owned())),
            // What is none is for the option to refuse.
            Kind::Number => Ok(Some(number(value).map_or_else(|| value.clone(), |number| number.to_string()))),
            Kind::Bool => match value.as_str() {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Some("true".to_owned())),
                "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Some("false".to_owned())),
                _ => Err(format!("{typed}={value}: use true or false")),
            },
            Kind::Addresses(_) | Kind::Scheme => Ok(None),
        }
    }
}

/// The URLs of one side, with the flag that told most of them; `None` if it was not told, or in URLs already.
fn addresses(
    given: Option<&Given>,
    scheme: Option<&Given>,
    default_scheme: &str,
    default_address: &str,
) -> Result<Option<(Spelt, String)>, String> {
    let name = scheme.map_or(default_scheme, |scheme| scheme.value.as_str());
    if !matches!(name, "http" | "https" | "unix" | "teleport" | "teleports") {
        let typed = scheme.map_or("", |scheme| scheme.typed.as_str());
        return Err(format!("{typed} {name}: use http, https, unix, teleport or teleports"));
    }
    match (given, scheme) {
        (None, None) => Ok(None),
        (None, Some(scheme)) if name == "unix" => {
            let side = scheme.option.trim_start_matches('-');
            Err(format!("{} unix: there is no socket path; give it with -{side}", scheme.typed))
        }
        (None, Some(scheme)) => {
            Ok(Some(((scheme.option.to_owned(), scheme.typed.clone()), url(name, default_address))))
        }
        (Some(flag), Some(scheme)) if is_url(&flag.value) => Err(format!(
            "{} {name}: {} {} names a scheme itself; drop one of them",
            scheme.typed, flag.typed, flag.value
        )),
        (Some(flag), None) if is_url(&flag.value) => Ok(None),
        (Some(flag), _) if flag.value.split(',').any(|address| address.trim().is_empty()) => Err(format!(
            "{}: an address is empty; write for example {default_address}, or a URL such as {}",
            flag.typed,
            url(default_scheme, default_address)
        )),
        (Some(flag), _) => {
            let urls: Vec<_> = flag.value.split(',').map(|address| url(name, address.trim())).collect();
            Ok(Some(((flag.option.to_owned(), flag.typed.clone()), urls.join(","))))
        }
    }
}

fn url(scheme: &str, address: &str) -> String {
    if scheme == "unix" { format!("unix:{address}") } else { format!("{scheme}://{address}") }
}

/// Whether the first of these addresses has a scheme.
fn is_url(addresses: &str) -> bool {
    let first = addresses.split(',').next().unwrap_or_default();
    first.contains("://") || first.starts_with("unix:") || first.starts_with("file:")
}

/// A whole number as Go writes it: `255`, `0xff`, `0o377`, `0377`, `0b1111_1111`.
fn number(text: &str) -> Option<u64> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let lower = text.to_ascii_lowercase();
    let prefixes = [("0x", 16), ("0o", 8), ("0b", 2), ("0", 8)];
    let (digits, radix) = prefixes
        .iter()
        .find_map(|(prefix, radix)| Some((lower.strip_prefix(prefix)?, *radix)))
        .filter(|(digits, _)| !digits.is_empty())
        .unwrap_or((&lower, 10));
    // An underscore stands between digits, or between the prefix and the first of them.
    let misplaced = digits.ends_with('_') || digits.contains("__") || (digits.starts_with('_') && radix == 10);
    let digits = digits.replace('_', "");
    let plain = !misplaced && digits.chars().all(|digit| digit.is_digit(radix));
    plain.then(|| u64::from_str_radix(&digits, radix).ok()).flatten()
}

#[cfg(test)]
mod tests;
