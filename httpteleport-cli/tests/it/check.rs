//! `httptp check`: what it passes starts, and what it does not pass would not.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use testkit::programs::free_address;
use tokio::process::Command;
use tokio::time::timeout;

use crate::program::{PATIENCE, Program, run, run_within};

/// Settings in a file of their own, with `{here}` for its folder.
struct Settings(TempDir);

impl Settings {
    fn new(text: &str) -> Settings {
        let folder = tempfile::tempdir().expect("a folder");
        let text = text.replace("{here}", folder.path().to_str().expect("UTF-8"));
        fs::write(folder.path().join("web.toml"), text).expect("written");
        Settings(folder)
    }

    fn path(&self) -> String {
        self.0.path().join("web.toml").to_str().expect("UTF-8").to_owned()
    }

    fn here(&self) -> &Path {
        self.0.path()
    }

    /// What `check` says, without the folder, and its exit code.
    async fn check(&self) -> (Option<i32>, Vec<String>) {
        let (code, _, errors) = run(&["check", &self.path()]).await;
        let folder = self.here().to_str().expect("UTF-8").to_owned();
        (
            code,
            errors
                .lines()
                .map(|line| line.replace(&format!("httptp: {folder}/web.toml:"), "").replace(&folder, "{here}"))
                .collect(),
        )
    }

    /// Tells a start's exit code and last line.
    async fn start(&self) -> (Option<i32>, String) {
        let (code, _, errors) = run(&["--config", &self.path(), "--admin="]).await;
        (code, errors.lines().last().unwrap_or_default().to_owned())
    }
}

const LISTENER: &str = "[listener.web]\nurl = \"http://127.0.0.1:0\"\n";
const GROUP: &str = "[group.a]\nurls = \"http://127.0.0.1:1\"\n";

#[tokio::test]
async fn what_no_start_would_take_has_its_line() {
    let acme = "[listener.web]\nurl = \"https://127.0.0.1:0\"\nautocert_host_regexp = \"a\"\n";
    let cases = [
        (
            format!("admin = \"127.0.0.1:0\"\nadmin_token_file = \"{{here}}/none\"\n{LISTENER}{GROUP}"),
            "2: admin_token_file {here}/none: cannot read the file: no such file",
        ),
        (
            format!("access_log = \"{{here}}/none/a.log\"\n{LISTENER}{GROUP}"),
            "1: access_log {here}/none/a.log: cannot write to the file: there is no folder {here}/none",
        ),
        (
            format!("handover = \"{{here}}/none/h.sock\"\n{LISTENER}{GROUP}"),
            "1: handover {here}/none/h.sock: its directory does not exist; create it",
        ),
        (
            "[listener.web]\nurl = \"unix:{here}/none/a.sock\"\n".to_owned() + GROUP,
            "2: listener \"web\": url unix:{here}/none/a.sock: its directory does not exist; create it",
        ),
        (
            "[listener.web]\nurl = \"unix:{here}/web.toml\"\n".to_owned() + GROUP,
            "2: listener \"web\": url unix:{here}/web.toml: a file of that name exists and is no socket; remove it or choose another path",
        ),
        (format!("[listener.web]\nurl = \"unix:/{}\"\n{GROUP}", "x".repeat(120)), "2: listener \"web\": url unix:/"),
        (
            "[listener.web]\nurl = \"http://nobody.invalid:0\"\n".to_owned() + GROUP,
            "2: listener \"web\": url http://nobody.invalid:0: cannot find the address of \"nobody.invalid\"; use one of this machine's addresses",
        ),
        (
            "[listener.web]\nurl = \"http://192.0.2.1:0\"\n".to_owned() + GROUP,
            "2: listener \"web\": url http://192.0.2.1:0: not an address of this machine; use one of its own, or leave the host out for all",
        ),
        (
            format!("admin = \"192.0.2.1:0\"\n{LISTENER}{GROUP}"),
            "1: admin 192.0.2.1:0: not an address of this machine; choose another address",
        ),
        (
            format!("{acme}autocert_cache_dir = \"{{here}}/web.toml\"\n{GROUP}"),
            "4: listener \"web\": autocert_cache_dir {here}/web.toml: {here}/web.toml is no folder",
        ),
        (
            format!("{acme}autocert_cache_dir = \"{{here}}/new\"\nacme_ca = \"{{here}}/none.pem\"\n{GROUP}"),
            "5: listener \"web\": acme_ca {here}/none.pem: cannot read the file: no such file",
        ),
        (
            format!("{LISTENER}[group.a]\nurls = \"file:{{here}}/none\"\n"),
            "4: group \"a\": urls file:{here}/none: no such file",
        ),
        (
            format!("{LISTENER}[group.a]\nurls = \"file:{{here}}/web.toml\"\n"),
            "4: group \"a\": urls file:{here}/web.toml: line 1: no scheme",
        ),
        (
            format!("{LISTENER}[group.a]\nurls = \"unix:{{here}}/web.toml\"\n"),
            "4: group \"a\": urls unix:{here}/web.toml: is not a socket; give the path the upstream listens on",
        ),
    ];
    for (text, want) in cases {
        let settings = Settings::new(&text);
        let (code, lines) = settings.check().await;
        assert_eq!(code, Some(2), "{text}");
        assert!(lines.len() == 1 && lines[0].starts_with(want), "{text}\n{lines:#?}\n{want}");
        let left: Vec<_> = fs::read_dir(settings.here()).expect("it is there").collect();
        assert_eq!(left.len(), 1, "{text}: nothing is made");
        // The admin address has its own place in the settings.
        if !text.contains("admin") {
            let (code, said) = settings.start().await;
            assert!(matches!(code, Some(1 | 2)), "{text}: {said}");
        }
    }
}

