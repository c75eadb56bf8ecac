//! Upstreams that are found in DNS and in files, and that change under load.

use testkit::programs::Knot;
use testkit::tls::Ca;
use tokio::net::TcpListener;

use crate::caller::{Caller, body};
use crate::load::Load;
use crate::node::{Files, Node, text};
use crate::origin::{Origin, echo};

/// Origins at one port of 127.0.0.1, 127.0.0.2 and so on: hosts of one name.
async fn hosts<const N: usize>() -> (u16, [Origin; N]) {
    'port: loop {
        let mut listeners = Vec::new();
        let mut port = 0;
        for host in 1..=N {
            let Ok(listener) = TcpListener::bind(format!("127.0.0.{host}:{port}")).await else { continue 'port };
            port = listener.local_addr().expect("an address").port();
            listeners.push(listener);
        }
        let origins: Vec<_> = listeners.into_iter().map(|listener| Origin::on(listener, echo)).collect();
        return (port, origins.try_into().unwrap_or_else(|_| panic!("as many as hosts")));
    }
}

fn seen(origins: &[Origin]) -> Vec<usize> {
    origins.iter().map(|origin| origin.requests().len()).collect()
}

/// Waits until as many more requests have gone to each origin that should get some, and tells how many went to each since.
async fn shares(load: &Load, origins: &[Origin], calls: usize) -> Vec<usize> {
    let before = seen(origins);
    load.good(calls).await;
    seen(origins).iter().zip(before).map(|(now, before)| now - before).collect()
}

