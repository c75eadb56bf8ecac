//! Several upstreams: who gets how much, and who nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::admin::{get as get_of, promtool, value};
use crate::client::Client;
use crate::origin::Origin;
use crate::program::{PATIENCE, Program, logged};

/// An upstream that counts its requests, and answers each with the status that it was told last; `/healthz` with another one.
struct Upstream {
    address: String,
    told: Arc<Told>,
}

struct Told {
    status: AtomicU16,
    health: AtomicU16,
    requests: AtomicUsize,
    checks: AtomicUsize,
}

impl Upstream {
    async fn start() -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (status, health) = (AtomicU16::new(200), AtomicU16::new(200));
        let told = Arc::new(Told { status, health, requests: AtomicUsize::new(0), checks: AtomicUsize::new(0) });
        let shared = Arc::clone(&told);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(Client::over(stream), Arc::clone(&shared)));
            }
        });
        Upstream { address, told }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn answer(&self, status: u16) {
        self.told.status.store(status, Ordering::SeqCst);
    }

    fn answer_checks(&self, status: u16) {
        self.told.health.store(status, Ordering::SeqCst);
    }

    /// Requests since the last time this was asked.
    fn requests(&self) -> usize {
        self.told.requests.swap(0, Ordering::SeqCst)
    }

    fn checks(&self) -> usize {
        self.told.checks.load(Ordering::SeqCst)
    }

    /// Waits until it was checked so often.
    async fn is_checked(&self, times: usize) {
        let asked = async {
            while self.checks() < times {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, asked).await.expect("in time");
    }
}

async fn serve(mut client: Client, told: Arc<Told>) {
    while let Some(head) = client.try_head().await {
        let is_check = head.starts_with("GET /healthz HTTP/1.1\r\n");
        let (status, count) = if is_check { (&told.health, &told.checks) } else { (&told.status, &told.requests) };
        if is_check {
            assert!(head.contains("httptp-health"), "{head}");
        }
        count.fetch_add(1, Ordering::SeqCst);
        let status = status.load(Ordering::SeqCst);
        client.send(format!("HTTP/1.1 {status} So\r\nContent-Length: 2\r\n\r\nok")).await;
    }
}

async fn get(client: &mut Client, times: usize) -> Vec<u16> {
    let mut statuses = Vec::with_capacity(times);
    for n in 0..times {
        statuses.push(client.get(&format!("/{n}")).await.status());
    }
    statuses
}

fn outs(upstreams: &[Upstream]) -> String {
    upstreams.iter().map(Upstream::url).collect::<Vec<_>>().join(",")
}

async fn three() -> [Upstream; 3] {
    [Upstream::start().await, Upstream::start().await, Upstream::start().await]
}

#[tokio::test]
async fn weights_share_the_requests_and_a_backup_waits() {
    let origins = [Origin::start().await, Origin::start().await, Origin::start().await];
    let out = format!("{}#weight=4,{},{}#backup", origins[0].url(), origins[1].url(), origins[2].url());
    let program = Program::http(&out).await;
    // None of them ends, so that nothing counts but who has how many.
    let (mut clients, mut held) = (Vec::new(), [0; 3]);
    for _ in 0..40 {
        let mut client = Client::connect(program.address()).await;
        client.send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n").await;
        tokio::select! {
            () = origins[0].holds() => held[0] += 1,
            () = origins[1].holds() => held[1] += 1,
            () = origins[2].holds() => held[2] += 1,
        }
        clients.push(client);
    }
    assert!((28..=34).contains(&held[0]) && held[2] == 0, "{held:?}");
}

#[tokio::test]
async fn one_that_joins_starts_slowly_and_the_metrics_tell() {
    let (upstreams, folder) = (three().await, tempfile::tempdir().expect("a folder"));
    let path = folder.path().join("upstreams");
    let list = |count: usize| upstreams[..count].iter().map(|one| one.url() + "#weight=2\n").collect::<String>();
    std::fs::write(&path, list(2)).expect("written");
    let out = format!("file:{}", path.to_str().expect("UTF-8"));
    // So long that nothing of it passes here.
    let args = ["--in", "http://127.0.0.1:0", "--out", &out, "--admin", "127.0.0.1:0", "--slow-start", "24h"];
    let (mut program, mut log) = Program::logged(&args).await;
    let admin = program.admin().await;
    std::fs::write(&path, list(3)).expect("written");
    logged(&mut log, "a new upstream").await;
    let metrics = get_of(&admin, "/metrics").await.text().to_owned();
    for (upstream, effective) in upstreams.iter().zip([2.0, 2.0, 0.1]) {
        let of = |name: &str| value(&metrics, name, &[&format!("upstream=\"{}\"", upstream.url())]);
        assert_eq!((of("httptp_upstream_weight"), of("httptp_upstream_effective_weight")), (2.0, effective));
    }
    assert_eq!(promtool(&metrics).await, "");
    let mut client = Client::connect(program.address()).await;
    assert_eq!(get(&mut client, 400).await, [200; 400]);
    let seen = upstreams.each_ref().map(Upstream::requests);
    // A twentieth of its weight is ten of 410; chance may make it more.
    assert!(seen[0] > 120 && seen[1] > 120 && seen[2] < 40, "{seen:?}");
}

