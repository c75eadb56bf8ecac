//! Starting other programs, cargo first of all.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, ensure};

/// The workspace's root folder, where every chore runs.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace")
}

/// `cargo ARGUMENTS` in the workspace's root, the same cargo that runs this.
pub(crate) fn cargo<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

/// The command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Runs `command` with its output where ours goes.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus> {
    command.status().with_context(|| format!("`{}` cannot be started", shown(command)))
}

/// The same; an exit code other than 0 is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = status(command)?;
    ensure!(status.success(), "`{}` failed ({status})", shown(command));
    Ok(())
}

/// What `command` prints on stdout; an exit code other than 0 is an error.
pub(crate) fn output(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("`{}` cannot be started", shown(command)))?;
    ensure!(output.status.success(), "`{}` failed ({})", shown(command), output.status);
    Ok(output.stdout)
}

/// Whether `command` runs and succeeds; it prints nothing.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// Which stream of a command to look at while it passes.
#[derive(Clone, Copy)]
pub(crate) enum Watched {
    Stdout,
    Stderr,
}

/// Runs `command` with its output where ours goes, and shows each line of the watched stream to `look` as it passes.
pub(crate) fn watch(command: &mut Command, watched: Watched, mut look: impl FnMut(&str)) -> Result<ExitStatus> {
    match watched {
        Watched::Stdout => command.stdout(Stdio::piped()),
        Watched::Stderr => command.stderr(Stdio::piped()),
    };
    let mut child = command.spawn().with_context(|| format!("`{}` cannot be started", shown(command)))?;
    let stream: Box<dyn Read> = match watched {
        Watched::Stdout => Box::new(child.stdout.take().expect("a piped stdout")),
        Watched::Stderr => Box::new(child.stderr.take().expect("a piped stderr")),
    };
    for line in BufReader::new(stream).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        match watched {
            Watched::Stdout => println!("{line}"),
            Watched::Stderr => eprintln!("{line}"),
        }
        look(&line);
    }
    Ok(child.wait()?)
}
