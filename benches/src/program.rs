//! What the programs have in common: how they choose rows, print and end.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Result, bail};

/// Prints a line, or several. An error is most often that nobody reads any more, which [`end`] knows.
///
/// # Errors
///
/// Nothing can be printed.
pub fn say(text: impl Display) -> Result<()> {
    Ok(writeln!(io::stdout(), "{text}")?)
}

/// Ends the program of this name: says on stderr why it did not do what it was to do. Where whoever read has seen enough
/// and closed the pipe, nothing is wrong.
#[must_use]
pub fn end(name: &str, done: Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Refuses a prefix of `--only` with which none of the names begins: what was meant would be left out without a word.
///
/// # Errors
///
/// Names the prefix.
pub fn check_only<'a>(only: impl IntoIterator<Item = &'a String>, names: &[String]) -> Result<()> {
    for prefix in only {
        if !names.iter().any(|name| name.starts_with(prefix)) {
            bail!("no row begins with {prefix:?}: --list names them");
        }
    }
    Ok(())
}

/// Reads an option that counts something of which there has to be one.
///
/// # Errors
///
/// It is no number, or none.
pub fn at_least_one<N: FromStr + PartialOrd + From<u8>>(text: &str) -> Result<N, String> {
    match text.parse::<N>() {
        Ok(number) if number >= N::from(1) => Ok(number),
        _ => Err("give a number, 1 at the least".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_prefix_has_to_be_one() {
        let names = ["a/1".to_owned(), "b/2".to_owned()];
        assert!(check_only(&["a/".to_owned(), "b".to_owned()], &names).is_ok());
        let error = check_only(&["a".to_owned(), "c".to_owned()], &names).expect_err("no c").to_string();
        assert_eq!(error, "no row begins with \"c\": --list names them");
    }

    #[test]
    fn nothing_is_no_number_of_rounds() {
        assert_eq!(at_least_one::<usize>("7"), Ok(7));
        assert!(["0", "", "-1", "x"].iter().all(|text| at_least_one::<u64>(text).is_err()));
    }
}
