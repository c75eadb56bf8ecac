//! Client and server of this crate, joined by a pipe.

use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use httpteleport::{Body, Client, Compression, ErrorKind, Limits, RecordCodec, Server, Wire};
use tokio::net::TcpListener;

async fn echo(request: Request<Body>) -> Response<Body> {
    let token = request.headers().get("x-token").cloned();
    let text = format!("{} {} ", request.method(), request.uri());
    let mut body = text.into_bytes();
    body.extend_from_slice(request.body().as_bytes());
    let mut response = Response::new(Body::from(body));
    response.headers_mut().extend(token.map(|token| (http::HeaderName::from_static("x-token"), token)));
    response
}

async fn serve(server: Server) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(server.serve(listener, echo).into_future());
    address
}

#[tokio::test]
async fn every_compression_carries_a_thousand_concurrent_calls_each_to_its_caller() {
    let classic = [Compression::None, Compression::Flate, Compression::Snappy]
        .map(|codec| (Wire::Classic, codec, RecordCodec::None));
    let framed = RecordCodec::ALL.map(|codec| (Wire::Framed, Compression::None, codec));
    for (wire, compression, codec) in classic.into_iter().chain(framed) {
        let server = Server::builder(Limits::default()).compression(compression).framed_compression(codec);
        let server = server.build().unwrap();
        let address = serve(server.clone()).await;
        let client = Client::builder(Limits::default()).wire(wire).compression(compression).framed_compression(codec);
        let client = client.connections(2).connect(&address).unwrap();
        let calls = (0..1000).map(|i| {
            let client = client.clone();
            tokio::spawn(async move {
                let request = Request::post(format!("http://test/{i}"))
                    .header("x-token", i)
                    .body(Body::from(vec![b'a' + u8::try_from(i % 26).unwrap(); i]))
                    .unwrap();
                let response = client.call(request).await.unwrap();
                assert_eq!(response.headers()["x-token"], i.to_string());
                assert!(response.body().as_bytes().starts_with(format!("POST /{i} ").as_bytes()));
            })
        });
        for call in calls.collect::<Vec<_>>() {
            call.await.unwrap();
        }
        assert_eq!(client.stats().replies, 1000);
        assert_eq!(server.stats().connections, 2);
        client.drain().await;
    }
}

#[tokio::test]
async fn head_tells_the_length_and_brings_no_body() {
    head_tells_the_length(Wire::Classic).await;
    head_tells_the_length(Wire::Auto).await;
}

