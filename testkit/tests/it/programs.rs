//! The real programs start, answer, and go.

use std::fs;
use std::process::Command;

use testkit::programs::{Curl, Listen, Nginx, PythonServer, Running, free_address};
use testkit::tls::Ca;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[tokio::test]
async fn nginx_serves_files_and_goes_with_its_folder() {
    let nginx = Nginx::start(Listen::Tcp, "location = /gone { return 410; }");
    nginx.file("hello", b"from nginx");
    let url = format!("http://{}", nginx.authority());
    let reply = Curl::new(&format!("{url}/hello")).run().await;
    assert_eq!((reply.exit, reply.status, &reply.body[..]), (0, 200, &b"from nginx"[..]));
    assert!(reply.header("server").unwrap().starts_with("nginx"), "{}", reply.heads);
    assert_eq!(Curl::new(&format!("{url}/gone")).run().await.status, 410);

    let (id, address, folder) = (nginx.running.id(), nginx.address.unwrap(), nginx.socket());
    drop(nginx);
    assert!(!fs::exists(format!("/proc/{id}")).unwrap());
    assert!(std::net::TcpStream::connect(address).is_err());
    assert!(!folder.parent().unwrap().exists());
}

#[tokio::test]
async fn nginx_speaks_tls_and_unix_sockets() {
    let ca = Ca::new();
    let identity = ca.issue(&["127.0.0.1"]);
    let folder = tempfile::tempdir().unwrap();
    let trusted = folder.path().join("ca.pem");
    fs::write(&trusted, ca.pem()).unwrap();

    let secure = Nginx::start(Listen::Tls(&identity), "");
    secure.file("a", b"secret");
    let reply = Curl::new(&format!("https://{}/a", secure.authority())).arg("--cacert").arg(&trusted).run().await;
    assert_eq!((reply.exit, &reply.body[..]), (0, &b"secret"[..]), "{}", reply.stderr);

    let local = Nginx::start(Listen::Unix, "");
    local.file("a", b"local");
    let reply = Curl::new("http://any/a").arg("--unix-socket").arg(local.socket()).run().await;
    assert_eq!((reply.exit, &reply.body[..]), (0, &b"local"[..]), "{}", reply.stderr);
}

#[test]
#[should_panic(expected = "does not start")]
fn nginx_tells_what_is_wrong_with_its_configuration() {
    Nginx::start(Listen::Tcp, "no_such_directive on;");
}

#[tokio::test]
async fn python_serves_files() {
    let python = PythonServer::start();
    python.file("hello", b"from python");
    let reply = Curl::new(&format!("http://{}/hello", python.address)).run().await;
    assert_eq!((reply.status, &reply.body[..]), (200, &b"from python"[..]));
    assert!(reply.heads.starts_with("HTTP/1.0"));
}

#[tokio::test]
async fn curl_leaves_the_runtime_to_the_server_of_the_same_test() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        assert!(socket.read(&mut [0; 4096]).await.unwrap() > 0);
        let reply = b"HTTP/1.1 103 Early Hints\r\nA: 1\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\nA: 2\r\n\r\nok";
        socket.write_all(reply).await.unwrap();
    };
    let (reply, ()) = tokio::join!(Curl::new(&url).run(), server);
    assert_eq!((reply.status, reply.header("a"), &reply.body[..]), (200, Some("2"), &b"ok"[..]));

    let nobody = Curl::new(&format!("http://{}", free_address())).run().await;
    assert_eq!((nobody.exit, nobody.status), (7, 0), "{}", nobody.stderr);
}

#[test]
fn a_running_program_is_heard_asked_and_ended() {
    let mut command = Command::new("sh");
    command.args(["-c", "trap 'echo bye >&2; exit 3' TERM; echo ready $$; while :; do read line </dev/null; done"]);
    let mut running = Running::start(command);
    let id: u32 = running.line("ready", |line| line.strip_prefix("ready ")?.parse().ok());
    assert_eq!(id, running.id());
    assert!(running.exited().is_none());
    running.terminate();
    assert_eq!(running.wait().code(), Some(3));
    running.line("bye", |line| (line == "bye").then_some(()));
}

#[test]
#[should_panic(expected = "never printed a miracle")]
fn a_program_that_ends_in_silence_is_noticed() {
    let running = Running::start(Command::new("true"));
    running.line("a miracle", |_| None::<()>);
}
