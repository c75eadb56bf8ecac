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

/// The page as `man` shows it, on lines as long as they are.
async fn shown() -> String {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), printed(&["man"]).await).expect("room");
    let man = testkit::programs::installed("man").expect("man is there: `cargo xtask test` gets it");
    let mut command = Command::new(man);
    command.args(["--local-file", "--warnings=w", "--nj", "--nh"]).arg(file.path());
    command.env("MANWIDTH", "1000").env("MAN_KEEP_FORMATTING", "").env("GROFF_NO_SGR", "1").env("LC_ALL", "C.UTF-8");
    let output = command.output().expect("it runs");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "it finds nothing wrong");
    String::from_utf8(output.stdout).expect("UTF-8").replace('\u{2010}', "-")
}

#[tokio::test]
async fn the_manual_page_has_each_command_with_its_options_and_what_the_program_ends_with() {
    let page = shown().await;
    let signals = page.split("SIGNALS").nth(1).and_then(|rest| rest.split("EXIT STATUS").next()).expect("signals");
    assert!(signals.contains("--drain-timeout") && signals.contains("--drain-delay"), "{signals}");
    for heading in ["COMMANDS", "URLS", "VALUES", "SIGNALS", "EXIT STATUS", "EXAMPLES"] {
        assert!(page.lines().any(|line| line == heading), "{heading}: {page}");
    }
    for gone in ["EXTRA", "httptp-", "SUBCOMMANDS"] {
        assert!(!page.contains(gone), "{gone}: {page}");
    }
    for words in ["httptp check <FILE>", "httptp estimate", "--svg", "--seconds", "--renew", "SIGUSR1", "SIGHUP"] {
        assert!(page.contains(words), "{words}: {page}");
    }
    for command in ["estimate", "cert", "demo"] {
        let help = printed(&[command, "--help"]).await;
        for option in help.lines().filter_map(|line| line.trim_start().strip_prefix("--")) {
            let option = option.split([' ', '=']).next().unwrap_or_default();
            assert!(page.contains(&format!("--{option}")), "{command} --{option}");
        }
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

/// What is offered where the cursor is behind the last of these words, in a folder with a file `a-file` and a folder `a-folder`.
struct Shell {
    folder: tempfile::TempDir,
    script: String,
}

impl Shell {
    async fn new(name: &str) -> Shell {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("a-file"), "").expect("room");
        std::fs::create_dir(folder.path().join("a-folder")).expect("room");
        Shell { folder, script: printed(&["completions", name]).await }
    }

    fn run(&self, program: &str, options: &[&str], more: &str) -> Vec<String> {
        let program = testkit::programs::installed(program)
            .unwrap_or_else(|| panic!("{program} is there: `cargo xtask test` gets it"));
        let text = format!("{}\n{more}", self.script);
        let output = Command::new(program).args(options).args(["-c", &text]).current_dir(self.folder.path()).output();
        let output = output.expect("it runs");
        assert!(output.stderr.is_empty(), "{more}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        text.lines().filter_map(|line| line.split('\t').next()).map(str::to_owned).collect()
    }

    /// As bash has it: its function is called, and where that finds nothing, files are offered, as it has asked for.
    fn bash(&self, line: &str) -> Vec<String> {
        let words: Vec<_> = line.split(' ').collect();
        let [.., prev, cur] = words[..] else { panic!("two words") };
        // Outside of a completion bash knows no `compopt`.
        let asks = format!(
            "compopt() {{ :; }}; COMP_WORDS=({line} {blank}); COMP_CWORD={}; _httptp httptp '{cur}' '{prev}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            words.len() - 1,
            blank = if cur.is_empty() { "''" } else { "" },
        );
        let mut offered = self.run("bash", &["--norc"], &asks);
        offered.retain(|word| !word.is_empty());
        offered
    }

    fn fish(&self, line: &str) -> Vec<String> {
        self.run("fish", &["--no-config"], &format!("complete -C '{line}'"))
    }
}

const COMPRESS: &[&str] = &["flate", "lz4", "none", "snappy", "zstd", "zstd-max", "zstd-small"];

fn sorted(mut words: Vec<String>) -> Vec<String> {
    words.sort();
    words
}

#[tokio::test]
async fn bash_offers_what_an_option_takes() {
    let bash = Shell::new("bash").await;
    assert_eq!(bash.bash("httptp --in-comp"), ["--in-compress"]);
    assert_eq!(sorted(bash.bash("httptp --in-compress ")), COMPRESS);
    assert_eq!(bash.bash("httptp --in-compress zstd-s"), ["zstd-small"]);
    assert_eq!(bash.bash("httptp --access-log-format "), ["combined", "json"]);
    assert_eq!(bash.bash("httptp --wire auto --log-level w"), ["warn"]);
    assert_eq!(sorted(bash.bash("httptp --in-tls-cert a-f")), ["a-file", "a-folder"]);
    assert_eq!(bash.bash("httptp --out a-f"), ["a-f"], "what is typed stays, and no file is offered");
    assert_eq!(bash.bash("httptp completions "), ["-h", "--help", "bash", "elvish", "fish", "powershell", "zsh"]);
}

#[tokio::test]
async fn fish_offers_what_an_option_takes() {
    let fish = Shell::new("fish").await;
    assert_eq!(fish.fish("httptp --in-comp"), ["--in-compress"]);
    assert_eq!(sorted(fish.fish("httptp --in-compress ")), COMPRESS);
    assert_eq!(fish.fish("httptp --access-log-format "), ["combined", "json"]);
    assert_eq!(sorted(fish.fish("httptp --in-tls-cert a-f")), ["a-file", "a-folder/"]);
    assert_eq!(fish.fish("httptp --autocert-cache-dir a-f"), ["a-folder/"]);
    assert_eq!(fish.fish("httptp --in a-f"), [""; 0]);
    assert_eq!(sorted(fish.fish("httptp completions ")), ["bash", "elvish", "fish", "powershell", "zsh"]);
}

#[tokio::test]
async fn zsh_offers_what_an_option_takes() {
    let script = printed(&["completions", "zsh"]).await;
    let offered = |option: &str| {
        let line = script.lines().find(|line| line.contains(&format!("--{option}=["))).expect("it is there");
        line.trim_end_matches("' \\").rsplit(':').next().expect("what is offered").to_owned()
    };
    assert_eq!(offered("in-compress"), "(zstd zstd-small zstd-max lz4 none flate snappy)");
    assert_eq!(offered("in-tls-cert"), "_files");
    assert_eq!(offered("autocert-cache-dir"), "_files -/");
    assert_eq!(offered("in-delay"), "");
    let zsh = testkit::programs::installed("zsh").expect("zsh is there: `cargo xtask test` gets it");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), &script).expect("room");
    assert!(Command::new(zsh).arg("-n").arg(file.path()).status().expect("it runs").success());
}

