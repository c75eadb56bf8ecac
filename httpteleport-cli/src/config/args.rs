//! From the options typed to settings.

use httpteleport::Wire;

use super::{Group, Listener, Mistakes, Process, Route, Settings, Teleport};
use crate::cli::ProxyArgs;
use crate::discover::Source;

impl Settings {
    /// Makes settings of the options typed: one listener, one group, and the route between them.
    ///
    /// # Errors
    ///
    /// One line: an option that is missing or does not fit the others.
    pub(crate) fn check(args: ProxyArgs) -> Result<Settings, String> {
        let mut mistakes = Mistakes::default();
        let teleport = Teleport::new(&args.teleport, &mut mistakes);
        let mut settings = Settings::empty(Process::new(&args.process, &mut mistakes));
        let listener = Listener::new(args.listener, teleport, &mut mistakes);
        listener.check_handover(&settings.process, &mut mistakes);
        settings.listeners.push(listener);
        settings.groups.push(Group::new("out".to_owned(), args.group, teleport, &mut mistakes));
        settings.routes.push(Route::everything(0));
        for (_, out) in settings.circles() {
            mistakes.add(format!("--out {out}: is the input itself; requests would go round in circles"));
        }
        if settings.unasked().next().is_some() {
            mistakes.add(
                "--acme-challenge http: the authority asks a clear http input; write both inputs into a file for --config, or use tls-alpn"
                    .to_owned(),
            );
        }
        settings.idle_options = mistakes.idle().to_vec();
        settings.idle_options.extend(settings.idle_teleport());
        match mistakes.into_lines().into_iter().next() {
            Some(first) => Err(first),
            None => Ok(settings),
        }
    }

