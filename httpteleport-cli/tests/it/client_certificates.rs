//! Clients that have to show a certificate, and upstreams that ask for one.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustix::process::Signal;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, HandshakeKind, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::Client;
use crate::clients::log_has;
use crate::config::File;
use crate::origin::Origin;
use crate::program::{Program, address_in, run};

/// An authority, and what it makes, in files.
struct Authority {
    folder: TempDir,
    made: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "an authority");
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key");
        let made = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let authority = Authority { folder: tempfile::tempdir().expect("a folder"), made };
        fs::write(authority.file("ca"), authority.made.pem()).expect("written");
        authority
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn path(&self, name: &str) -> String {
        self.file(name).to_str().expect("UTF-8").to_owned()
    }

    /// Writes `NAME.crt` and `NAME.key`, of a certificate for these names.
    fn issue(&self, file: &str, names: &[&str]) {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let key = KeyPair::generate().expect("a key");
        let certificate = CertificateParams::new(names).expect("names").signed_by(&key, &self.made).expect("signed");
        fs::write(self.file(&format!("{file}.key")), key.serialize_pem()).expect("written");
        fs::write(self.file(&format!("{file}.crt")), certificate.pem()).expect("written");
    }

    fn pair(&self, file: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let certificate = CertificateDer::from_pem_file(self.file(&format!("{file}.crt"))).expect("PEM");
        (vec![certificate], PrivateKeyDer::from_pem_file(self.file(&format!("{file}.key"))).expect("PEM"))
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.made.der().clone()).expect("a certificate");
        roots
    }

    /// A client that trusts this authority, and shows a certificate of that one.
    fn client(
        &self,
        shown: Option<(&Authority, &str)>,
        version: &'static SupportedProtocolVersion,
    ) -> Arc<ClientConfig> {
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(ring).with_protocol_versions(&[version]).expect("a version");
        let builder = builder.with_root_certificates(self.roots());
        Arc::new(match shown {
            None => builder.with_no_client_auth(),
            Some((authority, file)) => {
                let (chain, key) = authority.pair(file);
                builder.with_client_auth_cert(chain, key).expect("a pair")
            }
        })
    }

    /// A server with the certificate `server` that lets in whom this authority vouches for.
    fn server(&self) -> ServerConfig {
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots()), Arc::clone(&ring));
        let builder =
            ServerConfig::builder_with_provider(ring).with_safe_default_protocol_versions().expect("versions");
        let builder = builder.with_client_cert_verifier(verifier.build().expect("an authority"));
        let (chain, key) = self.pair("server");
        builder.with_single_cert(chain, key).expect("a pair")
    }

    /// The options of a TLS input that asks for certificates of this authority.
    fn input(&self) -> Vec<String> {
        self.issue("server", &["localhost", "127.0.0.1"]);
        let (cert, key) = (self.path("server.crt"), self.path("server.key"));
        ["--in-tls-cert", &cert, "--in-tls-key", &key, "--in-tls-client-ca", &self.path("ca")].map(str::to_owned).into()
    }
}

/// Makes a request over TLS: the status, or what the client is told instead, and how the handshake went.
async fn ask(config: &Arc<ClientConfig>, address: &str) -> Result<(u16, HandshakeKind), String> {
    let mut stream = connect(config, address).await?;
    let said = |error: std::io::Error| error.to_string();
    stream.write_all(b"GET /size/1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.map_err(said)?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await.map_err(said)?;
    let status = String::from_utf8_lossy(&reply).split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok((status.expect("a status"), stream.get_ref().1.handshake_kind().expect("it is over")))
}

async fn connect(config: &Arc<ClientConfig>, address: &str) -> Result<TlsStream<TcpStream>, String> {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::clone(config)).connect(name, stream).await.map_err(|error| error.to_string())
}

const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