fn asking(knot: &Knot) -> [String; 2] {
    ["--resolver".to_owned(), knot.address.to_string()]
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_come_and_go_under_load_and_no_call_fails() {
    let (port, origins) = hosts::<3>().await;
    let knot = Knot::start("api A 127.0.0.1\napi A 127.0.0.2");
    let [option, server] = asking(&knot);
    let near = Node::start("http://127.0.0.1:0", &format!("http://api.example.test:{port}"), &[&option, &server]);
    let load = Load::start(near.address(), 8);
    let shared = shares(&load, &origins, 500).await;
    assert!(shared[0] > 0 && shared[1] > 0 && shared[2] == 0, "{shared:?}");

    knot.change(2, "api A 127.0.0.2\napi A 127.0.0.3");
    near.says(&format!("http://127.0.0.3:{port} (api.example.test): a new upstream"));
    near.says(&format!("http://127.0.0.1:{port} (api.example.test): is an upstream no more"));
    // Whoever was on the way there is through.
    load.good(50).await;
    let shared = shares(&load, &origins, 500).await;
    assert!(shared[0] == 0 && shared[1] > 0 && shared[2] > 0, "{shared:?}");

    // A zone without the name, and then no server at all: nothing changes.
    knot.change(3, "other A 127.0.0.1");
    near.says("cannot be looked up: there is no such name; its 2 upstreams of before stay");
    let shared = shares(&load, &origins, 200).await;
    assert!(shared[0] == 0 && shared[1] > 0 && shared[2] > 0, "{shared:?}");
    knot.change(4, "api A 127.0.0.1");
    near.says("is found again");
    near.says(&format!("http://127.0.0.3:{port} (api.example.test): is an upstream no more"));
    load.good(50).await;
    let shared = shares(&load, &origins, 200).await;
    assert!(shared[0] > 0 && shared[1..] == [0, 0], "{shared:?}");
    drop(knot);
    near.says("cannot be looked up: no DNS server answers; its upstream of before stays");
    load.good(200).await;
    assert_eq!(load.stop().await.failed(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_to_an_address_that_goes_is_finished() {
    let (port, origins) = hosts::<2>().await;
    let knot = Knot::start("api A 127.0.0.1");
    let [option, server] = asking(&knot);
    let near = Node::start(
        "http://127.0.0.1:0",
        &format!("http://api.example.test:{port}"),
        &[&option, &server, "--out-timeout", "20s"],
    );
    let mut held = Caller::connect(near.address()).await;
    held.send(&crate::caller::request("GET", "/hold").bytes()).await;
    origins[0].holds().await;
    knot.change(2, "api A 127.0.0.2");
    near.says("is an upstream no more");
    let mut caller = Caller::connect(near.address()).await;
    assert_eq!(body(&caller.get("/other").await), "GET /other");
    assert_eq!(seen(&origins), [1, 1]);
    origins[0].let_go(1);
    assert_eq!(body(&held.reply().await), "GET /hold");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_of_version_6_alone_is_found() {
    let listener = TcpListener::bind("[::1]:0").await.expect("this machine has IPv6 on its loopback");
    let port = listener.local_addr().expect("an address").port();
    let _origin = Origin::on(listener, echo);
    let knot = Knot::start("six AAAA ::1");
    let [option, server] = asking(&knot);
    let near = Node::start("http://127.0.0.1:0", &format!("http://six.example.test:{port}"), &[&option, &server]);
    assert_eq!(body(&Caller::connect(near.address()).await.get("/six").await), "GET /six");
}

/// Origins at one port of 127.0.0.1 and ::1.
async fn both_families() -> (u16, [Origin; 2]) {
    loop {
        let four = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = four.local_addr().expect("an address").port();
        let Ok(six) = TcpListener::bind(format!("[::1]:{port}")).await else { continue };
        return (port, [four, six].map(|listener| Origin::on(listener, echo)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_of_both_families_are_upstreams_unless_one_is_chosen() {
    let (port, origins) = both_families().await;
    let knot = Knot::start("both A 127.0.0.1\nboth AAAA ::1");
    let [option, server] = asking(&knot);
    let out = format!("http://both.example.test:{port}");
    for (family, used) in [("any", [true, true]), ("ipv4", [true, false]), ("ipv6", [false, true])] {
        let near = Node::start("http://127.0.0.1:0", &out, &[&option, &server, "--out-address-family", family]);
        let load = Load::start(near.address(), 8);
        let shared = shares(&load, &origins, 300).await;
        assert_eq!([shared[0] > 0, shared[1] > 0], used, "{family}: {shared:?}");
        assert_eq!(load.stop().await.failed(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_of_version_6_that_nobody_is_at_costs_no_request_and_comes_and_goes() {
    let (port, origins) = hosts::<1>().await;
    let knot = Knot::start("api A 127.0.0.1\napi AAAA ::1");
    let [option, server] = asking(&knot);
    let near = Node::start("http://127.0.0.1:0", &format!("http://api.example.test:{port}"), &[&option, &server]);
    let load = Load::start(near.address(), 4);
    load.good(300).await;
    knot.change(2, "api A 127.0.0.1");
    near.says(&format!("http://[::1]:{port} (api.example.test): is an upstream no more"));
    knot.change(3, "api A 127.0.0.1\napi AAAA ::1");
    near.says(&format!("http://[::1]:{port} (api.example.test): a new upstream"));
    load.good(100).await;
    assert_eq!(load.stop().await.failed(), 0);
    assert!(seen(&origins)[0] >= 400);
}

/// An SRV record for the nth host, at which an origin or a node listens.
fn srv(priority: u16, weight: u16, host: usize, port: &str) -> String {
    format!("_api._tcp SRV {priority} {weight} {port} host{host}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_of_an_srv_record_share_by_weight_and_priority() {
    let (port, origins) = hosts::<3>().await;
    let port = port.to_string();
    let addresses = "host1 A 127.0.0.1\nhost2 A 127.0.0.2\nhost3 A 127.0.0.3\n";
    let zone = |records: [String; 3]| addresses.to_owned() + &records.concat();
    let knot = Knot::start(&zone([srv(10, 90, 1, &port), srv(10, 10, 2, &port), srv(20, 50, 3, &port)]));
    let [option, server] = asking(&knot);
    let near = Node::start("http://127.0.0.1:0", "http+srv://_api._tcp.example.test", &[&option, &server]);
    // None of them ends, so that nothing counts but who has how many.
    let (mut callers, mut held) = (Vec::new(), [0; 3]);
    for _ in 0..40 {
        let mut caller = Caller::connect(near.address()).await;
        caller.send(&crate::caller::request("GET", "/hold").bytes()).await;
        tokio::select! {
            () = origins[0].holds() => held[0] += 1,
            () = origins[1].holds() => held[1] += 1,
            () = origins[2].holds() => held[2] += 1,
        }
        callers.push(caller);
    }
    assert!((33..=38).contains(&held[0]) && held[2] == 0, "{held:?}");
    drop(callers);
    let load = Load::start(near.address(), 2);

    // The first two go to the end of the line.
    knot.change(2, &zone([srv(30, 90, 1, &port), srv(30, 10, 2, &port), srv(20, 50, 3, &port)]));
    let before = seen(&origins)[2];
    let moved = async {
        while seen(&origins)[2] == before {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::node::PATIENCE, moved).await.expect("in time");
    load.good(20).await;
    let shared = shares(&load, &origins, 200).await;
    assert!(shared[..2] == [0, 0] && shared[2] > 0, "{shared:?}");
    assert_eq!(load.stop().await.failed(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn teleport_nodes_of_an_srv_record_come_and_go() {
    let origin = Origin::start().await;
    let fars = [0, 1].map(|_| Node::start("teleport://127.0.0.1:0", &origin.url, &[]));
    let record = |far: &Node| {
        let port = far.address().rsplit(':').next().expect("a port").to_owned();
        format!("_teleport._tcp SRV 0 0 {port} far\n")
    };
    let hosts = "far A 127.0.0.1\n".to_owned();
    // A host without an address is no reason to do without the others.
    let nowhere = "_teleport._tcp SRV 0 0 1 nowhere\n";
    let knot = Knot::start(&(hosts.clone() + nowhere + &record(&fars[0])));
    let [option, server] = asking(&knot);
    let near = Node::start("http://127.0.0.1:0", "teleport+srv://_teleport._tcp.example.test", &[&option, &server]);
    let out = "teleport+srv://_teleport._tcp.example.test: ";
    let lacks = "its host nowhere.example.test has no address: there is no such name; its others are used";
    near.says(&format!("WARN --out {out}{lacks}"));
    let load = Load::start(near.address(), 8);
    load.good(200).await;
    knot.change(2, &(hosts.clone() + &record(&fars[0]) + &record(&fars[1])));
    near.says(&format!("INFO {out}all of its hosts have addresses"));
    near.says(&format!("{} (far.example.test of _teleport._tcp.example.test): a new upstream", fars[1].url()));
    load.good(200).await;
    knot.change(3, &(hosts.clone() + nowhere + &record(&fars[1])));
    near.says(&format!("WARN {out}{lacks}"));
    near.says(&format!("{} (far.example.test of _teleport._tcp.example.test): is an upstream no more", fars[0].url()));
    load.good(200).await;
    let [mut gone, _stays] = fars;
    // Nothing is on the way there any more, and nothing goes there.
    load.good(20).await;
    gone.kill();
    load.good(200).await;
    assert_eq!(load.stop().await.failed(), 0);
    // More of the same is no news.
    knot.change(4, &(hosts + nowhere + "_teleport._tcp SRV 0 0 1 far\n"));
    near.says("a new upstream");
    assert_eq!(near.lines_with(lacks), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_upstreams_changes_under_load() {
    let origins = [Origin::start().await, Origin::start().await, Origin::start().await];
    let files = Files::new();
    let line = |at: usize| format!("{}  # number {at}\n", origins[at].url);
    let path = files.write("upstreams", format!("# all\n{}{}", line(0), line(1)).as_bytes());
    let near = Node::start("http://127.0.0.1:0", &format!("file:{}", text(&path)), &[]);
    let load = Load::start(near.address(), 8);
    let shared = shares(&load, &origins, 300).await;
    assert!(shared[0] > 0 && shared[1] > 0 && shared[2] == 0, "{shared:?}");

    // Whole, as a careful program writes it, and in place, as an editor may.
    let next = files.write("next", format!("{}{}", line(1), line(2)).as_bytes());
    std::fs::rename(next, &path).expect("renamed");
    near.says(&format!("{}: a new upstream", origins[2].url));
    load.good(50).await;
    let shared = shares(&load, &origins, 300).await;
    assert!(shared[0] == 0 && shared[1] > 0 && shared[2] > 0, "{shared:?}");

    files.write("upstreams", format!("{}nonsense\n", line(0)).as_bytes());
    near.says("line 2: no scheme; write for example http://nonsense");
    let shared = shares(&load, &origins, 300).await;
    assert!(shared[0] == 0 && shared[1] > 0 && shared[2] > 0, "{shared:?}");
    files.write("upstreams", line(0).as_bytes());
    near.says(&format!("{}: is an upstream no more", origins[2].url));
    load.good(50).await;
    let shared = shares(&load, &origins, 300).await;
    assert!(shared[0] > 0 && shared[1..] == [0, 0], "{shared:?}");
    assert_eq!(load.stop().await.failed(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_node_of_many_uses_a_part_of_the_upstreams() {
    let origins = [Origin::start().await, Origin::start().await, Origin::start().await, Origin::start().await];
    let outs = origins.iter().map(|origin| origin.url.as_str()).collect::<Vec<_>>().join(",");
    let mut uses = [0; 4];
    for node in ["edge-0", "edge-1"] {
        let near = Node::start("http://127.0.0.1:0", &outs, &["--subset", "2", "--node-id", node]);
        let before = seen(&origins);
        let mut caller = Caller::connect(near.address()).await;
        for n in 0..50 {
            assert_eq!(caller.get(&format!("/{n}")).await.status, 200);
        }
        for ((used, now), before) in uses.iter_mut().zip(seen(&origins)).zip(before) {
            *used += usize::from(now > before);
        }
    }
    assert_eq!(uses, [1; 4], "each is used by one of the nodes");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_have_to_be_for_the_name_that_was_asked_for() {
    let (files, origin, ca) = (Files::new(), Origin::start().await, Ca::new());
    let ca_file = text(&files.write("ca.pem", ca.pem().as_bytes()));
    let far = |name: &str| {
        let identity = ca.issue(&[name]);
        let cert = text(&files.write(&format!("{name}.crt"), identity.cert_pem.as_bytes()));
        let key = text(&files.write(&format!("{name}.key"), identity.key_pem.as_bytes()));
        Node::start("teleports://127.0.0.1:0", &origin.url, &["--in-tls-cert", &cert, "--in-tls-key", &key])
    };
    // The host that the record names is what anybody who can answer for it likes; the domain is what was asked for.
    let fars = ["example.test", "far.example.test"].map(far);
    let ports = fars.each_ref().map(|far| far.address().rsplit(':').next().expect("a port").to_owned());
    let records = format!("far A 127.0.0.1\n_a._tcp SRV 0 0 {} far\n_b._tcp SRV 0 0 {} far", ports[0], ports[1]);
    let knot = Knot::start(&records);
    let [option, server] = asking(&knot);
    for (out, want) in [
        ("teleports+srv://_a._tcp.example.test".to_owned(), 200),
        ("teleports+srv://_b._tcp.example.test".to_owned(), 502),
        (format!("teleports://far.example.test:{}", ports[1]), 200),
        (format!("teleports://far.example.test:{}", ports[0]), 502),
    ] {
        let near = Node::start("http://127.0.0.1:0", &out, &[&option, &server, "--out-ca", &ca_file]);
        let reply = Caller::connect(near.address()).await.get("/x").await;
        assert_eq!(reply.status, want, "{out}: {}", body(&reply));
    }
}
