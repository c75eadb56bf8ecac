//! The tables `[[route]]` of a file.

use std::collections::HashMap;
use std::mem;

use http::header::{HOST, HeaderName, HeaderValue};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Found;
use super::kinds::Sort;
use super::lines::Lines;
use super::reader::Names;
use super::stray::stray;
use super::table::{element, kind, text};
use crate::config::{Edit, Host, Route};
use crate::headers::FRAMING;
use crate::meant::meant;

pub(super) const KEYS: [&str; 9] = [
    "listener",
    "host",
    "path",
    "group",
    "set_headers",
    "remove_headers",
    "rewrite_host",
    "set_reply_headers",
    "remove_reply_headers",
];

/// Most routes, each counted for every listener whose requests it takes.
const MOST: usize = 100_000;

/// Bytes of the longest name that DNS has, and a dot before it.
const LONGEST_HOST: usize = 254;

/// Reads them; what is wrong is returned as well.
pub(super) fn read(routes: Spanned<DeValue<'_>>, names: &Names, lines: &Lines<'_>) -> (Vec<Route>, Vec<Found>) {
    let mut reader = Reader {
        names,
        lines,
        routes: Vec::new(),
        left: Some(MOST),
        taken: HashMap::new(),
        general: Vec::new(),
        found: Vec::new(),
    };
    let at = routes.span().start;
    let DeValue::Array(tables) = routes.into_inner() else {
        return (Vec::new(), vec![(at, "route: is no list of tables; write [[route]]".to_owned())]);
    };
    for table in tables {
        let at = table.span().start;
        match table.into_inner() {
            DeValue::Table(table) => reader.route(at, table),
            _ => reader.note(at, "is no table; write [[route]]"),
        }
        if reader.left.is_none() {
            let line = format!(
                "there are too many: {MOST} are the most, each counted for every listener whose requests it takes"
            );
            reader.note(at, &line);
            break;
        }
    }
    reader.check_general();
    (reader.routes, reader.found)
}

/// What is wrong with the value of a key, and where, if that is known more exactly.
type Faults = Vec<(Option<usize>, String)>;

struct Reader<'a> {
    names: &'a Names,
    lines: &'a Lines<'a>,
    routes: Vec<Route>,
    /// How many more there may be; `None` once there was one too many.
    left: Option<usize>,
    /// What those with which nothing is wrong take (a listener, hosts, a path without a slash at its end), and where they begin.
    taken: HashMap<(Option<usize>, Host, String), usize>,
    /// Where those among them begin that are for every listener, and what they take.
    general: Vec<(usize, Host, String)>,
    found: Vec<Found>,
}

