//! Real transports: TCP, unix sockets and TLS, each compression, and no reply to the wrong caller.

use std::net::SocketAddr;
use std::sync::Arc;

use fastrpc::codec::tlv::{Reply, Request, Tlv};
use fastrpc::{Call, Client, Compression, Error, ErrorKind, Server, ServerBuilder};
use testkit::raw::RawPeer;
use testkit::tls::Ca;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio_rustls::rustls::pki_types::ServerName;

use crate::support::*;

const COMPRESSIONS: [Compression; 3] = [Compression::None, Compression::Flate, Compression::Snappy];

/// Answers in an order of its own, with the token it was given.
async fn shuffled(call: Call<Request>) -> Reply {
    let request = call.into_request();
    for _ in 0..request.value.len() % 7 {
        tokio::task::yield_now().await;
    }
    Reply::new([request.name, request.value].concat())
}

async fn tcp(builder: ServerBuilder<Tlv>) -> (SocketAddr, Server<Tlv>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = builder.build().unwrap();
    tokio::spawn(server.serve(listener, shuffled).into_future());
    (address, server)
}

/// A thousand calls at once, each with a token of its own.
async fn thousand_calls(client: &Client<Tlv>) {
    let calls = (0..1000).map(|n: usize| {
        let client = client.clone();
        tokio::spawn(async move {
            let (name, value) = (format!("token {n} "), format!("{:>1$}", n, n % 50));
            let reply = client.call(Request::new(name.clone(), value.clone())).await.unwrap();
            assert_eq!(reply.value, name + &value);
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    assert_eq!((client.pending(), client.stats().late_replies), (0, 0));
}

#[tokio::test]
async fn each_compression_with_and_without_tls() {
    let ca = Ca::new();
    let identity = ca.issue(&["localhost"]);
    for compression in COMPRESSIONS {
        for tls in [false, true] {
            let mut settings = Server::builder(Tlv::new()).wire(fastrpc::Wire::Classic).compression(compression);
            let mut builder =
                Client::builder(Tlv::new()).wire(fastrpc::Wire::Classic).compression(compression).connections(2);
            if tls {
                settings = settings.tls(identity.server_config());
                builder = builder.tls(ca.client_config(), ServerName::try_from("localhost").unwrap());
            }
            let (address, server) = tcp(settings).await;
            let client = builder.connect(address.to_string()).unwrap();
            thousand_calls(&client).await;
            let (ours, theirs) = (client.stats(), server.stats());
            assert_eq!((ours.calls, ours.replies, ours.connections), (1000, 1000, 2));
            assert_eq!((theirs.calls, theirs.replies), (1000, 1000));
            assert_eq!((ours.bytes_out, ours.bytes_in), (theirs.bytes_in, theirs.bytes_out));
            assert_eq!((ours.wire_bytes_out, ours.wire_bytes_in), (theirs.wire_bytes_in, theirs.wire_bytes_out));
            assert_eq!(compression == Compression::None, ours.wire_bytes_out == ours.bytes_out);
        }
    }
}

/// Each side compresses as it likes.
#[tokio::test]
async fn compressions_may_differ_by_direction() {
    for (ours, theirs) in [(Compression::Flate, Compression::None), (Compression::Snappy, Compression::Flate)] {
        let (address, _) = tcp(Server::builder(Tlv::new()).wire(fastrpc::Wire::Classic).compression(theirs)).await;
        let client = Client::builder(Tlv::new())
            .wire(fastrpc::Wire::Classic)
            .compression(ours)
            .connect(address.to_string())
            .unwrap();
        assert_eq!(client.call(ask("x")).await.unwrap().value, "x");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn over_a_unix_socket() {
    let folder = std::env::temp_dir().join(format!("fastrpc-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let server = Server::builder(Tlv::new()).wire(fastrpc::Wire::Classic).build().unwrap();
    tokio::spawn(server.serve(listener, shuffled).into_future());
    let client = Client::builder(Tlv::new()).wire(fastrpc::Wire::Classic).connect_unix(&path).unwrap();
    thousand_calls(&client).await;
    std::fs::remove_dir_all(&folder).unwrap();
    let gone = Client::builder(Tlv::new()).wire(fastrpc::Wire::Classic).connect_unix(&path).unwrap();
    let error = gone.call(ask("x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert_eq!(error.peer(), path.to_str());
}

#[tokio::test]
async fn a_server_that_requires_tls_refuses_clear_text() {
    let ca = Ca::new();
    let (address, server) =
        tcp(Server::builder(Tlv::new()).wire(fastrpc::Wire::Classic).tls(ca.issue(&["localhost"]).server_config()))
            .await;
    let mut peer = RawPeer::new(TcpStream::connect(address).await.unwrap());
    peer.send(&[&hello(Compression::None).bytes()[..], &request_bytes(1, "secret", b"")].concat()).await;
    assert!(peer.read_to_end().await.is_empty());
    let client = Client::builder(Tlv::new()).wire(fastrpc::Wire::Classic).connect(address.to_string()).unwrap();
    assert_eq!(client.call(ask("secret")).await.unwrap_err().kind(), ErrorKind::Handshake);
    assert_eq!((server.stats().calls, server.stats().connect_errors), (0, 2));
}

#[tokio::test]
async fn a_client_that_wants_tls_sends_nothing_in_the_clear() {
    let ca = Ca::new();
    let (address, server) = tcp(Server::builder(Tlv::new()).wire(fastrpc::Wire::Classic)).await;
    let name = ServerName::try_from("localhost").unwrap();
    let client = Client::builder(Tlv::new())
        .wire(fastrpc::Wire::Classic)
        .tls(ca.client_config(), name)
        .connect(address.to_string())
        .unwrap();
    let error = client.call(ask("secret")).await.unwrap_err();
    assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Handshake, true));
    assert_eq!(server.stats().calls, 0);
}

#[tokio::test]
async fn a_certificate_of_another_name_or_authority_is_refused() {
    let ca = Ca::new();
    let (address, server) =
        tcp(Server::builder(Tlv::new()).wire(fastrpc::Wire::Classic).tls(ca.issue(&["localhost"]).server_config()))
            .await;
    for (config, name) in [(ca.client_config(), "elsewhere"), (Ca::new().client_config(), "localhost")] {
        let name = ServerName::try_from(name).unwrap();
        let client = Client::builder(Tlv::new())
            .wire(fastrpc::Wire::Classic)
            .tls(config, name)
            .connect(address.to_string())
            .unwrap();
        let error = client.call(ask("secret")).await.unwrap_err();
        assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Handshake, true));
    }
    assert_eq!(server.stats().calls, 0);
}

/// An unknown compression is answered with the server's own hello, then closed.
#[tokio::test]
async fn an_unknown_compression_is_answered_before_the_end() {
    let (address, _) =
        tcp(Server::builder(Tlv::new()).wire(fastrpc::Wire::Classic).compression(Compression::Snappy)).await;
    for byte in [3, 0x80, 0xff] {
        let mut peer = RawPeer::new(TcpStream::connect(address).await.unwrap());
        let mut said = hello(Compression::None);
        said.compression = byte;
        peer.send(&said.bytes()).await;
        assert_eq!(peer.read_to_end().await, hello(Compression::Snappy).bytes());
    }
}

#[tokio::test]
async fn a_wrong_sniff_or_version_is_not_answered() {
    let (address, _) = tcp(Server::builder(Tlv::new()).wire(fastrpc::Wire::Classic)).await;
    let mut version = hello(Compression::None);
    version.version = 9;
    for said in [&b"GET / HTTP/1.1\r\n\r\n"[..], &version.bytes()] {
        let mut peer = RawPeer::new(TcpStream::connect(address).await.unwrap());
        peer.send(said).await;
        assert!(peer.read_to_end().await.is_empty());
    }
}

/// A server that dies and comes back at its address: calls in flight fail, later ones succeed.
#[tokio::test]
async fn a_server_that_is_started_again_is_found_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder(Tlv::new()).wire(fastrpc::Wire::Classic).build().unwrap();
    let never = async |_: Call<Request>| std::future::pending::<Reply>().await;
    let first = tokio::spawn(server.serve(listener, never).into_future());
    let client = Client::builder(Tlv::new())
        .wire(fastrpc::Wire::Classic)
        .backoff(ms(1), ms(10))
        .connect(address.to_string())
        .unwrap();
    let mut call = client.call(ask("in flight"));
    assert!(poll_once(&mut call).is_pending());
    while server.stats().pending == 0 {
        tokio::task::yield_now().await;
    }
    first.abort();
    let error: Error = call.await.unwrap_err();
    assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Connection, false));
    let _ = first.await;
    let listener = TcpListener::bind(address).await.unwrap();
    let server = Server::builder(Tlv::new()).wire(fastrpc::Wire::Classic).build().unwrap();
    tokio::spawn(server.serve(listener, shuffled).into_future());
    assert_eq!(client.call(ask("later")).await.unwrap().value, "later");
    assert_eq!(client.stats().reconnects, 1);
}

/// On a runtime with threads, over one real connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn on_several_threads() {
    let (address, _) = tcp(Server::builder(Tlv::new()).wire(fastrpc::Wire::Classic).max_unread(4096)).await;
    let client =
        Arc::new(Client::builder(Tlv::new()).wire(fastrpc::Wire::Classic).connect(address.to_string()).unwrap());
    for _ in 0..5 {
        thousand_calls(&client).await;
    }
}