#[tokio::test]
async fn clients_are_let_in_by_authority_and_name_and_others_get_an_alert() {
    let (ours, theirs, origin) = (Authority::new(), Authority::new(), Origin::start().await);
    let input = ours.input();
    ours.issue("exact", &["Near.example.com"]);
    ours.issue("end", &["other.example", "a.wide.example"]);
    ours.issue("stranger", &["far.example.com", "wide.example"]);
    theirs.issue("exact", &["near.example.com"]);
    let mut args = vec!["--in", "https://127.0.0.1:0", "--out"];
    let url = origin.url();
    args.extend([&url, "--in-tls-client-names", "near.example.com,*.wide.example"]);
    args.extend(input.iter().map(String::as_str));
    let (mut program, mut log) = Program::logged(&args).await;
    for version in VERSIONS {
        for file in ["exact", "end"] {
            let answered = ask(&ours.client(Some((&ours, file)), version), program.address()).await;
            assert_eq!(answered.map(|(status, _)| status), Ok(200), "{file} {version:?}");
        }
        let told = |shown| ask_error(&ours, shown, version, program.address());
        assert!(told(Some((&ours, "stranger"))).await.contains("AccessDenied"), "{version:?}");
        // The other authority has the same name, so its signature is what is wrong.
        let error = told(Some((&theirs, "exact"))).await;
        assert!(error.contains("received fatal alert: "), "{version:?}: {error}");
        let error = told(None).await;
        let want =
            if version.version == rustls::ProtocolVersion::TLSv1_3 { "CertificateRequired" } else { "fatal alert" };
        assert!(error.contains(want), "{version:?}: {error}");
    }
    assert!(origin.connections() > 0);
    log_has(&mut log, "refused: its certificate is for none of the names of --in-tls-client-names").await;
    program.signal(Signal::TERM);
    log_has(&mut log, "connections and refusals: accepted 10, client_certificate 6").await;
    assert_eq!(program.ended().await.code(), Some(0));
}

async fn ask_error(
    ours: &Authority,
    shown: Option<(&Authority, &str)>,
    version: &'static SupportedProtocolVersion,
    address: &str,
) -> String {
    ask(&ours.client(shown, version), address).await.expect_err("it is not let in")
}

#[tokio::test]
async fn no_session_gets_round_the_check() {
    let (ours, origin) = (Authority::new(), Origin::start().await);
    let input = ours.input();
    ours.issue("near", &["near"]);
    let url = origin.url();
    let args =
        [&["--in", "https://127.0.0.1:0", "--out", &url][..], &input.iter().map(String::as_str).collect::<Vec<_>>()];
    let program = Program::start(&args.concat()).await;
    for version in VERSIONS {
        let config = ours.client(Some((&ours, "near")), version);
        for turn in 0..3 {
            let answered = ask(&config, program.address()).await;
            assert_eq!(answered, Ok((200, HandshakeKind::Full)), "{version:?} {turn}");
        }
    }
}

#[tokio::test]
async fn a_client_without_a_certificate_costs_a_teleports_input_nothing() {
    let (ours, origin) = (Authority::new(), Origin::start().await);
    let input = ours.input();
    ours.issue("near", &["near"]);
    let url = origin.url();
    let mut args = vec!["--in", "teleports://127.0.0.1:0", "--out", &url, "--in-tls-client-names", "near"];
    args.extend(input.iter().map(String::as_str));
    for (wire, told) in [
        ("classic", "CertificateRequired: it refuses the certificate of --out-tls-cert, or that there is none"),
        ("framed", "cannot be reached: received fatal alert: CertificateRequired, so no hello came"),
    ] {
        let (mut far, mut log) = Program::logged(&[&args[..], &["--wire", wire]].concat()).await;
        let out = format!("teleports://{}", far.address());
        let (ca, cert, key) = (ours.path("ca"), ours.path("near.crt"), ours.path("near.key"));
        let shown = ["--out-ca", &ca, "--out-tls-cert", &cert, "--out-tls-key", &key, "--wire", wire];
        let near = Program::between("http://127.0.0.1:0", &out, &shown).await;
        let bare = ["--in", "http://127.0.0.1:0", "--out", &out, "--out-ca", &ca, "--wire", wire];
        let (bare, mut bare_log) = Program::logged(&bare).await;
        let mut client = Client::connect(near.address()).await;
        assert_eq!(client.get("/size/2").await.text(), "xx", "{wire}");
        let refused = Client::connect(bare.address()).await.get("/size/1").await;
        let body = "http: proxying error: TLS: the handshake failed\n";
        let body = if wire == "classic" { body } else { "http: proxying error: cannot connect\n" };
        assert_eq!((refused.status(), refused.text()), (502, body), "{wire}: options are the operator's");
        log_has(&mut bare_log, told).await;
        log_has(&mut log, "refused: it shows no certificate").await;
        assert_eq!(client.get("/size/3").await.text(), "xxx", "{wire}");
        far.signal(Signal::TERM);
        log_has(&mut log, "client_certificate 1").await;
        assert_eq!(far.ended().await.code(), Some(0));
    }
}

