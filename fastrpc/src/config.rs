//! Settings that both ends of a connection share.

use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::mux::session::{Counted, Options};
use crate::stats::Counters;
use crate::wire::compress::Compression;
use crate::wire::framed::codec::RecordCodec;
use crate::wire::framed::settings::MAX_HEAD;
use crate::wire::hello::Protocol;

/// The longest time that is reckoned with; longer ones mean "never" and would overflow the clock.
pub(crate) const FAR: Duration = Duration::from_secs(60 * 60 * 24 * 365);

/// The largest pending limit: ids carry a slot index of 20 bits.
pub(crate) const MAX_PENDING: usize = (1 << 20) - 1;

/// Which clock times a batch delay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BatchTimer {
    /// The finest the system has: a timerfd on Linux (tens of microseconds), tokio's timer elsewhere.
    ///
    /// On Linux it needs a runtime with I/O enabled, as every runtime with sockets has.
    #[default]
    Fine,
    /// Tokio's timer, in steps of 1 ms, which follows a paused clock in tests.
    Tokio,
}

/// Which wire is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wire {
    /// The framed wire with peers that speak it, the classic one with others.
    ///
    /// A client takes a peer for a classic one when it answers with a whole hello of the classic wire; with TLS, when it ends
    /// the connection before a byte of TLS and the classic wire, TLS within, then works. That is forgotten after 10 minutes. It
    /// never goes from TLS to clear text.
    #[default]
    Auto,
    /// The classic wire alone: whole messages, as Go's `httpteleport` has them.
    Classic,
    /// The framed wire alone: streams, cancellation, deadlines, back-pressure.
    Framed,
}

/// What one end of a connection is told about the connection itself.
#[derive(Clone, Debug)]
pub(crate) struct LinkConfig {
    pub(crate) wire: Wire,
    /// It is the classic half of a client of both wires.
    pub(crate) beside_framed: bool,
    /// What the framed wire has beside what both have.
    pub(crate) framed: Options,
    pub(crate) protocol: Protocol,
    pub(crate) compression: Compression,
    pub(crate) handshake_timeout: Duration,
    pub(crate) batch_delay: Duration,
    pub(crate) batch_timer: BatchTimer,
    pub(crate) read_timeout: Duration,
    pub(crate) write_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) read_buffer: usize,
    pub(crate) write_buffer: usize,
    pub(crate) max_undecoded: usize,
}

impl LinkConfig {
    pub(crate) fn new(idle_timeout: Duration) -> Self {
        Self {
            wire: Wire::default(),
            beside_framed: false,
            framed: Options::default(),
            protocol: Protocol::new("fastrpc", 0).expect("seven bytes are a sniff header"),
            compression: Compression::default(),
            handshake_timeout: Duration::from_secs(3),
            batch_delay: Duration::ZERO,
            batch_timer: BatchTimer::default(),
            read_timeout: Duration::from_secs(120),
            write_timeout: Duration::from_secs(5),
            idle_timeout,
            read_buffer: 64 * 1024,
            write_buffer: 64 * 1024,
            max_undecoded: 16 * 1024 * 1024,
        }
    }

    /// How a framed connection is opened and driven, which counts there.
    pub(crate) fn framed_options(&self, counters: &Arc<Counters>) -> Options {
        Options {
            handshake_timeout: self.handshake_timeout,
            write_timeout: self.write_timeout,
            idle_timeout: Some(self.idle_timeout),
            batch_delay: self.batch_delay,
            batch_timer: self.batch_timer,
            counted: Counted(counters.clone()),
            ..self.framed.clone()
        }
    }

