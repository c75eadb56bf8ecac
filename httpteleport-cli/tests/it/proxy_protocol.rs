//! The PROXY protocol with the program that it is of: haproxy before and behind.

use testkit::programs::Haproxy;

use crate::client::Client;
use crate::clients::client_between;
use crate::origin::Origin;
use crate::program::{Program, run};

#[tokio::test]
async fn haproxy_tells_who_the_client_is() {
    let origin = Origin::start().await;
    let options = ["--in-proxy-protocol", "127.0.0.1", "--in-client-ip-header", "X-IP", "--in-deny", "127.0.0.6"];
    let program = Program::between("http://127.0.0.1:0", &origin.url(), &options).await;
    for word in ["send-proxy", "send-proxy-v2"] {
        let haproxy = Haproxy::start(|address| {
            format!("listen l\n mode tcp\n bind {address}\n server s {} {word}", program.address())
        });
        let address = haproxy.address.to_string();
        let reply = client_between("127.0.0.5", &address).await.get("/echo").await;
        assert!(reply.text().contains("x-ip: 127.0.0.5\n"), "{word}: {}", reply.text());
        assert_eq!(client_between("127.0.0.6", &address).await.rest().await, b"", "{word}: who is denied");
    }
}

#[tokio::test]
async fn haproxy_is_told_who_the_client_is() {
    let origin = Origin::start().await;
    let haproxy = Haproxy::start(|address| {
        format!(
            "frontend f\n bind {address} accept-proxy\n http-request set-header X-Seen %[src]\n \
             http-request set-header X-To %[dst]\n default_backend b\nbackend b\n server s {}",
            origin.address
        )
    });
    let out = format!("http://{}", haproxy.address);
    let plain = Program::between("http://127.0.0.1:0", &out, &[]).await;
    assert_ne!(Client::connect(plain.address()).await.get("/echo").await.status(), 200, "haproxy wants to be told");
    for version in ["1", "2"] {
        let options = ["--out-proxy-protocol", version, "--health-check", "/size/1", "--health-interval", "100ms"];
        let program = Program::between("http://127.0.0.1:0", &out, &options).await;
        for address in ["127.0.0.5", "127.0.0.6", "127.0.0.5"] {
            let mut client = client_between(address, program.address()).await;
            for _ in 0..2 {
                let reply = client.get("/echo").await;
                let seen = format!("x-seen: {address}\n");
                assert!(reply.text().contains(&seen), "{version}: {}", reply.text());
                assert!(reply.text().contains("x-to: 127.0.0.1\n"), "{version}: {}", reply.text());
            }
        }
        // Through teleport too, where the far node is told and believes.
        let far = ["--trusted-proxies", "127.0.0.0/8", "--out-proxy-protocol", version];
        let far = Program::between("teleport://127.0.0.1:0", &out, &far).await;
        let to = format!("teleport://{}", far.address());
        let near = Program::between("http://127.0.0.1:0", &to, &["--forwarded", "x"]).await;
        let reply = client_between("127.0.0.5", near.address()).await.get("/echo").await;
        assert!(reply.text().contains("x-seen: 127.0.0.5\n"), "{version}: {}", reply.text());
    }
}

#[tokio::test]
async fn what_cannot_tell_is_refused() {
    let (code, _, stderr) = run(&["--out", "h2c://127.0.0.1:1", "--out-proxy-protocol", "2"]).await;
    assert_eq!(code, Some(2));
    assert!(stderr.starts_with("httptp: --out-proxy-protocol: h2c has one connection for many clients"), "{stderr}");
    let (code, _, stderr) = run(&["--out", "http://127.0.0.1:1", "--out-proxy-protocol", "3"]).await;
    assert_eq!((code, stderr.as_str()), (Some(2), "httptp: --out-proxy-protocol 3: use 1 or 2\n"));
}
