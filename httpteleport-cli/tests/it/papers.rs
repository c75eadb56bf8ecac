//! What a package brings along: the manual page, completions, the image, units and manifests.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::program::run;

mod kubernetes;
mod units;

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

/// Words that only the program's own help can make true.
#[test]
fn the_image_calls_the_program_as_it_is() {
    let image = packaging("Dockerfile");
    for word in ["--package httpteleport-cli", "+crt-static", "ldd /httptp", "USER 65534", "ENTRYPOINT [\"/httptp\"]"] {
        assert!(image.contains(word), "{word}");
    }
}
