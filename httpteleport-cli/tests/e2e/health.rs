//! Health checks of every kind of upstream, and connections to it, counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::Signal;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::caller::{Caller, body};
use crate::load::Load;
use crate::node::{Certificates, Files, Node, PATIENCE};
use crate::origin::Origin;

const CHECKED: [&str; 4] = ["--health-check", "/healthz", "--health-interval", "100ms"];

/// Waits until the origin was asked whether it is well.
async fn checked(origin: &Origin) {
    let asked = async {
        while !origin.requests().iter().any(|request| request.target == "/healthz") {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, asked).await.expect("in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn origins_over_tls_and_unix_sockets_are_checked_in_their_own_way() {
    let files = Files::new();
    let certificates = Certificates::new(&files);
    let origins = [Origin::tls(&certificates).await, Origin::unix(&files)];
    for origin in &origins {
        let tls: &[&str] = if origin.url.starts_with("https") { &certificates.output() } else { &[] };
        let near = Node::start("http://127.0.0.1:0", &origin.url, &[&CHECKED, tls].concat());
        checked(origin).await;
        let mut caller = Caller::connect(near.address()).await;
        assert_eq!(body(&caller.get("/x").await), "GET /x");
        assert!(!near.has_said("unhealthy"), "{near:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_is_for_the_host_that_is_told() {
    for (options, want) in [(&["--health-host", "shop.example:81"][..], Some("shop.example:81")), (&[], None)] {
        let origin = Origin::start().await;
        let near = Node::start("http://127.0.0.1:0", &origin.url, &[&CHECKED, options].concat());
        checked(&origin).await;
        let own = origin.url.strip_prefix("http://").expect("HTTP");
        assert_eq!(origin.last().value("Host"), Some(want.unwrap_or(own)), "{near:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_far_node_that_does_not_answer_is_unhealthy_until_it_does() {
    for wire in ["framed", "classic"] {
        let (origin, wire) = (Origin::start().await, ["--wire", wire]);
        let fars = [0, 1].map(|_| Node::start("teleport://127.0.0.1:0", &origin.url, &wire));
        let outs = format!("{},{}", fars[0].url(), fars[1].url());
        let near = Node::start("http://127.0.0.1:0", &outs, &[&wire[..], &CHECKED].concat());
        let mut caller = Caller::connect(near.address()).await;
        for n in 0..10 {
            assert_eq!(caller.get(&format!("/{n}")).await.status, 200);
        }
        // Its system still accepts connections, and nothing more happens there.
        fars[0].signal(Signal::STOP);
        near.says(&format!("{} is unhealthy: no answer in 100ms", fars[0].url()));
        for n in 0..30 {
            assert_eq!(body(&caller.get(&format!("/{n}")).await), format!("GET /{n}"));
        }
        fars[0].signal(Signal::CONT);
        near.says(&format!("{} is healthy", fars[0].url()));
        assert!(!near.has_said(&format!("{} is unhealthy", fars[1].url())));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_far_node_behind_tls_is_checked_through_it() {
    let (files, origin) = (Files::new(), Origin::start().await);
    let certificates = Certificates::new(&files);
    let far = Node::start("teleports://127.0.0.1:0", &origin.url, &certificates.input());
    let near = Node::start("http://127.0.0.1:0", far.url(), &[&CHECKED[..], &certificates.output()].concat());
    let mut caller = Caller::connect(near.address()).await;
    assert_eq!(caller.get("/1").await.status, 200);
    far.signal(Signal::STOP);
    near.says("is unhealthy");
    far.signal(Signal::CONT);
    near.says("is healthy");
}

/// What goes to a far node by this counts.
async fn counted(far: String) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("teleport://{}", listener.local_addr().expect("an address"));
    let count = Arc::<AtomicUsize>::default();
    let accepted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            accepted.fetch_add(1, Ordering::SeqCst);
            let far = far.clone();
            tokio::spawn(async move {
                let mut far = TcpStream::connect(&far).await.expect("a connection");
                let _ = copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    (url, count)
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_connections_as_were_asked_for_no_more_and_no_fewer() {
    for wire in ["framed", "classic"] {
        for count in [1, 4] {
            let (origin, wire) = (Origin::start().await, ["--wire", wire]);
            let far = Node::start("teleport://127.0.0.1:0", &origin.url, &wire);
            let (url, accepted) = counted(far.address().to_owned()).await;
            let connections = count.to_string();
            let near =
                Node::start("http://127.0.0.1:0", &url, &[&wire[..], &["--out-conns-per-addr", &connections]].concat());
            let load = Load::start(near.address(), 16);
            load.good(500).await;
            assert_eq!(load.stop().await.failed(), 0);
            assert_eq!(accepted.load(Ordering::SeqCst), count, "{wire:?}");
        }
    }
}
