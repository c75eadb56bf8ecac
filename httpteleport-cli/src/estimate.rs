//! `httptp estimate`: what recorded traffic would cost as HTTP and teleported.
//!
//! It is carried, each way that is compared, by real clients and servers with real compression ([`cost`]), so that nothing
//! here is a formula but what TCP/IP adds and how a month is made of an exchange.

use std::fs;
use std::io::{self, Write as _};

use anyhow::Context as _;

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

/// Carries what was recorded and tells what it comes to.
///
/// # Errors
///
/// One line that names the file: it cannot be read or carried, or the picture cannot be written.
pub(crate) fn run(options: &EstimateArgs) -> anyhow::Result<()> {
    let recorded = traffic::read(&options.files, usize::from(options.mib) << 20)?;
    let carried = recorded.into_iter().map(carry).collect::<anyhow::Result<Vec<_>>>()?;
    let month = Month::asked_for(options);
    let text = if options.json { json::text(&carried, month) } else { table::text(&carried, month) };
    // Nobody may be reading, which is no reason to fail.
    let _ = io::stdout().write_all(text.as_bytes());
    if let Some(path) = &options.svg {
        let written = fs::write(path, picture::svg(&carried));
        written.with_context(|| format!("--svg {}: cannot write the file", path.display()))?;
    }
    Ok(())
}
