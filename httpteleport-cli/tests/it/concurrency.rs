//! Requests beyond `--concurrency`: one answer for all, whatever they come over.

use crate::admin::{get, value};
use crate::client::{Client, Reply};
use crate::clients::log_has;
use crate::config::File;
use crate::origin::Origin;
use crate::program::{Program, address_in};

const HOLD: &str = "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n";

fn is_refused(reply: &Reply, input: &str) {
    let want = format!("{input}: proxying error: too many requests run already\n");
    assert_eq!((reply.status(), reply.text()), (503, &*want));
}

#[tokio::test]
async fn what_is_over_the_limit_is_503_over_http_and_teleport() {
    let origin = Origin::start().await;
    let file = File::new(&format!(
        "concurrency = 1\nlog_all_errors = true\n\
         [listener.a]\nurl = \"http://127.0.0.1:0\"\n[listener.b]\nurl = \"teleport://127.0.0.1:0\"\n\
         [group.a]\nurls = \"{}\"\n",
        origin.url()
    ));
    let (mut program, mut log) = Program::logged(&["--config", &file.path(), "--admin", "127.0.0.1:0"]).await;
    let (mut over_http, teleport) = (Client::connect(program.address()).await, program.next_line().await);
    let admin = program.admin().await;
    let out = format!("teleport://{}", address_in(&teleport));
    for (wire, refused) in [("framed", 2.0), ("classic", 4.0)] {
        let near = Program::between("http://127.0.0.1:0", &out, &["--wire", wire]).await;
        let mut over_teleport = Client::connect(near.address()).await;
        over_http.send(HOLD).await;
        origin.holds().await;
        is_refused(&over_teleport.get("/size/1").await, "teleport");
        origin.let_go();
        assert_eq!(over_http.reply().await.status(), 200);
        log_has(&mut log, "refused with 503: too many requests run already (--concurrency)").await;

        over_teleport.send(HOLD).await;
        origin.holds().await;
        is_refused(&over_http.get("/size/1").await, "http");
        origin.let_go();
        assert_eq!(over_teleport.reply().await.status(), 200);
        log_has(&mut log, "refused with 503: too many requests run already (--concurrency)").await;

        let metrics = get(&admin, "/metrics").await;
        assert_eq!(value(metrics.text(), "httptp_refusals_total", &["reason=\"concurrency\""]), refused, "{wire}");
    }
}

#[tokio::test]
async fn no_limit_is_too_large_for_a_wire() {
    let most =
        Program::between("teleport://127.0.0.1:0", "teleport://127.0.0.1:1", &["--concurrency", "1000000"]).await;
    drop(most);
    let (code, _, stderr) = crate::program::run(&["--out", "http://h", "--concurrency", "1000001"]).await;
    assert_eq!(
        (code, stderr.as_str()),
        (Some(2), "httptp: --concurrency 1000001: give a whole number from 1 to 1000000\n")
    );
}
