//! Command lines of Go's `httptp`, as they stand in unit files: each scenario of its README, served.

use rustix::process::Signal;
use tokio::net::{UnixListener, UnixStream};

use crate::client::Client;
use crate::origin::Origin;
use crate::program::{Program, logged, run};
use crate::tls::Identity;
use crate::unix::socket_path;

/// A node between HTTP and the teleport input of another.
async fn near(far: &str) -> Program {
    Program::start(&["-inType=http", "-in=127.0.0.1:0", "-outType=teleport", &format!("-out={far}")]).await
}

/// A node that takes the teleport output of another to an origin.
async fn far(origin: &Origin) -> Program {
    Program::start(&["-inType=teleport", "-in=127.0.0.1:0", "-outType=http", &format!("-out={}", origin.address)]).await
}

async fn serves(program: &Program) {
    let mut client = Client::connect(program.address()).await;
    for n in 1..4 {
        assert_eq!(client.get(&format!("/size/{n}")).await.body.len(), n, "{}", program.line);
    }
}

/// The same through an HTTP node before its teleport input.
async fn serves_teleport(program: &Program) {
    serves(&near(program.address()).await).await;
}

#[tokio::test]
async fn teleport_to_several_http_servers() {
    let origins = [Origin::start().await, Origin::start().await, Origin::start().await];
    let out = format!("-out={},{},{}", origins[0].address, origins[1].address, origins[2].address);
    let program = Program::start(&["-inType=teleport", "-in=127.0.0.1:0", "-outType=http", &out]).await;
    serves_teleport(&program).await;
    assert!(origins.iter().all(|origin| origin.connections() == 1), "each has its turn");
}

#[tokio::test]
async fn http_to_teleport() {
    let origin = Origin::start().await;
    let far = far(&origin).await;
    serves(&near(far.address()).await).await;
}

#[tokio::test]
async fn teleport_on_every_address_to_http() {
    let origin = Origin::start().await;
    let program =
        Program::start(&["-inType=teleport", "-in=:0", "-outType=http", &format!("-out={}", origin.address)]).await;
    assert!(program.address().starts_with("0.0.0.0:"), "{}", program.line);
    serves_teleport(&program).await;
}

#[tokio::test]
async fn teleport_to_several_teleport_servers() {
    let origin = Origin::start().await;
    let fars = [far(&origin).await, far(&origin).await, far(&origin).await];
    let out = format!("-out={},{},{}", fars[0].address(), fars[1].address(), fars[2].address());
    serves_teleport(&Program::start(&["-inType=teleport", "-in=127.0.0.1:0", "-outType=teleport", &out]).await).await;
}

#[tokio::test]
async fn teleport_to_a_unix_socket() {
    let path = socket_path("go-origin");
    let _origin = Origin::unix(UnixListener::bind(&path).expect("a socket"));
    let out = format!("-out={}", path.display());
    serves_teleport(&Program::start(&["-inType=teleport", "-in=127.0.0.1:0", "-outType=unix", &out]).await).await;
}

#[tokio::test]
async fn a_unix_socket_to_teleport() {
    let (origin, path) = (Origin::start().await, socket_path("go-front"));
    let far = far(&origin).await;
    let (input, out) = (format!("-in={}", path.display()), format!("-out={}", far.address()));
    let mut program = Program::start(&["-inType=unix", &input, "-outType=teleport", &out]).await;
    let mut client = Client::over(UnixStream::connect(&path).await.expect("a connection"));
    assert_eq!(client.get("/size/3").await.text(), "xxx");
    program.signal(Signal::TERM);
    assert_eq!(program.ended().await.code(), Some(0));
}

