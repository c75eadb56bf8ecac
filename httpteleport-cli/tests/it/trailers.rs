//! Fields after a body, both ways.

use crate::stage::Stage;

const REPLY: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, Location\r\n\r\n\
                     2\r\nok\r\n0\r\nX-Sum: 7\r\nLocation: /x\r\n\r\n";

#[tokio::test]
async fn those_of_a_request_reach_the_origin() {
    let stage = Stage::start().await;
    let mut client = stage.client().await;
    let head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, Cookie\r\n\r\n";
    let trailers = "0\r\nX-Sum: 1\r\nCookie: none\r\nX-Unannounced: 1\r\n\r\n";
    // At once, so that the proxy knows them before it sends the head, and after the head has gone on.
    let at_once = format!("{head}2\r\nhi\r\n{trailers}");
    for (parts, names, sent) in [
        (&[&*at_once][..], "x-sum, x-unannounced", "X-Sum: 1\r\nX-Unannounced: 1\r\n"),
        (&[head, "2\r\nhi\r\n", trailers], "X-Sum, Cookie", "X-Sum: 1\r\n"),
    ] {
        client.send(parts[0]).await;
        let mut origin = stage.accept().await;
        let head = origin.head().await;
        assert_eq!(head.field("trailer"), Some(names));
        assert_eq!(head.field("transfer-encoding"), Some("chunked"));
        for part in &parts[1..] {
            client.send(part).await;
        }
        let want = format!("2\r\nhi\r\n0\r\n{sent}\r\n");
        assert_eq!(String::from_utf8_lossy(&origin.exactly(want.len()).await), want);
        origin.send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
        assert_eq!(client.reply().await.status(), 204);
    }
}

#[tokio::test]
async fn those_of_a_reply_reach_a_client_that_asks() {
    let stage = Stage::start().await;
    let mut client = stage.client().await;
    client.send("GET / HTTP/1.1\r\nHost: h\r\nTE: trailers, deflate;q=0.5\r\nConnection: TE\r\n\r\n").await;
    let mut origin = stage.accept().await;
    let head = origin.head().await;
    assert_eq!((head.field("te"), head.field("connection")), (Some("trailers"), Some("te")));
    origin.send(REPLY).await;
    assert_eq!(client.head().await.field("trailer"), Some("X-Sum, Location"));
    let want = "2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n";
    assert_eq!(String::from_utf8_lossy(&client.exactly(want.len()).await), want);

    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let head = origin.head().await;
    assert_eq!((head.field("te"), head.field("connection")), (None, None));
    origin.send(REPLY).await;
    client.head().await;
    assert_eq!(client.exactly(12).await, b"2\r\nok\r\n0\r\n\r\n", "who does not ask gets none");
}
