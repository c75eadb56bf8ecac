//! Replies without a body.

use super::*;

#[tokio::test]
async fn a_reply_of_our_own_to_head_is_a_head() {
    let nobody = Program::between("http://127.0.0.1:0", "http://127.0.0.1:1", &[]).await;
    for (field, value, status) in
        [("x", "y".to_owned(), 502), ("x", "y".repeat(5000), 431), ("expect", "x".to_owned(), 417)]
    {
        let mut client = connect(nobody.address()).await;
        let mut lengths = Vec::new();
        for method in ["GET", "HEAD"] {
            let request = Request::builder().method(method).uri("http://h/").header(field, &value);
            let reply = ask(&mut client, request.body(empty()).expect("a request")).await;
            assert_eq!(reply.status().as_u16(), status);
            lengths.push(reply.headers()["content-length"].clone());
            assert_eq!(text(reply).await.is_empty(), method == "HEAD");
        }
        assert_eq!(lengths[0], lengths[1], "HEAD is told what GET would be");
        let mut client = Client::connect(nobody.address()).await;
        client.send(format!("HEAD / HTTP/1.1\r\nHost: h\r\n{field}: {value}\r\nConnection: close\r\n\r\n")).await;
        let reply = client.head().await;
        assert_eq!((reply.status(), client.rest().await), (status, Vec::new()));
    }
}

/// An origin of HTTP/2 that answers `/N` with that status and a body, whatever is asked; its URL.
async fn talkative_origin() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("h2c://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(async |request: Request<Incoming>| {
                let reply = Response::builder().status(&request.uri().path()[1..]);
                reply.body(Full::new(Bytes::from_static(b"hello")))
            });
            let http = server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(async move { http.serve_connection(TokioIo::new(stream), service).await });
        }
    });
    url
}

#[tokio::test]
async fn what_an_upstream_says_where_no_body_may_be_is_left_out() {
    let url = talkative_origin().await;
    let direct = Program::http(&url).await;
    let fars = [
        Program::between("teleport://127.0.0.1:0", &url, &["--wire", "framed"]).await,
        Program::between("teleport://127.0.0.1:0", &url, &["--wire", "classic"]).await,
    ];
    let [framed, classic] = fars.each_ref().map(|far| format!("teleport://{}", far.address()));
    for near in [&direct, &Program::http(&framed).await, &Program::http(&classic).await] {
        let mut two = connect(near.address()).await;
        let mut one = Client::connect(near.address()).await;
        for (method, status) in [("HEAD", 200), ("GET", 204), ("GET", 304), ("GET", 200)] {
            let request = Request::builder().method(method).uri(format!("http://h/{status}"));
            let reply = ask(&mut two, request.body(empty()).expect("a request")).await;
            assert_eq!(reply.status().as_u16(), status, "{method}, {}", near.line);
            let bare = (method, status) != ("GET", 200);
            assert_eq!(text(reply).await, if bare { "" } else { "hello" }, "{method} {status}, {}", near.line);
            one.send(format!("{method} /{status} HTTP/1.1\r\nHost: h\r\n\r\n")).await;
            let reply = if bare { one.head().await } else { one.reply().await };
            assert_eq!((reply.status(), reply.text()), (status, if bare { "" } else { "hello" }), "{}", near.line);
        }
    }
}

/// Answers one request so, with a length.
async fn answers(stage: &Stage, status: u16, body: &str) {
    let mut origin = stage.accept().await;
    origin.head().await;
    origin.send(format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\nConnection: close\r\n\r\n{body}")).await;
}

#[tokio::test]
async fn a_reply_without_a_body_has_no_length_that_would_make_it_malformed() {
    let direct = Stage::start().await;
    let framed = Stage::before("teleport://127.0.0.1:0", &["--wire", "framed"]).await;
    let classic = Stage::before("teleport://127.0.0.1:0", &["--wire", "classic"]).await;
    let before = |stage: &Stage| format!("teleport://{}", stage.program.address());
    let near_framed = Program::http(&before(&framed)).await;
    let near_classic = Program::http(&before(&classic)).await;
    for (stage, near) in [(&direct, &direct.program), (&framed, &near_framed), (&classic, &near_classic)] {
        for (method, status, body, length) in
            [("GET", 204, "hello", None), ("HEAD", 204, "", None), ("HEAD", 200, "", Some("5"))]
        {
            let mut client = connect(near.address()).await;
            let request = Request::builder().method(method).uri("http://h/").body(empty()).expect("a request");
            let (reply, ()) = tokio::join!(ask(&mut client, request), answers(stage, status, body));
            let told = reply.headers().get("content-length").map(|length| length.to_str().expect("text"));
            assert_eq!((reply.status().as_u16(), told), (status, length), "HTTP/2 {method}, {}", near.line);
            assert_eq!(text(reply).await, "", "HTTP/2 {method} {status}, {}", near.line);

            let mut client = Client::connect(near.address()).await;
            client.send(format!("{method} / HTTP/1.1\r\nHost: h\r\n\r\n")).await;
            let (reply, ()) = tokio::join!(client.head(), answers(stage, status, body));
            let told = reply.field("content-length");
            assert_eq!((reply.status(), told), (status, length), "HTTP/1.1 {method}, {}", near.line);
        }
        // Its length is that of what has not changed, and may be told.
        let mut client = connect(near.address()).await;
        let request = Request::get("http://h/").body(empty()).expect("a request");
        let (reply, ()) = tokio::join!(ask(&mut client, request), answers(stage, 304, ""));
        assert_eq!((reply.status().as_u16(), &*text(reply).await), (304, ""), "{}", near.line);
    }
}
