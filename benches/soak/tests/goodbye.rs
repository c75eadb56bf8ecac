//! A server that closes after its last reply, on a real socket.

use std::time::Duration;

use bytes::Bytes;
use fastrpc::internals::framed::Role;
use fastrpc::internals::session::{Driver, Incoming, NoCalls, Options, SendBody};
use fastrpc::wire::framed::codec::RecordCodec;
use fastrpc::wire::framed::settings::Settings;
use testkit::relay::{Leg, Relay, RelayOptions};
use tokio::net::{TcpListener, TcpStream};

const BODY: usize = 10_000_000;

#[tokio::test]
async fn a_reply_that_is_on_its_way_when_its_server_has_drained_arrives() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let leg = Leg { rate: Some(10_000_000), delay: Duration::from_millis(2), queue: 100_000 };
    let relay = Relay::start(listener.local_addr().unwrap(), RelayOptions::both(leg)).unwrap();
    let near = TcpStream::connect(relay.addr()).await.unwrap();
    let (far, _) = listener.accept().await.unwrap();

    let settings = Settings { connection_credit: 1 << 22, stream_credit: 1 << 22, ..Settings::default() };
    let options =
        Options { settings: settings.clone(), codec: RecordCodec::None, most_window: 1 << 22, ..Options::default() };
    let handler = |mut call: Incoming| async move {
        let body = SendBody::Whole(Bytes::from(vec![7; BODY]));
        let _ = call.responder.reply(|_| Ok(()), body);
    };
    let (caller, client) = Driver::new(Role::Client, Box::new(near), options.clone(), settings.clone(), NoCalls);
    let (far, server) = Driver::new(Role::Server, Box::new(far), options, settings, handler);
    let drivers = [tokio::spawn(client), tokio::spawn(server)];
    let (reply, _) = caller.call(|_| Ok(()), SendBody::Whole(Bytes::new()), None).unwrap();
    let mut body = reply.await.unwrap().body;
    far.drain();
    let mut came = 0;
    while let Some(piece) = body.piece().await {
        came += piece.unwrap_or_else(|error| panic!("{came} of {BODY} bytes came, then: {error:?}")).len();
    }
    assert_eq!(came, BODY);
    for driver in drivers {
        driver.await.unwrap().unwrap();
    }
}
