//! From the options typed to settings.

use httpteleport::{RecordCodec, Wire};

use super::{Group, Limits, Listener, Process, Route, Settings, Teleport, TlsFiles};
use crate::cli::ProxyArgs;
use crate::compress::Compress;
use crate::endpoint::Address;
use crate::outbound;

impl Settings {
    /// Makes settings of the options typed: one listener, one group, and the route between them.
    ///
    /// # Errors
    ///
    /// One line: an option that is missing or does not fit the others.
    pub(crate) fn check(args: ProxyArgs) -> Result<Settings, String> {
        let tls = check_certificate(&args)?;
        check_outputs(&args)?;
        check_teleport(&args)?;
        let idle_options = idle_options(&args);
        let teleport = Teleport {
            wire: args.wire,
            ping: Some(args.ping).filter(|ping| !ping.is_zero()),
            max_age: args.max_connection_age,
            compress_alone: args.compress_alone,
        };
        let listener = Listener {
            endpoint: args.input,
            tls,
            limits: Limits {
                max_header_size: args.in_max_header_size as usize,
                max_body_size: usize::try_from(args.in_max_body_size).unwrap_or(usize::MAX),
            },
            compress: args.in_compress.unwrap_or_default(),
            delay: args.in_delay.unwrap_or_default(),
            teleport,
        };
        let group = Group {
            name: "out".to_owned(),
            endpoints: args.outputs,
            compress: args.out_compress.unwrap_or_default(),
            delay: args.out_delay.unwrap_or_default(),
            timeout: args.out_timeout,
            conns_per_addr: usize::from(args.out_conns_per_addr),
            group_by: args.out_group_by,
            ca: args.out_ca,
            max_header_size: args.out_max_header_size as usize,
            upstreams: outbound::Options::default(),
            teleport,
        };
        Ok(Settings {
            process: Process { concurrency: args.concurrency as usize, threads: args.threads.map(usize::from) },
            listeners: vec![listener],
            groups: vec![group],
            routes: vec![Route::everything(0)],
            idle_options,
        })
    }
}

/// A TLS input needs both files, any other must have none: a certificate beside `http://` is a misunderstanding that
/// would leave traffic in clear text.
fn check_certificate(args: &ProxyArgs) -> Result<Option<TlsFiles>, String> {
    let input = &args.input;
    let tls = input.scheme.is_tls();
    match (&args.in_tls_cert, &args.in_tls_key) {
        (Some(cert), Some(key)) if tls => Ok(Some(TlsFiles { cert: cert.clone(), key: key.clone() })),
        (None, None) if !tls => Ok(None),
        (None, _) if tls => Err(format!("--in {input}: needs a certificate; give its PEM file with --in-tls-cert")),
        (_, None) if tls => {
            Err(format!("--in {input}: needs the certificate's key; give its PEM file with --in-tls-key"))
        }
        (cert, _) => {
            let option = if cert.is_some() { "--in-tls-cert" } else { "--in-tls-key" };
            Err(format!(
                "{option}: the input {input} does not use TLS; use https:// or teleports://, or drop the option"
            ))
        }
    }
}

fn check_outputs(args: &ProxyArgs) -> Result<(), String> {
    for out in &args.outputs {
        if let Address::Tcp { host, port } = &out.address {
            if host.is_empty() {
                return Err(format!("--out {out}: no host; say which machine to connect to"));
            }
            if *port == 0 {
                return Err(format!("--out {out}: port 0 cannot be connected to; use 1 to 65535"));
            }
        }
        if *out == args.input && !matches!(out.address, Address::Tcp { port: 0, .. }) {
            return Err(format!("--out {out}: is the input itself; requests would go round in circles"));
        }
    }
    if args.out_ca.is_some() && !args.outputs.iter().any(|out| out.scheme.is_tls()) {
        return Err("--out-ca: no output uses TLS; use https:// or teleports://, or drop the option".to_owned());
    }
    if args.out_timeout.is_zero() {
        return Err("--out-timeout 0: no reply comes in no time; write for example 3s".to_owned());
    }
    if args.out_delay.is_some_and(|delay| delay >= args.out_timeout) {
        return Err(
            "--out-delay: is as long as --out-timeout, every request would time out; use a shorter one".to_owned()
        );
    }
    Ok(())
}