#[tokio::test]
async fn an_https_upstream_is_shown_a_certificate_and_checked_for_the_name_given() {
    let ours = Authority::new();
    ours.issue("server", &["elsewhere.example"]);
    ours.issue("near", &["near"]);
    let origin = Origin::tls(ours.server()).await;
    let url = format!("https://{}", origin.address);
    let (ca, cert, key) = (ours.path("ca"), ours.path("near.crt"), ours.path("near.key"));
    let pair = ["--out-tls-cert", &cert, "--out-tls-key", &key];
    let name = ["--out-tls-name", "elsewhere.example"];
    for (options, status) in [([&pair[..], &name[..]].concat(), 200), (name.to_vec(), 502), (pair.to_vec(), 502)] {
        let options = [&["--out-ca", &ca], &options[..]].concat();
        let program = Program::between("http://127.0.0.1:0", &url, &options).await;
        assert_eq!(Client::connect(program.address()).await.get("/size/1").await.status(), status, "{options:?}");
    }
}

#[tokio::test]
async fn files_that_change_are_read_again_without_a_file_of_settings() {
    let (ours, theirs, origin) = (Authority::new(), Authority::new(), Origin::start().await);
    let input = ours.input();
    for authority in [&ours, &theirs] {
        authority.issue("near", &["near"]);
    }
    let url = origin.url();
    let mut args = vec!["--in", "teleports://127.0.0.1:0", "--out", &url];
    args.extend(input.iter().map(String::as_str));
    let (far, mut far_log) = Program::logged(&args).await;
    let out = format!("teleports://{}", far.address());
    let (ca, cert, key) = (ours.path("trusted"), ours.path("near.crt"), ours.path("near.key"));
    fs::copy(ours.file("ca"), &ca).expect("copied");
    let args =
        ["--in", "http://127.0.0.1:0", "--out", &out, "--out-ca", &ca, "--out-tls-cert", &cert, "--out-tls-key", &key];
    let (near, mut near_log) = Program::logged(&args).await;
    let mut before = Client::connect(near.address()).await;
    assert_eq!(before.get("/size/1").await.text(), "x");

    // The far side trusts others from now on, and the near one shows the old certificate until that changes, too.
    fs::copy(theirs.file("ca"), ours.file("ca")).expect("copied");
    log_has(&mut far_log, "certificates or tokens have changed and were read again").await;
    let fresh = Program::start(&args).await;
    assert_eq!(Client::connect(fresh.address()).await.get("/size/1").await.status(), 502);
    fs::copy(theirs.file("near.key"), &key).expect("copied");
    log_has(&mut near_log, "is not the key of the certificate in").await;
    log_has(&mut near_log, "certificates or tokens have changed and are not applied; those of before hold").await;
    fs::copy(theirs.file("near.crt"), &cert).expect("copied");
    log_has(&mut near_log, "certificates or tokens have changed and were read again").await;
    let mut after = Client::connect(near.address()).await;
    assert_eq!(after.get("/size/2").await.text(), "xx", "a new connection shows the new one");

    // And the trust in the far side.
    fs::copy(theirs.file("ca"), &ca).expect("copied");
    log_has(&mut near_log, "certificates or tokens have changed and were read again").await;
    let reply = Client::connect(near.address()).await.get("/size/1").await;
    assert_eq!(reply.status(), 502);
    log_has(&mut near_log, "invalid peer certificate").await;
}

