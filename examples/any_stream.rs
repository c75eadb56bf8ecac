//! A connection on any stream, here an in-memory pipe, with its driver in the caller's hands.
//!
//! `cargo run -p examples --bin any_stream`

use std::sync::Arc;

use fastrpc::codec::tlv::{Reply, Request, Tlv};
use fastrpc::{Call, Client, Server};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (near, far) = tokio::io::duplex(64 * 1024);

    let server = Server::builder(Tlv::new()).build()?;
    let handler = Arc::new(|call: Call<Request>| async move { Reply::new(call.into_request().value) });
    tokio::spawn(async move { server.serve_connection(far, None, handler).await });

    let (client, driver) = Client::builder(Tlv::new()).handshake(near).await?;
    let driver = tokio::spawn(driver);

    client.send(&Request::new("log", "nobody waits for this"))?;
    let reply = client.call(Request::new("echo", "hello")).await?;
    println!("{}", String::from_utf8_lossy(&reply.value));

    client.drain().await;
    driver.await??; // Ends well once the connection is drained.
    Ok(())
}
