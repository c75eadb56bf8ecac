//! Upstreams that are not there when the program starts, or is told of them, and come later.

use std::time::Duration;

use rustix::process::Signal;
use testkit::programs::{Knot, free_address};
use tokio::net::{TcpListener, UnixListener};

use crate::caller::{Caller, body};
use crate::node::{Files, Node, PATIENCE, text};
use crate::origin::{Origin, echo};

/// What a client is told meanwhile, which names nothing.
async fn nobody(node: &Node) {
    let reply = Caller::connect(node.address()).await.get("/early").await;
    assert_eq!((reply.status, &*body(&reply)), (502, "http: proxying error: there is no upstream\n"));
    node.says("answered with 502: there is no upstream in group out");
}

/// Asks until somebody is there.
async fn somebody(node: &Node) {
    let asked = async {
        while Caller::connect(node.address()).await.get("/late").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.expect("in time");
}

fn with(knot: &Knot) -> [String; 2] {
    ["--resolver".to_owned(), knot.address.to_string()]
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_records_that_are_not_there_are_found_when_they_come() {
    let origin = Origin::start().await;
    let port = origin.url.rsplit(':').next().expect("a port").to_owned();
    for (out, records, name, why) in [
        (
            format!("http://late.example.test:{port}"),
            "late A 127.0.0.1".to_owned(),
            "late.example.test",
            "no such name",
        ),
        // A name that has no address, as a headless service without pods.
        (
            format!("http://late.example.test:{port}"),
            "late A 127.0.0.1".to_owned(),
            "late.example.test",
            "no such records",
        ),
        (
            "http+srv://_api._tcp.example.test".to_owned(),
            format!("late A 127.0.0.1\n_api._tcp SRV 0 0 {port} late"),
            "_api._tcp.example.test",
            "no such name",
        ),
    ] {
        let before = if why == "no such records" { "late TXT x" } else { "other A 127.0.0.1" };
        let knot = Knot::start(before);
        let [option, server] = with(&knot);
        let near = Node::start("http://127.0.0.1:0", &out, &[&option, &server]);
        near.says(&format!("--out {out}: cannot find the address of {name:?}: "));
        near.says(why);
        nobody(&near).await;
        knot.change(2, &records);
        near.says(&format!("{out}: is found"));
        somebody(&near).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dns_server_that_is_not_there_is_waited_for_and_holds_nothing_up() {
    let (origin, dead) = (Origin::start().await, free_address().to_string());
    let outs = format!("{},http://late.example.test:1", origin.url);
    let near = Node::start("http://127.0.0.1:0", &outs, &["--resolver", &dead]);
    near.says("--out http://late.example.test:1: cannot find the address of \"late.example.test\": no DNS server");
    let reply = Caller::connect(near.address()).await.get("/x").await;
    assert_eq!(reply.status, 200, "the other output is there");
}

/// Many groups whose names nobody knows are waited for at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn many_groups_without_dns_take_no_longer_than_one() {
    let (files, dead) = (Files::new(), tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a port"));
    let mut settings = "[listener.a]\nurl = \"http://127.0.0.1:0\"\n[[route]]\ngroup = \"g0\"\n".to_owned();
    for n in 0..100 {
        let server = dead.local_addr().expect("an address");
        settings += &format!("[group.g{n}]\nurls = \"http://h{n}.example.test\"\nresolver = \"{server}\"\n");
    }
    let began = std::time::Instant::now();
    let near = Node::run(&["--config", &text(&files.write("web.toml", settings.as_bytes()))]);
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    near.says(&format!("{}:303: group \"g99\": urls http://h99.example.test:80: ", text(&files.path("web.toml"))));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_sockets_that_are_not_there_are_found_when_they_come() {
    let (files, origin) = (Files::new(), Origin::start().await);
    let list = text(&files.write("upstreams", b"# none yet\n"));
    let near = Node::start("http://127.0.0.1:0", &format!("file:{list}"), &[]);
    near.says(&format!("--out file:{list}: it names no upstream; write some into it"));
    nobody(&near).await;
    files.write("upstreams", format!("{}\n", origin.url).as_bytes());
    near.says(&format!("{}: a new upstream", origin.url));
    somebody(&near).await;

    // What a list names is told with the list.
    files.write("upstreams", format!("{}\nhttp://late.example.test:1\n", origin.url).as_bytes());
    let dead = free_address().to_string();
    let near = Node::start("http://127.0.0.1:0", &format!("file:{list}"), &["--resolver", &dead]);
    let name = format!("file:{list}: http://late.example.test:1: cannot find the address of \"late.example.test\"");
    near.says(&format!("--out {name}"));
    somebody(&near).await;

    let path = text(&files.path("late.sock"));
    let near = Node::start("http://127.0.0.1:0", &format!("unix:{path}"), &[]);
    near.says(&format!("--out unix:{path}: no such file; start the upstream, or correct the path"));
    let reply = Caller::connect(near.address()).await.get("/early").await;
    assert_eq!(reply.status, 502);
    assert!(!body(&reply).contains("late"), "{}", body(&reply));
    let listener = UnixListener::bind(&path).expect("a socket");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        }
    });
    somebody(&near).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_takes_groups_that_are_not_there_yet_and_loses_none_of_before() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let _origin = Origin::on(listener, echo);
    let (files, knot) = (Files::new(), Knot::start("api A 127.0.0.1"));
    let settings = |connections: u32, more: &str| {
        let text = format!(
            "[listener.a]\nurl = \"http://127.0.0.1:0\"\n[group.a]\nurls = \"http://api.example.test:{port}\"\nresolver = \
             \"{}\"\nconns_per_addr = {connections}\n{more}[[route]]\ngroup = \"a\"\n",
            knot.address
        );
        text.into_bytes()
    };
    let file = text(&files.write("web.toml", &settings(1, "")));
    let near = Node::run(&["--config", &file]);
    somebody(&near).await;
    // Nothing is there of the group that comes, and what was there of the other one is not any more.
    knot.change(2, "other A 127.0.0.1");
    let late = format!("[group.late]\nurls = \"http://late.example.test:1\"\nresolver = \"{}\"\n", knot.address);
    files.write("web.toml", &settings(2, &late));
    near.signal(Signal::HUP);
    near.says(&format!("{file}:4: group \"a\": urls http://api.example.test:{port}: cannot find the address of"));
    near.says("no such name; its upstream of before stays");
    near.says(&format!("{file}:8: group \"late\": urls http://late.example.test:1: cannot find the address of"));
    near.says("applied: 1 listener, 2 groups, 1 route");
    let reply = Caller::connect(near.address()).await.get("/x").await;
    assert_eq!(body(&reply), "GET /x");
}