#[tokio::test]
async fn teleport_over_tls_on_both_sides_of_it() {
    let (origin, identity, path) = (Origin::start().await, Identity::new("go_teleports"), socket_path("go-tls"));
    let last = far(&origin).await;
    let (cert, key) = identity.files();
    let (cert, key) = (format!("-inTLSCert={cert}"), format!("-inTLSKey={key}"));
    let out = format!("-out={}", last.address());
    let args = ["-inType=teleports", &cert, &key, "-in=127.0.0.1:0", "-outType=teleport", &out];
    let server = Program::start(&args).await;

    // Go trusts what its system trusts, and so does this one if it is not told otherwise.
    let (input, out) = (format!("-in={}", path.display()), format!("-out={}", server.address()));
    let trust = [("SSL_CERT_FILE", identity.files().0)];
    let _near = Program::within(&["-inType=unix", &input, "-outType=teleports", &out], &trust).await;
    let mut client = Client::over(UnixStream::connect(&path).await.expect("a connection"));
    assert_eq!(client.get("/size/3").await.text(), "xxx");
}

#[tokio::test]
async fn teleport_from_some_addresses_alone() {
    let origin = Origin::start().await;
    let last = far(&origin).await;
    let out = format!("-out={}", last.address());
    let start = async |allowed| {
        let allowed = format!("-inAllowIP={allowed}");
        Program::start(&["-inType=teleport", "-in=127.0.0.1:0", &allowed, "-outType=teleport", &out]).await
    };
    serves_teleport(&start("10.0.0.1,127.0.0.1").await).await;
    let closed = start("10.0.0.1,10.0.0.2").await;
    let near = near(closed.address()).await;
    assert_eq!(Client::connect(near.address()).await.get("/size/1").await.status(), 502);
}

#[tokio::test]
async fn http_to_several_http_servers() {
    let origins = [Origin::start().await, Origin::start().await, Origin::start().await];
    let out = format!("-out={},{},{}", origins[0].address, origins[1].address, origins[2].address);
    serves(&Program::start(&["-inType=http", "-in=127.0.0.1:0", "-outType=http", &out]).await).await;
    assert!(origins.iter().all(|origin| origin.connections() == 1), "each has its turn");
}

/// A name that the pattern does not take gets no certificate, and nobody is asked for one.
#[tokio::test]
async fn https_with_certificates_that_are_ordered() {
    let (origin, trusted, folder) =
        (Origin::start().await, Identity::new("go_acme"), tempfile::tempdir().expect("a folder"));
    let cache = folder.path().join("cache");
    let cache = format!("-autocertCacheDir={}", cache.to_str().expect("UTF-8"));
    let line =
        ["-inType=https", "-in=127.0.0.1:0", "-autocertHostRegexp=^www\\.example\\.com$", &cache, "-outType=http"];
    let (out, more) = (format!("-out={}", origin.address), ["--acme-ca", trusted.files().0]);
    let (program, mut log) = Program::logged(&[&line[..], &[&out], &more].concat()).await;
    for (name, why) in [
        (
            "other.example.com",
            "failed: there is no certificate for other.example.com, which --autocert-host-regexp does not take",
        ),
        ("127.0.0.1", "failed: the client names no host, so there is no certificate to show"),
    ] {
        let stream = tokio::net::TcpStream::connect(program.address()).await.expect("a connection");
        let name = rustls::pki_types::ServerName::try_from(name).expect("a name");
        let error = trusted.client().connect(name, stream).await.expect_err("there is no certificate");
        assert!(error.to_string().contains("fatal alert"), "{error}");
        logged(&mut log, why).await;
    }
}

#[tokio::test]
async fn https_without_a_certificate_says_that_it_needs_one() {
    let line = ["-inType=https", "-in=:443", "-outType=http", "-out=node1:8080,node2:8080,node3:8080"];
    let refuses = async |more: &[&str], want: &str| {
        let (code, _, stderr) = run(&[&line[..], more].concat()).await;
        assert_eq!((code, stderr.as_str()), (Some(2), format!("httptp: {want}\n").as_str()));
    };
    let bare = "-in https://:443: needs a certificate; give PEM files with -inTLSCert and -inTLSKey, or have one ordered for hosts that \
                -autocertHostRegexp takes";
    refuses(&[], bare).await;
    let unlimited = "-autocertCacheDir: anyone could order certificates; say for which hosts with -autocertHostRegexp";
    refuses(&["-autocertCacheDir=/var/cache"], unlimited).await;
    let any = "-autocertHostRegexp ^.*$: takes any name, so anyone could order certificates; write for example \
               (www\\.)?example\\.com";
    refuses(&["-autocertHostRegexp=^.*$"], any).await;
    let (origin, identity) = (Origin::start().await, Identity::new("go_https"));
    let (cert, key) = identity.files();
    let (cert, key, out) =
        (format!("-inTLSCert={cert}"), format!("-inTLSKey={key}"), format!("-out={}", origin.address));
    let program = Program::start(&["-inType=https", "-in=127.0.0.1:0", "-outType=http", &out, &cert, &key]).await;
    let stream = tokio::net::TcpStream::connect(program.address()).await.expect("a connection");
    let name = rustls::pki_types::ServerName::try_from("localhost").expect("a name");
    let mut client = Client::over(identity.client().connect(name, stream).await.expect("a handshake"));
    assert_eq!(client.get("/size/2").await.text(), "xx");
}

