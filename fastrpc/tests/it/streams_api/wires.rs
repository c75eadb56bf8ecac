//! Streams and the wires that have none.

use super::*;

#[tokio::test(start_paused = true)]
async fn streams_need_the_framed_wire() {
    let error = builder().wire(Wire::Classic).connect("127.0.0.1:1").err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("set Framed or Auto"), "{error}");
    let port = Port::served(server(), crate::support::echo);
    for wire in [Wire::Auto, Wire::Framed] {
        let client = dials(&port, builder().wire(wire));
        let error = client.call(&1, SendBody::empty()).await.err().unwrap();
        assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Handshake, true));
        assert!(error.to_string().contains("classic wire alone"), "{error}");
    }
    let (server, port) = served(serves(), echo);
    let error = port.client(client().compression(Compression::None)).call(ask("x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Handshake);
    assert!(error.to_string().contains("framed wire alone"), "{error:?}");
    settle().await;
    assert_eq!(server.stats().connect_errors, 1);
}

/// Clients and servers of whole messages and of streams may share settings, and connections as far as their wire goes.
#[tokio::test(start_paused = true)]
async fn the_settings_of_a_client_of_messages_serve_one_of_streams() {
    let (_, port) = served(serves(), echo);
    let client = client().wire(Wire::Framed).timeout(ms(300)).streams(Heads).connect_with("port", port.dial()).unwrap();
    assert_eq!(client.timeout(), ms(300));
    assert_eq!(client.exchange(&1, Bytes::from_static(b"x")).await.unwrap().head, "1");
}