impl Reader<'_> {
    fn note(&mut self, at: usize, line: &str) {
        self.found.push((at, format!("route: {line}")));
    }

    fn route(&mut self, at: usize, table: DeTable<'_>) {
        let mut route = Route::everything(usize::MAX);
        let mut listeners = vec![None];
        let before = self.found.len();
        for (key, value) in table {
            let at = key.span().start;
            let result = match &**key.get_ref() {
                "listener" => self.listeners(&value).map(|named| listeners = named),
                "host" => one(&value, |value| read_host(&string(value)?)).map(|host| route.host = host),
                "path" => one(&value, |value| read_path(string(value)?)).map(|path| route.path = path),
                "group" => one(&value, |value| self.group(value)).map(|group| route.group = group),
                "set_headers" => fields(&value).map(|fields| route.edit.fields.set = fields),
                "remove_headers" => field_names(&value).map(|names| route.edit.fields.remove = names),
                "set_reply_headers" => fields(&value).map(|fields| route.reply.set = fields),
                "remove_reply_headers" => field_names(&value).map(|names| route.reply.remove = names),
                "rewrite_host" => one(&value, |value| new_host(&string(value)?, &mut route.edit)),
                unknown => {
                    self.note(at, &stray(unknown, Sort::Route).line);
                    continue;
                }
            };
            for (part, why) in result.err().into_iter().flatten() {
                self.note(part.unwrap_or(at), &format!("{}: {why}", key.get_ref()));
            }
        }
        let sound = self.found.len() == before;
        if route.group == usize::MAX {
            if sound && self.names.groups.len() != 1 {
                return self.note(at, "has no group; say where its requests go with group");
            }
            route.group = 0;
        }
        for listener in listeners {
            let counts = if listener.is_some() { 1 } else { self.names.listeners.len() };
            self.left = self.left.and_then(|left| left.checked_sub(counts));
            if self.left.is_none() {
                return;
            }
            let route = Route { listener, ..route.clone() };
            if sound {
                self.check_it_is_new(at, &route);
            }
            self.routes.push(route);
        }
    }

    fn check_it_is_new(&mut self, at: usize, route: &Route) {
        let path = route.path.trim_end_matches('/').to_owned();
        if route.listener.is_none() {
            self.general.push((at, route.host.clone(), path.clone()));
        }
        if let Some(earlier) = self.taken.insert((route.listener, route.host.clone(), path), at) {
            let line = self.lines.number(earlier);
            let told = format!("takes what that in line {line} takes; change its listener, host or path, or drop it");
            self.note(at, &told);
        }
    }

    /// A route for every listener takes nothing where each of them has one of its own.
    fn check_general(&mut self) {
        let listeners = self.names.listeners.len();
        for (at, host, path) in mem::take(&mut self.general) {
            let has_its_own = |index| self.taken.contains_key(&(Some(index), host.clone(), path.clone()));
            if listeners > 0 && (0..listeners).all(has_its_own) {
                self.note(
                    at,
                    "takes nothing: each listener has a route of its own for that; change its host or path, or drop it",
                );
            }
        }
    }

    fn listeners(&self, value: &Spanned<DeValue<'_>>) -> Result<Vec<Option<usize>>, Faults> {
        let find = |name: &str| match self.names.listeners.iter().position(|known| known == name) {
            Some(index) => Ok(Some(index)),
            None => Err(format!("there is no listener {name:?}{}", guess(name, &self.names.listeners))),
        };
        if text(value.get_ref()).is_ok_and(|names| names.is_empty()) {
            return Err(vec![(None, "names none; name one, or drop the key for all of them".to_owned())]);
        }
        if !matches!(value.get_ref(), DeValue::Array(_)) {
            string(value.get_ref()).map_err(|why| vec![(None, why)])?;
        }
        let named = each(value, find)?;
        let twice = named.iter().enumerate().find(|(index, listener)| named[..*index].contains(*listener));
        match twice.and_then(|(_, listener)| *listener) {
            Some(twice) => Err(vec![(None, format!("names {} twice; drop one", self.names.listeners[twice]))]),
            None => Ok(named),
        }
    }

    fn group(&self, value: &DeValue<'_>) -> Result<usize, String> {
        let name = string(value)?;
        let index = self.names.groups.iter().position(|known| *known == name);
        index.ok_or_else(|| format!("there is no group {name:?}{}", guess(&name, &self.names.groups)))
    }
}

fn guess(name: &str, known: &[String]) -> String {
    meant(name, known.iter().map(String::as_str))
}

fn string(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.clone().into_owned()),
        other => Err(format!("{} does not fit here; write a text in quotes", kind(other))),
    }
}

/// `example.com`, `*.example.com` or `*`.
fn read_host(text: &str) -> Result<Host, String> {
    let name = |text: &str| {
        let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        let name = match inner {
            // As clients write it.
            Some(address) => address.parse::<std::net::Ipv6Addr>().ok().map(|address| format!("[{address}]")),
            None => {
                let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
                plain.then(|| text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase())
            }
        };
        let form = "write a name without port, such as example.com, or *.example.com for all below it";
        name.filter(|name| (1..=LONGEST_HOST).contains(&name.len()))
            .ok_or_else(|| format!("{text:?} is no host; {form}"))
    };
    match text.strip_prefix('*') {
        Some("") => Ok(Host::Any),
        Some(end) if end.starts_with('.') && end.len() > 1 => Ok(Host::EndsWith(name(end)?)),
        _ => Ok(Host::Is(name(text)?)),
    }
}

fn read_path(path: String) -> Result<String, String> {
    if !path.starts_with('/') || path.contains(['?', '#', '*', ' ']) {
        return Err(format!("{path:?} is no path that others begin with; write for example /api"));
    }
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        let encoded = path.bytes().fold(String::new(), |text, byte| match byte {
            b'!'..=b'~' => text + char::from(byte).encode_utf8(&mut [0; 4]),
            _ => format!("{text}%{byte:02X}"),
        });
        return Err(format!("{path:?} is not how clients send it, with which it is compared; write {encoded:?}"));
    }
    Ok(path)
}

