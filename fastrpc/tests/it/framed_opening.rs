//! How a framed connection is opened, by which beginning a port tells the wires apart, and that nobody is talked down to
//! less than both sides speak.

use std::sync::Arc;
use std::time::Duration;

use fastrpc::internals::handshake::framed::{FramedOpened, ServerOpened, Tried, client, server};
use fastrpc::internals::handshake::{self, ClientTls};
use fastrpc::internals::session::{Caller, Connected, ContextMemory, Options, connect};
use fastrpc::wire::framed::settings::Settings;
use fastrpc::wire::hello::Hello;
use fastrpc::{BoxIo, Compression, Error, Protocol};
use testkit::pipe::{End, duplex};
use testkit::tls::Ca;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::ServerName;

const LIMIT: Duration = Duration::from_secs(3);

fn protocol() -> Protocol {
    Protocol::new("httpteleport", 0).unwrap()
}

fn settings(calls: u32) -> Settings {
    Settings { calls, codecs: vec![2], ..Settings::default() }
}

fn certificates() -> (ClientTls, Arc<ServerConfig>) {
    let ca = Ca::new();
    let name = ServerName::try_from("far.example").unwrap();
    (ClientTls { config: ca.client_config(), name }, ca.issue(&["far.example"]).server_config())
}

/// A server's answer to whatever is at the other end of `io`; `framed` off: one that speaks classic alone.
async fn answer(io: End, framed: bool, tls: Option<Arc<ServerConfig>>) -> Result<ServerOpened, Error> {
    let ours = settings(2);
    server(Box::new(io), &protocol(), Compression::Flate, framed.then_some(&ours), tls, LIMIT).await
}

async fn dial(io: End, tls: Option<&ClientTls>) -> Result<Tried, Error> {
    client(Box::new(io), &protocol(), &settings(1), tls, LIMIT).await
}

async fn echo(client: &mut BoxIo, server: &mut BoxIo) {
    for (from, to) in [(0, 1), (1, 0)] {
        let ends = [&mut *client, &mut *server];
        ends[from].write_all(b"a record").await.unwrap();
        ends[from].flush().await.unwrap();
        let mut bytes = [0; 8];
        ends[to].read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"a record");
    }
}