/// Of several that are wrong each is told, in the order of the file.
#[tokio::test]
async fn all_that_a_start_would_find_is_told_at_once() {
    let settings = Settings::new(
        "admin = \"127.0.0.1:0\"\nadmin_token_file = \"{here}/none\"\nhandover = \"{here}/none/h\"\n[listener.web]\nurl = \
         \"unix:{here}/none/a\"\n[group.a]\nurls = [\"file:{here}/none\", \"unix:{here}/web.toml\"]\n",
    );
    let (code, lines) = settings.check().await;
    assert_eq!(code, Some(2));
    let begin = |line: &String| line.split([' ']).next().map(str::to_owned).unwrap_or_default();
    assert_eq!(lines.iter().map(begin).collect::<Vec<_>>(), ["2:", "3:", "5:", "7:", "7:"], "{lines:#?}");

    // What is wrong with a file that is named hides nothing of the rest, nor one file of a pair the other.
    let settings = Settings::new(
        "access_log = \"{here}/none/a.log\"\nhandover = \"{here}/none/h\"\n[listener.web]\nurl = \"https://127.0.0.1:1\"\n\
         tls_cert = \"{here}/none.crt\"\ntls_key = \"{here}/none.key\"\n[listener.other]\nurl = \"http://127.0.0.1:1\"\n\
         [group.a]\nurls = \"https://127.0.0.1:2\"\nca = \"{here}/none.pem\"\n[[route]]\n",
    );
    let (code, lines) = settings.check().await;
    assert_eq!(code, Some(2));
    assert_eq!(lines.iter().map(begin).collect::<Vec<_>>(), ["1:", "2:", "5:", "6:", "8:", "11:"], "{lines:#?}");
}

/// What is wrong with the text hides nothing of what a start would find, for a check and for a start alike; what cannot be read is told once.
#[tokio::test]
async fn no_mistake_hides_another() {
    let text = "access_log = \"{here}/none/a\"\nadmin = \"127.0.0.1:0\"\nadmin_token_file = \"{here}/none\"\nhandover = \"{here}/none/h\"\n\
                [listener.tls]\nurl = \"https://127.0.0.1:PORT\"\ntls_cert = \"{here}/none.crt\"\ntls_key = \"{here}/none.key\"\n\
                [listener.twice]\nurl = \"http://127.0.0.1:PORT\"\n\
                [listener.foreign]\nurl = \"http://192.0.2.1:0\"\nmax_body = 1\n\
                [listener.unix]\nurl = \"unix:{here}/none/s\"\n\
                [listener.one]\nurl = 1\n[listener.two]\nurl = \"no\"\n[listener.usual]\nurl = \"http://127.0.0.1:8080\"\n\
                [group.a]\nurls = [\"file:{here}/none\", \"https://127.0.0.1:1\"]\nca = \"{here}/none.pem\"\n\
                tls_cert = \"{here}/none.crt\"\ntls_key = \"{here}/none.key\"\n";
    let settings = Settings::new(&text.replace("PORT", &free_address().port().to_string()));
    let (code, lines) = settings.check().await;
    let number = |line: &String| line.split(':').next().map(str::to_owned).unwrap_or_default();
    let want = ["1", "3", "4", "7", "8", "10", "12", "13", "15", "17", "19", "23", "24", "25", "26"];
    assert_eq!(
        (code, lines.iter().map(number).collect::<Vec<_>>()),
        (Some(2), want.map(str::to_owned).to_vec()),
        "{lines:#?}"
    );
    for text in [
        "10: listener \"twice\": url http://127.0.0.1",
        "12: listener \"foreign\": url http://192.0.2.1:0: not an address of this",
        "13: listener \"foreign\": unknown key max_body; did you mean max_body_size?",
        "23: group \"a\": urls file:{here}/none: no such file",
        "24: group \"a\": ca {here}/none.pem: cannot read the file",
    ] {
        assert!(lines.iter().any(|line| line.starts_with(text)), "{text}\n{lines:#?}");
    }
    let (_, _, checked) = run(&["check", &settings.path()]).await;
    let (code, _, started) = run(&["--config", &settings.path()]).await;
    // The environment of these tests turns the admin address off.
    let checked: Vec<_> = checked.lines().filter(|line| !line.contains("admin_token_file")).collect();
    let started: Vec<_> = started.lines().filter(|line| !line.contains("admin_token_file")).collect();
    assert_eq!((code, started), (Some(2), checked));
}