async fn head_tells_the_length(wire: Wire) {
    let address = serve(Server::builder(Limits::default()).wire(wire).build().unwrap()).await;
    let client = Client::new(&format!("teleport://{address}")).unwrap();
    let request = Request::head("http://test/some/where").body(Body::empty()).unwrap();
    let response = client.call(request).await.unwrap();
    assert_eq!(response.headers()["content-length"], "HEAD /some/where ".len().to_string());
    assert!(response.body().is_empty());
    let after = client.call(Request::get("http://test/after").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(after.body().as_bytes(), "GET /after ");
}

#[tokio::test]
async fn what_is_over_a_limit_is_refused_and_the_connection_lives() {
    limits_are_kept(Wire::Classic).await;
    limits_are_kept(Wire::Framed).await;
}

async fn limits_are_kept(wire: Wire) {
    let limits = Limits::default().with_max_body(1000).with_max_headers(10).with_max_head(2000);
    let server = Server::builder(limits).wire(wire).build().unwrap();
    let address = serve(server.clone()).await;
    let limits = Limits::default().with_max_body(500).with_peer_max_head(2000);
    let client = Client::builder(limits).connect(&address).unwrap();
    let post = |bytes: usize| Request::post("http://test/").body(Body::from(vec![b'x'; bytes])).unwrap();

    assert_eq!(client.call(post(1001)).await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);

    let mut many = Request::get("http://test/").body(Body::empty()).unwrap();
    for i in 0..11 {
        many.headers_mut().append("x-many", i.into());
    }
    assert_eq!(client.call(many).await.unwrap().status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);

    let mut long = Request::get("http://test/").body(Body::empty()).unwrap();
    long.headers_mut().insert("x-long", "y".repeat(2000).parse().unwrap());
    let error = client.call(long).await.unwrap_err();
    assert_eq!(error.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Encode);

    let error = client.call(post(600)).await.unwrap_err();
    assert_eq!(error.status(), StatusCode::BAD_GATEWAY, "the reply's body is over the client's limit: {error:?}");

    assert_eq!(client.call(post(100)).await.unwrap().status(), StatusCode::OK);
    assert_eq!(server.stats().connections, 1);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_is_a_typed_timeout_and_an_overload_a_429() {
    let (near, far) = tokio::io::duplex(4096);
    let server = Server::builder(Limits::default()).concurrency(1).build().unwrap();
    let never = |_: Request<Body>| std::future::pending::<Response<Body>>();
    tokio::spawn(async move { server.serve_connection(far, None, std::sync::Arc::new(never)).await });
    let (client, driver) = Client::builder(Limits::default()).handshake(near).await.unwrap();
    tokio::spawn(driver);
    let get = || Request::builder().method(Method::GET).uri("http://test/").body(Body::empty()).unwrap();
    let first = client.call(get()).timeout(Duration::from_millis(300));
    let begun = tokio::time::Instant::now();
    let (first, second) = tokio::join!(first, client.call(get()));
    let error = first.unwrap_err();
    assert!(error.is_timeout() && error.status() == StatusCode::GATEWAY_TIMEOUT);
    assert!(begun.elapsed() < Duration::from_millis(310));
    assert_eq!(second.unwrap().status(), StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn clients_servers_and_calls_can_be_printed() {
    let server = Server::builder(Limits::default()).build().unwrap();
    assert_eq!(format!("{server:?}"), "Server { running: 0, .. }");
    let client = Client::new("127.0.0.1:1").unwrap();
    assert_eq!(format!("{client:?}"), "Client { pending: 0, .. }");
    let call = client.call(Request::head("http://test/").body(Body::empty()).unwrap());
    assert_eq!(format!("{call:?}"), "Calling { method: HEAD, .. }");
}

#[test]
fn tls_configurations_are_of_the_library_that_is_exported() {
    fn takes(builder: httpteleport::ServerBuilder, config: httpteleport::rustls::ServerConfig) {
        let _ = builder.tls(std::sync::Arc::new(config));
    }
    let _ = takes;
}

#[tokio::test]
async fn heads_over_the_default_buffer_of_a_connection_pass_where_the_limits_allow_them() {
    // Much more than 16 MiB: what comes in one read, together with the end of the head, does not count as undecoded.
    const LENGTH: usize = 32 << 20;
    let limits = Limits::default().with_max_head(33 << 20).with_peer_max_head(33 << 20);
    let address = serve(Server::builder(limits).compression(Compression::None).build().unwrap()).await;
    let client = Client::builder(limits).wire(Wire::Classic).compression(Compression::None).connect(&address).unwrap();
    // `echo` sends it back, so that both sides have to hold it.
    let token = http::HeaderValue::from_bytes(&vec![b't'; LENGTH]).unwrap();
    let request = Request::get("http://test/").header("x-token", token).body(Body::empty()).unwrap();
    assert_eq!(client.call(request).await.unwrap().headers()["x-token"].len(), LENGTH);
}

#[test]
fn any_limit_makes_a_client_and_a_server() {
    for bytes in [0, 1 << 20, usize::MAX] {
        let limits = Limits::default().with_max_head(bytes).with_peer_max_head(bytes).with_max_body(bytes);
        Client::builder(limits).connect("127.0.0.1:1").unwrap();
        Server::builder(limits).build().unwrap();
    }
    assert_eq!(Limits::default().with_max_head(usize::MAX).max_head(), 512 << 20);
}
