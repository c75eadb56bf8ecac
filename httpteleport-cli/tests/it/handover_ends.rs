//! Old processes that end while the new one starts: the sockets are never lost.

use std::path::Path;

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::ChildStderr;
use tokio::time::timeout;

use crate::client::Client;
use crate::clients::log_has;
use crate::handover::{House, Stranger, ends, words};
use crate::program::{PATIENCE, Program};
use crate::silent_dns::SilentDns;

/// A new process that has the sockets of the old one and waits for DNS, its log, and what it waits for.
async fn starting(house: &House) -> (Program, Lines<BufReader<ChildStderr>>, SilentDns) {
    let dns = SilentDns::start().await;
    let mut args = house.args();
    args[3] += ",http://held.test:81";
    let (new, told) = Program::starting(&words(&args, &["--resolver", &dns.address]), &[]);
    dns.is_asked().await;
    (new, told, dns)
}

async fn asks(path: &Path) {
    let mut client = Client::over(UnixStream::connect(path).await.expect("the file is there"));
    assert_eq!(client.get("/size/2").await.text(), "xx");
}

#[tokio::test]
async fn the_new_one_goes_on_with_the_sockets() {
    for signal in [Signal::TERM, Signal::INT, Signal::KILL] {
        let house = House::new("http").await;
        let (mut old, mut log) = house.logged(&[]).await;
        let (mut new, mut told, dns) = starting(&house).await;
        log_has(&mut log, "has the sockets and starts").await;
        old.signal(signal);
        let status = old.ended().await;
        // Who comes now waits.
        let mut client = house.client().await;
        client.send("GET /size/3 HTTP/1.1\r\nHost: h\r\n\r\n").await;
        dns.speak();
        new.is_ready().await;
        if signal == Signal::KILL {
            log_has(&mut told, "has died while this one started, which goes on with its sockets").await;
        } else {
            assert_eq!(status.code(), Some(0));
            log_has(&mut log, "still starts, and has the sockets to itself; draining").await;
            log_has(&mut told, "taken over from process ").await;
        }
        assert_eq!(client.reply().await.text(), "xxx");
        drop(client);

        let last = house.next().await;
        ends(new).await;
        house.serves().await;
        last.signal(Signal::TERM);
        ends(last).await;
        assert!(!house.path().exists());
    }
}

#[tokio::test]
async fn files_of_sockets_stay_for_it() {
    for signal in [Signal::TERM, Signal::KILL] {
        let mut house = House::new("http").await;
        let path = house.file("input");
        house.input = format!("unix:{}", path.display());
        let mut old = house.next().await;
        let (mut new, _told, dns) = starting(&house).await;
        old.signal(signal);
        old.ended().await;
        assert!(path.exists() && house.path().exists());
        dns.speak();
        new.is_ready().await;
        asks(&path).await;
        new.signal(Signal::TERM);
        ends(new).await;
        assert!(!path.exists() && !house.path().exists());
    }
}

#[tokio::test]
async fn a_new_one_that_is_ended_while_it_starts_changes_nothing() {
    let mut house = House::new("http").await;
    let path = house.file("input");
    house.input = format!("unix:{}", path.display());
    let (_old, mut log) = house.logged(&[]).await;
    for signal in [Signal::TERM, Signal::INT, Signal::KILL] {
        let (mut new, _told, _dns) = starting(&house).await;
        new.signal(signal);
        assert_eq!(new.ended().await.code(), (signal != Signal::KILL).then_some(0));
        log_has(&mut log, "has ended: unexpected end of file; this one goes on").await;
        asks(&path).await;
        assert!(house.path().exists());
    }
}

#[tokio::test]
async fn in_its_delay_the_old_one_is_taken_over_from_as_ever() {
    let house = House::new("http").await;
    let (old, mut log) = house.logged(&["--drain-delay", "1h"]).await;
    let (mut new, _told, dns) = starting(&house).await;
    old.signal(Signal::TERM);
    log_has(&mut log, "not ready any more").await;
    house.serves().await;
    dns.speak();
    new.is_ready().await;
    log_has(&mut log, "has taken over; draining").await;
    ends(old).await;
    house.serves().await;
}

#[tokio::test]
async fn whoever_does_not_have_the_sockets_as_yet_starts_without() {
    let house = House::new("http").await;
    let old = house.next().await;
    // It has not said who it is.
    let mut other = Stranger::connect(&house).await;
    assert!(other.line().await.starts_with("httptp-handover 1 "));
    old.signal(Signal::TERM);
    assert!(other.rest().await.is_empty(), "it gets nothing any more");
    ends(old).await;
    assert!(!house.path().exists());

    // So the new one meets somebody who hangs up and is gone, and leaves its file or does not.
    for killed in [false, true] {
        let house = House::new("http").await;
        let listener = UnixListener::bind(house.path()).expect("a socket");
        let args = house.args();
        let (mut new, mut told) = Program::starting(&words(&args, &[]), &[]);
        let (stream, _) = timeout(PATIENCE, listener.accept()).await.expect("in time").expect("it asks");
        let mut stream = BufReader::new(stream);
        stream.read_line(&mut String::new()).await.expect("it says who it is");
        stream.get_mut().write_all(b"httptp-handover 1 77\n").await.expect("sent");
        if !killed {
            std::fs::remove_file(house.path()).expect("removed");
        }
        drop(listener);
        drop(stream);
        new.is_ready().await;
        log_has(&mut told, "the process that listened there has ended; starting without its sockets").await;
        house.serves().await;
        let next = house.next().await;
        ends(new).await;
        drop(next);
    }
}
