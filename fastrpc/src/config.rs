//! Settings that both ends of a connection share.

use std::time::Duration;

use crate::error::Error;
use crate::wire::compress::Compression;
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

/// What one end of a connection is told about the connection itself.
#[derive(Clone, Debug)]
pub(crate) struct LinkConfig {
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

    /// Bounds what would overflow the clock, and tells what makes no sense.
    pub(crate) fn check(&mut self) -> Result<(), Error> {
        for limit in
            [&mut self.handshake_timeout, &mut self.read_timeout, &mut self.write_timeout, &mut self.idle_timeout]
        {
            *limit = (*limit).min(FAR);
        }
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

/// The setters that client and server builders share; `link` is the builder's [`LinkConfig`].
macro_rules! link_setters {
    () => {
        /// The bytes both sides must open with, and the version of what is spoken. Default: `fastrpc`, version 0.
        pub fn protocol(mut self, protocol: $crate::Protocol) -> Self {
            self.link.protocol = protocol;
            self
        }

        /// How this side compresses what it sends; the peer chooses for itself. Default: flate.
        pub fn compression(mut self, compression: $crate::Compression) -> Self {
            self.link.compression = compression;
            self
        }

        /// The longest the opening exchange may take, TLS included. Default: 3 s.
        pub fn handshake_timeout(mut self, limit: std::time::Duration) -> Self {
            self.link.handshake_timeout = limit;
            self
        }

        /// How long the first message of a batch may wait for company. Default: zero, which sends as soon as nothing
        /// more is ready; messages that are ready together still travel together.
        ///
        /// A batch that reaches the write buffer's size goes out earlier.
        pub fn batch_delay(mut self, delay: std::time::Duration) -> Self {
            self.link.batch_delay = delay;
            self
        }

        /// Which clock times the batch delay. Default: the finest one.
        pub fn batch_timer(mut self, timer: $crate::BatchTimer) -> Self {
            self.link.batch_timer = timer;
            self
        }

        /// The longest silence of a peer that owes us bytes: replies on a client, the rest of a request on a server.
        /// Default: 120 s. The connection ends when it passes.
        pub fn read_timeout(mut self, limit: std::time::Duration) -> Self {
            self.link.read_timeout = limit;
            self
        }

        /// The longest time without progress while bytes wait to be written. Default: 5 s. The connection ends when it
        /// passes.
        pub fn write_timeout(mut self, limit: std::time::Duration) -> Self {
            self.link.write_timeout = limit;
            self
        }

        /// How long a connection with nothing in progress stays open. Default: 100 s on a client and 120 s on a
        /// server, so that the client, which can tell, closes first.
        pub fn idle_timeout(mut self, limit: std::time::Duration) -> Self {
            self.link.idle_timeout = limit;
            self
        }

        /// Bytes asked of the connection in one read, 1 KiB to 16 MiB. Default: 64 KiB.
        pub fn read_buffer(mut self, bytes: usize) -> Self {
            self.link.read_buffer = bytes;
            self
        }

        /// Bytes at which a batch goes out whatever the batch delay, 1 KiB to 16 MiB. Default: 64 KiB.
        pub fn write_buffer(mut self, bytes: usize) -> Self {
            self.link.write_buffer = bytes;
            self
        }

        /// Most bytes, decompressed, that the codec may leave undecoded, 1 KiB to 1 GiB. Default: 16 MiB. A peer that
        /// sends more without completing a message loses its connection.
        pub fn max_undecoded(mut self, bytes: usize) -> Self {
            self.link.max_undecoded = bytes;
            self
        }
    };
}
pub(crate) use link_setters;