fn packaging(file: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// `COPY . .` takes all that is not named here: what nobody keeps in the repository stays out, and what the build needs does not.
#[test]
fn the_image_is_built_from_what_the_repository_has() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let (ignored, settings) = (read(".dockerignore"), read("Cargo.toml"));
    let ignored: Vec<&str> = ignored.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    for name in [".git", "**/target", "fuzz"] {
        assert!(ignored.contains(&name), "{name}: {ignored:?}");
    }
    let members = settings.lines().find_map(|line| line.strip_prefix("members = ")).expect("the members");
    let members = members.split('"').skip(1).step_by(2);
    for needed in members.chain(["Cargo.toml", "Cargo.lock", ".cargo"]) {
        assert!(root.join(needed).exists(), "{needed}");
        let parts: Vec<&str> = needed.split('/').collect();
        assert!(!ignored.iter().any(|name| parts.contains(&name.trim_start_matches("**/"))), "{needed} is needed");
    }
}

/// Words that only the program's own help can make true.
#[test]
fn the_image_calls_the_program_as_it_is() {
    let image = packaging("Dockerfile");
    for word in ["--package httpteleport-cli", "+crt-static", "ldd /httptp", "USER 65534", "ENTRYPOINT [\"/httptp\"]"] {
        assert!(image.contains(word), "{word}");
    }
}
