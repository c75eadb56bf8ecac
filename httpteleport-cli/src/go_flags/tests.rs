use proptest::prelude::*;

use super::*;

fn args(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(OsString::from).collect()
}

fn ours(line: &str) -> Result<String, String> {
    let translated = translate(args(&format!("httptp {line}")))?;
    let words: Vec<_> = translated.args.iter().skip(1).map(|arg| arg.to_str().expect("UTF-8")).collect();
    Ok(words.join(" "))
}

#[test]
fn every_flag_is_an_option_of_ours_in_each_spelling() {
    let cases = [
        ("autocertCacheDir", "/c", "--autocert-cache-dir=/c"),
        ("autocertHostRegexp", "^a$", "--autocert-host-regexp=^a$"),
        ("clientIPHeader", "X-IP", "--in-client-ip-header=X-IP"),
        ("concurrency", "0x10", "--concurrency=16"),
        ("expvarAddr", "h:1", "--admin=h:1"),
        ("in", "h:1", "--in=http://h:1"),
        ("inAllowIP", "10.0.0.1,10.0.0.2", "--in-allow=10.0.0.1,10.0.0.2"),
        ("inCompress", "snappy", "--in-compress=snappy"),
        ("inDelay", "+1.5ms", "--in-delay=1.5ms"),
        ("inMaxBodySize", "1_000", "--in-max-body-size=1000"),
        ("inMaxHeaderSize", "8192", "--in-max-header-size=8192"),
        ("inTLSCert", "a,b", "--in-tls-cert=a,b"),
        ("inTLSKey", "c,d", "--in-tls-key=c,d"),
        ("inTLSSessionTicketKey", "s", "--in-tls-session-ticket-key=s"),
        ("inType", "teleport", "--in=teleport://127.0.0.1:8080"),
        ("out", "a:1,b:2", "--out=teleport://a:1,teleport://b:2"),
        ("outCompress", "none", "--out-compress=none"),
        ("outConnsPerAddr", "3", "--out-conns-per-addr=3"),
        ("outDelay", "1ms", "--out-delay=1ms"),
        ("outMaxHeaderSize", "0o377", "--out-max-header-size=255"),
        ("outTimeout", "1m30s", "--out-timeout=1m30s"),
        ("outType", "http", "--out=http://127.0.0.1:8043"),
    ];
    for (name, value, want) in cases {
        for typed in [
            format!("-{name}={value}"),
            format!("--{name}={value}"),
            format!("-{name} {value}"),
            format!("--{name} {value}"),
        ] {
            assert_eq!(ours(&typed).as_deref(), Ok(want), "{typed}");
        }
    }
    let bools = [("inGetOnly", "--in-get-only"), ("logAllErrors", "--log-all-errors"), ("reusePort", "--reuse-port")];
    for (name, option) in bools {
        for (typed, want) in [("", "true"), ("=true", "true"), ("=T", "true"), ("=0", "false"), ("=False", "false")] {
            assert_eq!(ours(&format!("-{name}{typed}")), Ok(format!("{option}={want}")), "-{name}{typed}");
            assert_eq!(ours(&format!("--{name}{typed}")), Ok(format!("{option}={want}")), "--{name}{typed}");
        }
        assert_eq!(ours(&format!("-{name} false")), Ok(format!("{option}=true false")), "it takes no next word");
    }
    assert_eq!(cases.len() + bools.len(), FLAGS.len());
    assert!(FLAGS.iter().all(|flag| cases.iter().any(|c| c.0 == flag.0) || bools.iter().any(|b| b.0 == flag.0)));
}

