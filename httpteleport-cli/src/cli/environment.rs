//! Options from the environment: `HTTPTP_IN_MAX_BODY_SIZE` is `--in-max-body-size`. `HTTPTP_LOG` is `--log-level`, too.
//!
//! A variable that is nearly an option is a mistake: what was meant to hold would not. One that is like none has a line in the log, as it may be
//! somebody else's. Kubernetes sets some in every container beside a service whose name begins with httptp: of those that come with its
//! address nothing is said.

use std::ffi::{OsStr, OsString};
use std::net::IpAddr;

use clap::Command;

use crate::go_flags::Spelt;
use crate::meant::nearest;

/// How all of them begin.
const PREFIX: &str = "HTTPTP_";
/// A variable that is as like an option as this is a slip.
const SLIP: f64 = 0.9;

/// What the environment comes to.
#[derive(Debug)]
pub(super) struct Found {
    /// The arguments, with the options that the environment sets and the command line does not.
    pub(super) args: Vec<OsString>,
    /// The options that came from it.
    pub(super) spelt: Vec<Spelt>,
    /// Variables that mean nothing here, each a line for the log.
    pub(super) idle: Vec<String>,
}

/// Reads variables.
///
/// # Errors
///
/// Values that are not UTF-8, and variables that are nearly options, each a line.
pub(super) fn add(
    command: &Command,
    mut args: Vec<OsString>,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Found, Vec<String>> {
    let is_command = |name: &OsStr| command.get_subcommands().any(|known| name == known.get_name());
    if args.get(1).is_some_and(|first| is_command(first)) {
        return Ok(Found { args, spelt: Vec::new(), idle: Vec::new() });
    }
    let known: Vec<_> = command.get_arguments().filter_map(clap::Arg::get_long).flat_map(names).collect();
    let (mut words, mut spelt, mut faults, mut idle) = (Vec::new(), Vec::<Spelt>::new(), Vec::new(), Vec::new());
    let ours = variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let mut ours: Vec<_> = ours.filter(|(name, _)| name.starts_with(PREFIX)).collect();
    // The system has them in any order, and HTTPTP_LOG comes before HTTPTP_LOG_LEVEL.
    ours.sort();
    let services = services(&ours);
    for (name, value) in ours {
        let Some((option, _)) = known.iter().find(|(_, known)| *known == name) else {
            match nearest(&name[PREFIX.len()..], known.iter().map(|(_, known)| &known[PREFIX.len()..]), SLIP) {
                _ if is_of_kubernetes(&name, &services) => {}
                Some(guess) => faults.push(format!("{name}: is no option; did you mean {PREFIX}{guess}?")),
                None => idle.push(format!("{name} has no effect: the environment has no such option")),
            }
            continue;
        };
        if is_given(&args, option) || spelt.iter().any(|(spelt, _)| spelt == option) {
            continue;
        }
        match value.to_str() {
            Some(value) => {
                words.push(format!("{option}={value}").into());
                spelt.push((option.clone(), name));
            }
            None => faults.push(format!("{name}: its value is not UTF-8")),
        }
    }
    let at = 1.min(args.len());
    args.splice(at..at, words);
    if faults.is_empty() { Ok(Found { args, spelt, idle }) } else { Err(faults) }
}

/// An option, once for each variable that sets it.
fn names(long: &str) -> Vec<(String, String)> {
    let usual = format!("{PREFIX}{}", long.to_ascii_uppercase().replace('-', "_"));
    // As others have it.
    let other = (long == "log-level").then(|| "HTTPTP_LOG".to_owned());
    other.into_iter().chain([usual]).map(|name| (format!("--{long}"), name)).collect()
}

/// What variables of Kubernetes' services begin with: all of a service come with that of its address, `HTTPTP_SERVICE_HOST`.
fn services(variables: &[(String, OsString)]) -> Vec<String> {
    let service = |(name, value): &(String, OsString)| {
        value.to_str()?.parse::<IpAddr>().ok()?;
        name.strip_suffix("_SERVICE_HOST").filter(|begin| !begin.is_empty()).map(str::to_owned)
    };
    variables.iter().filter_map(service).collect()
}

/// Whether Kubernetes sets it for one of these services: `HTTPTP_SERVICE_HOST`, `HTTPTP_PORT`, `HTTPTP_NEAR_PORT_80_TCP_ADDR` and such.
fn is_of_kubernetes(name: &str, services: &[String]) -> bool {
    services.iter().filter_map(|service| name.strip_prefix(service.as_str())).any(is_of_a_service)
}

/// Whether Kubernetes has a variable of a service that ends so.
fn is_of_a_service(end: &str) -> bool {
    if matches!(end, "_SERVICE_HOST" | "_SERVICE_PORT" | "_PORT") || end.starts_with("_SERVICE_PORT_") {
        return true;
    }
    let words = end.strip_prefix("_PORT_").map(|rest| rest.split('_').collect::<Vec<_>>());
    let (port, protocol, what) = match words.as_deref() {
        Some([port, protocol]) => (port, protocol, None),
        Some([port, protocol, what]) => (port, protocol, Some(*what)),
        _ => return false,
    };
    port.parse::<u16>().is_ok()
        && matches!(*protocol, "TCP" | "UDP" | "SCTP")
        && what.is_none_or(|what| matches!(what, "PROTO" | "PORT" | "ADDR"))
}

fn is_given(args: &[OsString], option: &str) -> bool {
    args.iter().any(|arg| {
        arg.to_str()
            .and_then(|arg| arg.strip_prefix(option))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(typed: &[&str], variables: &[(&str, &str)]) -> Result<Found, Vec<String>> {
        let command = Command::new("x")
            .subcommand(Command::new("demo"))
            .args(["in", "in-delay", "out", "log-level", "log-format"].map(|long| clap::Arg::new(long).long(long)));
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
        add(&command, typed.iter().map(OsString::from).collect(), variables)
    }

    fn added(typed: &[&str], variables: &[(&str, &str)]) -> String {
        let Found { args, spelt, .. } = found(typed, variables).expect("fine");
        assert!(
            spelt.iter().all(|(option, _)| args.iter().any(|arg| arg.to_str().expect("UTF-8").starts_with(option)))
        );
        args.iter().map(|arg| arg.to_str().expect("UTF-8")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_is_typed_wins() {
        let set = [("HTTPTP_IN_DELAY", "b"), ("HTTPTP_IN", "a"), ("HOME", "/")];
        assert_eq!(added(&["x"], &set), "x --in=a --in-delay=b");
        assert_eq!(added(&["x", "--in", "c"], &set), "x --in-delay=b --in c");
        assert_eq!(added(&["x", "--in-delay=c"], &set), "x --in=a --in-delay=c");
        assert_eq!(added(&["x", "--in=", "--in-delay"], &set), "x --in= --in-delay");
        assert_eq!(added(&["x", "demo"], &set), "x demo", "it has options of its own");
    }

    #[test]
    fn the_log_has_two_names() {
        assert_eq!(added(&["x"], &[("HTTPTP_LOG", "debug")]), "x --log-level=debug");
        assert_eq!(added(&["x"], &[("HTTPTP_LOG_LEVEL", "debug")]), "x --log-level=debug");
        assert_eq!(added(&["x"], &[("HTTPTP_LOG_LEVEL", "warn"), ("HTTPTP_LOG", "debug")]), "x --log-level=debug");
    }

    #[test]
    fn a_slip_is_a_mistake_and_what_is_like_nothing_is_told() {
        for (name, meant) in [("HTTPTP_IN_DELAI", "IN_DELAY"), ("HTTPTP_OUTT", "OUT"), ("HTTPTP_INDELAY", "IN_DELAY")] {
            let want = format!("{name}: is no option; did you mean HTTPTP_{meant}?");
            assert_eq!(found(&["x"], &[(name, "1")]).expect_err("a slip"), [want]);
        }
        let Found { args, idle, .. } = found(&["x"], &[("HTTPTP_VERSION", "1.2")]).expect("fine");
        assert_eq!(
            (args.len(), idle),
            (1, vec!["HTTPTP_VERSION has no effect: the environment has no such option".to_owned()])
        );
    }

    #[test]
    fn kubernetes_may_set_what_it_sets() {
        let set = [
            ("HTTPTP_SERVICE_HOST", "10.0.0.1"),
            ("HTTPTP_SERVICE_PORT", "80"),
            ("HTTPTP_SERVICE_PORT_TELEPORT", "80"),
            ("HTTPTP_PORT", "tcp://10.0.0.1:80"),
            ("HTTPTP_PORT_80_TCP", "tcp://10.0.0.1:80"),
            ("HTTPTP_PORT_80_TCP_PROTO", "tcp"),
            ("HTTPTP_PORT_80_TCP_PORT", "80"),
            ("HTTPTP_PORT_80_TCP_ADDR", "10.0.0.1"),
            ("HTTPTP_PORT_53_UDP", "udp://10.0.0.1:53"),
            ("HTTPTP_IN_SERVICE_HOST", "fd00::1"),
            ("HTTPTP_IN_PORT_9876_TCP_ADDR", "fd00::1"),
        ];
        let told = found(&["x"], &set).expect("fine");
        assert_eq!((told.args.len(), told.idle.len()), (1, 0), "{:?}", told.idle);
        for name in ["_PORT_X_TCP", "_PORT_80_X", "_PORT_80_TCP_X", "_PORTS", "_PORT_80_TCP_PORT_X", "_PORT_80"] {
            assert!(!is_of_a_service(name), "{name}");
        }
    }

    #[test]
    fn what_only_looks_like_a_service_is_told() {
        for (name, value) in [
            ("HTTPTP_FOO_PORT", "80"),
            ("HTTPTP_FOO_PORT", "tcp://10.0.0.1:80"),
            ("HTTPTP_FOO_SERVICE_PORT", "80"),
            ("HTTPTP_FOO_SERVICE_HOST", "foo.example"),
        ] {
            let told = found(&["x"], &[(name, value), ("HTTPTP_SERVICE_HOST", "10.0.0.1")]).expect("fine");
            assert_eq!(told.idle, [format!("{name} has no effect: the environment has no such option")]);
        }
        let slip = [("HTTPTP_OUT_PORT", "80"), ("HTTPTP_OUTT", "http://h"), ("HTTPTP_OUT_SERVICE_HOST", "10.0.0.1")];
        assert_eq!(found(&["x"], &slip).expect_err("a slip"), ["HTTPTP_OUTT: is no option; did you mean HTTPTP_OUT?"]);
    }
}
