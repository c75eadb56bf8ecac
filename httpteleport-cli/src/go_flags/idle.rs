//! Flags that Go's `httptp` takes and never looks at, such as a certificate beside `-inType=http`.
//!
//! Unit files have them, so they are taken here as well, with a line in the log. In our own spelling some are mistakes: who writes anew
//! means something by it.

use std::ffi::OsString;

use super::Spelt;
use crate::compress::Compress;
use crate::duration;
use crate::endpoint::Scheme;

/// What both sides of a command line speak.
#[derive(Debug)]
struct Sides {
    /// `None` of what is no scheme, which is told elsewhere.
    input: Option<Scheme>,
    /// Likewise, and of a file of outputs.
    outputs: Vec<Option<Scheme>>,
    has_certificate: bool,
}

/// Takes out the flags of Go's, by their options, that mean nothing beside the others; with a line about each for the log.
pub(crate) fn without_idle(args: Vec<OsString>, spelt: &[Spelt]) -> (Vec<OsString>, Vec<String>) {
    // What listeners and groups of a file speak is not known as yet.
    if args.iter().any(|arg| arg == "--config") || values(&args, "--config").next().is_some() {
        return (args, Vec::new());
    }
    let sides = Sides::of(&args);
    let idle = spelt.iter().filter(|(option, _)| values(&args, option).all(|value| is_value(option, value)));
    let idle = idle.filter_map(|(option, typed)| Some((option, typed, sides.why_idle(option)?)));
    let (dropped, lines): (Vec<_>, Vec<_>) =
        idle.map(|(option, typed, why)| (format!("{option}="), format!("{typed} has no effect: {why}"))).unzip();
    let is_dropped =
        |arg: &OsString| arg.to_str().is_some_and(|arg| dropped.iter().any(|option| arg.starts_with(option.as_str())));
    let kept = args.iter().filter(|arg| !is_dropped(arg)).cloned().collect();
    (kept, lines)
}

impl Sides {
    fn of(args: &[OsString]) -> Sides {
        let outputs: Vec<_> = values(args, "--out").flat_map(|urls| urls.split(',')).map(scheme).collect();
        Sides {
            input: values(args, "--in").last().map_or(Some(Scheme::Http), scheme),
            outputs: if outputs.is_empty() { vec![Some(Scheme::Teleport)] } else { outputs },
            has_certificate: values(args, "--in-tls-cert").next().is_some(),
        }
    }

    /// Why an option does nothing here; `None` if it does something, or nobody can tell.
    fn why_idle(&self, option: &str) -> Option<&'static str> {
        let input = |does_it: fn(Scheme) -> bool| self.input.is_some_and(|scheme| !does_it(scheme));
        let outputs =
            |do_it: fn(Scheme) -> bool| self.outputs.iter().all(|out| out.is_some_and(|scheme| !do_it(scheme)));
        let (is_idle, why) = match option {
            "--in-tls-cert" | "--in-tls-key" | "--in-tls-session-ticket-key" => {
                (input(Scheme::is_tls), "the input does not use TLS")
            }
            "--autocert-cache-dir" | "--autocert-host-regexp" => {
                let orders = |scheme| scheme == Scheme::Https;
                (input(orders) || self.has_certificate, "no certificates are ordered for this input")
            }
            "--in-compress" | "--in-delay" => (input(Scheme::is_teleport), "the input is not teleport"),
            "--out-compress" | "--out-delay" => (outputs(Scheme::is_teleport), "the outputs are not teleport"),
            "--out-conns-per-addr" => (outputs(Scheme::may_multiplex), "the outputs are not teleport or HTTP/2"),
            _ => return None,
        };
        is_idle.then_some(why)
    }
}

/// Whether Go reads it; what it does not is a mistake there, too.
fn is_value(option: &str, value: &str) -> bool {
    match option {
        "--in-delay" | "--out-delay" => duration::parse(value).is_ok(),
        "--in-compress" | "--out-compress" => value.parse::<Compress>().is_ok(),
        "--out-conns-per-addr" => value.parse::<u64>().is_ok(),
        _ => true,
    }
}

