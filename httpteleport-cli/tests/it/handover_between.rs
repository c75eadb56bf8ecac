//! What happens between the beginning of a handover and its end.

use bytes::Bytes;
use http::Request;
use httpteleport::{Client as Teleport, Limits, Wire};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::admin::get;
use crate::clients::log_has;
use crate::config::File;
use crate::handover::{House, Stranger, ends};
use crate::program::{PATIENCE, Program, address_in};

/// A way to an address that lets a few bytes of a connection through, and the rest when it is told to.
struct Way {
    address: String,
    /// The few bytes are through.
    begun: oneshot::Receiver<()>,
    go_on: oneshot::Sender<()>,
}

impl Way {
    async fn to(address: &str) -> Way {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let ((tell, begun), (go_on, told)) = (oneshot::channel(), oneshot::channel());
        let way = Way { address: listener.local_addr().expect("an address").to_string(), begun, go_on };
        let address = address.to_owned();
        tokio::spawn(async move {
            let (mut client, _) = listener.accept().await.expect("a connection");
            let mut server = TcpStream::connect(address).await.expect("somebody listens");
            let mut few = [0; 5];
            client.read_exact(&mut few).await.expect("a hello");
            server.write_all(&few).await.expect("sent");
            tell.send(()).expect("somebody waits");
            told.await.expect("it is told");
            // It ends as its client does.
            let _ = copy_bidirectional(&mut client, &mut server).await;
        });
        way
    }
}

/// Waits until this process has accepted so many connections.
async fn accepts(admin: &str, count: usize) {
    let accepted = async {
        let want = format!("}} {count}");
        let is_it = |line: &str| line.starts_with("httptp_in_connections{") && line.ends_with(&want);
        while !get(admin, "/metrics").await.text().lines().any(is_it) {}
    };
    timeout(PATIENCE, accepted).await.expect("in time");
}

#[tokio::test]
async fn who_is_in_the_middle_of_its_hello_is_served_by_the_process_that_has_heard_the_beginning() {
    for wire in [Wire::Framed, Wire::Classic] {
        let house = House::new("teleport").await;
        let (mut old, mut log) = house.logged(&["--admin", "127.0.0.1:0"]).await;
        let admin = old.admin().await;
        let (mut calls, mut ways) = (Vec::new(), Vec::new());
        for n in 1..=8 {
            let mut way = Way::to(house.address()).await;
            let client = Teleport::builder(Limits::default()).wire(wire).connect(&way.address).expect("an address");
            calls.push(tokio::spawn(async move {
                let request = Request::get(format!("http://h/size/{n}")).body(Bytes::new().into()).expect("a request");
                client.call(request).await
            }));
            timeout(PATIENCE, &mut way.begun).await.expect("in time").expect("it begins");
            ways.push(way);
        }
        accepts(&admin, ways.len()).await;
        let _new = house.next().await;
        log_has(&mut log, "has taken over; draining").await;
        for way in ways {
            way.go_on.send(()).expect("it waits");
        }
        for (n, call) in calls.into_iter().enumerate() {
            let reply = timeout(PATIENCE, call).await.expect("in time").expect("no panic").expect("a reply");
            assert_eq!((reply.status().as_u16(), reply.body().len()), (200, n + 1), "{wire:?}");
        }
        ends(old).await;
    }
}

#[tokio::test]
async fn settings_are_not_read_again_while_another_process_has_the_sockets() {
    let house = House::new("http").await;
    let (path, out) = (house.path(), house.origin.url());
    let one = format!("handover = {path:?}\n[listener.a]\nurl = \"{}\"\n[group.a]\nurls = \"{out}\"\n", house.input);
    let two = one.clone() + "[listener.b]\nurl = \"http://localhost:0\"\n";
    let file = File::new(&one);
    let (mut old, mut log) = Program::logged(&["--config", &file.path()]).await;
    let begin = async |log: &mut _| {
        let mut other = Stranger::connect(&house).await;
        other.says(b"httptp-handover 1 1\n").await;
        assert!(other.line().await.starts_with("httptp-handover 1 "));
        log_has(log, "has the sockets and starts").await;
        other
    };
    let waits = "settings are read again when the process that has the sockets has not taken over";

    let other = begin(&mut log).await;
    file.write(&two);
    old.signal(Signal::HUP);
    log_has(&mut log, waits).await;
    drop(other);
    log_has(&mut log, "this one goes on").await;
    assert_eq!(address_in(&old.next_line().await), house.address());
    let second = old.next_line().await;
    TcpStream::connect(address_in(&second)).await.expect("it is open now");

    let mut other = begin(&mut log).await;
    file.write(&one);
    old.signal(Signal::HUP);
    log_has(&mut log, waits).await;
    other.says(b"r").await;
    assert!(other.rest().await.ends_with('y'), "it has what it was given");
    log_has(&mut log, "has taken over; draining").await;
    ends(old).await;
    while let Some(line) = timeout(PATIENCE, log.next_line()).await.expect("in time").expect("readable") {
        assert!(!line.contains("applied"), "{line}");
    }
}
