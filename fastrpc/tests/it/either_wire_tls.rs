//! Either wire with TLS: the framed one inside, the classic one where nothing else is spoken, and clear text never.

use std::sync::Arc;

use fastrpc::codec::tlv::Tlv;
use fastrpc::{Client, ClientBuilder, ErrorKind, ServerBuilder, Wire};
use testkit::pipe::{End, duplex};
use testkit::tls::Ca;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ServerConfig};

use crate::support::*;

struct Certificates {
    ours: Arc<ClientConfig>,
    theirs: Arc<ServerConfig>,
}

fn certificates() -> Certificates {
    let ca = Ca::new();
    Certificates { ours: ca.client_config(), theirs: ca.issue(&["far.example"]).server_config() }
}

impl Certificates {
    fn client(&self) -> ClientBuilder<Tlv> {
        let name = ServerName::try_from("far.example").unwrap();
        client().wire(Wire::Auto).backoff(ms(1), ms(1)).tls(self.ours.clone(), name)
    }

    fn server(&self, wire: Wire) -> ServerBuilder<Tlv> {
        server().wire(wire).tls(self.theirs.clone())
    }
}

async fn answered(client: &Client<Tlv>) {
    assert_eq!(client.call(ask("secret")).await.unwrap().value, "secret");
}

/// Ends a connection at its first byte.
fn ends_at_once(mut end: End) {
    tokio::spawn(async move { end.read_u8().await });
}

/// No byte of a call has passed any connection in the clear.
fn sealed(port: &Port) {
    for n in 0..port.dialled() {
        let bytes = port.ways(n).0.recorded();
        assert!(!bytes.windows(6).any(|six| six == b"secret"), "connection {n}");
    }
    assert!(!port.wires().contains(['F', 'C']), "{}", port.wires());
}

#[tokio::test(start_paused = true)]
async fn each_client_gets_on_with_each_server_that_speaks_its_wire() {
    let certificates = certificates();
    for (ours, theirs, wires) in [
        (Wire::Auto, Wire::Auto, "T"),
        (Wire::Framed, Wire::Auto, "T"),
        (Wire::Auto, Wire::Framed, "T"),
        (Wire::Auto, Wire::Classic, "TS"),
        (Wire::Classic, Wire::Auto, "S"),
        (Wire::Classic, Wire::Classic, "S"),
    ] {
        let port = Port::served(certificates.server(theirs), echo);
        let client = port.client(certificates.client().wire(ours));
        for _ in 0..3 {
            answered(&client).await;
        }
        assert_eq!(port.wires(), wires, "{ours:?} {theirs:?}");
        sealed(&port);
        assert_eq!((client.stats().errors, client.is_failing()), (0, false));
    }
}

#[tokio::test(start_paused = true)]
async fn a_classic_server_is_remembered_and_asked_again_after_ten_minutes() {
    let certificates = certificates();
    let port = Port::served(certificates.server(Wire::Classic), echo);
    let client = port.client(certificates.client());
    answered(&client).await;
    port.cut(1);
    settle().await;
    answered(&client).await;
    assert_eq!(port.wires(), "TSS");
    tokio::time::sleep(secs(601)).await;
    port.replace(serving(certificates.server(Wire::Auto), echo).1);
    answered(&client).await;
    answered(&client).await;
    assert_eq!(port.wires(), "TSST");
    sealed(&port);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_server_at_all_is_not_remembered_as_a_classic_one() {
    let certificates = certificates();
    let port = Port::new(ends_at_once);
    let client = port.client(certificates.client());
    for wires in ["TS", "TSTS"] {
        let error = client.call(ask("secret")).await.unwrap_err();
        assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Handshake, true), "{error}");
        assert_eq!(port.wires(), wires);
        assert!(client.is_failing());
    }
    // Nor is one that dies before it has heard of the call, or is over our own limit.
    client.send(&ask("secret")).unwrap();
    settle().await;
    port.replace(serving(certificates.server(Wire::Auto), echo).1);
    answered(&client).await;
    assert!(port.wires().ends_with("ST") && !client.is_failing(), "{}", port.wires());
    sealed(&port);
}

#[tokio::test(start_paused = true)]
async fn a_tls_error_or_silence_is_no_end_before_tls() {
    let certificates = certificates();
    let stranger = Ca::new().issue(&["far.example"]).server_config();
    let port = Port::served(server().wire(Wire::Auto).tls(stranger), echo);
    let client = port.client(certificates.client());
    for wires in ["T", "TT"] {
        assert_eq!(client.call(ask("secret")).await.unwrap_err().kind(), ErrorKind::Handshake);
        assert_eq!(port.wires(), wires);
    }
    port.replace(|end| {
        tokio::spawn(async move {
            let _open = end;
            std::future::pending::<()>().await;
        });
    });
    assert_eq!(client.call(ask("secret")).await.unwrap_err().kind(), ErrorKind::Handshake);
    assert_eq!(port.wires(), "TTT");
}

#[tokio::test(start_paused = true)]
async fn a_server_without_tls_gets_nothing() {
    let certificates = certificates();
    for wire in [Wire::Auto, Wire::Classic, Wire::Framed] {
        let (serves, accept) = serving(server().wire(wire), echo);
        let port = Port::new(accept);
        let client = port.client(certificates.client());
        assert_eq!(client.call(ask("secret")).await.unwrap_err().kind(), ErrorKind::Handshake);
        assert_eq!((port.wires().as_str(), serves.stats().calls), ("TS", 0), "{wire:?}");
        sealed(&port);
    }
}

/// Who stands in between may end what begins with TLS, and pass the classic hello to a server that speaks both wires.
#[tokio::test(start_paused = true)]
async fn nobody_is_talked_down_to_the_classic_wire() {
    let certificates = certificates();
    let (serves, accept) = serving(certificates.server(Wire::Auto), echo);
    let port = Port::new(move |mut end: End| {
        let (mut here, there) = duplex();
        accept(there);
        tokio::spawn(async move {
            let first = end.read_u8().await.unwrap();
            if first == 0x16 {
                return;
            }
            here.write_u8(first).await.unwrap();
            let _ = copy_bidirectional(&mut end, &mut here).await;
        });
    });
    let client = port.client(certificates.client());
    for wires in ["TS", "TSTS"] {
        let error = client.call(ask("secret")).await.unwrap_err();
        assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Handshake, true), "{error}");
        assert!(error.to_string().contains("speaks the framed wire, yet TLS with it was cut off"), "{error}");
        assert_eq!(port.wires(), wires);
        settle().await;
        assert!(client.is_failing());
    }
    // Two were ended before their hello, and the two others refused.
    assert_eq!((serves.stats().calls, serves.stats().connect_errors), (0, 4));
    // It was a passing trouble: the very next call is served.
    port.replace(serving(certificates.server(Wire::Auto), echo).1);
    answered(&client).await;
    assert_eq!(port.wires(), "TSTST");
    sealed(&port);
}