#[test]
fn addresses_take_the_scheme_of_their_type() {
    let cases = [
        ("-inType=http -in=:80", "--in=http://:80"),
        ("-in=:80 -inType=teleports", "--in=teleports://:80"),
        ("-inType=unix -in=/run/a.sock", "--in=unix:/run/a.sock"),
        ("-outType=unix -out=a.sock,/b.sock", "--out=unix:a.sock,unix:/b.sock"),
        ("-outType=http -out=a:80,b:80,c:80", "--out=http://a:80,http://b:80,http://c:80"),
        ("--out=localhost:80", "--out=teleport://localhost:80"),
        ("--in http://a:1 --out unix:/x", "--in=http://a:1 --out=unix:/x"),
        ("--out http://a --out=teleport://b:1,unix:/c", "--out=http://a --out=teleport://b:1,unix:/c"),
        ("-out=a:1 -out=b:1", "--out=teleport://b:1"),
        ("-inType=https -inType=http -in=a:1", "--in=http://a:1"),
    ];
    for (typed, want) in cases {
        assert_eq!(ours(typed).as_deref(), Ok(want), "{typed}");
    }
}

#[test]
fn what_is_empty_was_not_given_but_for_the_admin_address() {
    for name in ["inAllowIP", "inTLSCert", "inTLSKey", "inTLSSessionTicketKey", "clientIPHeader"] {
        assert_eq!(ours(&format!("-{name}=")).as_deref(), Ok(""), "{name}");
    }
    assert_eq!(ours("-expvarAddr=").as_deref(), Ok("--admin="));
}

#[test]
fn the_rest_stays_where_it_is() {
    let cases = [
        ("demo --seconds 5", "demo --seconds 5"),
        ("--in-delay 1ms -inDelays=2ms ---in=x -", "--in-delay 1ms -inDelays=2ms ---in=x -"),
        ("--wire classic -inDelay=1ms -h", "--in-delay=1ms --wire classic -h"),
        ("-inDelay=1ms -- -outDelay=2ms", "--in-delay=1ms -- -outDelay=2ms"),
        ("-concurrency=many -inMaxBodySize -1", "--concurrency=many --in-max-body-size=-1"),
        ("-reusePort check -inDelay=1ms", "--reuse-port=true --in-delay=1ms check"),
    ];
    for (typed, want) in cases {
        assert_eq!(ours(typed).as_deref(), Ok(want), "{typed}");
    }
    assert_eq!(translate([]), Ok(Translated::default()));
}

#[test]
fn says_what_is_wrong_in_the_words_that_were_typed() {
    let cases = [
        ("-in", "-in: needs a value"),
        ("--in --out http://a", "--in: needs a value"),
        ("--inDelay", "--inDelay: needs a value"),
        ("-inGetOnly=yes", "-inGetOnly=yes: use true or false"),
        ("-inType=ftp -in=a:1", "-inType ftp: use http, https, unix, teleport or teleports"),
        ("-outType=unix", "-outType unix: there is no socket path; give it with -out"),
        ("-inType=http -in=https://a", "-inType http: -in https://a names a scheme itself; drop one of them"),
    ];
    for (typed, want) in cases {
        let error = ours(typed).expect_err(typed);
        assert!(error.starts_with(want), "{typed}: {error}");
    }
    let spelt = translate(args("x -inDelay=1 --outType=http -out=a")).expect("fine").spelt;
    assert_eq!(
        spelt,
        [("--in-delay", "-inDelay"), ("--out", "-out")].map(|(ours, typed)| (ours.to_owned(), typed.to_owned()))
    );
}

#[test]
fn numbers_are_those_of_go() {
    let good = [
        ("0", 0),
        ("10", 10),
        ("+7", 7),
        ("010", 8),
        ("0o17", 15),
        ("0XfF", 255),
        ("0b101", 5),
        ("1_0", 10),
        ("0x_f", 15),
        ("0_7", 7),
    ];
    for (text, want) in good {
        assert_eq!(number(text), Some(want), "{text}");
    }
    for text in ["", "_1", "1_", "1__0", "0x", "08", "1.5", "-1", "99999999999999999999", "1e3", "++1"] {
        assert_eq!(number(text), None, "{text}");
    }
}

