//! `docs/operations.md` lists every option, in the words of its help. What it lacks is told line by line, to be put there.

use std::collections::HashMap;
use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory as _};

use super::Cli;
use crate::config::keys;

const DOCS: &str = include_str!("../../../docs/operations.md");

/// The lines of the table below a heading.
struct Listed {
    heading: String,
    lines: Vec<String>,
}

/// What there should be, in the order of `--help`.
fn listed() -> Vec<Listed> {
    let keys: HashMap<_, _> = keys().into_iter().rev().collect();
    let command = Cli::command();
    let mut all: Vec<Listed> = Vec::new();
    for arg in command.get_arguments() {
        let heading = arg.get_help_heading().unwrap_or("Process");
        let key = keys.get(&format!("--{}", arg.get_long().unwrap_or_default()));
        let key = key.map(|key| format!("`{key}`")).unwrap_or_default();
        add(&mut all, heading, line(arg, &[key]));
    }
    for command in command.get_subcommands() {
        for arg in command.get_arguments() {
            add(&mut all, &format!("`httptp {}`", command.get_name()), line(arg, &[]));
        }
    }
    all
}

fn add(all: &mut Vec<Listed>, heading: &str, line: String) {
    match all.iter_mut().find(|listed| listed.heading == heading) {
        Some(listed) => listed.lines.push(line),
        None => all.push(Listed { heading: heading.to_owned(), lines: vec![line] }),
    }
}

/// A line of a table: the option, more of it, its default, what it does.
fn line(arg: &Arg, more: &[String]) -> String {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default().replace('\n', " ");
    let (help, default) = match help.rsplit_once(" [default: ") {
        Some((help, default)) => (help.to_owned(), default.trim_end_matches(']').to_owned()),
        None => (
            help,
            arg.get_default_values().first().map(|value| value.to_string_lossy().into_owned()).unwrap_or_default(),
        ),
    };
    let mut line = format!("| `{}` |", shown(arg));
    for cell in more.iter().chain(&[default, help]) {
        let _ = match cell.replace('|', "\\|") {
            none if none.is_empty() => write!(line, " |"),
            cell => write!(line, " {cell} |"),
        };
    }
    line
}

/// As one writes it: `--in-delay TIME`, `--in-get-only[=BOOL]`, `--keep`, `FILE`.
fn shown(arg: &Arg) -> String {
    let value = arg.get_value_names().and_then(<[_]>::first).map(ToString::to_string).unwrap_or_default();
    match arg.get_long() {
        None => value,
        Some(long) if !arg.get_action().takes_values() => format!("--{long}"),
        Some(long) if arg.is_require_equals_set() => format!("--{long}[={value}]"),
        Some(long) => format!("--{long} {value}"),
    }
}

/// The text below a heading, as far as the next one.
fn below<'a>(heading: &str, text: &'a str) -> &'a str {
    let begin = text.find(&format!("\n{heading}\n")).map_or(text.len(), |at| at + heading.len() + 2);
    let level = heading.split(' ').next().unwrap_or_default().len();
    let ends = (1..=level).filter_map(|level| text[begin..].find(&format!("\n{} ", "#".repeat(level))));
    &text[begin..ends.min().map_or(text.len(), |end| begin + end)]
}

#[test]
fn the_docs_list_every_option_and_no_other() {
    let section = below("## Every option", DOCS);
    let (mut wrong, mut known) = (String::new(), Vec::new());
    for Listed { heading, lines } in listed() {
        let there = below(&format!("### {heading}"), section);
        for line in lines {
            if !there.lines().any(|there| there == line) {
                let _ = writeln!(wrong, "lacks, below \"### {heading}\":\n{line}");
            }
            known.push(line);
        }
    }
    for line in section.lines().filter(|line| line.starts_with("| `")) {
        if !known.iter().any(|known| known == line) {
            let _ = writeln!(wrong, "has what is so no more:\n{line}");
        }
    }
    assert!(wrong.is_empty(), "docs/operations.md\n{wrong}");
}

#[test]
fn options_are_shown_as_one_writes_them() {
    let command = Command::new("x").args([
        Arg::new("a").long("a-time").value_name("TIME").help("It waits [default: 5s]"),
        Arg::new("b").long("b").value_name("BOOL").require_equals(true).num_args(0..=1).help("a|b"),
        Arg::new("c").long("c").action(clap::ArgAction::SetTrue).help("c"),
        Arg::new("d").value_name("FILE").default_value("x").help("d"),
    ]);
    let lines: Vec<_> = command.get_arguments().map(|arg| line(arg, &["`k`".to_owned()])).collect();
    let want = [
        "| `--a-time TIME` | `k` | 5s | It waits |",
        "| `--b[=BOOL]` | `k` | | a\\|b |",
        "| `--c` | `k` | | c |",
        "| `FILE` | `k` | x | d |",
    ];
    assert_eq!(lines, want);
    let text = "\n# A\n## B\n### C\nc\n### D\nd\n## E\ne\n";
    assert_eq!((below("### C", text), below("## B", text), below("## E", text)), ("c", "### C\nc\n### D\nd", "e\n"));
}
