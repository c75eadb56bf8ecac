//! HTTP over framed connections on real sockets, with real certificates.

use std::convert::Infallible;
use std::future::IntoFuture;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use httpteleport::stream::Incoming;
use httpteleport::{Client, Limits, Server};
use testkit::tls::Ca;
use tokio::net::TcpListener;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::ServerName;

/// The bytes of a download, of which no two pieces are equal.
fn content(length: usize) -> Bytes {
    let mut random = 7u32;
    (0..length)
        .map(|_| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            random.to_le_bytes()[3]
        })
        .collect()
}

async fn answer(request: Request<Incoming>) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
    let body = match request.uri().path() {
        "/large" => content(20_000_000),
        "/length" => {
            let body = request.into_body().collect().await.expect("it comes whole").to_bytes();
            Bytes::from(body.len().to_string())
        }
        _ => Bytes::from_static(b"small"),
    };
    Response::new(Full::new(body).boxed_unsync())
}

/// Serves on a free port of loopback.
async fn serve(tls: Option<Arc<ServerConfig>>) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let builder = Server::builder(Limits::default());
    let builder = if let Some(tls) = tls { builder.tls(tls) } else { builder };
    tokio::spawn(builder.build().unwrap().serve_streams(listener, answer).into_future());
    address
}

fn get(path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("http://far.example{path}")).body(Empty::new()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_and_small_messages_share_a_connection_in_clear_text_and_inside_tls() {
    let ca = Ca::new();
    let name = ServerName::try_from("far.example").unwrap();
    for tls in [false, true] {
        let address = serve(tls.then(|| ca.issue(&["far.example"]).server_config())).await;
        let builder = Client::builder(Limits::default());
        let builder = if tls { builder.tls(ca.client_config(), name.clone()) } else { builder };
        let client = builder.connect(&address.to_string()).unwrap();

        let large = client.stream(get("/large")).await.unwrap().into_body();
        let download = tokio::spawn(large.collect());
        let upload = Request::post("http://far.example/length").body(Full::new(content(10_000_000))).unwrap();
        let upload = tokio::spawn({
            let client = client.clone();
            async move { client.stream(upload).await }
        });
        for _ in 0..200 {
            let small = client.stream(get("/small")).await.unwrap();
            assert_eq!(small.into_body().collect().await.unwrap().to_bytes(), "small");
        }
        let length = upload.await.unwrap().unwrap().into_body().collect().await.unwrap().to_bytes();
        assert_eq!(length, "10000000");
        assert!(download.await.unwrap().unwrap().to_bytes() == content(20_000_000), "tls {tls}");
        client.drain().await;
    }
}