/// A start finds one thing after the other, and tells what it would have found next.
#[tokio::test]
async fn a_start_tells_all_that_is_wrong_as_well() {
    let settings = Settings::new(
        "handover = \"{here}/none/h\"\n[listener.a]\nurl = \"unix:{here}/none/a\"\n[listener.b]\nurl = \"unix:{here}/none/b\"\n\
         [group.a]\nurls = \"file:{here}/none\"\n",
    );
    let (_, _, checked) = run(&["check", &settings.path()]).await;
    let (code, _, started) = run(&["--config", &settings.path()]).await;
    assert_eq!((code, started.lines().count()), (Some(2), 4), "{started}");
    assert_eq!(started, checked);
    let twice = Settings::new(&format!(
        "{LISTENER}[listener.b]\nurl = \"unix:{{here}}/b\"\n[listener.c]\nurl = \"unix:{{here}}/b\"\n[group.a]\nurls = \"file:{{here}}/none\"\n"
    ));
    let (_, _, checked) = run(&["check", &twice.path()]).await;
    let (code, _, started) = run(&["--config", &twice.path()]).await;
    assert_eq!((code, started.lines().count()), (Some(2), 2), "{started}");
    assert_eq!(started, checked);
}

/// What may come while the program runs keeps it from nothing.
#[tokio::test]
async fn upstreams_that_are_not_there_are_warnings() {
    let urls = "[\"http://127.0.0.1:1\",\n\"http://nobody.invalid\", \"unix:{here}/none.sock\", \"file:{here}/empty\"]";
    let settings = Settings::new(&format!("{LISTENER}[group.a]\nurls = {urls}\n"));
    fs::write(settings.here().join("empty"), "# none yet\n").expect("written");
    let (code, stdout, _) = run(&["check", &settings.path()]).await;
    assert_eq!((code, stdout), (Some(0), format!("{}: is fine: 1 listener, 1 group, 1 route\n", settings.path())));
    let (_, lines) = settings.check().await;
    let warns = |what: &str| {
        let want = format!("httptp: warning: {{here}}/web.toml:4: group \"a\": urls {what}");
        assert!(lines.iter().any(|line| line.starts_with(&want)), "{want}\n{lines:#?}");
    };
    warns("http://nobody.invalid:80: cannot find the address of \"nobody.invalid\"");
    warns("unix:{here}/none.sock: no such file; start the upstream, or correct the path");
    warns("file:{here}/empty: it names no upstream; write some into it");
    assert_eq!(lines.len(), 3, "{lines:#?}");
}

/// What a start says has no effect.
#[tokio::test]
async fn options_that_do_nothing_are_warnings() {
    let settings = Settings::new(&format!(
        "{LISTENER}autocert_host_regexp = \"a\"\nsocket_mode = 660\ndelay = \"1ms\"\ncompress = \"zstd\"\n{GROUP}group_by = \"X-A\"\n"
    ));
    let (code, lines) = settings.check().await;
    let file = "httptp: warning: {here}/web.toml";
    let mut want = vec![format!("{file}:9: group \"a\": group_by has no effect: the outputs are not teleport")];
    for (line, key, why) in
        [(4, "socket_mode", "is no unix socket"), (5, "delay", "is not teleport"), (6, "compress", "is not teleport")]
    {
        want.push(format!("{file}:{line}: listener \"web\": {key} has no effect: the input {why}"));
    }
    assert_eq!(code, Some(0), "{lines:#?}");
    for line in want {
        assert!(lines.contains(&line), "{line}\n{lines:#?}");
    }
    assert!(lines.iter().any(|line| line.starts_with(&format!("{file}:3: listener \"web\": autocert_host_regexp"))));
    assert_eq!(lines.len(), 5, "{lines:#?}");
    let numbers: Vec<_> = lines.iter().map(|line| line[file.len()..].split(':').nth(1)).collect();
    assert!(numbers.is_sorted(), "{lines:#?}");
}

