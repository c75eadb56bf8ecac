//! `httptp estimate`: what recorded traffic would cost as HTTP and teleported.
//!
//! It is carried, each way that is compared, by real clients and servers with real compression ([`cost`]), so that nothing
//! here is a formula but what TCP/IP adds and how a month is made of an exchange.

use std::fs;
use std::io::{self, Write as _};

use self::carry::carry;
use self::month::Month;

mod carry;
pub mod cost;
mod har;
mod json;
mod month;
mod options;
mod picture;
pub mod plot;
pub mod progress;
mod table;
mod traffic;

pub(crate) use self::options::{EstimateArgs, price};
use crate::files;
use crate::misfit::Misfit;
use crate::outbound::plain;

/// Carries what was recorded and tells what it comes to.
///
/// # Errors
///
/// One line that names the file: it cannot be read or carried, or what came out cannot be written.
pub(crate) fn run(options: &EstimateArgs) -> anyhow::Result<()> {
    if let Some(path) = &options.svg
        && let Err(why) = files::writable(path)
    {
        return Err(Misfit::new(format!("--svg {}: cannot write the file: {why}", path.display())).into());
    }
    let recorded = traffic::read(&options.files, usize::from(options.mib) << 20).map_err(|error| Misfit::of(&error))?;
    let carried = recorded.into_iter().map(carry).collect::<anyhow::Result<Vec<_>>>()?;
    let month = Month::asked_for(options);
    let text = if options.json { json::text(&carried, month) } else { table::text(&carried, month) };
    print(&text).map_err(|error| anyhow::anyhow!("cannot write to stdout: {}", plain(&error)))?;
    if let Some(path) = &options.svg {
        let written = fs::write(path, picture::svg(&carried));
        written
            .map_err(|error| anyhow::anyhow!("--svg {}: cannot write the file: {}", path.display(), plain(&error)))?;
    }
    Ok(())
}

/// Prints it, unless nobody reads any more: that is no reason to fail.
fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