fn new_host(text: &str, edit: &mut Edit) -> Result<(), String> {
    let authority = text.parse::<http::uri::Authority>().ok().filter(|authority| !authority.as_str().contains('@'));
    let host = authority.and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    edit.host = Some(host.ok_or_else(|| format!("{text:?} is no host; write for example inner.example.com:8080"))?);
    Ok(())
}

fn field_name(name: &str) -> Result<HeaderName, String> {
    let field: HeaderName =
        name.parse().map_err(|_| format!("{name:?} is no name of a header; write for example X-Tenant"))?;
    if field == HOST {
        return Err("Host is changed by rewrite_host".to_owned());
    }
    if FRAMING.contains(&field) {
        return Err(format!("{name} is of the connection, and no route can change it"));
    }
    Ok(field)
}

fn field_names(value: &Spanned<DeValue<'_>>) -> Result<Vec<HeaderName>, Faults> {
    each(value, field_name)
}

fn fields(value: &Spanned<DeValue<'_>>) -> Result<Vec<(HeaderName, HeaderValue)>, Faults> {
    let DeValue::Table(table) = value.get_ref() else {
        return Err(vec![(None, "write a table, such as { X-Tenant = \"a\" }".to_owned())]);
    };
    let field = |(name, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
        let read = |name: &str| {
            let text = text(value.get_ref()).map_err(|why| format!("{name}: {why}"))?;
            let value =
                HeaderValue::from_str(&text).map_err(|_| format!("{text:?} cannot be the value of a header"))?;
            Ok((field_name(name)?, value))
        };
        read(AsRef::<str>::as_ref(name.get_ref())).map_err(|why| (Some(name.span().start), why))
    };
    all(table.iter().map(field))
}

/// A value that is one thing.
fn one<T>(value: &Spanned<DeValue<'_>>, read: impl FnOnce(&DeValue<'_>) -> Result<T, String>) -> Result<T, Faults> {
    read(value.get_ref()).map_err(|why| vec![(None, why)])
}

/// A list of names, or names with commas between them.
fn each<T>(value: &Spanned<DeValue<'_>>, read: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, Faults> {
    if let DeValue::Array(values) = value.get_ref() {
        let value = |value: &Spanned<DeValue<'_>>| {
            let read = element(value.get_ref()).and_then(|name| read(&name));
            read.map_err(|why| (Some(value.span().start), why))
        };
        return all(values.iter().map(value));
    }
    let names = text(value.get_ref()).map_err(|why| vec![(None, why)])?;
    all(names.split(',').map(|name| read(name).map_err(|why| (None, why))))
}

/// All of them, or all that is wrong with them.
fn all<T>(read: impl Iterator<Item = Result<T, (Option<usize>, String)>>) -> Result<Vec<T>, Faults> {
    let (mut good, mut faults) = (Vec::new(), Vec::new());
    for one in read {
        match one {
            Ok(one) => good.push(one),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() { Ok(good) } else { Err(faults) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_written_as_it_is_sent() {
        assert_eq!(read_path("/%C3%A4~".to_owned()), Ok("/%C3%A4~".to_owned()));
        let error = read_path("/ä\u{7f}/b".to_owned()).expect_err("nobody sends that");
        assert!(error.ends_with("write \"/%C3%A4%7F/b\""), "{error}");
    }

    #[test]
    fn hosts_are_kept_as_requests_have_them() {
        for (text, want) in [
            ("Example.COM.", Host::Is("example.com".to_owned())),
            ("*.Example.com.", Host::EndsWith(".example.com".to_owned())),
            ("[0:0:0:0:0:0:0:1]", Host::Is("[::1]".to_owned())),
            ("[2001:DB8::A]", Host::Is("[2001:db8::a]".to_owned())),
            ("*", Host::Any),
        ] {
            assert_eq!(read_host(text), Ok(want), "{text}");
        }
        for text in ["", ".", "*.", "a b", "[::1", "[a]", "::1", "a:80"] {
            assert!(read_host(text).is_err(), "{text}");
        }
    }
}