    /// Bounds what would overflow the clock, and tells what makes no sense.
    pub(crate) fn check(&mut self) -> Result<(), Error> {
        for limit in
            [&mut self.handshake_timeout, &mut self.read_timeout, &mut self.write_timeout, &mut self.idle_timeout]
        {
            *limit = (*limit).min(FAR);
        }
        if self.framed.each_alone {
            self.compression = Compression::None;
            if self.framed.codec == RecordCodec::Lz4 {
                return Err(Error::config("compress_alone is set, which lz4 cannot do: take zstd, or set it not"));
            }
        }
        let framed = &mut self.framed;
        for limit in
            [&mut framed.drain, &mut framed.idle_context].into_iter().chain(&mut framed.ping).chain(&mut framed.max_age)
        {
            *limit = (*limit).min(FAR);
            positive("ping, max_age, drain_timeout or idle_context", *limit)?;
        }
        within("max_head", framed.settings.head as usize, 1, MAX_HEAD as usize)?;
        within("max_window", framed.most_window as usize, 64 << 10, 1 << 30)?;
        positive("handshake_timeout", self.handshake_timeout)?;
        positive("read_timeout", self.read_timeout)?;
        positive("write_timeout", self.write_timeout)?;
        positive("idle_timeout", self.idle_timeout)?;
        within("read_buffer", self.read_buffer, 1024, 16 << 20)?;
        within("write_buffer", self.write_buffer, 1024, 16 << 20)?;
        within("max_undecoded", self.max_undecoded, 1024, 1 << 30)?;
        if self.batch_delay > Duration::from_secs(10) {
            return Err(Error::config("batch_delay is over 10 s: give the delay of one batch, usually 0 to 20 ms"));
        }
        Ok(())
    }
}

pub(crate) fn positive(name: &str, value: Duration) -> Result<(), Error> {
    if value.is_zero() {
        return Err(Error::config(format!("{name} is zero: give the longest wait that is acceptable")));
    }
    Ok(())
}

pub(crate) fn within(name: &str, value: usize, least: usize, most: usize) -> Result<(), Error> {
    if value < least || value > most {
        return Err(Error::config(format!("{name} is {value}: give a number from {least} to {most}")));
    }
    Ok(())
}

