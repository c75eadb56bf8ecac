//! Keys that a table does not take: where they belong, or what was meant.

use super::kinds::{self, Sort};
use super::routes;
use super::table::Kind;
use crate::go_flags;
use crate::meant::likely;

/// What is said of a key, and the key of this table that was meant.
pub(super) struct Stray {
    pub(super) line: String,
    pub(super) meant: Option<String>,
}

/// A key that a table of this sort does not take.
pub(super) fn stray(key: &str, sort: Sort) -> Stray {
    let told = |rest: String, meant: Option<String>| Stray { line: format!("unknown key {key}; {rest}"), meant };
    let (keys, names) = (keys(sort), respelt(key));
    if let Some(own) = names.iter().find(|name| keys.contains(name)) {
        return told(format!("write {own}"), Some(own.clone()));
    }
    let is_near = |own: &&String| likely(key, [own.as_str()].into_iter()).is_some();
    let asked = |own: &String| told(format!("did you mean {own}?"), Some(own.clone()));
    if let Some(own) = keys.iter().find(|own| is_slip(key, own) && is_near(own)) {
        return asked(own);
    }
    for name in names.iter().map(String::as_str).chain([key]) {
        let takers = Sort::ALL.into_iter().filter(|sort| self::keys(*sort).iter().any(|known| known == name));
        let places: Vec<_> = takers.map(Sort::place).collect();
        if !places.is_empty() {
            let name = if name == key { "it" } else { name };
            return told(format!("{name} belongs to {}", places.join(" or ")), None);
        }
    }
    match likely(key, keys.iter().map(String::as_str)) {
        Some(own) => asked(&own.to_owned()),
        None => told(accepted(sort), None),
    }
}

/// Whether one letter makes the difference.
fn is_slip(key: &str, other: &str) -> bool {
    strsim::osa_distance(key, other) == 1
}

/// What the same is called here: by a flag of Go's, or an option with its dashes or its side.
fn respelt(key: &str) -> Vec<String> {
    let bare = key.trim_start_matches('-');
    let option = go_flags::option(bare).unwrap_or(bare).trim_start_matches('-').replace('-', "_");
    let name = match option.as_str() {
        "in" => "url",
        "out" => "urls",
        other => other.strip_prefix("in_").or_else(|| other.strip_prefix("out_")).unwrap_or(other),
    };
    if name == key { Vec::new() } else { vec![name.to_owned()] }
}

/// What there is, or where that is told.
fn accepted(sort: Sort) -> String {
    let options = match sort {
        Sort::Route => return format!("it takes {}", routes::KEYS.join(", ")),
        Sort::Top => "the process and of teleport",
        Sort::Listener => "an input without --in-",
        Sort::Group => "an output without --out-",
    };
    format!("its keys are the options of {options}, with _ for -: httptp --help lists them")
}

fn keys(sort: Sort) -> Vec<String> {
    let known = |kind: Kind| kind.known().map(str::to_owned).collect::<Vec<_>>();
    match sort {
        Sort::Top => [known(kinds::top()), ["listener", "group", "route"].map(str::to_owned).to_vec()].concat(),
        Sort::Listener => known(kinds::listener()),
        Sort::Group => known(kinds::group()),
        Sort::Route => routes::KEYS.map(str::to_owned).to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_key_belongs_and_what_was_meant() {
        let (top, listener, group, route) = (Sort::Top, Sort::Listener, Sort::Group, Sort::Route);
        for (sort, key, want, meant) in [
            (group, "max_body_size", "it belongs to [listener.NAME]", None),
            (listener, "retry_budget", "it belongs to [group.NAME]", None),
            (top, "compress", "it belongs to [listener.NAME] or [group.NAME]", None),
            (listener, "concurrency", "it belongs to the top of the file", None),
            (group, "rewrite_host", "it belongs to [[route]]", None),
            (route, "wire", "it belongs to the top of the file or [listener.NAME] or [group.NAME]", None),
            (listener, "inMaxBodySize", "write max_body_size", Some("max_body_size")),
            (listener, "in_max_body_size", "write max_body_size", Some("max_body_size")),
            (listener, "--in-delay", "write delay", Some("delay")),
            (listener, "max-headers", "write max_headers", Some("max_headers")),
            (listener, "inType", "write url", Some("url")),
            (group, "out", "write urls", Some("urls")),
            (top, "outTimeout", "timeout belongs to [group.NAME]", None),
            (top, "inTLSCert", "tls_cert belongs to [listener.NAME] or [group.NAME]", None),
            (group, "expvarAddr", "admin belongs to the top of the file", None),
            (listener, "max_body", "did you mean max_body_size?", Some("max_body_size")),
            (group, "url", "did you mean urls?", Some("urls")),
            (top, "listner", "did you mean listener?", Some("listener")),
            (listener, "urk", "did you mean url?", Some("url")),
            (route, "hosts", "did you mean host?", Some("host")),
        ] {
            let stray = stray(key, sort);
            assert_eq!((stray.line, stray.meant.as_deref()), (format!("unknown key {key}; {want}"), meant));
        }
    }

    #[test]
    fn what_is_like_nothing_has_no_guess() {
        for (sort, key) in
            [(Sort::Top, "workers"), (Sort::Listener, "prefix"), (Sort::Group, "foo"), (Sort::Route, "config")]
        {
            let Stray { line, meant } = stray(key, sort);
            assert!(!line.contains("mean") && meant.is_none(), "{line}");
            let want = if sort == Sort::Route {
                "it takes listener, host, path, group, "
            } else {
                "its keys are the options of "
            };
            assert!(line.starts_with(&format!("unknown key {key}; {want}")), "{line}");
        }
    }
}