#[tokio::test]
async fn a_file_of_settings_has_them_as_well() {
    let (ours, origin) = (Authority::new(), Origin::start().await);
    ours.issue("server", &["localhost"]);
    ours.issue("near", &["near"]);
    let file = |name| {
        format!(
            "[listener.a]\nurl = \"https://127.0.0.1:0\"\ntls_cert = {:?}\ntls_key = {:?}\ntls_client_ca = {:?}\n\
         tls_client_names = [{name:?}]\n[group.a]\nurls = {:?}\n",
            ours.path("server.crt"),
            ours.path("server.key"),
            ours.path("ca"),
            origin.url()
        )
    };
    let config = File::new(&file("near"));
    let mut program = Program::start(&["--config", &config.path()]).await;
    let client = ours.client(Some((&ours, "near")), VERSIONS[1]);
    assert!(ask(&client, program.address()).await.is_ok());
    config.write(&file("*.near"));
    program.signal(Signal::HUP);
    let line = program.next_line().await;
    assert!(ask(&client, address_in(&line)).await.is_err());
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let ours = Authority::new();
    let input = ours.input();
    let input: Vec<&str> = input.iter().map(String::as_str).collect();
    let (cert, key) = (ours.path("server.crt"), ours.path("ca"));
    let tls = |more: &[&'static str]| {
        [&["--in", "https://127.0.0.1:0", "--out", "http://127.0.0.1:1"], &input[..], more].concat()
    };
    let out = |more: &[&'static str]| [&["--in", "http://127.0.0.1:0", "--out", "https://127.0.0.1:1"], more].concat();
    let cases = [
        (tls(&["--in-tls-client-names", "a,,b"]), 2, "--in-tls-client-names a,,b: \"\" is no DNS name;"),
        (
            tls(&["--in-tls-session-ticket-key", "s"]),
            2,
            "--in-tls-session-ticket-key: sessions that are resumed would get round",
        ),
        (
            tls(&[])[..8].iter().copied().chain(["--in-tls-client-names", "a"]).collect(),
            2,
            "--in-tls-client-names: clients show no",
        ),
        (
            vec!["--in", "http://127.0.0.1:0", "--out", "http://h", "--in-tls-client-ca", "f"],
            2,
            "--in-tls-client-ca: the input",
        ),
        (
            out(&["--out-tls-cert", "f"]),
            2,
            "--out-tls-cert: needs the certificate's key; give its PEM file with --out-tls-key",
        ),
        (
            out(&["--out-tls-key", "f"]),
            2,
            "--out-tls-key: needs the key's certificate; give its PEM file with --out-tls-cert",
        ),
        (out(&["--out-tls-name", "a b"]), 2, "--out-tls-name a b: cannot be the name in a certificate;"),
        (vec!["--out", "http://h", "--out-tls-name", "a"], 2, "--out-tls-name: no output uses TLS;"),
        (
            vec!["--out", "https://127.0.0.1:1", "--out-tls-cert", &cert, "--out-tls-key", &key],
            2,
            "holds no private key",
        ),
    ];
    for (args, code, want) in cases {
        let (ended, _, stderr) = run(&args).await;
        assert_eq!(ended, Some(code), "{args:?}: {stderr}");
        assert!(stderr.starts_with("httptp: --") && stderr.contains(want) && stderr.lines().count() == 1, "{stderr}");
    }
}
