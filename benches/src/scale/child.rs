//! A process of this program that answers questions, one line each.

use std::io::{BufRead as _, BufReader, Write as _, stdin, stdout};
use std::process::{self, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::system;

/// The longest that an answer may take: tens of thousands of connections are opened before the first.
const PATIENCE: Duration = Duration::from_secs(60);

/// A child, ended when this is dropped.
pub struct Child {
    process: process::Child,
    questions: ChildStdin,
    answers: Receiver<String>,
}

impl Child {
    /// Starts this program with these arguments.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn start(arguments: &[String]) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("where this program lies is not known")?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().context("a process for a row could not be started")?;
        let questions = process.stdin.take().context("a child without input")?;
        let lines = BufReader::new(process.stdout.take().context("a child without output")?).lines();
        let (answer, answers) = sync_channel(1);
        // Ends with the child's output, or when nobody wants an answer any more.
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| answer.send(line)));
        Ok(Self { process, questions, answers })
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    ///
    /// As [`Child::answer`].
    pub fn ask<T: DeserializeOwned>(&mut self, question: &str) -> anyhow::Result<T> {
        writeln!(self.questions, "{question}").context("the row's process has ended")?;
        self.answer()
    }

    /// Waits for an answer; the first one comes unasked.
    ///
    /// # Errors
    ///
    /// The child's own, or that it ended, or that it took too long.
    pub fn answer<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        let line = self.answers.recv_timeout(PATIENCE).map_err(|error| match error {
            RecvTimeoutError::Timeout => anyhow!("the row's process has not answered for {} s", PATIENCE.as_secs()),
            RecvTimeoutError::Disconnected => anyhow!("the row's process has ended; it may have said why"),
        })?;
        let answer: Result<T, String> =
            serde_json::from_str(&line).with_context(|| format!("not understood: {line}"))?;
        answer.map_err(anyhow::Error::msg)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended by itself; either way nothing of it stays.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// In a child: its answers. It ends with its parent, however that ends.
pub struct Answering(());

impl Answering {
    /// Begins, and ties this process to its parent.
    ///
    /// # Errors
    ///
    /// The system cannot do that.
    pub fn begin() -> anyhow::Result<Self> {
        system::end_with_parent()?;
        Ok(Self(()))
    }

    /// Answers, be it with an error.
    ///
    /// # Errors
    ///
    /// The parent has ended.
    pub fn give(&self, answer: anyhow::Result<impl Serialize>) -> anyhow::Result<()> {
        let answer = answer.map_err(|error| format!("{error:#}"));
        let mut out = stdout().lock();
        writeln!(out, "{}", serde_json::to_string(&answer)?).context("the parent has ended")?;
        out.flush().context("the parent has ended")
    }

    /// Answers every question until the parent wants no more.
    ///
    /// # Errors
    ///
    /// The parent has ended.
    pub fn questions<T: Serialize>(&self, mut answer: impl FnMut(&str) -> anyhow::Result<T>) -> anyhow::Result<()> {
        for question in stdin().lock().lines() {
            self.give(answer(&question?))?;
        }
        Ok(())
    }
}
