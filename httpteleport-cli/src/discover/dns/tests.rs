use tokio::net::UdpSocket;

use super::*;

pub(in crate::discover) const A: u8 = 1;
const AAAA: u8 = 28;
const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;

/// A server that answers each question for records of a kind with an error code, or with addresses; or drops it. Ends with the test.
pub(in crate::discover) async fn server(
    answer: impl Fn(u8) -> Option<Result<Vec<IpAddr>, u8>> + Send + 'static,
) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("an address");
    tokio::spawn(async move {
        let mut question = [0; 512];
        while let Ok((_, from)) = socket.recv_from(&mut question).await {
            // The name, and two bytes each of kind and class.
            let name = question[12..].iter().position(|byte| *byte == 0).expect("a name");
            let end = 12 + name + 5;
            let (code, found) = match answer(question[end - 3]) {
                None => continue,
                Some(Ok(found)) => (0, found),
                Some(Err(code)) => (code, Vec::new()),
            };
            let mut reply = question[..end].to_vec();
            reply[2..12].copy_from_slice(&[0x81, 0x80 | code, 0, 1, 0, length(found.len()), 0, 0, 0, 0]);
            for ip in found {
                let (kind, bytes) = match ip {
                    IpAddr::V4(ip) => (A, ip.octets().to_vec()),
                    IpAddr::V6(ip) => (AAAA, ip.octets().to_vec()),
                };
                reply.extend([0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 60, 0, length(bytes.len())]);
                reply.extend(bytes);
            }
            socket.send_to(&reply, from).await.expect("sent");
        }
    });
    address
}

fn length(length: usize) -> u8 {
    u8::try_from(length).expect("a few")
}

pub(in crate::discover) fn read(text: &str) -> Vec<IpAddr> {
    text.split_whitespace().map(|ip| ip.parse().expect("an address")).collect()
}

async fn addresses(four: Result<&str, u8>, six: Result<&str, u8>, families: Families) -> Result<Found<IpAddr>, Lost> {
    let (four, six) = (four.map(read), six.map(read));
    let server = server(move |kind| Some(if kind == A { four.clone() } else { six.clone() })).await;
    Dns::new(Some(server), families).expect("one that asks").addresses("api.example").await
}

fn shown(found: Result<Found<IpAddr>, Lost>) -> String {
    match found {
        Ok(Found { what, failed: None, .. }) => format!("{what:?}"),
        Ok(Found { what, failed: Some(failed), .. }) => format!("{what:?}, not {}", failed.families.words()),
        Err(lost) => format!("none{}", if lost.for_now() { " for now" } else { "" }),
    }
}

#[tokio::test]
async fn a_name_is_its_addresses_of_both_families_and_one_that_fails_leaves_the_other() {
    for (four, six, want) in [
        (Ok("10.0.0.1"), Ok("fd00::1 fd00::2"), "[10.0.0.1, fd00::1, fd00::2]"),
        (Ok("10.0.0.1"), Ok(""), "[10.0.0.1]"),
        (Ok(""), Ok("fd00::1"), "[fd00::1]"),
        (Ok("10.0.0.1"), Err(NXDOMAIN), "[10.0.0.1]"),
        (Ok("10.0.0.1"), Err(SERVFAIL), "[10.0.0.1], not IPv6 addresses"),
        (Err(SERVFAIL), Ok("fd00::1"), "[fd00::1], not IPv4 addresses"),
        (Ok(""), Err(SERVFAIL), "none for now"),
        (Err(SERVFAIL), Ok(""), "none for now"),
        (Ok(""), Ok(""), "none"),
        (Err(NXDOMAIN), Err(NXDOMAIN), "none"),
    ] {
        assert_eq!(shown(addresses(four, six, Families::ANY).await), want, "{four:?} {six:?}");
    }
}

#[tokio::test]
async fn families_that_are_not_wanted_are_not_asked_for() {
    assert_eq!(shown(addresses(Ok("10.0.0.1"), Err(SERVFAIL), Families::IPV4).await), "[10.0.0.1]");
    assert_eq!(shown(addresses(Ok("10.0.0.1"), Ok("fd00::1"), Families::IPV6).await), "[fd00::1]");
    assert_eq!(shown(addresses(Ok("10.0.0.1"), Ok(""), Families::IPV6).await), "none");
}

#[tokio::test]
async fn a_family_of_which_nothing_is_heard_comes_later_or_has_failed_in_the_end() {
    let mute = server(|kind| (kind == A).then(|| Ok(read("10.0.0.1")))).await;
    let start = Instant::now();
    let mut found =
        Dns::new(Some(mute), Families::ANY).expect("one that asks").addresses("api.example").await.expect("one");
    assert!(start.elapsed() < LONGEST / 2, "{:?}", start.elapsed());
    let late = found.late.take().expect("AAAA is awaited");
    assert_eq!(late.families, Families::IPV6);
    assert_eq!(shown(Ok(found)), "[10.0.0.1]");
    assert_eq!(shown(late.rest.await), "[10.0.0.1], not IPv6 addresses");
    assert!(start.elapsed() < LONGEST * 2, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_name_that_is_not_there_leaves_time_for_the_next_one_though_nothing_is_heard_of_a_family() {
    let mute = server(|kind| (kind == A).then_some(Err(NXDOMAIN))).await;
    let start = Instant::now();
    let found = Dns::new(Some(mute), Families::ANY).expect("one that asks").addresses("api.example").await;
    assert_eq!(shown(found), "none");
    assert!(start.elapsed() < LONGEST / 2, "{:?}", start.elapsed());
}