/// The setters that client and server builders share; their [`LinkConfig`] is `self.settings.link`.
macro_rules! link_setters {
    () => {
        /// The bytes both sides must open with, and the version of what is spoken. Default: `fastrpc`, version 0.
        pub fn protocol(mut self, protocol: $crate::Protocol) -> Self {
            self.settings.link.protocol = protocol;
            self
        }

        /// Which wire is spoken. Default: the framed one with peers that speak it, the classic one with others.
        pub fn wire(mut self, wire: $crate::Wire) -> Self {
            self.settings.link.wire = wire;
            self
        }

        /// How this side compresses what it sends on the framed wire, if the peer decodes that; otherwise it sends plain bytes.
        /// Default: zstd.
        pub fn framed_compression(mut self, codec: $crate::RecordCodec) -> Self {
            self.settings.link.framed.codec = codec;
            self
        }

        /// Compresses each message alone, so that its size tells nothing of others. Default: off. It costs most of what
        /// compression gains; a connection for each group of users who may see each other's data costs less. lz4 cannot do it,
        /// nor can the classic wire, on which nothing is compressed then.
        pub fn compress_alone(mut self, alone: bool) -> Self {
            self.settings.link.framed.each_alone = alone;
            self
        }

        /// Framed wire: after so long a silence the peer is asked whether it lives; after twice as long the connection ends.
        /// `None`: never. Default: 5 s.
        pub fn ping(mut self, interval: Option<std::time::Duration>) -> Self {
            self.settings.link.framed.ping = interval;
            self
        }

        /// Framed wire: a connection so old is drained and another takes its place, up to a tenth earlier so that those that
        /// were opened together do not end together. `None`: never. Default: never.
        pub fn max_age(mut self, age: Option<std::time::Duration>) -> Self {
            self.settings.link.framed.max_age = age;
            self
        }

        /// Framed wire: how long calls may go on after a drain before they are cut off. Default: 60 s.
        pub fn drain_timeout(mut self, limit: std::time::Duration) -> Self {
            self.settings.link.framed.drain = limit;
            self
        }

        /// Framed wire: bytes that the bodies on a connection may have under way or unread, 64 KiB to 1 GiB. Default: 64 MiB.
        /// Windows begin small and grow to it as far as speed and distance need it.
        pub fn max_window(mut self, bytes: u32) -> Self {
            self.settings.link.framed.most_window = bytes;
            self
        }

        /// Framed wire: the longest head, or trailers, that this side takes, 1 byte to 61,000. Default: 16 KiB. The peer is told,
        /// and a call whose head is longer fails there.
        pub fn max_head(mut self, bytes: u32) -> Self {
            self.settings.link.framed.settings.head = bytes;
            self
        }

        /// Framed wire: after so long without a message the memory of compression is given back, here and at the peer.
        /// Default: 60 s.
        pub fn idle_context(mut self, after: std::time::Duration) -> Self {
            self.settings.link.framed.idle_context = after;
            self
        }

        /// Framed wire: what compression contexts may take of memory. Default: 1 GiB that all of a process share. Past it new
        /// connections get smaller contexts, then none.
        pub fn context_memory(mut self, memory: $crate::ContextMemory) -> Self {
            self.settings.link.framed.memory = memory;
            self
        }

        /// How this side compresses what it sends on the classic wire; the peer chooses for itself. Default: flate.
        pub fn compression(mut self, compression: $crate::Compression) -> Self {
            self.settings.link.compression = compression;
            self
        }

        /// The longest the opening exchange may take, TLS included. Default: 3 s.
        pub fn handshake_timeout(mut self, limit: std::time::Duration) -> Self {
            self.settings.link.handshake_timeout = limit;
            self
        }

        /// How long the first message of a batch may wait for company. Default: zero, which sends as soon as nothing
        /// more is ready; messages that are ready together still travel together.
        ///
        /// A batch that reaches the write buffer's size goes out earlier.
        pub fn batch_delay(mut self, delay: std::time::Duration) -> Self {
            self.settings.link.batch_delay = delay;
            self
        }

        /// Which clock times the batch delay. Default: the finest one.
        pub fn batch_timer(mut self, timer: $crate::BatchTimer) -> Self {
            self.settings.link.batch_timer = timer;
            self
        }

        /// The longest silence of a peer that owes us bytes: replies on a client, the rest of a request on a server.
        /// Default: 120 s. The connection ends when it passes.
        pub fn read_timeout(mut self, limit: std::time::Duration) -> Self {
            self.settings.link.read_timeout = limit;
            self
        }

        /// The longest time without progress while bytes wait to be written. Default: 5 s. The connection ends when it
        /// passes.
        pub fn write_timeout(mut self, limit: std::time::Duration) -> Self {
            self.settings.link.write_timeout = limit;
            self
        }

        /// How long a connection with nothing in progress stays open. Default: 100 s on a client and 120 s on a
        /// server, so that the client, which can tell, closes first.
        pub fn idle_timeout(mut self, limit: std::time::Duration) -> Self {
            self.settings.link.idle_timeout = limit;
            self
        }

        /// Bytes asked of the connection in one read, 1 KiB to 16 MiB. Default: 64 KiB.
        pub fn read_buffer(mut self, bytes: usize) -> Self {
            self.settings.link.read_buffer = bytes;
            self
        }

        /// Bytes at which a batch goes out whatever the batch delay, 1 KiB to 16 MiB. Default: 64 KiB.
        pub fn write_buffer(mut self, bytes: usize) -> Self {
            self.settings.link.write_buffer = bytes;
            self
        }

        /// Most bytes, decompressed, that the codec may leave undecoded, 1 KiB to 1 GiB. Default: 16 MiB. A peer that
        /// sends more without completing a message loses its connection.
        pub fn max_undecoded(mut self, bytes: usize) -> Self {
            self.settings.link.max_undecoded = bytes;
            self
        }
    };
}
pub(crate) use link_setters;
