//! Typed calls: any serde type over postcard. The error of a server that is overloaded is typed too.
//!
//! `cargo run -p examples --bin typed`

use fastrpc::codec::postcard::Postcard;
use fastrpc::{Call, Client, Server};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
enum Question {
    Sum(Vec<i64>),
    Longest(Vec<String>),
}

#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Sum(i64),
    Longest(Option<String>),
}

type Codec = Postcard<Question, Answer>;

fn answer(question: Question) -> Answer {
    match question {
        Question::Sum(numbers) => Answer::Sum(numbers.iter().sum()),
        Question::Longest(words) => Answer::Longest(words.into_iter().max_by_key(String::len)),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let server = Server::builder(Codec::new()).build()?;
    tokio::spawn(
        server.serve(listener, |call: Call<Question>| async move { Ok(answer(call.into_request())) }).into_future(),
    );

    let client = Client::builder(Codec::new()).connections(2).connect(address)?;
    let words = ["one", "three", "four"].map(str::to_owned).to_vec();
    let (sum, longest) = tokio::join!(client.call(Question::Sum(vec![1, 2, 3])), client.call(Question::Longest(words)));
    println!("{:?}, {:?}", sum??, longest??);
    client.drain().await;
    Ok(())
}
