//! The manual page: the options as clap knows them, each command with its own, and what no option says.

use std::io;

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

/// What a signal does.
const SIGNALS: [(&str, &str); 3] = [
    (
        "SIGTERM, SIGINT",
        "No new connections are accepted, and what runs is finished, for as long as --drain-timeout says at the most, 30 seconds without it. With \
         --drain-delay all is served on for so long before that begins; a second one begins it. The next one ends the program at once.",
    ),
    (
        "SIGHUP",
        "The file of --config, certificates and the admin token are read again; what has mistakes changes nothing. The access log is opened again.",
    ),
    ("SIGUSR1", "The access log is opened again, after it was moved away."),
];

/// What the program ends with.
const EXITS: [(&str, &str); 3] = [
    ("0", "It has ended as it was asked to; check has found nothing wrong."),
    ("1", "It could not start, or a command has failed, for a reason that is not in its options."),
    (
        "2",
        "An option, a variable, the file of settings or a file that is named there is not what it should be; each mistake is a line on stderr.",
    ),
];

/// The manual page, as `man` reads it.
pub(crate) fn manual(command: Command) -> Vec<u8> {
    let mut page = Vec::new();
    // Writing to memory does not fail.
    let _ = write(command, &mut page);
    page
}

fn write(mut command: Command, page: &mut Vec<u8>) -> io::Result<()> {
    command.build();
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let commands: Vec<Command> = command.get_subcommands().cloned().collect();
    let man = Man::new(command);
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    heading("COMMANDS").to_writer(page)?;
    for command in commands {
        write_command(command, page)?;
    }
    let (urls, rest) = after.split_once("\n\nInputs speak").unwrap_or((&after, ""));
    let (values, examples) = rest.split_once("\n\nExamples:\n").unwrap_or((rest, ""));
    as_it_is("URLS", urls.strip_prefix("URLs:\n").unwrap_or(urls)).to_writer(page)?;
    as_it_is("VALUES", &format!("Inputs speak{values}")).to_writer(page)?;
    listed("SIGNALS", &SIGNALS).to_writer(page)?;
    listed("EXIT STATUS", &EXITS).to_writer(page)?;
    as_it_is("EXAMPLES", examples).to_writer(page)?;
    man.render_version_section(page)
}

/// A command, how it is called, what it does and its options.
fn write_command(mut command: Command, page: &mut Vec<u8>) -> io::Result<()> {
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim().to_owned();
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let mut roff = Roff::new();
    roff.control("SS", [usage.as_str()]).text([roman(about)]);
    roff.to_writer(page)?;
    let mut options = Vec::new();
    Man::new(command).render_options_section(&mut options)?;
    // It belongs to the command, and is no section of its own.
    let options = String::from_utf8_lossy(&options).replacen(".SH OPTIONS\n", "", 1);
    page.extend_from_slice(options.as_bytes());
    Ok(())
}

fn heading(name: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [name]);
    roff
}

/// Words, and what is to be said of each.
fn listed(name: &str, list: &[(&str, &str)]) -> Roff {
    let mut roff = heading(name);
    for (word, text) in list {
        roff.control("TP", []).text([bold(*word)]).text([roman(*text)]);
    }
    roff
}

/// Text whose lines stay as they are.
fn as_it_is(name: &str, text: &str) -> Roff {
    let mut roff = heading(name);
    roff.control("nf", []).text([roman(text)]).control("fi", []);
    roff
}