/// The environment wins over a file, here as at a start.
#[tokio::test]
async fn the_environment_is_read_as_at_a_start() {
    let settings = Settings::new(&format!("{LISTENER}{GROUP}"));
    let path = settings.path();
    for (set, want) in [
        (("HTTPTP_IN_DELAY", "zz"), "HTTPTP_IN_DELAY zz: write a duration such as 300ms, 1.5s, 1m30s or 100us"),
        (("HTTPTP_IN_ALOW", "10.0.0.1"), "HTTPTP_IN_ALOW: is no option; did you mean HTTPTP_IN_ALLOW?"),
        (("HTTPTP_OUT_TIMEOUT", "0"), "HTTPTP_OUT_TIMEOUT 0: no reply comes in no time; write for example 3s"),
        (("HTTPTP_HANDOVER", "a/b"), "HTTPTP_HANDOVER a/b: is no absolute path; "),
    ] {
        for args in [["check", &path], ["--config", &path]] {
            let (code, _, errors) = run_within(&args, &[set]).await;
            assert!(code == Some(2) && errors.starts_with(&format!("httptp: {want}")), "{args:?} {set:?}: {errors}");
        }
    }
    let admin = [("HTTPTP_ADMIN", "192.0.2.1:0")];
    let (code, _, errors) = run_within(&["check", &path], &admin).await;
    let want = "httptp: HTTPTP_ADMIN 192.0.2.1:0: not an address of this machine; choose another address\n";
    assert_eq!((code, errors.as_str()), (Some(2), want));
    let idle = [("HTTPTP_VERSION", "1"), ("HTTPTP_IN_DELAY", "1ms"), ("HTTPTP_CONFIG", "/nowhere")];
    let (code, _, errors) = run_within(&["check", &path], &idle).await;
    let want = "httptp: warning: HTTPTP_IN_DELAY has no effect: the input is not teleport\n\
                httptp: warning: HTTPTP_VERSION has no effect: the environment has no such option\n";
    assert_eq!((code, errors.as_str()), (Some(0), want));
}

/// Even root has no such port without that privilege.
#[tokio::test]
async fn a_port_that_this_process_may_not_have_is_told() {
    let settings = Settings::new(&format!("[listener.web]\nurl = \"http://127.0.0.1:81\"\n{GROUP}"));
    let path = settings.path();
    let first: u16 = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(1024);
    let drop = ["--bounding-set=-net_bind_service", "--inh-caps=-net_bind_service", env!("CARGO_BIN_EXE_httptp")];
    let mut command = Command::new("setpriv");
    let output = command.args(drop).args(["check", &path]).env_remove("HTTPTP_ADMIN").kill_on_drop(true).output();
    let output = timeout(PATIENCE, output).await.expect("it ends").expect("it starts");
    let told = String::from_utf8(output.stderr).expect("UTF-8");
    if first > 81 {
        let want = ":2: listener \"web\": url http://127.0.0.1:81: this user may not open the port; a start needs";
        assert!(output.status.code() == Some(0) && told.contains(want), "{told}");
    } else {
        assert_eq!((output.status.code(), told.as_str()), (Some(0), ""));
    }
}

#[tokio::test]
async fn what_it_passes_starts() {
    let settings = Settings::new(
        "admin = \"127.0.0.1:0\"\nadmin_token_file = \"{here}/token\"\naccess_log = \"{here}/a.log\"\nhandover = \"{here}/h.sock\"\n\
         [listener.web]\nurl = \"http://localhost:0\"\n[listener.unix]\nurl = \"unix:{here}/a.sock\"\n\
         [listener.ordered]\nurl = \"https://127.0.0.1:0\"\nautocert_host_regexp = \"a\"\nautocert_cache_dir = \"{here}/deep/cache\"\n\
         [group.a]\nurls = [\"file:{here}/urls\", \"http://localhost:1\"]\n",
    );
    fs::write(settings.here().join("token"), "a-token-that-nobody-guesses").expect("written");
    fs::write(settings.here().join("urls"), format!("http://{}\n", free_address())).expect("written");
    let before = fs::read_dir(settings.here()).expect("it is there").count();
    assert_eq!(settings.check().await, (Some(0), Vec::new()));
    assert_eq!(fs::read_dir(settings.here()).expect("it is there").count(), before, "nothing is made");
    let admin = [("HTTPTP_ADMIN", "127.0.0.1:0")];
    let mut program = Program::within(&["--config", &settings.path()], &admin).await;
    assert!(!program.admin().await.is_empty());
    assert_eq!(settings.check().await, (Some(0), Vec::new()), "also while it runs");
}
