//! An RPC of one's own in a screenful: lines of text, answered in capitals.
//!
//! `cargo run -p examples --bin own_codec`

use bytes::{Buf, BytesMut};
use fastrpc::{BoxError, Call, Client, Codec, Decoded, Failure, Server};

/// Messages are lines of at most 1,000 bytes.
struct Lines;

impl Lines {
    fn put(line: &str, out: &mut Vec<u8>) -> Result<(), BoxError> {
        if line.contains('\n') || line.len() > 1000 {
            return Err("a line has no line feed and at most 1,000 bytes".into());
        }
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
        Ok(())
    }

    fn take(input: &mut BytesMut) -> Result<Option<String>, BoxError> {
        let Some(end) = input.iter().take(1001).position(|byte| *byte == b'\n') else {
            return if input.len() > 1000 { Err("a line is too long".into()) } else { Ok(None) };
        };
        let line = String::from_utf8_lossy(&input[..end]).into_owned();
        input.advance(end + 1);
        Ok(Some(line))
    }
}

impl Codec for Lines {
    type Request = String;
    type Reply = String;
    type Partial = (); // An unfinished line stays in the input.

    fn encode_request(&self, request: &String, out: &mut Vec<u8>) -> Result<(), BoxError> {
        Self::put(request, out)
    }

    fn decode_request(&self, (): &mut (), input: &mut BytesMut) -> Result<Option<Decoded<String, String>>, BoxError> {
        Ok(Self::take(input)?.map(Decoded::Message))
    }

    fn encode_reply(&self, reply: &String, out: &mut Vec<u8>) -> Result<(), BoxError> {
        Self::put(reply, out)
    }

    fn decode_reply(&self, (): &mut (), input: &mut BytesMut) -> Result<Option<Decoded<String, BoxError>>, BoxError> {
        Ok(Self::take(input)?.map(Decoded::Message))
    }

    fn failure(&self, failure: Failure<'_>) -> String {
        format!("sorry: {failure:?}")
    }
}

// One thread, so that the number of batches is the same each time.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let server = Server::builder(Lines).build()?;
    let serving = server.serve(listener, |call: Call<String>| async move { call.into_request().to_uppercase() });
    let serving = tokio::spawn(serving.into_future());

    let client = Client::builder(Lines).connect(address)?;
    let [these, travel, together] = ["these", "travel", "together"].map(|word| client.call(word.to_owned()));
    // A call is made when it is first polled: polled together, they go out in one batch.
    let (these, travel, together) = tokio::join!(these, travel, together);
    println!("{}\n{}\n{}", these?, travel?, together?);
    let stats = client.stats();
    println!("calls: {}, batches: {}", stats.calls, stats.batches);

    client.drain().await;
    server.shutdown();
    serving.await?;
    Ok(())
}
