//! What a package brings along: the manual page, completions, units and manifests.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::program::run;

/// What it prints.
async fn printed(args: &[&str]) -> String {
    let (code, text, errors) = run(args).await;
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{args:?}");
    text
}

/// Every long option that its help names.
async fn options() -> Vec<String> {
    let help = printed(&["--help"]).await;
    let mut options: Vec<_> = help
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("--"))
        .map(|rest| rest.split([' ', '[', '=']).next().unwrap_or_default().to_owned())
        .collect();
    options.dedup();
    assert!(options.len() > 50, "{options:?}");
    options
}

#[tokio::test]
async fn the_manual_page_has_every_option() {
    let page = printed(&["man"]).await.replace("\\-", "-");
    assert!(page.contains(".TH httptp 1"), "{page}");
    for option in options().await {
        assert!(page.contains(&format!("--{option}")), "--{option}");
    }
}

#[tokio::test]
async fn each_shell_can_complete_every_option() {
    let options = options().await;
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = printed(&["completions", shell]).await;
        for option in &options {
            assert!(script.contains(option), "{shell}: --{option}");
        }
    }
    assert_eq!(run(&["completions", "csh"]).await.0, Some(2));
}

#[tokio::test]
async fn bash_takes_the_completions() {
    let script = printed(&["completions", "bash"]).await;
    let asks = format!(
        "{script}\nCOMP_WORDS=(httptp --in-comp); COMP_CWORD=1; _httptp httptp --in-comp httptp; echo ${{COMPREPLY[@]}}"
    );
    let bash = Command::new("bash").args(["-c", &asks]).output().expect("bash is there");
    assert_eq!(String::from_utf8_lossy(&bash.stdout).trim(), "--in-compress");
}

fn packaging(file: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The settings that they bring are such as the program takes.
#[tokio::test]
async fn the_sidecar_starts_with_settings_that_are_fine() {
    let manifest = packaging("kubernetes.yaml");
    let (_, settings) = manifest.split_once("httptp.toml: |\n").expect("they are in the manifest");
    let settings: Vec<_> = settings.lines().take_while(|line| line.is_empty() || line.starts_with("    ")).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let token = folder.path().join("token");
    std::fs::write(&token, "a-token-that-nobody-guesses").expect("room");
    let file = folder.path().join("httptp.toml");
    let settings = settings.join("\n").replace("/etc/httptp-admin/token", token.to_str().expect("a path"));
    std::fs::write(&file, settings).expect("room");
    let (code, _, errors) = run(&["check", file.to_str().expect("a path")]).await;
    assert_eq!(code, Some(0), "{errors}");
}

/// Bounds of the end, and words that only the program's own help can make true.
#[test]
fn units_and_images_call_the_program_as_it_is() {
    let unit = packaging("httptp.service");
    for word in [
        "/usr/local/bin/httptp check /etc/httptp/httptp.toml",
        "/usr/local/bin/httptp --config ",
        "kill -HUP",
        "Type=notify",
    ] {
        assert!(unit.contains(word), "{word}");
    }
    let image = packaging("Dockerfile");
    for word in ["--package httpteleport-cli", "+crt-static", "ldd /httptp", "USER 65534", "ENTRYPOINT [\"/httptp\"]"] {
        assert!(image.contains(word), "{word}");
    }
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
