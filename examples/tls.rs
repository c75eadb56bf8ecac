//! HTTP over teleport inside TLS, with ready rustls configurations.
//!
//! `cargo run -p examples --bin tls`

use http::{Request, Response};
use httpteleport::{Body, Client, Limits, Server};
use testkit::tls::Ca;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A certificate authority and a certificate, made for this run. Load yours from files instead.
    let ca = Ca::new();
    let certificate = ca.issue(&["node.example"]);

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    // A server with a TLS configuration refuses clients that want clear text.
    let server = Server::builder(Limits::default()).tls(certificate.server_config()).build()?;
    let handler = |_: Request<Body>| async { Response::new(Body::from("over TLS")) };
    tokio::spawn(server.serve(listener, handler).into_future());

    let client =
        Client::builder(Limits::default()).tls(ca.client_config(), "node.example".try_into()?).connect(&address)?;
    let response = client.call(Request::get("http://example.com/").body(Body::empty())?).await?;
    println!("{}", String::from_utf8_lossy(response.body().as_bytes()));

    let clear = Client::new(&address)?;
    let refused = clear.call(Request::get("http://example.com/").body(Body::empty())?).await;
    println!("clear text: {}", refused.expect_err("the server requires TLS"));
    Ok(())
}
