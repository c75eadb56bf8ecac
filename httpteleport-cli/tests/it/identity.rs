//! What upstreams are told of a client, and who can tell this proxy.

use tokio::net::TcpStream;

use crate::client::Client;
use crate::origin::Origin;
use crate::program::Program;

const FORGED: &str = "GET /echo HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: gopher\r\n\
                      X-Forwarded-Host: evil\r\nForwarded: for=9.9.9.9\r\nX-IP: 9.9.9.9\r\n\r\n";

/// What the origin sees of that, by fields of these names.
async fn told(address: &str, request: &str) -> Vec<String> {
    let reply = Client::connect(address).await.ask(request).await;
    let names = ["forwarded:", "x-forwarded-", "x-ip:"];
    let mut lines: Vec<_> = reply
        .text()
        .lines()
        .filter(|line| names.iter().any(|name| line.starts_with(name)))
        .map(str::to_owned)
        .collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn who_tells_nothing_passes_on_what_came() {
    let origin = Origin::start().await;
    let program = Program::http(&origin.url()).await;
    let want = [
        "forwarded: for=9.9.9.9",
        "x-forwarded-for: 9.9.9.9",
        "x-forwarded-host: evil",
        "x-forwarded-proto: gopher",
        "x-ip: 9.9.9.9",
    ];
    assert_eq!(told(program.address(), FORGED).await, want);
}

#[tokio::test]
async fn a_client_cannot_pass_for_another() {
    let origin = Origin::start().await;
    let args =
        ["--in", "http://127.0.0.1:0", "--out", &origin.url(), "--forwarded", "both", "--in-client-ip-header", "X-IP"];
    let program = Program::start(&args).await;
    let want = [
        "forwarded: for=127.0.0.1;host=\"h\";proto=http",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-host: h",
        "x-forwarded-proto: http",
        "x-ip: 127.0.0.1",
    ];
    assert_eq!(told(program.address(), FORGED).await, want);
}

/// What a program behind would read as what the proxy itself says.
const SPELT_OTHERWISE: &str = "GET /echo HTTP/1.1\r\nHost: h\r\nX_Forwarded_For: 9.9.9.9\r\nX-Forwarded_Proto: gopher\r\n\
                               X_Forwarded-Host: evil\r\nX_Forwarded_Port: 1\r\nX-Forwarded-Port: 1\r\n\
                               X-Forwarded-Prefix: /evil\r\nX-Forwarded-Server: evil\r\nX_IP: 9.9.9.9\r\nX_Mine: 1\r\n\r\n";

#[tokio::test]
async fn a_client_cannot_pass_for_another_by_underscores() {
    let origin = Origin::start().await;
    let options = ["--forwarded", "x", "--in-client-ip-header", "X-IP"];
    let far = Program::between("teleport://127.0.0.1:0", &origin.url(), &options).await;
    let near = Program::http(&format!("teleport://{}", far.address())).await;
    let classic =
        Program::between("teleport://127.0.0.1:0", &origin.url(), &[&options[..], &["--wire", "classic"]].concat())
            .await;
    let address = classic.address().split(' ').next().expect("an address");
    let before_classic = Program::http(&format!("teleport://{address}")).await;
    let one = Program::between("http://127.0.0.1:0", &origin.url(), &options).await;
    for program in [&one, &near, &before_classic] {
        let reply = Client::connect(program.address()).await.ask(SPELT_OTHERWISE).await;
        let mut told: Vec<&str> = reply.text().lines().filter(|line| line.starts_with('x')).collect();
        told.sort_unstable();
        let want = [
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-host: h",
            "x-forwarded-proto: http",
            "x-ip: 127.0.0.1",
            "x_mine: 1",
        ];
        assert_eq!(told, want);
    }
}

#[tokio::test]
async fn what_a_route_sets_or_removes_has_no_other_spelling() {
    let (origin, folder) = (Origin::start().await, tempfile::tempdir().expect("a folder"));
    let file = folder.path().join("f.toml");
    let text = format!(
        "[listener.web]\nurl = \"http://127.0.0.1:0\"\n[group.all]\nurls = \"{}\"\n\
         [[route]]\nset_headers = {{ X-Tenant = \"a\" }}\nremove_headers = [\"X-Admin-Token\"]\n",
        origin.url()
    );
    std::fs::write(&file, text).expect("written");
    let program = Program::start(&["--config", file.to_str().expect("UTF-8")]).await;
    let fields = "X_Tenant: b\r\nX_Admin-Token: t\r\nX-Admin-Token: t\r\nX_Other: o";
    let reply = Client::connect(program.address())
        .await
        .ask(format!("GET /echo HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n"))
        .await;
    let told: Vec<&str> = reply.text().lines().filter(|line| line.starts_with('x')).collect();
    assert_eq!(told, ["x_other: o", "x-tenant: a"]);
}

#[tokio::test]
async fn a_clients_address_goes_through_teleport() {
    let origin = Origin::start().await;
    for trusts in [true, false] {
        let believed = if trusts { "127.0.0.1" } else { "10.0.0.1" };
        let options = ["--trusted-proxies", believed, "--in-client-ip-header", "X-IP"];
        let far = Program::between("teleport://127.0.0.1:0", &origin.url(), &options).await;
        let out = format!("teleport://{}", far.address());
        // The near node has a load balancer before it, which it believes.
        let near = ["--in", "http://127.0.0.1:0", "--out", &out, "--trusted-proxies", "127.0.0.0/8"];
        let near = Program::start(&near).await;
        let request = "GET /echo HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 6.6.6.6, 198.51.100.7\r\nX-Forwarded-Proto: https\r\n\r\n";
        let told = told(near.address(), request).await;
        if trusts {
            assert!(told.contains(&"x-ip: 198.51.100.7".to_owned()), "{told:?}");
            assert!(
                told.contains(&"x-forwarded-for: 6.6.6.6, 198.51.100.7, 127.0.0.1, 127.0.0.1".to_owned()),
                "{told:?}"
            );
            assert!(told.contains(&"x-forwarded-proto: https".to_owned()), "{told:?}");
        } else {
            assert!(told.contains(&"x-ip: 127.0.0.1".to_owned()), "{told:?}");
            assert!(told.contains(&"x-forwarded-for: 127.0.0.1".to_owned()), "{told:?}");
        }
    }
}

#[tokio::test]
async fn a_client_that_a_load_balancer_names_in_one_field_is_the_client_at_the_next_node_as_well() {
    let origin = Origin::start().await;
    let trusts = ["--trusted-proxies", "127.0.0.1"];
    let far = Program::between(
        "http://127.0.0.1:0",
        &origin.url(),
        &[&trusts[..], &["--forwarded", "both", "--in-client-ip-header", "X-IP"]].concat(),
    )
    .await;
    for which in ["x", "standard", "both"] {
        let options = [&trusts[..], &["--forwarded", which]].concat();
        let near = Program::between("http://127.0.0.1:0", &format!("http://{}", far.address()), &options).await;
        for field in ["X-Forwarded-For: 198.51.100.7", "Forwarded: for=198.51.100.7"] {
            let told = told(near.address(), &format!("GET /echo HTTP/1.1\r\nHost: h\r\n{field}\r\n\r\n")).await;
            assert!(told.contains(&"x-ip: 198.51.100.7".to_owned()), "{which} {field}: {told:?}");
            let x = "x-forwarded-for: 198.51.100.7, 127.0.0.1, 127.0.0.1";
            assert!(told.contains(&x.to_owned()), "{which} {field}: {told:?}");
            let standard = told.iter().find(|line| line.starts_with("forwarded: for=198.51.100.7"));
            assert_eq!(
                standard.map(|line| line.matches("for=127.0.0.1").count()),
                Some(2),
                "{which} {field}: {told:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_load_balancer_names_the_client_in_a_proxy_header() {
    let origin = Origin::start().await;
    let two = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc6\x33\x64\x07\x7f\0\0\x01\x30\x39\0\x50";
    for scheme in ["http", "teleport"] {
        let options =
            ["--in-proxy-protocol", "127.0.0.1", "--in-client-ip-header", "X-IP", "--in-deny", "203.0.113.0/24"];
        let input = format!("{scheme}://127.0.0.1:0");
        let program = Program::between(&input, &origin.url(), &options).await;
        if scheme == "teleport" {
            relays_teleport(&program, two).await;
            continue;
        }
        for header in [&b"PROXY TCP4 198.51.100.7 127.0.0.1 12345 80\r\n"[..], two] {
            let mut client = Client::connect(program.address()).await;
            client.send(header).await;
            let reply = client.ask("GET /echo HTTP/1.1\r\nHost: h\r\n\r\n").await;
            assert!(reply.text().contains("x-ip: 198.51.100.7\n"), "{}", reply.text());
        }
        for (header, why) in [
            ("PROXY TCP4 203.0.113.7 127.0.0.1 12345 80\r\n", "the client that it names is denied"),
            ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", "it has to begin with a header"),
            ("PROXY TCP4 what\r\n", "that is none"),
        ] {
            let mut client = Client::connect(program.address()).await;
            client.send(header).await;
            assert_eq!(client.rest().await, b"", "{why}");
        }
    }
    let open = Program::http(&origin.url()).await;
    let mut client = Client::connect(open.address()).await;
    let reply = client.ask("PROXY TCP4 198.51.100.7 127.0.0.1 12345 80\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(reply.status(), 400, "nobody else is listened to");
}

/// A load balancer of TCP between two nodes, which tells of another client.
async fn relays_teleport(far: &Program, header: &[u8]) {
    use tokio::io::AsyncWriteExt as _;

    let balancer = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let out = format!("teleport://{}", balancer.local_addr().expect("an address"));
    let (to, header) = (far.address().to_owned(), header.to_owned());
    tokio::spawn(async move {
        let (mut here, _) = balancer.accept().await.expect("a connection");
        let mut there = TcpStream::connect(to).await.expect("a connection");
        there.write_all(&header).await.expect("sent");
        tokio::io::copy_bidirectional(&mut here, &mut there).await
    });
    let near = Program::start(&["--in", "http://127.0.0.1:0", "--out", &out]).await;
    let reply = Client::connect(near.address()).await.get("/echo").await;
    assert!(reply.text().contains("x-ip: 198.51.100.7\n"), "{}", reply.text());
}
