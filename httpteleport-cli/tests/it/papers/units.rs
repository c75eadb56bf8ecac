//! The units for systemd, and what the docs say of them.

use super::*;

const DOCS: [&str; 5] = [
    include_str!("../../../../README.md"),
    include_str!("../../../../docs/operations.md"),
    include_str!("../../../../docs/config.md"),
    include_str!("../../../../docs/logs.md"),
    include_str!("../../../../docs/metrics.md"),
];
/// Where the service finds its secrets.
const CREDENTIALS: &str = "/run/credentials/httptp.service/";

/// Every path in the docs and the units that begins like this, to its end.
fn paths(begin: &str) -> Vec<String> {
    let texts = DOCS.map(str::to_owned).into_iter().chain(["httptp.service", "httptp.socket"].map(packaging));
    let found = texts.flat_map(|text| {
        let starts: Vec<_> = text.match_indices(begin).map(|(at, _)| at).collect();
        let is_end = |letter: char| letter.is_whitespace() || "\"'`,;:)".contains(letter);
        starts
            .into_iter()
            .map(move |at| text[at..].split(is_end).next().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    });
    found.collect()
}

/// The values of a setting of the service.
fn values(setting: &str) -> Vec<String> {
    let unit = packaging("httptp.service");
    unit.lines().filter_map(|line| line.strip_prefix(setting)?.strip_prefix('=')).map(str::to_owned).collect()
}

#[test]
fn the_unit_calls_the_program_as_it_is() {
    let unit = packaging("httptp.service");
    for word in [
        "/usr/local/bin/httptp check /etc/httptp/httptp.toml",
        "/usr/local/bin/httptp --config ",
        "kill -HUP",
        "Type=notify",
    ] {
        assert!(unit.contains(word), "{word}");
    }
}

/// The service's user owns nothing but these.
#[test]
fn folders_that_the_docs_write_to_are_the_service_s() {
    for (begin, setting, foreign) in [
        ("/var/lib/", "StateDirectory", &[][..]),
        ("/var/log/", "LogsDirectory", &[]),
        // What systemd opens itself, where it puts secrets, and what it does with folders that are preserved.
        ("/run/", "RuntimeDirectory", &["/run/httptp.sock", CREDENTIALS, "/run/private"]),
    ] {
        let folders = values(setting);
        let paths = paths(begin);
        assert!(!paths.is_empty(), "{begin}");
        for path in paths.iter().filter(|path| !foreign.iter().any(|known| path.starts_with(known))) {
            let folder = path[begin.len()..].split('/').next().unwrap_or_default().to_owned();
            assert!(folders.contains(&folder), "{setting} has no {path}");
        }
    }
    assert_eq!(values("RuntimeDirectoryPreserve"), [""; 0], "unix sockets would be where no client gets");
}

/// The settings that the docs show find what the commands beside them have put there.
#[tokio::test]
async fn secrets_are_where_the_settings_look_for_them() {
    assert_eq!(values("LoadCredential"), ["secrets:/etc/httptp/secrets"]);
    let section = DOCS[1].split("## Under systemd").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("it");
    let block = |kind: &str| {
        let rest = section.split(&format!("```{kind}\n")).nth(1).expect("a block");
        rest.split("```").next().expect("its end")
    };
    let (commands, settings) = (block("sh"), block("toml"));

    // As root's shell would have it, with folders of this test for those of the system.
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().to_str().expect("UTF-8");
    for place in ["usr/local/bin", "etc/systemd/system", "var/log/httptp", "credentials", "target/release", "packaging"]
    {
        std::fs::create_dir_all(folder.path().join(place)).expect("a folder");
    }
    let program = folder.path().join("target/release/httptp");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_httptp"), program).expect("a link");
    std::fs::write(folder.path().join("packaging/httptp.service"), packaging("httptp.service")).expect("written");
    let commands = ["/usr/local", "/etc"]
        .iter()
        .fold(commands.to_owned(), |text, place| text.replace(&format!(" {place}"), &format!(" {root}{place}")));
    let path = format!("{root}/usr/local/bin:{}", std::env::var("PATH").expect("there is one"));
    let shell = Command::new("sh").args(["-ec", &commands]).current_dir(root).env("PATH", path).output();
    let shell = shell.expect("a shell");
    assert!(shell.status.success(), "{}", String::from_utf8_lossy(&shell.stderr));

    // What systemd does with that folder.
    for entry in std::fs::read_dir(folder.path().join("etc/httptp/secrets")).expect("it is there") {
        let entry = entry.expect("an entry");
        let name = format!("credentials/secrets_{}", entry.file_name().to_str().expect("UTF-8"));
        std::fs::copy(entry.path(), folder.path().join(name)).expect("copied");
    }
    let settings =
        settings.replace(CREDENTIALS, &format!("{root}/credentials/")).replace("/var/log", &format!("{root}/var/log"));
    let file = folder.path().join("httptp.toml");
    std::fs::write(&file, settings).expect("written");
    let (code, _, errors) = run(&["check", file.to_str().expect("UTF-8")]).await;
    assert_eq!((code, errors.as_str()), (Some(0), ""));
}

/// systemd's own tool finds nothing wrong with them, and little that the service may do and need not.
#[test]
fn systemd_is_content_with_the_units() {
    let folder = tempfile::tempdir().expect("a folder");
    let units = ["httptp.service", "httptp.socket"].map(|name| {
        let unit = packaging(name).replace("/usr/local/bin/httptp", env!("CARGO_BIN_EXE_httptp"));
        let path = folder.path().join(name);
        std::fs::write(&path, unit).expect("room");
        path
    });
    let analyze = |args: &[&str], units: &[PathBuf]| {
        let output = Command::new("systemd-analyze").args(args).args(units).env("SYSTEMD_COLORS", "0").output();
        let output = output.expect("systemd-analyze is there: `cargo xtask test` gets it");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    };
    // The manual page is not installed here.
    let (fine, _, told) = analyze(&["verify", "--man=no"], &units);
    assert!(fine && told.is_empty(), "{told}");
    let (fine, told, _) = analyze(&["security", "--offline=true", "--threshold=20", "--no-pager"], &units[..1]);
    assert!(fine, "{told}");
}
