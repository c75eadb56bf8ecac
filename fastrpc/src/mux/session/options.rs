//! What one end of a framed connection is told about it.

use std::sync::Arc;
use std::time::Duration;

use super::memory::{ContextMemory, Reserved};
use crate::config::BatchTimer;
use crate::mux::dispatch::Dispatch;
use crate::stats::{Counters, Stats};
use crate::wire::framed::codec::RecordCodec;
use crate::wire::framed::record::{Accepts, RecordEncoder};
use crate::wire::framed::settings::Settings;

const LZ4: u8 = 1;
const ZSTD: u8 = 2;
/// log2 of the window of contexts where there is not memory for more.
const SMALL_WINDOW: u32 = 20;
/// What a zstd decoder takes beside its window.
const BESIDE_WINDOW: usize = 478 << 10;

/// Settings of one end. The default is what most connections want.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the peer is told that this side takes.
    pub settings: Settings,
    /// How this side compresses what it sends, if the peer decodes that; otherwise it sends raw records.
    pub codec: RecordCodec,
    /// What compression contexts may take. Past it, the connection gets smaller ones, or none: here and, by what the peer is
    /// told, over there.
    pub memory: ContextMemory,
    /// Compresses each message alone, so that sizes tell nothing of other messages. It costs most of what compression gains;
    /// a connection for each group of users who may see each other's data costs less.
    pub each_alone: bool,
    /// The connection's window grows to this, in bytes: memory that bodies may take which nobody reads.
    pub most_window: u32,
    /// Silence after which the peer is asked whether it lives; twice that ends the connection. `None`: never.
    pub ping: Option<Duration>,
    /// Bytes of replies that a peer may leave unread before its calls wait (of a server). Of bodies that wait for credit, so
    /// for their readers at the peer, and of those in pieces, 64 times as many; those of which nothing was read for the time of `stall` are broken off
    /// then. Half of that is what the pieces of all bodies together may take that wait to be sent, on either side.
    pub max_unread: usize,
    /// How long the first head of a batch waits for company. A record's worth of heads goes at once; bodies and control do
    /// not wait.
    pub batch_delay: Duration,
    /// Which clock times that.
    pub batch_timer: BatchTimer,
    /// Where handlers run (of a server).
    pub dispatch: Dispatch,
    /// How long the opening exchange may take, TLS included.
    pub handshake_timeout: Duration,
    /// How long the peer may take nothing of what waits to be written.
    pub write_timeout: Duration,
    /// A connection that is so old drains, less up to a tenth, so that new servers and other ways get their part. `None`: never.
    pub max_age: Option<Duration>,
    /// A connection that has had no call for so long drains and ends. Pings are no calls. `None`: never.
    pub idle_timeout: Option<Duration>,
    /// How long calls may go on after a drain; then the connection ends whatever goes on.
    pub drain: Duration,
    /// After this long without a message the compression context is given up, here and at the peer.
    pub idle_context: Duration,
    /// How long a body may lie unread while the connection waits for credit, or calls for its bytes to be sent.
    pub stall: Duration,
    /// Counts what the connections of these options, and of their clones, do.
    pub counted: Counted,
}

impl Default for Options {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            settings: Settings {
                codecs: vec![ZSTD, LZ4],
                calls: 10_000,
                connection_credit: 16 << 20,
                stream_credit: 2 << 20,
                ..Settings::default()
            },
            codec: RecordCodec::default(),
            memory: ContextMemory::process(),
            each_alone: false,
            most_window: 64 << 20,
            ping: Some(seconds(5)),
            max_unread: 1 << 20,
            batch_delay: Duration::ZERO,
            batch_timer: BatchTimer::default(),
            dispatch: Dispatch::default(),
            handshake_timeout: seconds(3),
            write_timeout: seconds(30),
            max_age: None,
            idle_timeout: None,
            drain: seconds(60),
            idle_context: seconds(60),
            stall: seconds(5),
            counted: Counted::default(),
        }
    }
}

impl Options {
    /// The same as far as there is memory for it, which is reserved: with a window of 1 MiB, or without compression, if not.
    pub(super) fn fit(mut self) -> (Self, Reserved) {
        let Settings { connection_credit, stream_credit, .. } = &mut self.settings;
        *connection_credit = (*connection_credit).min(self.most_window);
        *stream_credit = (*stream_credit).min(self.most_window / 8);
        if let Some(reserved) = self.memory.reserve(self.contexts(), false) {
            return (self, reserved);
        }
        if self.codec.wire_byte() == ZSTD {
            self.codec = RecordCodec::ZstdSmall;
        }
        self.settings.window_log = self.settings.window_log.min(SMALL_WINDOW);
        if let Some(reserved) = self.memory.reserve(self.contexts(), true) {
            return (self, reserved);
        }
        self.codec = RecordCodec::None;
        self.settings.codecs.clear();
        let nothing = self.memory.nothing();
        (self, nothing)
    }

    /// Bytes that its contexts take at most.
    fn contexts(&self) -> usize {
        let Accepts { lz4, zstd, window_log } = self.accepts();
        let zstd = if zstd { (1 << window_log) + BESIDE_WINDOW } else { 0 };
        let lz4 = if lz4 { RecordCodec::Lz4.decode_memory() } else { 0 };
        self.codec.encode_memory() + zstd + lz4
    }

    /// Compresses for a peer of these settings.
    pub(super) fn encoder(&self, theirs: &Settings) -> RecordEncoder {
        let decoded = theirs.codecs.contains(&self.codec.wire_byte());
        let codec = if decoded { self.codec } else { RecordCodec::None };
        let encoder = RecordEncoder::new(codec, window_log(theirs));
        if self.each_alone { encoder.each_alone() } else { encoder }
    }

    /// What this side decodes, as its settings say.
    pub(super) fn accepts(&self) -> Accepts {
        let codecs = &self.settings.codecs;
        Accepts { lz4: codecs.contains(&LZ4), zstd: codecs.contains(&ZSTD), window_log: window_log(&self.settings) }
    }
}

fn window_log(settings: &Settings) -> u8 {
    u8::try_from(settings.window_log).unwrap_or(u8::MAX)
}

/// What connections have done. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Counted(pub(crate) Arc<Counters>);

impl Counted {
    /// Bytes, batches (records), calls and replies, connections and those that ended with an error.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.0.snapshot(0)
    }
}
