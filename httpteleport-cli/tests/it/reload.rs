//! Other settings while requests go on.

use std::path::Path;

use rustix::process::Signal;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::admin::{get, value};
use crate::client::Client;
use crate::clients::log_has;
use crate::config::File;
use crate::load::Load;
use crate::origin::Origin;
use crate::program::{PATIENCE, Program, address_in};
use crate::tls::Identity;
use crate::unix::socket_path;

fn settings(origin: &Origin) -> String {
    format!("[listener.a]\nurl = \"http://127.0.0.1:0\"\n[group.a]\nurls = \"{}\"\n", origin.url())
}

/// What the origin hears of this program's clients.
async fn text(address: &str, target: &str) -> String {
    Client::connect(address).await.get(target).await.text().to_owned()
}

#[tokio::test]
async fn a_hangup_applies_the_file_to_connections_that_are_there_too() {
    let (one, two) = (Origin::start().await, Origin::start().await);
    let file = File::new(&settings(&one));
    let mut program = Program::start(&["--config", &file.path()]).await;
    let address = program.address().to_owned();
    let mut client = Client::connect(&address).await;
    assert_eq!(client.get("/size/1").await.text(), "x");
    file.write(&(settings(&two) + "[[route]]\nset_headers = { X-New = \"yes\" }\n"));
    program.signal(Signal::HUP);
    let line = program.next_line().await;
    assert_eq!(address_in(&line), address, "it keeps its port");
    assert!(line.ends_with(&two.url()), "{line}");
    assert!(client.get("/echo").await.text().contains("x-new: yes"));
    assert_eq!((one.connections(), two.connections()), (1, 1));
}

#[tokio::test]
async fn what_became_of_the_file_is_a_metric() {
    let origin = Origin::start().await;
    let file = File::new(&settings(&origin));
    let mut program = Program::start(&["--config", &file.path(), "--admin", "127.0.0.1:0"]).await;
    let admin = program.admin().await;
    let state = async || {
        let metrics = get(&admin, "/metrics").await;
        let one = |name: &str, labels: &[&str]| value(metrics.text(), name, labels);
        let [applied, failed] = ["applied", "failed"].map(|result| one("httptp_reloads_total", &[result]));
        let at = one("httptp_last_reload_success_timestamp_seconds", &[]);
        ([applied, failed, one("httptp_last_reload_successful", &[])], at)
    };
    let (counts, started) = state().await;
    assert_eq!(counts, [0.0, 0.0, 1.0]);
    for (text, want) in [("nonsense", [0.0, 1.0, 0.0]), (&settings(&origin), [1.0, 1.0, 1.0])] {
        file.write(text);
        program.signal(Signal::HUP);
        timeout(PATIENCE, async { while state().await.0 != want {} }).await.expect("it is told");
        assert_eq!(state().await.1 > started, want[2] > 0.0, "when what holds was read");
    }
}

#[tokio::test]
async fn a_change_of_the_file_is_seen() {
    let (one, two) = (Origin::start().await, Origin::start().await);
    let file = File::new(&settings(&one));
    let mut program = Program::start(&["--config", &file.path()]).await;
    file.write(&settings(&two));
    let line = program.next_line().await;
    assert!(line.ends_with(&two.url()), "{line}");
    assert_eq!(text(address_in(&line), "/size/3").await, "xxx");
    assert_eq!(two.connections(), 1);
}

#[tokio::test]
async fn a_file_that_is_gone_is_told_and_read_when_it_is_back() {
    let origin = Origin::start().await;
    let file = File::new(&settings(&origin));
    let (mut program, mut log) = Program::logged(&["--config", &file.path(), "--admin", "127.0.0.1:0"]).await;
    let admin = program.admin().await;
    let count = async |result| value(get(&admin, "/metrics").await.text(), "httptp_reloads_total", &[result]);
    let away = format!("{}.away", file.path());
    std::fs::rename(file.path(), &away).expect("moved");
    let want = format!("WARN {}: cannot read the file: no such file; what it said holds until it is back", file.path());
    log_has(&mut log, &want).await;
    assert_eq!(text(program.address(), "/size/1").await, "x");
    timeout(PATIENCE, async { while count("failed").await < 1.0 {} }).await.expect("it is counted");
    std::fs::rename(&away, file.path()).expect("moved");
    log_has(&mut log, "applied: 1 listener, 1 group, 1 route").await;
    timeout(PATIENCE, async { while count("applied").await < 1.0 {} }).await.expect("it is counted");
    assert!(count("failed").await < 2.0, "once");
}