fn told(outcome: Result<ServerOpened, Error>) -> String {
    match outcome {
        Ok(ServerOpened::Classic(_)) => "classic".to_owned(),
        Ok(ServerOpened::Framed(_)) => "framed".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[tokio::test(start_paused = true)]
async fn both_sides_learn_what_the_other_takes_in_clear_text_and_inside_tls() {
    let (client_tls, server_tls) = certificates();
    for tls in [false, true] {
        let (near, far) = duplex();
        let (client_tls, server_tls) = (tls.then_some(&client_tls), tls.then(|| server_tls.clone()));
        let (tried, opened) = tokio::join!(dial(near, client_tls), answer(far, true, server_tls));
        let Ok(Tried::Framed(FramedOpened { io: mut near, theirs: of_server })) = tried else { panic!("tls {tls}") };
        let Ok(ServerOpened::Framed(FramedOpened { io: mut far, theirs: of_client })) = opened else {
            panic!("tls {tls}")
        };
        assert_eq!((of_server, of_client), (settings(2), settings(1)));
        echo(&mut near, &mut far).await;
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_of_the_first_record_is_lost() {
    let (mut near, far) = duplex();
    let mut bytes = Vec::new();
    Hello::framed().encode(&protocol(), &mut bytes);
    settings(1).encode(&mut bytes);
    bytes.extend_from_slice(b"first");
    near.write_all(&bytes).await.unwrap();
    let Ok(ServerOpened::Framed(FramedOpened { mut io, .. })) = answer(far, true, None).await else { panic!("framed") };
    let mut first = [0; 5];
    io.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"first");
}

#[tokio::test(start_paused = true)]
async fn a_whole_classic_hello_is_the_sign_of_a_classic_peer_and_a_bare_close_is_not() {
    let (near, far) = duplex();
    let (tried, opened) = tokio::join!(dial(near, None), answer(far, false, None));
    assert!(matches!(tried, Ok(Tried::Classic)));
    assert_eq!(told(opened), "the peer asks for the framed wire, and this side speaks the classic one alone");

    let (near, far) = duplex();
    drop(far);
    let Err(error) = dial(near, None).await else { panic!("nobody answers") };
    assert!(error.may_retry(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_classic_server_ends_a_direct_start_of_tls_without_a_byte() {
    let (client_tls, server_tls) = certificates();
    let (near, far) = duplex();
    let (tried, opened) = tokio::join!(dial(near, Some(&client_tls)), answer(far, false, Some(server_tls)));
    assert!(matches!(tried, Ok(Tried::NoTls)));
    assert_eq!(told(opened), "the peer's hello is wrong");
}

#[tokio::test(start_paused = true)]
async fn one_port_serves_classic_clients_too_with_tls_and_without() {
    let (client_tls, server_tls) = certificates();
    for tls in [false, true] {
        let (near, far) = duplex();
        let (client_tls, server_tls) = (tls.then_some(&client_tls), tls.then(|| server_tls.clone()));
        let protocol = protocol();
        let classic = handshake::client(Box::new(near), &protocol, Compression::Snappy, client_tls, LIMIT, &None);
        let (opened, answered) = tokio::join!(classic, answer(far, true, server_tls));
        assert!(opened.is_ok(), "tls {tls}");
        assert_eq!(told(answered), "classic", "tls {tls}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_was_talked_down_to_classic_is_refused() {
    let (client_tls, server_tls) = certificates();
    let mut config = (*client_tls.config).clone();
    config.alpn_protocols = vec![b"httpteleport/1".to_vec()];
    let talked_down = ClientTls { config: Arc::new(config), ..client_tls };
    let (near, far) = duplex();
    let protocol = protocol();
    let classic = handshake::client(Box::new(near), &protocol, Compression::Flate, Some(&talked_down), LIMIT, &None);
    let (_, answered) = tokio::join!(classic, answer(far, true, Some(server_tls)));
    let text = "the client was made to speak the classic wire, though both sides speak the framed one";
    assert_eq!(told(answered), text);
}

#[tokio::test(start_paused = true)]
async fn a_port_with_a_certificate_serves_no_clear_text_and_one_without_no_tls() {
    let (client_tls, server_tls) = certificates();
    let (near, far) = duplex();
    let (tried, opened) = tokio::join!(dial(near, None), answer(far, true, Some(server_tls)));
    assert!(tried.is_err());
    assert_eq!(told(opened), "the client wants clear text on a port that requires TLS");

    let (near, far) = duplex();
    let (tried, opened) = tokio::join!(dial(near, Some(&client_tls)), answer(far, true, None));
    assert!(matches!(tried, Ok(Tried::NoTls)), "whether it speaks classic with TLS is for its hello to tell");
    assert_eq!(told(opened), "the client wants TLS and this port has no certificate");
}

#[tokio::test(start_paused = true)]
async fn settings_that_make_no_sense_or_never_come_end_the_exchange() {
    for (settings, text) in [
        (&[1, 0x10][..], "the peer's settings make no sense"),
        (&[3, 0, 2, 1, 9], "the peer's settings make no sense"),
        (&[3, 0, 2], "the peer closed before its settings were whole"),
        (&[3], "the peer closed before its settings were whole"),
    ] {
        let (mut near, far) = duplex();
        let mut bytes = Vec::new();
        Hello::framed().encode(&protocol(), &mut bytes);
        bytes.extend_from_slice(settings);
        near.write_all(&bytes).await.unwrap();
        near.shutdown().await.unwrap();
        assert_eq!(told(answer(far, true, None).await), text);
        // Behind the server's hello, a close says why: record, close frame, code 2.
        let mut said = Vec::new();
        near.read_to_end(&mut said).await.unwrap();
        let nonsense = text.ends_with("sense");
        assert_eq!(said.windows(4).any(|window| window[..2] == [11, 0] && window[3] == 2), nonsense, "{said:x?}");
    }
    let (mut near, far) = duplex();
    near.write_all(b"httpteleport\x00\x80\x01\x00\x00").await.unwrap();
    let text = "the client asks for TLS behind a hello of the framed wire, where it goes around it";
    assert_eq!(told(answer(far, true, None).await), text);
    let (near, far) = duplex();
    let _silent = near;
    assert_eq!(told(answer(far, true, None).await), "the opening exchange took longer than 3 s");
}

/// A connection whose client keeps to `memory`: what its settings offered, and both drivers.
async fn connected(memory: &ContextMemory) -> (Settings, Caller, impl Sized) {
    let (near, far) = duplex();
    let options = Options { memory: memory.clone(), ..Options::default() };
    let protocol = protocol();
    let answered = server(Box::new(far), &protocol, Compression::Flate, Some(&options.settings), None, LIMIT);
    let (opened, answered) = tokio::join!(connect(Box::new(near), &protocol, options.clone(), None), answered);
    let Ok(Connected::Framed(caller, driver)) = opened else { panic!("framed") };
    let Ok(ServerOpened::Framed(FramedOpened { io, theirs })) = answered else { panic!("framed") };
    (theirs, caller, (driver, io))
}

#[tokio::test(start_paused = true)]
async fn past_the_budget_contexts_get_smaller_and_then_there_are_none() {
    let (told, heard) = std::sync::mpsc::sync_channel(9);
    let memory = ContextMemory::new(15 << 20).on_reduced(move |count| told.send(count).expect("somebody hears"));
    let (first, _caller, held) = connected(&memory).await;
    assert_eq!((first.codecs.len(), first.window_log), (2, 22));
    let full = memory.used();
    let (second, ..) = connected(&memory).await;
    assert_eq!((second.codecs.len(), second.window_log), (2, 20), "{} of 15 MiB are taken", full >> 20);
    assert_eq!(memory.reduced(), 0, "it is gone");
    let (_, _, second) = connected(&memory).await;
    let (third, _, none) = connected(&memory).await;
    assert_eq!((third.codecs.len(), memory.reduced()), (0, 2));
    assert_eq!(heard.try_iter().collect::<Vec<_>>(), [1, 1, 2]);
    drop((second, none));
    assert_eq!(memory.reduced(), 0);
    drop(held);
    assert_eq!(memory.used(), 0, "it returns with the connection");
}
