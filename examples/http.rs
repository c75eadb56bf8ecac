//! HTTP over teleport: types of the `http` crate in and out.
//!
//! `cargo run -p examples --bin http`

use std::time::Duration;

use http::{Request, Response};
use httpteleport::{Body, Client, Compression, Limits, Server};

async fn hello(request: Request<Body>) -> Response<Body> {
    Response::new(Body::from(format!("{} {}: hello", request.method(), request.uri())))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = Server::builder(Limits::default()).compression(Compression::Flate).build()?;
    let serving = tokio::spawn(server.serve(listener, hello).into_future());

    let client = Client::new(&format!("teleport://{address}"))?;
    let request = Request::get("http://example.com/foo").body(Body::empty())?;
    let response = client.call(request).timeout(Duration::from_millis(300)).await?;
    println!("{} {}", response.status(), String::from_utf8_lossy(response.body().as_bytes()));

    client.drain().await;
    server.shutdown();
    serving.await?;
    Ok(())
}