#[tokio::test]
async fn a_backup_gets_what_no_other_can_take() {
    let backup = Upstream::start().await;
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let program = Program::http(&format!("{}#backup,http://{gone}", backup.url())).await;
    let mut client = Client::connect(program.address()).await;
    assert_eq!(get(&mut client, 20).await, [200; 20]);
    assert_eq!(backup.requests(), 20);
}

#[tokio::test]
async fn a_quick_failure_attracts_nothing_and_is_left_alone() {
    let upstreams = three().await;
    let args = ["--in", "http://127.0.0.1:0", "--out", &outs(&upstreams)];
    let (program, mut log) = Program::logged(&args).await;
    upstreams[0].answer(503);
    let mut client = Client::connect(program.address()).await;
    let failures = get(&mut client, 300).await.iter().filter(|status| **status == 503).count();
    assert!((1..=15).contains(&failures), "{failures} of 300");
    assert_eq!(upstreams[0].requests(), failures, "no reply is hidden, and nothing is asked twice");

    // Many that begin at once meet it before anything is known of them.
    let mut clients = Vec::new();
    for _ in 0..90 {
        clients.push(Client::connect(program.address()).await);
    }
    upstreams.iter().for_each(|upstream| upstream.answer(502));
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    }
    for client in &mut clients {
        client.reply().await;
    }
    let line = logged(&mut log, "fails too often").await;
    assert!(line.contains("the last time: it answers 502; it gets nothing for "), "{line}");
    upstreams.iter().for_each(|upstream| upstream.answer(200));
    assert_eq!(get(&mut client, 30).await, [200; 30], "not all of them are out");
    drop(program);
    let mut more = 1;
    while let Ok(Some(line)) = log.next_line().await {
        more += usize::from(line.contains("fails too often"));
    }
    assert_eq!(more, 1, "of three, one may be out");
}

#[tokio::test]
async fn who_fails_its_checks_gets_nothing_until_it_is_well() {
    let upstreams = three().await;
    let args = ["--in", "http://127.0.0.1:0", "--out", &outs(&upstreams), "--health-check", "/healthz"];
    let patient = ["--health-interval", "100ms", "--health-timeout", "15s"];
    let (program, mut log) = Program::logged(&[&args[..], &patient].concat()).await;
    let mut client = Client::connect(program.address()).await;
    upstreams[1].answer_checks(500);
    let line = logged(&mut log, "is unhealthy").await;
    assert!(line.contains(&upstreams[1].url()) && line.contains("/healthz answers 500"), "{line}");
    upstreams[1].requests();
    assert_eq!(get(&mut client, 60).await, [200; 60]);
    assert_eq!(upstreams[1].requests(), 0);
    upstreams[1].answer_checks(204);
    let line = logged(&mut log, "is healthy").await;
    assert!(line.contains(&upstreams[1].url()), "{line}");
    assert_eq!(get(&mut client, 60).await, [200; 60]);
    assert!(upstreams[1].requests() > 0);

    // When all are ill they are asked all the same.
    upstreams.iter().for_each(|upstream| upstream.answer_checks(404));
    for _ in 0..3 {
        let line = logged(&mut log, "is unhealthy").await;
        assert!(line.ends_with("; it gets nothing until it is well, unless no other can be used"), "{line}");
    }
    assert_eq!(get(&mut client, 60).await, [200; 60]);
    let seen = upstreams.each_ref().map(Upstream::requests);
    assert!(seen.iter().all(|seen| *seen > 0), "{seen:?}");
}

#[tokio::test]
async fn how_many_checks_count_and_which_status_is_good_can_be_said() {
    let upstream = Upstream::start().await;
    upstream.answer_checks(404);
    let checked = ["--health-check", "/healthz", "--health-interval", "100ms", "--health-status", "204,404"];
    let counts = ["--health-fails", "1", "--health-passes", "4", "--health-timeout", "15s"];
    let args = ["--in", "http://127.0.0.1:0", "--out", &upstream.url()];
    let (_program, mut log) = Program::logged(&[&args[..], &checked, &counts].concat()).await;
    upstream.is_checked(5).await;
    upstream.answer_checks(200);
    let line = logged(&mut log, "healthy").await;
    assert!(line.contains("is unhealthy: /healthz answers 200"), "a 404 is good, one bad check is enough: {line}");
    let bad = upstream.checks();
    upstream.answer_checks(204);
    logged(&mut log, "is healthy").await;
    assert!(upstream.checks() - bad >= 4, "four good ones it takes");
}

#[tokio::test]
async fn checks_are_jittered_and_as_many_as_was_said() {
    let upstream = Upstream::start().await;
    let args = ["--in", "http://127.0.0.1:0", "--out", &upstream.url(), "--health-check", "/healthz"];
    let start = tokio::time::Instant::now();
    let _program = Program::start(&[&args[..], &["--health-interval", "100ms"]].concat()).await;
    upstream.is_checked(10).await;
    assert!(start.elapsed() >= Duration::from_millis(9 * 90), "no more often than that: {:?}", start.elapsed());
}
