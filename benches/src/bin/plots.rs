//! Draws what the other benches print with `--json`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use benches::plots::families::{Run, draw};
use benches::plots::record::parse;
use benches::program::{end, say};
use clap::Parser;

/// Draws what the benches print with --json: one or more SVG files for each family of rows.
///
/// A row that comes twice counts as it came last.
#[derive(Parser)]
#[command(
    name = "plots",
    after_help = "Example:\n  bytes --json > bytes.jsonl\n  plots bytes.jsonl --machine '2 cores of an Intel Xeon' \\\n    --date 2026-11-25 --out docs/performance"
)]
struct Options {
    /// What benches printed: matrix, bytes, peers, proxy, scale.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The machine they ran on, for the subtitle.
    #[arg(long, value_name = "TEXT")]
    machine: String,
    /// The day they ran, for the subtitle.
    #[arg(long)]
    date: String,
    /// Where the pictures go; it is made if it is not there.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
}

fn main() -> ExitCode {
    end("plots", run(&Options::parse()))
}

fn run(options: &Options) -> Result<()> {
    let mut records = Vec::new();
    for file in &options.files {
        records.append(&mut read(file)?);
    }
    let pictures = draw(records, &Run { machine: options.machine.clone(), date: options.date.clone() });
    ensure!(
        !pictures.is_empty(),
        "none of the rows has a figure to draw, ns_per_op for instance; give what --json printed"
    );
    fs::create_dir_all(&options.out).with_context(|| format!("cannot make {}", options.out.display()))?;
    for picture in pictures {
        let path = options.out.join(&picture.file);
        fs::write(&path, &picture.svg).with_context(|| format!("cannot write {}", path.display()))?;
        say(path.display())?;
    }
    Ok(())
}

fn read(file: &Path) -> Result<Vec<benches::plots::record::Record>> {
    let place = file.display().to_string();
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {place}"))?;
    parse(&place, &text)
}