#[test]
fn a_flag_that_is_none_is_told_whole_with_a_guess() {
    let options = ["--config", "--help", "--wire"].map(str::to_owned);
    let told = |line: &str| unknown(&line.split(' ').map(OsString::from).collect::<Vec<_>>(), &options);
    let help = "unknown flag; httptp --help lists what there is";
    assert_eq!(told("httptp -bogus").as_deref(), Some(&*format!("-bogus: {help}")));
    assert_eq!(told("httptp --wire=a -inAllow=1").as_deref(), Some("-inAllow: unknown flag; did you mean -inAllowIP?"));
    assert_eq!(told("httptp -config x").as_deref(), Some("-config: unknown flag; did you mean --config?"));
    assert_eq!(told("httptp -help").as_deref(), Some("-help: unknown flag; did you mean --help?"));
    for fine in ["httptp -h", "httptp -V", "httptp - x", "httptp --bogus", "httptp -5", "httptp -- -bogus", "-bogus"] {
        assert_eq!(told(fine), None, "{fine}");
    }
}

#[test]
fn an_empty_address_is_no_address() {
    for line in ["--in=", "-in=", "-inType=teleport -in=", "-in=:1,,:2"] {
        let words = std::iter::once("httptp").chain(line.split(' ')).map(OsString::from);
        let why = translate(words).expect_err(line);
        assert!(
            why.contains("in: an address is empty; write for example 127.0.0.1:8080, or a URL such as http://"),
            "{why}"
        );
    }
}

proptest! {
    #[test]
    fn whatever_is_typed_comes_to_an_end(words in prop::collection::vec("[-=a-zA-Z0-9:/,. _]{0,12}", 0..8)) {
        let _ = translate(std::iter::once("httptp".into()).chain(words.into_iter().map(OsString::from)));
    }

    #[test]
    fn words_that_are_no_flags_pass_unchanged(words in prop::collection::vec("[a-z0-9.]{1,8}|--[a-z]{1,4}-[a-z]{1,6}", 0..8)) {
        let typed: Vec<OsString> = std::iter::once("httptp".to_owned()).chain(words).map(OsString::from).collect();
        prop_assert_eq!(translate(typed.clone()).expect("nothing to translate").args, typed);
    }

    #[test]
    fn one_spelling_is_as_good_as_another(
        index in 0..FLAGS.len(), dashes in 1..3usize, apart: bool, value in "[1-9][0-9]{0,4}", before in "--wire=[a-z]{1,5}",
    ) {
        let (name, option, kind) = FLAGS[index];
        let value = match kind { Kind::Bool => "true".to_owned(), Kind::Scheme => "http".to_owned(), _ => value };
        let dashes = "-".repeat(dashes);
        let flag = if apart && kind != Kind::Bool {
            vec![format!("{dashes}{name}"), value]
        } else {
            vec![format!("{dashes}{name}={value}")]
        };
        let usual = vec![format!("-{name}={}", flag.last().expect("a word").rsplit('=').next().expect("a value"))];
        let line = |words: Vec<String>| {
            let words = std::iter::once("httptp".to_owned()).chain([before.clone()]).chain(words);
            translate(words.map(OsString::from)).expect("fine").args
        };
        let translated = line(flag);
        prop_assert_eq!(&translated, &line(usual));
        prop_assert!(translated[1].to_str().expect("UTF-8").starts_with(option));
    }

    #[test]
    fn numbers_keep_their_value(value: u64) {
        prop_assert_eq!(number(&value.to_string()), Some(value));
        prop_assert_eq!(number(&format!("{value:#x}")), Some(value));
        prop_assert_eq!(number(&format!("0{value:o}")), Some(value));
        prop_assert_eq!(number(&format!("{value:#b}")), Some(value));
    }
}

#[test]
fn a_line_in_words_of_go_has_no_other_names_for_its_flags() {
    for (line, want) in [
        (": give --in-tls-cert, or --in", ": give -inTLSCert, or -in"),
        (
            ": --in-tls-client-ca and --in-allow; no --in-allowed.",
            ": --in-tls-client-ca and -inAllowIP; no --in-allowed.",
        ),
        (" x: is as long as --out-timeout, ", " x: is as long as -outTimeout, "),
        (": nothing\u{e9} --wire", ": nothing\u{e9} --wire"),
    ] {
        assert_eq!(in_words_of_go(line), want);
    }
}