    /// Options of teleport that do nothing where nothing is teleport.
    fn idle_teleport(&self) -> Vec<String> {
        let inputs = self.listeners.iter().any(|listener| listener.endpoint.scheme.is_teleport());
        let outputs = self.groups.iter().flat_map(|group| &group.sources).any(Source::may_teleport);
        let Some(teleport) = self.groups.first().map(|group| group.teleport) else { return Vec::new() };
        if inputs || outputs {
            return Vec::new();
        }
        let options = [
            ("--wire", teleport.wire != Wire::Auto),
            ("--max-connection-age", teleport.max_age.is_some()),
            ("--compress-alone", teleport.compress_alone),
        ];
        let given = options.iter().filter(|option| option.1);
        given.map(|(name, _)| format!("{name} has no effect: inputs and outputs are not teleport")).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::time::Duration;

    use http::HeaderName;

    use super::*;
    use crate::cli::{Action, Stop, parse};
    use crate::compress::Compress;

    fn settings(line: &str) -> Result<Settings, String> {
        let args = std::iter::once("httptp").chain(line.split_whitespace()).map(OsString::from);
        match parse(args) {
            Ok(Action::Proxy(settings, _)) => Ok(*settings),
            Ok(_) => Err("no proxy".to_owned()),
            Err(Stop::Usage(lines)) => Err(lines.join("\n")),
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
        assert_eq!(s.groups[0].sources[0].to_string(), "teleport://127.0.0.1:8043");
    }

    #[test]
    fn the_flags_of_go_say_all_that_they_say_there() {
        let line = "-inType=teleports -in=:1 -inDelay=1ms -inCompress=snappy -inGetOnly -inMaxHeaderSize=8192 -inMaxBodySize=7 \
                    -inAllowIP=10.0.0.1,10.0.0.2 -inTLSCert=a,b -inTLSKey=c,d -inTLSSessionTicketKey=s -outType=teleport \
                    -out=h:1,i:2 -outDelay=2ms -outCompress=none -outMaxHeaderSize=512 -outTimeout=9s -outConnsPerAddr=4 \
                    -concurrency=5 -clientIPHeader=X-IP -expvarAddr=:8 -logAllErrors -reusePort";
        let s = settings(line).expect("fine");
        let (input, output) = (&s.listeners[0], &s.groups[0]);
        assert_eq!((input.endpoint.to_string().as_str(), input.sharing.reuse_port), ("teleports://:1", true));
        assert_eq!((input.delay, input.compress.to_string().as_str()), (Duration::from_millis(1), "snappy"));
        let limits = input.limits;
        assert_eq!((limits.get_only, limits.max_header_size, limits.max_body_size), (true, 8192, 7));
        let allowed = input.access.allow.as_ref().map(ToString::to_string);
        assert_eq!(allowed.as_deref(), Some("10.0.0.1/32,10.0.0.2/32"));
        let identity = input.tls.as_ref().expect("it uses TLS");
        assert_eq!((identity.pairs.len(), identity.ticket_key.as_deref()), (2, Some("s")));
        assert_eq!((identity.pairs[1].cert.to_str(), identity.pairs[1].key.to_str()), (Some("b"), Some("d")));
        assert_eq!(input.identity.header.as_ref().map(HeaderName::as_str), Some("x-ip"));
        let urls: Vec<_> = output.sources.iter().map(ToString::to_string).collect();
        assert_eq!(urls, ["teleport://h:1", "teleport://i:2"]);
        assert_eq!((output.delay, output.compress.to_string().as_str()), (Duration::from_millis(2), "none"));
        assert_eq!((output.max_header_size, output.timeout, output.conns_per_addr), (512, Duration::from_secs(9), 4));
        assert_eq!((s.process.concurrency, s.process.log.all_errors), (5, true));
        let admin = |settings: &Settings| settings.process.admin.as_ref().map(|admin| admin.address.clone());
        assert_eq!(admin(&s), Some((String::new(), 8)));
        assert_eq!(settings("-expvarAddr=").expect("fine").process.admin, None);
        assert_eq!(admin(&settings("-in=:1").expect("fine")), Some(("localhost".to_owned(), 8040)));
        // The two that are left are of certificates that are ordered.
        let acme = "-inType=https -in=:1 -out=h:1";
        let why = |more: &str| settings(&format!("{acme} {more}")).expect_err("no certificate");
        assert!(why("-autocertCacheDir=x").starts_with("-autocertCacheDir: anyone could order certificates"));
        assert!(why("-autocertHostRegexp=^.*$").starts_with("-autocertHostRegexp ^.*$: takes any name"));
        let s = settings(&format!("{acme} -autocertHostRegexp=^a$ -autocertCacheDir=x")).expect("fine");
        let ordered = s.listeners[0].tls.as_ref().and_then(|tls| tls.acme.clone()).expect("certificates are ordered");
        assert!(ordered.hosts.takes("a") && !ordered.hosts.takes("ab"));
        assert_eq!(ordered.cache.to_str(), Some("x"));
    }

    #[test]
    fn outputs_are_a_list_with_commas_or_repeated() {
        let s = settings("--out http://a,teleport://b:2 --out unix:/c").expect("fine");
        let outs: Vec<_> = s.groups[0].sources.iter().map(ToString::to_string).collect();
        assert_eq!(outs, ["http://a:80", "teleport://b:2", "unix:/c"]);
    }

    #[test]
    fn options_without_effect_are_told() {
        let s = settings("--out http://a --in-compress none --out-delay 1ms --out-conns-per-addr 2").expect("fine");
        assert_eq!(
            s.idle_options,
            [
                "--in-compress has no effect: the input is not teleport",
                "--out-delay has no effect: the outputs are not teleport",
                "--out-conns-per-addr has no effect: the outputs are not teleport or HTTP/2"
            ]
        );
        for out in ["https://a", "h2c://a", "teleport://a:1", "file:f", "h2c+srv://_a._tcp.b"] {
            let s = settings(&format!("--out {out} --out-conns-per-addr 2")).expect("fine");
            assert!(s.idle_options.is_empty(), "{out}");
        }
        // As it was typed, or where it was set.
        let s = settings("-outType=http -out=a --in-socket-mode 660").expect("fine");
        assert_eq!(s.idle_options, ["--in-socket-mode has no effect: the input is no unix socket"]);
        let s = settings("-inType=http -inDelay=1ms").expect("fine");
        assert_eq!(s.idle_options, ["-inDelay has no effect: the input is not teleport"]);
    }

    #[test]
    fn when_upstreams_are_left_alone() {
        let line = "--out http://a --health-check /h --health-timeout 700ms --health-status 204,300-302 --health-passes 4 \
                    --health-fails 5 --eject-after 6 --eject-share 7 --eject-time 8s --eject-max-time 9s --eject-most 10";
        let options = |line: &str| settings(line).expect("fine").groups[0].upstreams.clone();
        let said = options(line);
        let health = said.health.expect("they are checked");
        assert_eq!((health.timeout, health.good.to_string().as_str()), (Duration::from_millis(700), "204,300-302"));
        assert_eq!((health.healthy, health.unhealthy), (4, 5));
        let eject = said.balance.eject;
        assert_eq!((eject.failures, eject.percent, eject.most), (6, 7, 10));
        assert_eq!((eject.first, eject.longest), (Duration::from_secs(8), Duration::from_secs(9)));

        assert_eq!(options("--out http://a"), crate::outbound::Options::default());
        let eject = |line: &str| options(&format!("--out http://a {line}")).balance.eject;
        let never = eject("--eject-after 0");
        assert_eq!((never.failures, never.percent), (0, 0));
        let by_share = eject("--eject-after 0 --eject-share 30");
        assert_eq!((by_share.failures, by_share.percent), (0, 30));
        assert_eq!(eject("--eject-time 10m").longest, Duration::from_secs(600), "no shorter than the first time");
    }

    #[test]
    fn what_may_be_another_program_is_no_circle() {
        for line in [
            "--in http://:1 --out http://127.0.0.1:2",
            "--in http://:1 --out http://[::1]:1",
            "--in http://:1 --out http://10.0.0.1:1",
            "--in http://:1 --out http://localhost:1",
            "--in http://127.0.0.2:1 --out http://127.0.0.1:1",
            "--in http://:1 --reuse-port --out http://127.0.0.1:1",
            "--in teleport://:1 --out http://127.0.0.1:1",
            "--in http://:0 --out http://127.0.0.1:1",
        ] {
            assert!(settings(line).is_ok(), "{line}");
        }
    }

    #[test]
    fn every_contradiction_is_one_line_that_names_the_option() {
        let cases = [
            ("--in ftp://x", "--in ftp://x: unknown scheme \"ftp\"; use http, https, unix, teleport or teleports"),
            ("--out http://a,b:1", "--out b:1: no scheme; write for example http://b:1"),
            ("--out http://:80", "--out http://:80: no host"),
            ("--out http://a:0", "port 0"),
            ("--in http://a:1 --out http://a:1", "--out http://a:1: is the input itself"),
            ("--in http://:1 --out http://127.0.0.1:1", "--out http://127.0.0.1:1: is the input itself"),
            ("--in http://0.0.0.0:1 --out h2c://127.0.0.2:1", "--out h2c://127.0.0.2:1: is the input itself"),
            ("--in teleport://[::]:1 --out teleport://[::1]:1", "--out teleport://[::1]:1: is the input itself"),
            ("--in unix:/a --out unix:/a", "--out unix:/a: is the input itself"),
            ("--in https://:1 --out http://a", "--in https://:1: needs a certificate"),
            ("--in teleports://:1 --in-tls-cert c --out http://a", "give its PEM file with --in-tls-key"),
            ("--in http://:1 --in-tls-cert c --out http://a", "--in-tls-cert: the input http://:1 does not use TLS"),
            ("--in http://:1 --in-tls-key c --out http://a", "--in-tls-key: the input http://:1 does not use TLS"),
            (
                "--in https://:1 --autocert-host-regexp a --acme-challenge http --out http://a",
                "--acme-challenge http: the authority asks a clear http input",
            ),
            ("--in https://:1 --acme-challenge dns --out http://a", "--acme-challenge dns: use tls-alpn or http"),
            (
                "--in unix:/a --in-socket-mode 0o660",
                "--in-socket-mode 0o660: is no mode of a socket; write three octal digits",
            ),
            ("--out http://a --handover a/b", "--handover a/b: is no absolute path"),
            ("--in unix:a --out http://a --handover /b", "--in unix:a: is no absolute path; with --handover the next"),
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
            ("--in h2c://:1 --out http://a", "--in h2c://:1: is for outputs"),
            ("--out http://a#weight=0", "--out http://a#weight=0: bad weight"),
            ("--out teleport+srv://a.example", "--out teleport+srv://a.example: no name of an SRV record"),
            ("--out http://a --health-check x", "--health-check x: is no path"),
            ("--out http://a --health-interval 1s", "--health-interval: nothing is checked"),
            ("--out http://a --health-status 204", "--health-status: nothing is checked"),
            ("--out http://a --health-check / --health-interval 1ms", "--health-interval 1ms: too often"),
            ("--out http://a --health-check / --health-timeout 0", "--health-timeout 0: "),
            ("--out http://a --health-passes 1", "--health-passes: nothing is checked"),
            ("--out http://a --health-fails 1", "--health-fails: nothing is checked"),
            ("--out http://a --health-check / --health-passes 0", "--health-passes 0: "),
            ("--out http://a --health-check / --health-fails 1001", "--health-fails 1001: "),
            ("--out http://a --health-check / --health-status ok", "--health-status ok: write statuses of 200 to 599"),
            ("--out http://a --eject-share 101", "--eject-share 101: "),
            ("--out http://a --eject-most 0", "--eject-most 0: "),
            ("--out http://a --eject-time 0", "--eject-time 0ns: too short"),
            ("--out http://a --eject-max-time 4s", "--eject-max-time 4s: is shorter than the first time, 5s"),
            ("--out http://a --eject-after 0 --eject-time 9s", "--eject-time: --eject-after 0 leaves nobody alone"),
            ("--out http://a --subset 5", "--subset: needs to know which node"),
            ("--out http://a --node-id 5", "--node-id: is for a part"),
            ("--out http://a --subset 5 --node-id=", "--node-id: is empty, so all nodes would use the same part"),
            ("--out http://a --resolver x", "--resolver x: is no address"),
            ("--out http://a --retry-budget 101", "--retry-budget 101: "),
        ];
        for (line, want) in cases {
            let error = settings(line).expect_err(line);
            assert!(error.contains(want), "{line}: {error}");
            assert!(!error.contains('\n'), "{line}: {error}");
        }
    }
}