#[tokio::test]
async fn a_port_that_would_go_to_another_address_is_told_to_be_this_programs_own() {
    let origin = Origin::start().await;
    let at = |host: &str, port: &str| settings(&origin).replace("127.0.0.1:0", &format!("{host}:{port}"));
    for (host, other) in [("", "127.0.0.1"), ("127.0.0.1", ""), ("127.0.0.1", "localhost")] {
        let file = File::new(&at(host, "0"));
        let (program, mut log) = Program::logged(&["--config", &file.path()]).await;
        let (bound, port) = program.address().rsplit_once(':').expect("a port");
        file.write(&at(other, port));
        program.signal(Signal::HUP);
        let line = log_has(&mut log, "listener \"a\": url").await;
        let why =
            format!("url http://{other}:{port}: this program itself listens at {bound}:{port}, and a port cannot go");
        assert!(line.contains(&why), "{line}");
        assert_eq!(text(&format!("127.0.0.1:{port}"), "/size/3").await, "xxx");
    }
}

#[tokio::test]
async fn listeners_come_and_go_and_what_runs_on_them_is_finished() {
    let origin = Origin::start().await;
    let both = settings(&origin) + "[listener.b]\nurl = \"http://localhost:0\"\n";
    let file = File::new(&both);
    let mut program = Program::start(&["--config", &file.path()]).await;
    let (first, second) = (program.address().to_owned(), program.next_line().await);
    let second = address_in(&second).to_owned();
    let mut held = Client::connect(&second).await;
    held.send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n").await;
    origin.holds().await;
    let mut idle = Client::connect(&second).await;
    assert_eq!(idle.get("/size/1").await.text(), "x");

    file.write(&settings(&origin));
    program.signal(Signal::HUP);
    assert_eq!(address_in(&program.next_line().await), first);
    assert_eq!(idle.rest().await, b"", "nothing runs on it");
    while TcpStream::connect(&second).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert_eq!(text(&first, "/size/1").await, "x");
    origin.let_go();
    assert_eq!(held.reply().await.status(), 200);
    assert_eq!(held.rest().await, b"");

    file.write(&both);
    program.signal(Signal::HUP);
    assert_eq!(address_in(&program.next_line().await), first);
    let again = program.next_line().await;
    assert_eq!(text(address_in(&again), "/size/2").await, "xx");
    program.signal(Signal::TERM);
    assert_eq!(program.ended().await.code(), Some(0), "one signal drains all of them");
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_says_why() {
    let origin = Origin::start().await;
    let file = File::new(&settings(&origin));
    let (program, mut log) = Program::logged(&["--config", &file.path()]).await;
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let taken = taken.local_addr().expect("an address");
    let cases = [
        ("[listener.a]\nurk = 1\n".to_owned(), ":2: listener \"a\": unknown key urk; did you mean url?".to_owned()),
        ("what".to_owned(), ":1: ".to_owned()),
        (
            settings(&origin).replace("http://127.0.0.1:0", "http://192.0.2.1:80"),
            "not an address of this machine".to_owned(),
        ),
        (
            format!("{}[listener.b]\nurl = \"http://{taken}\"\n", settings(&origin)),
            format!(":6: listener \"b\": url http://{taken}: address in use"),
        ),
        (
            settings(&origin).replace(&origin.url(), "file:/nonexistent/urls"),
            ":4: group \"a\": urls file:/nonexistent/urls: no such file".to_owned(),
        ),
    ];
    for (text_now, want) in cases {
        file.write(&text_now);
        program.signal(Signal::HUP);
        log_has(&mut log, &want).await;
        log_has(&mut log, "not applied; what was said before holds").await;
        assert_eq!(text(program.address(), "/size/1").await, "x", "{want}");
    }
    file.write(&format!("concurrency = 7\n{}", settings(&origin)));
    program.signal(Signal::HUP);
    log_has(
        &mut log,
        "concurrency, threads, memory of compression, the admin address, logs, spans, the handover and draining change with a restart alone",
    )
    .await;
    log_has(&mut log, "applied: 1 listener, 1 group, 1 route").await;
}

#[tokio::test]
async fn what_stays_keeps_its_connections_and_old_ones_keep_to_new_limits() {
    let origin = Origin::start().await;
    let far_file = |most| {
        let most = format!("[listener.a]\nmax_body_size = {most}");
        settings(&origin).replace("http://127.0.0.1:0", "teleport://127.0.0.1:0").replace("[listener.a]", &most)
    };
    let file = File::new(&far_file(1));
    let mut far = Program::start(&["--config", &file.path()]).await;
    let out = format!("teleport://{}", far.address());
    let near = Program::start(&["--in", "http://127.0.0.1:0", "--out", &out, "--out-idle-timeout", "60s"]).await;
    let mut client = Client::connect(near.address()).await;
    let post = "POST /size/1 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab";
    assert_eq!(client.get("/size/1").await.status(), 200);
    assert_eq!(client.ask(post).await.status(), 413);
    for (most, status) in [(2, 200), (1, 413), (2, 200)] {
        file.write(&far_file(most));
        far.signal(Signal::HUP);
        far.next_line().await;
        assert_eq!(client.ask(post).await.status(), status, "{most}");
    }
}

#[tokio::test]
async fn unix_sockets_stay_or_go_like_ports() {
    let origin = Origin::start().await;
    let [stays, goes] = ["reload-stays", "reload-goes"].map(socket_path);
    let listener = |name: &str, path: &Path| format!("[listener.{name}]\nurl = \"unix:{}\"\n", path.display());
    let group = format!("[group.a]\nurls = \"{}\"\n", origin.url());
    let file = File::new(&(listener("a", &stays) + &listener("b", &goes) + &group));
    let mut program = Program::start(&["--config", &file.path()]).await;
    program.next_line().await;
    let mut client = Client::over(UnixStream::connect(&stays).await.expect("a connection"));
    assert_eq!(client.get("/size/1").await.text(), "x");
    assert!(UnixStream::connect(&goes).await.is_ok());
    file.write(&(listener("a", &stays) + &group));
    program.signal(Signal::HUP);
    program.next_line().await;
    assert_eq!(client.get("/size/2").await.text(), "xx");
    let mut client = Client::over(UnixStream::connect(&stays).await.expect("a connection"));
    assert_eq!(client.get("/size/3").await.text(), "xxx");
    while goes.exists() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn certificates_are_read_again() {
    let origin = Origin::start().await;
    let (old, new) = (Identity::new("reload_old"), Identity::new("reload_new"));
    let (cert, key) = old.files();
    let tls = format!("[listener.a]\ntls_cert = {cert:?}\ntls_key = {key:?}");
    let text = settings(&origin).replace("http://127.0.0.1:0", "https://127.0.0.1:0").replace("[listener.a]", &tls);
    let file = File::new(&text);
    let mut program = Program::start(&["--config", &file.path()]).await;
    let address = program.address().to_owned();
    let connect = async |identity: &Identity| {
        let stream = TcpStream::connect(&address).await.expect("a connection");
        let name = rustls::pki_types::ServerName::try_from("localhost").expect("a name");
        identity.client().connect(name, stream).await
    };
    let mut before = Client::over(connect(&old).await.expect("it shows the old one"));
    assert_eq!(before.get("/size/1").await.text(), "x");
    std::fs::copy(&new.cert, &old.cert).expect("copied");
    std::fs::copy(&new.key, &old.key).expect("copied");
    program.signal(Signal::HUP);
    program.next_line().await;
    assert!(connect(&old).await.is_err());
    assert_eq!(Client::over(connect(&new).await.expect("it shows the new one")).get("/size/2").await.text(), "xx");
    assert_eq!(before.get("/size/1").await.text(), "x", "and who was there stays");
}

#[tokio::test]
async fn a_listener_can_become_one_of_another_kind() {
    let origin = Origin::start().await;
    let file = File::new(&settings(&origin));
    let mut program = Program::start(&["--config", &file.path()]).await;
    file.write(&settings(&origin).replace("http://127.0.0.1:0", "teleport://127.0.0.1:0"));
    program.signal(Signal::HUP);
    let line = program.next_line().await;
    let out = format!("teleport://{}", address_in(&line));
    let near = Program::start(&["--in", "http://127.0.0.1:0", "--out", &out]).await;
    assert_eq!(text(near.address(), "/size/2").await, "xx");
    program.signal(Signal::TERM);
    assert_eq!(program.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_under_load_fail_no_request() {
    const CHANGES: usize = 8;
    let origins = [Origin::start().await, Origin::start().await];
    // The far node changes as well: from one group to another, each with connections of its own.
    let far_file = |n: usize| settings(&origins[n % 2]).replace("http://127.0.0.1:0", "teleport://127.0.0.1:0");
    let far_config = File::new(&far_file(0));
    let mut far = Program::start(&["--config", &far_config.path()]).await;
    let out = far.address().to_owned();
    let near_file = |n: usize| {
        let route = if n.is_multiple_of(2) { "" } else { "[[route]]\nset_headers = { X-Odd = \"yes\" }\n" };
        let limits = format!("max_body_size = {}\n", 1000 + n % 3);
        format!(
            "[listener.a]\nurl = \"http://127.0.0.1:0\"\n{limits}[group.a]\nurls = \"teleport://{out}\"\nconns_per_addr = {}\n{route}",
            1 + n % 2
        )
    };
    let near_config = File::new(&near_file(0));
    let mut near = Program::start(&["--config", &near_config.path()]).await;
    let address = near.address().to_owned();

    let load = Load::start(&address);
    for n in 1..=CHANGES {
        // A change every fifty requests or so.
        load.served(50).await;
        near_config.write(&near_file(n));
        far_config.write(&far_file(n));
        near.signal(Signal::HUP);
        far.signal(Signal::HUP);
        assert_eq!(address_in(&near.next_line().await), address);
        assert_eq!(address_in(&far.next_line().await), out);
    }
    let rate = load.stop().await;
    assert!(rate > 100.0, "the machine was so slow that nothing was under load: {rate}");
    assert!(origins.iter().all(|origin| origin.connections() > 0));
}
