//! The relay between real sockets.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use testkit::relay::{Leg, Relay, RelayOptions, pipe};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const MS: Duration = Duration::from_millis(1);
const DELAY: Duration = Duration::from_millis(20);

/// A relay, and both ends of a connection through it.
async fn through() -> (Relay, TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let leg = Leg { delay: DELAY, rate: Some(20_000_000), queue: 100_000 };
    let relay = Relay::start(listener.local_addr().unwrap(), RelayOptions::both(leg)).unwrap();
    let mut near = TcpStream::connect(relay.addr()).await.unwrap();
    let (mut far, _) = listener.accept().await.unwrap();
    near.write_all(b"!").await.unwrap();
    assert_eq!(far.read_u8().await.unwrap(), b'!', "and the relay knows both");
    (relay, near, far)
}

#[tokio::test]
async fn bytes_arrive_in_order_and_late_and_an_end_leaves_the_way_back_open() {
    let (relay, mut near, mut far) = through().await;
    let sent: Vec<u8> = (0..1_000_000u32).map(|n| n.to_le_bytes()[usize::from(n % 7 == 0)]).collect();
    let begun = Instant::now();
    let asking = async {
        near.write_all(&sent).await.unwrap();
        near.shutdown().await.unwrap();
        let mut answer = Vec::new();
        near.read_to_end(&mut answer).await.unwrap();
        answer
    };
    let answering = async {
        let mut seen = Vec::new();
        far.read_to_end(&mut seen).await.unwrap();
        far.write_all(b"all of it").await.unwrap();
        far.shutdown().await.unwrap();
        seen
    };
    let (answer, seen) = tokio::join!(asking, answering);
    assert!(seen == sent && answer == b"all of it");
    // A twentieth of a second to pass the narrow part, a delay there and a delay back.
    assert!(begun.elapsed() >= 2 * DELAY + Duration::from_millis(50), "{:?}", begun.elapsed());
    assert_eq!(relay.carried(), (1_000_001, 9));
}

async fn is_reset(end: &mut TcpStream) {
    let error = end.read(&mut [0; 10]).await.expect_err("a reset is no end");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_reset_of_one_side_is_one_of_the_other_and_a_cut_one_of_both() {
    let (_relay, mut near, far) = through().await;
    far.set_zero_linger().unwrap();
    drop(far);
    is_reset(&mut near).await;

    let (_relay, near, mut far) = through().await;
    near.set_zero_linger().unwrap();
    drop(near);
    is_reset(&mut far).await;

    let (relay, mut near, mut far) = through().await;
    relay.cut();
    is_reset(&mut near).await;
    is_reset(&mut far).await;
    drop(relay);

    let (relay, mut near, mut far) = through().await;
    drop(relay);
    is_reset(&mut near).await;
    is_reset(&mut far).await;
}

#[tokio::test(start_paused = true)]
async fn a_pipe_is_as_long_and_narrow_in_virtual_time() {
    let leg = Leg { delay: 75 * MS, rate: Some(1_000_000), ..Leg::default() };
    let (mut near, mut far, cut) = pipe(RelayOptions::both(leg));
    let begun = tokio::time::Instant::now();
    near.write_all(&[7; 10_000]).await.unwrap();
    near.shutdown().await.unwrap();
    let mut seen = Vec::new();
    far.read_to_end(&mut seen).await.unwrap();
    assert_eq!(seen, [7; 10_000]);
    let took = begun.elapsed();
    assert!((85 * MS..88 * MS).contains(&took), "{took:?}");
    cut.abort();
    assert_eq!(near.read(&mut [0; 10]).await.unwrap(), 0, "cut off");
}

#[tokio::test]
async fn a_reset_arrives_behind_the_bytes_before_it() {
    let (relay, mut near, mut far) = through().await;
    far.write_all(b"last words").await.unwrap();
    far.set_zero_linger().unwrap();
    drop(far);
    let mut words = [0; 10];
    near.read_exact(&mut words).await.unwrap();
    assert_eq!((&words, relay.carried()), (b"last words", (1, 10)));
    is_reset(&mut near).await;
}
