//! The log of the program itself, on stderr: what an operator should know, as text or as JSON.

use std::io::{self, IsTerminal as _};
use std::str::FromStr;
use std::sync::Arc;

use serde_json::json;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::counters::REFUSALS;
use crate::metrics::recent::Recent;
use crate::{said, unserved};

/// What is said, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) format: Format,
    /// How much; `None` for what an operator should know.
    pub(crate) level: Option<LevelFilter>,
    /// What any client can cause, too.
    pub(crate) all_errors: bool,
}

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// An object a line.
    Json,
}

impl FromStr for Format {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Format, &'static str> {
        match name {
            "text" => Ok(Format::Text),
            "json" => Ok(Format::Json),
            _ => Err("use text or json"),
        }
    }
}

/// Reads the name of a level.
pub(crate) fn level(name: &str) -> Result<LevelFilter, &'static str> {
    name.parse().map_err(|_| "use off, error, warn, info, debug or trace")
}

impl Options {
    /// Errors that are the operator's to mend are warnings; what any client can cause is said below that, or seldom. Of other crates only
    /// errors are told, as what they warn of is said here in words that tell whom it is about; all of it to who asks for details.
    fn levels(self) -> Targets {
        let usual = if self.all_errors { LevelFilter::DEBUG } else { LevelFilter::INFO };
        let own = self.level.unwrap_or(usual);
        let others = if self.level > Some(LevelFilter::INFO) { LevelFilter::INFO } else { LevelFilter::ERROR };
        Targets::new().with_default(own.min(others)).with_target(env!("CARGO_CRATE_NAME"), own)
    }
}

/// Begins to log. Warnings and errors are noted in `recent` as well, whatever the level; so is heard what the HTTP/2 library refuses.
pub(crate) fn start(options: Options, recent: Arc<Recent>) {
    let line = tracing_subscriber::fmt::layer().with_target(false).with_writer(io::stderr);
    let line = match options.format {
        Format::Text => line.compact().with_ansi(io::stderr().is_terminal()).with_filter(options.levels()).boxed(),
        Format::Json => line.json().flatten_event(true).with_filter(options.levels()).boxed(),
    };
    let noting = Noting(recent).with_filter(Options { level: Some(LevelFilter::WARN), ..options }.levels());
    // Somebody else's log is as good.
    let _ = tracing_subscriber::registry().with(line).with(noting).with(unserved::listener()).try_init();
}

/// A line as it stands in a log of JSON, for what is said without one.
pub(crate) fn json_line(level: Level, message: &str) -> String {
    let mut now = String::new();
    // Writing to a String cannot fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut now));
    json!({ "timestamp": now, "level": level.as_str(), "message": message }).to_string()
}

/// Notes what went wrong.
struct Noting(Arc<Recent>);

impl<S: Subscriber> Layer<S> for Noting {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == REFUSALS {
            return;
        }
        self.0.note(|| said::words(event));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_never_say_more_than_an_operator_should_know() {
        let own = env!("CARGO_CRATE_NAME");
        let lets = |options: Options, target: &str, level| options.levels().would_enable(target, &level);
        let usual = Options::default();
        assert!(lets(usual, own, Level::INFO) && !lets(usual, own, Level::DEBUG));
        assert!(lets(usual, "h2", Level::ERROR) && !lets(usual, "h2", Level::WARN));
        let all = Options { all_errors: true, ..usual };
        assert!(lets(all, own, Level::DEBUG) && !lets(all, "h2", Level::WARN));
        let trace = Options { level: Some(LevelFilter::TRACE), ..usual };
        assert!(
            lets(trace, own, Level::TRACE) && lets(trace, "h2", Level::WARN) && !lets(trace, "hyper", Level::DEBUG)
        );
        let errors = Options { level: Some(LevelFilter::ERROR), all_errors: true, ..usual };
        assert!(lets(errors, own, Level::ERROR) && !lets(errors, "hyper", Level::WARN));
        assert!(!lets(Options { level: Some(LevelFilter::OFF), ..usual }, own, Level::ERROR));
    }

    #[test]
    fn words_of_options() {
        assert_eq!(("json".parse::<Format>(), level("warn")), (Ok(Format::Json), Ok(LevelFilter::WARN)));
        assert!("xml".parse::<Format>().is_err() && level("loud").is_err());
    }
}
