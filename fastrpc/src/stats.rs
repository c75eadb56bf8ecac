//! Counters that a caller can read at any time.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[$doc:meta])+ $name:ident,)+) => {
        /// What a client or a server has done so far, summed over its connections.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[$doc])+ pub $name: u64,)+
            /// Calls that wait for their reply now (client), or handlers that run now (server).
            pub pending: u64,
        }

        impl std::ops::Add for Stats {
            type Output = Self;

            fn add(self, other: Self) -> Self {
                Self { $($name: self.$name + other.$name,)+ pending: self.pending + other.pending }
            }
        }

        /// The live counters; drivers add to them once a turn, not once a call.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: AtomicU64,)+
        }

        impl Counters {
            pub(crate) fn snapshot(&self, pending: usize) -> Stats {
                Stats { $($name: self.$name.load(Relaxed),)+ pending: pending as u64 }
            }
        }
    };
}

counters! {
    /// Calls made (client) or received (server), fire-and-forget included.
    calls,
    /// Calls that ended with a reply; on a server, handlers that ended with one.
    replies,
    /// Calls that failed: by the connection, a limit or the codec (client); by a panic or the codec (server).
    errors,
    /// Calls whose deadline passed.
    timeouts,
    /// Calls refused at a limit, or by a server that is shutting down.
    overloads,
    /// Replies that came for a call that was no longer awaited, or never made.
    late_replies,
    /// Message bytes read, after decompression.
    bytes_in,
    /// Message bytes written, before compression.
    bytes_out,
    /// Bytes read from connections, as compressed.
    wire_bytes_in,
    /// Bytes written to connections, as compressed.
    wire_bytes_out,
    /// Batches written.
    batches,
    /// Connections opened.
    connections,
    /// Connections opened after an earlier one of the same place in the pool had ended.
    reconnects,
    /// Connections that could not be opened: refused, timed out, or wrong in the opening exchange.
    connect_errors,
    /// Connections that ended with an error.
    connection_errors,
    /// Connections that could not be accepted for want of something on this side, file descriptors for instance.
    accept_errors,
}

/// Adds without making a line of each call site.
pub(crate) fn add(counter: &AtomicU64, n: u64) {
    if n > 0 {
        counter.fetch_add(n, Relaxed);
    }
}
