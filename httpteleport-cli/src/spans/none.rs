//! What stands for spans in a program that is built without them: nothing can be of these types.

use std::sync::Arc;

use anyhow::bail;
use http::{Request, StatusCode};

use super::Counts;
use crate::config;
use crate::listen::Client;
use crate::outbound::{FailureKind, Place};
use crate::refusal::Caller;
use crate::request::Outgoing;

/// Where spans would go.
pub(crate) enum Spans {}

/// A span that would have begun.
pub(crate) enum Span {}

impl Spans {
    /// There are none.
    ///
    /// # Errors
    ///
    /// Always.
    pub(crate) fn start(_: &config::Otlp) -> anyhow::Result<Arc<Spans>> {
        bail!("{}", config::Otlp::MISSING)
    }

    pub(crate) fn begin<B>(self: &Arc<Self>, _: &mut Request<B>, _: Caller) -> Option<Span> {
        match **self {}
    }

    pub(crate) fn counts(&self) -> Counts {
        match *self {}
    }

    #[expect(clippy::unused_async, reason = "the one that does something has to wait")]
    pub(crate) async fn flush(&self) {
        match *self {}
    }
}

impl Span {
    pub(crate) fn of(&mut self, _: Client) {
        match *self {}
    }

    pub(crate) fn attempt(&self, _: &mut Outgoing, _: &Place, _: usize) -> Span {
        match *self {}
    }

    pub(crate) fn replied(&mut self, _: StatusCode) {
        match *self {}
    }

    pub(crate) fn failed(&mut self, _: FailureKind) {
        match *self {}
    }

    pub(crate) fn cancelled(&mut self) {
        match *self {}
    }
}