/// What Go's program never looks at with these types is in unit files all the same.
#[tokio::test]
async fn flags_that_go_does_not_look_at_are_taken_and_told() {
    let origin = Origin::start().await;
    let idle = [
        ("-inTLSCert", "/nowhere.pem", "the input does not use TLS"),
        ("-inTLSKey", "", ""),
        ("-inTLSSessionTicketKey", "secret", "the input does not use TLS"),
        ("-autocertHostRegexp", "^.*$", "no certificates are ordered for this input"),
        ("-autocertCacheDir", "autocert-cache", "no certificates are ordered for this input"),
        ("-inCompress", "flate", "the input is not teleport"),
        ("-inDelay", "1ms", "the input is not teleport"),
        ("-outCompress", "flate", "the outputs are not teleport"),
        ("-outDelay", "5s", "the outputs are not teleport"),
        ("-outConnsPerAddr", "4", "the outputs are not teleport or HTTP/2"),
    ];
    let flags: Vec<_> = idle.iter().map(|(flag, value, _)| format!("{flag}={value}")).collect();
    let out = format!("-out={}", origin.address);
    let mut line = vec!["-inType=http", "-in=127.0.0.1:0", "-outType=http", &out];
    line.extend(flags.iter().map(String::as_str));
    let (program, mut log) = Program::logged(&line).await;
    for (flag, _, why) in idle.iter().filter(|(_, value, _)| !value.is_empty()) {
        logged(&mut log, &format!(" WARN {flag} has no effect: {why}")).await;
    }
    serves(&program).await;

    let (code, _, stderr) = run(&["--in", "http://127.0.0.1:0", "--in-tls-cert", "/nowhere.pem"]).await;
    let want = "httptp: --in-tls-cert: the input http://127.0.0.1:0 does not use TLS; use https:// or teleports://, or drop the option\n";
    assert_eq!((code, stderr.as_str()), (Some(2), want), "in our own spelling it is a misunderstanding");
}

#[tokio::test]
async fn both_spellings_mix_and_mistakes_are_told_in_the_one_that_was_typed() {
    let origin = Origin::start().await;
    let program = Program::start(&["-in=127.0.0.1:0", "--out", &origin.url(), "--threads", "1", "-reusePort"]).await;
    serves(&program).await;
    for (args, want) in [
        (&["-inDelay=soon"][..], "httptp: -inDelay soon: write a duration such as 300ms, 1.5s, 1m30s or 100us\n"),
        (
            &["--inCompress", "zip"],
            "httptp: --inCompress zip: use zstd, zstd-small, zstd-max, lz4, none, flate or snappy\n",
        ),
        (&["-in=:x"], "httptp: -in http://:x: bad port \"x\"; use 1 to 65535\n"),
        (&["-inGetOnly=maybe"], "httptp: -inGetOnly=maybe: use true or false\n"),
        (&["-expvarAddr=here"], "httptp: -expvarAddr here: write HOST:PORT, or nothing to turn it off\n"),
        (
            &["-inAllowIP=10.0.0"],
            "httptp: -inAllowIP 10.0.0: \"10.0.0\" is no network; write an address such as 10.0.0.1 or a network such as 10.0.0.0/8 or 2001:db8::/32\n",
        ),
    ] {
        let (code, _, stderr) = run(args).await;
        assert_eq!((code, stderr.as_str()), (Some(2), want), "{args:?}");
    }
}