fn check_teleport(args: &ProxyArgs) -> Result<(), String> {
    for (option, compress) in [("--in-compress", args.in_compress), ("--out-compress", args.out_compress)] {
        if let Some(compress) = compress
            && let Some(wire) = compress.misses(args.wire)
        {
            return Err(format!("{option} {compress}: is of the {wire} wire, which --wire excludes; use --wire auto"));
        }
    }
    if args.compress_alone {
        let lz4 = |compress: Option<Compress>| compress.is_some_and(|compress| compress.framed == RecordCodec::Lz4);
        if lz4(args.in_compress) || lz4(args.out_compress) {
            return Err("--compress-alone: lz4 cannot do that; use zstd, or none".to_owned());
        }
        if args.wire == Wire::Classic {
            return Err("--compress-alone: the classic wire cannot do that; use --wire auto or framed".to_owned());
        }
    }
    if args.max_connection_age.is_some_and(|age| age.is_zero()) {
        return Err("--max-connection-age 0: no call fits into no time; write for example 1h".to_owned());
    }
    Ok(())
}

/// Teleport options beside plain HTTP are harmless, so they are told, not refused.
fn idle_options(args: &ProxyArgs) -> Vec<String> {
    let teleport_in = args.input.scheme.is_teleport();
    let teleport_out = args.outputs.iter().any(|out| out.scheme.is_teleport());
    let teleport = teleport_in || teleport_out;
    let options = [
        ("--in-compress", args.in_compress.is_some() && !teleport_in, "the input is"),
        ("--in-delay", args.in_delay.is_some() && !teleport_in, "the input is"),
        ("--out-compress", args.out_compress.is_some() && !teleport_out, "the outputs are"),
        ("--out-delay", args.out_delay.is_some() && !teleport_out, "the outputs are"),
        ("--out-group-by", args.out_group_by.is_some() && !teleport_out, "the outputs are"),
        ("--wire", args.wire != Wire::Auto && !teleport, "inputs and outputs are"),
        ("--max-connection-age", args.max_connection_age.is_some() && !teleport, "inputs and outputs are"),
        ("--compress-alone", args.compress_alone && !teleport, "inputs and outputs are"),
    ];
    options.iter().filter(|o| o.1).map(|(name, _, who)| format!("{name} has no effect: {who} not teleport")).collect()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::time::Duration;

    use super::*;
    use crate::cli::{Action, Stop, parse};

    fn settings(line: &str) -> Result<Settings, String> {
        let args = std::iter::once("httptp").chain(line.split_whitespace()).map(OsString::from);
        match parse(args) {
            Ok(Action::Proxy(settings)) => Ok(*settings),
            Ok(Action::Demo(_) | Action::Estimate(_)) => Err("another command".to_owned()),
            Err(Stop::Usage(line)) => Err(line),
            Err(Stop::Clap(error)) => Err(error.to_string()),
        }
    }

    #[test]
    fn defaults() {
        let s = settings("--out http://h").expect("fine");
        let (input, output) = (&s.listeners[0], &s.groups[0]);
        assert_eq!(input.endpoint.to_string(), "http://127.0.0.1:8080");
        assert_eq!((input.limits.max_header_size, input.limits.max_body_size), (4096, 4_194_304));
        assert_eq!((output.max_header_size, output.conns_per_addr), (4096, 1));
        assert_eq!((output.timeout, s.process.concurrency), (Duration::from_secs(3), 100_000));
        assert_eq!(s.process.threads, None);
        assert_eq!((input.compress, output.compress), (Compress::default(), Compress::default()));
        for Teleport { wire, ping, max_age, compress_alone } in [input.teleport, output.teleport] {
            assert_eq!((wire, ping, max_age, compress_alone), (Wire::Auto, Some(Duration::from_secs(5)), None, false));
        }
        assert_eq!((input.delay, output.delay), (Duration::ZERO, Duration::ZERO));
        assert!(s.idle_options.is_empty());
        assert_eq!((s.listeners.len(), s.groups.len(), s.routes.len()), (1, 1, 1));
        let s = settings("--in unix:/a").expect("fine");
        assert_eq!(s.groups[0].endpoints[0].to_string(), "teleport://127.0.0.1:8043");
    }

    #[test]
    fn outputs_are_a_list_with_commas_or_repeated() {
        let s = settings("--out http://a,teleport://b:2 --out unix:/c").expect("fine");
        let outs: Vec<_> = s.groups[0].endpoints.iter().map(ToString::to_string).collect();
        assert_eq!(outs, ["http://a:80", "teleport://b:2", "unix:/c"]);
    }

    #[test]
    fn options_without_effect_are_told() {
        let s = settings("--out http://a --in-compress none --out-delay 1ms").expect("fine");
        assert_eq!(
            s.idle_options,
            [
                "--in-compress has no effect: the input is not teleport",
                "--out-delay has no effect: the outputs are not teleport"
            ]
        );
    }

    #[test]
    fn every_contradiction_is_one_line_that_names_the_option() {
        let cases = [
            ("--in ftp://x", "--in ftp://x: unknown scheme \"ftp\"; use http, https, unix, teleport or teleports"),
            ("--out http://a,b:1", "--out b:1: no scheme; write for example http://b:1"),
            ("--out http://:80", "--out http://:80: no host"),
            ("--out http://a:0", "port 0"),
            ("--in http://a:1 --out http://a:1", "--out http://a:1: is the input itself"),
            ("--in https://:1 --out http://a", "--in https://:1: needs a certificate"),
            ("--in teleports://:1 --in-tls-cert c --out http://a", "give its PEM file with --in-tls-key"),
            ("--in http://:1 --in-tls-cert c --out http://a", "--in-tls-cert: the input http://:1 does not use TLS"),
            ("--in http://:1 --in-tls-key c --out http://a", "--in-tls-key: the input http://:1 does not use TLS"),
            ("--out http://a --out-ca f", "--out-ca: no output uses TLS"),
            ("--out http://a --out-timeout 0", "--out-timeout 0: "),
            ("--out http://a --out-timeout 3", "--out-timeout 3: no unit"),
            ("--out teleport://a:1 --out-delay 3s", "--out-delay: is as long as --out-timeout"),
            (
                "--out teleport://a:1 --out-compress zip",
                "--out-compress zip: use zstd, zstd-small, zstd-max, lz4, none",
            ),
            ("--out teleport://a:1 --out-compress lz4 --wire classic", "--out-compress lz4: is of the framed wire"),
            ("--in teleport://:1 --in-compress flate --wire framed", "--in-compress flate: is of the classic wire"),
            ("--out teleport://a:1 --wire go", "--wire go: use auto, classic or framed"),
            ("--out teleport://a:1 --max-connection-age 0", "--max-connection-age 0: "),
            ("--out teleport://a:1 --compress-alone --out-compress lz4", "--compress-alone: lz4 cannot"),
            ("--out teleport://a:1 --compress-alone --wire classic", "--compress-alone: the classic wire cannot"),
            ("--out http://a --concurrency 0", "--concurrency 0: "),
            ("--out http://a --threads 0", "--threads 0: "),
            ("--out http://me:pw@a", "--out http://***@a: a user or password"),
        ];
        for (line, want) in cases {
            let error = settings(line).expect_err(line);
            assert!(error.contains(want), "{line}: {error}");
            assert!(!error.contains('\n'), "{line}: {error}");
        }
    }
}
