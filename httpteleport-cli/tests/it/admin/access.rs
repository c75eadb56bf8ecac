//! Who may read there, and where it is.

use super::*;
use crate::clients::log_has;

fn file(name: &str, text: &str) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).expect("written");
    path.to_str().expect("UTF-8").to_owned()
}

#[tokio::test]
async fn a_token_is_asked_for_where_there_is_one() {
    let token = file("admin_token", "an-admin-token\n");
    let args =
        ["--in", "http://127.0.0.1:0", "--out", "http://127.0.0.1:1", "--admin", ANY, "--admin-token-file", &token];
    let mut program = Program::start(&args).await;
    let admin = program.admin().await;
    for target in ["/", "/metrics", "/prometheus", "/expvar", "/api/now", "/none", "/?token=another-token"] {
        let reply = get(&admin, target).await;
        assert_eq!((reply.status(), reply.field("www-authenticate")), (401, Some("Bearer")), "{target}");
        assert!(!reply.text().contains("an-admin-token"));
    }
    for target in ["/healthz", "/readyz"] {
        assert_eq!(get(&admin, target).await.status(), 200, "{target}");
    }
    assert_eq!(with(&admin, "/metrics", "Authorization: Bearer an-admin-token").await.status(), 200);
    assert_eq!(with(&admin, "/metrics", "Authorization: Bearer an-admin-tokem").await.status(), 401);
    let reply = get(&admin, "/?token=an-admin-token").await;
    assert_eq!((reply.status(), reply.field("location")), (303, Some("/")));
    let cookie = reply.field("set-cookie").and_then(|cookie| cookie.split(';').next()).expect("a cookie").to_owned();
    assert_eq!(with(&admin, "/api/now", &format!("Cookie: {cookie}")).await.status(), 200);
}

#[tokio::test]
async fn a_token_that_changes_is_asked_for_at_once_and_one_that_is_none_is_not() {
    let token = file("admin_token_changes", "an-admin-token\n");
    let args =
        ["--in", "http://127.0.0.1:0", "--out", "http://127.0.0.1:1", "--admin", ANY, "--admin-token-file", &token];
    let (mut program, mut log) = Program::logged(&args).await;
    let admin = program.admin().await;
    std::fs::write(&token, "bad").expect("written");
    log_has(&mut log, "holds no token; it should have one of 8 to 512 letters").await;
    let failed = async || {
        let metrics = with(&admin, "/metrics", "Authorization: bearer an-admin-token").await;
        assert_eq!(metrics.status(), 200, "the one of before holds");
        value(metrics.text(), "httptp_reloads_total", &["result=\"failed\""])
    };
    timeout(PATIENCE, async { while failed().await != 1.0 {} }).await.expect("it is counted");
    std::fs::write(&token, "another-token\n").expect("written");
    let new = async || with(&admin, "/metrics", "Authorization: Bearer another-token").await.status();
    timeout(PATIENCE, async { while new().await != 200 {} }).await.expect("it is asked for");
    assert_eq!(with(&admin, "/metrics", "Authorization: Bearer an-admin-token").await.status(), 401);
}

/// A name of somebody else's that leads to this machine is nobody who may read here.
#[tokio::test]
async fn a_loopback_address_answers_to_its_own_names() {
    let args = ["--in", "http://127.0.0.1:0", "--out", "http://127.0.0.1:1", "--admin", "localhost:0"];
    let mut program = Program::start(&args).await;
    let admin = program.admin().await;
    let status = async |target: &str, host: &str| {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        Client::connect(&admin).await.ask(request).await
    };
    for host in ["localhost", "127.0.0.1:1", "[::1]"] {
        assert_eq!(status("/metrics", host).await.status(), 200, "{host}");
    }
    for target in ["/", "/metrics", "/api/now", "/expvar", "/prometheus", "/none"] {
        let reply = status(target, "evil.example").await;
        let want = "this address answers to localhost, to IP addresses and to the name in --admin\n";
        assert_eq!((reply.status(), reply.text()), (421, want), "{target}");
    }
    assert_eq!(status("/healthz", "evil.example").await.status(), 200);
}

#[tokio::test]
async fn an_address_that_is_taken_matters_only_where_it_was_asked_for() {
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let (code, _, stderr) =
        run(&["--in", "http://127.0.0.1:0", "--out", "http://127.0.0.1:1", "--admin", &address]).await;
    assert_eq!(code, Some(1));
    let want =
        format!("httptp: --admin {address}: address in use: another program listens there; choose another address");
    assert_eq!(stderr.lines().last(), Some(want.as_str()), "{stderr}");

    // Somebody has the usual one now, be it another test.
    let _usual = TcpListener::bind("127.0.0.1:8040").await;
    let args = ["--in", "http://127.0.0.1:0", "--out", "http://127.0.0.1:1"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_httptp"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut program = command.spawn().expect("the program starts");
    let mut log = BufReader::new(program.stderr.take().expect("a pipe")).lines();
    log_has(
        &mut log,
        "WARN metrics are not served: localhost:8040: address in use: another program listens there; it is tried again",
    )
    .await;
}

#[tokio::test]
async fn who_opens_it_to_others_is_warned_and_mistakes_are_told() {
    let args = ["--in", "http://127.0.0.1:0", "--out", "http://127.0.0.1:1", "--admin", "0.0.0.0:0"];
    let (_program, mut log) = Program::logged(&args).await;
    let line = log_has(&mut log, "WARN ANYBODY WHO REACHES 0.0.0.0:").await;
    assert!(line.contains("--admin-token-file"), "{line}");

    let short = file("admin_token_short", "short\n");
    let odd = file("admin_token_odd", "");
    std::fs::write(&odd, b"\xff\xfe a token of no text").expect("written");
    for (args, code, want) in [
        (vec!["--admin", "nonsense"], 2, "--admin nonsense: write HOST:PORT, or nothing to turn it off"),
        (vec!["--admin", "h:99999"], 2, "--admin h:99999: write HOST:PORT"),
        (vec!["--price-per-gb", "much"], 2, "--price-per-gb much: give a number from 0 to 1000000"),
        (vec!["--admin=", "--admin-token-file", "t"], 2, "--admin-token-file: there is no admin address"),
        (
            vec!["--admin", ANY, "--admin-token-file", "/nonexistent/t"],
            2,
            "--admin-token-file /nonexistent/t: cannot read the file: no such",
        ),
        (vec!["--admin", ANY, "--admin-token-file", &short], 2, "holds no token; it should have one of 8 to 512"),
        (vec!["--admin", ANY, "--admin-token-file", &odd], 2, "holds no token; it should have one of 8 to 512"),
    ] {
        let (status, _, stderr) =
            run(&[&["--in", "http://127.0.0.1:0", "--out", "http://127.0.0.1:1"], &args[..]].concat()).await;
        assert_eq!(status, Some(code), "{args:?}: {stderr}");
        assert!(stderr.lines().last().is_some_and(|line| line.contains(want)), "{args:?}: {stderr}");
    }
}

#[tokio::test]
async fn who_says_nothing_shuts_nobody_out() {
    let pair = Pair::start().await;
    let mut silent = Vec::new();
    for _ in 0..80 {
        silent.push(Client::connect(&pair.near_admin).await);
    }
    assert_eq!(get(&pair.near_admin, "/healthz").await.status(), 200);
    assert_eq!(silent[0].rest().await, b"", "the oldest made room");
}