/// The values that an option is given.
fn values<'a>(args: &'a [OsString], option: &str) -> impl Iterator<Item = &'a str> {
    args.iter().filter_map(move |arg| arg.to_str()?.strip_prefix(option)?.strip_prefix('='))
}

/// What the first part of a URL says, unless that is none.
fn scheme(url: &str) -> Option<Scheme> {
    let name = url.split(':').next()?;
    Scheme::parse(name.strip_suffix("+srv").unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::super::{Translated, translate};
    use super::*;

    /// What is left of a line in our words, and what is told.
    fn left(line: &str) -> (String, Vec<String>) {
        let Translated { args, spelt } = translate(line.split(' ').map(OsString::from)).expect("fine");
        let (kept, lines) = without_idle(args, &spelt);
        let kept: Vec<_> = kept.iter().map(|arg| arg.to_str().expect("UTF-8")).collect();
        (kept.join(" "), lines)
    }

    #[test]
    fn what_go_does_not_look_at_is_left_out_and_told() {
        let of_tls = "the input does not use TLS";
        let of_acme = "no certificates are ordered for this input";
        let (not_in, not_out) = ("the input is not teleport", "the outputs are not teleport");
        for (line, flag, why) in [
            ("-inType=http", "-inTLSCert=/nowhere", of_tls),
            ("-inType=unix -in=/s", "-inTLSKey=a,b", of_tls),
            ("-in=teleport://:1", "--inTLSSessionTicketKey=s", of_tls),
            ("-in=:1", "-autocertHostRegexp=^.*$", of_acme),
            ("-inType=teleports -inTLSCert=c -inTLSKey=k", "-autocertCacheDir=c", of_acme),
            ("-inType=https -inTLSCert=c -inTLSKey=k", "-autocertHostRegexp=^.*$", of_acme),
            ("-inType=https", "-inCompress=flate", not_in),
            ("-out=h:1", "-inDelay=3h", not_in),
            ("-outType=http -out=h:1,h:2", "-outCompress=snappy", not_out),
            ("-outType=unix -out=/s", "-outDelay=3h", not_out),
            ("-outType=http", "-outConnsPerAddr=0", "the outputs are not teleport or HTTP/2"),
        ] {
            let (kept, lines) = left(&format!("httptp {line} {flag}"));
            assert_eq!(kept, left(&format!("httptp {line}")).0, "{flag}");
            let name = flag.split('=').next().expect("a name");
            assert_eq!(lines, [format!("{name} has no effect: {why}")], "{line} {flag}");
        }
    }

    #[test]
    fn what_does_something_stays() {
        for line in [
            "httptp --in=teleports://127.0.0.1:8080 --in-tls-cert=c --in-delay=1ms --in-compress=flate",
            "httptp --in=https://127.0.0.1:8080 --autocert-host-regexp=^.*$ --autocert-cache-dir=c",
            "httptp --out-delay=1ms --out-compress=none --out-conns-per-addr=3",
            "httptp --out-conns-per-addr=3 --out=https://h:1",
            "httptp --in=ftp://h:1 --in-delay=1ms",
            "httptp --in-delay=soon --in-compress=zip --out=http://h --out-conns-per-addr=few",
            "httptp --out=file:f,http://h --out-delay=1ms",
            "httptp --in-tls-cert=c --config=f",
            "httptp --config f --in-tls-cert=c",
        ] {
            let args: Vec<_> = line.split(' ').map(OsString::from).collect();
            let spelt: Vec<_> = args.iter().filter_map(|arg| Some(arg.to_str()?.split_once('=')?.0)).collect();
            let spelt: Vec<_> = spelt.into_iter().map(|option| (option.to_owned(), option.to_owned())).collect();
            assert_eq!(without_idle(args.clone(), &spelt), (args, Vec::new()), "{line}");
        }
        let ours = "httptp --in=http://:1 --in-tls-cert=c";
        let args: Vec<_> = ours.split(' ').map(OsString::from).collect();
        assert_eq!(without_idle(args.clone(), &[]), (args, Vec::new()), "in our own spelling");
    }
}
