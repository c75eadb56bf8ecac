//! Settings that are fastrpc's own, handed on.

/// Setters that hand their value on to the fastrpc builder in `self.transport`.
macro_rules! forward_setters {
    ($builder:literal: $($(#[$doc:meta])+ $name:ident($($arg:ident: $type:ty),+);)+) => {
        $(
            $(#[$doc])+
            #[doc = concat!("\n\nAs [`fastrpc::", $builder, "::", stringify!($name), "`], which tells its default.")]
            pub fn $name(mut self, $($arg: $type),+) -> Self {
                self.transport = self.transport.$name($($arg),+);
                self
            }
        )+
    };
}

/// The settings that client and server share.
macro_rules! forward_link_setters {
    ($builder:literal) => {
        $crate::forward::forward_setters! { $builder:
            /// How this side compresses what it sends.
            compression(compression: fastrpc::Compression);
            /// How long the first message of a batch may wait for company.
            batch_delay(delay: std::time::Duration);
            /// Which clock times the batch delay.
            batch_timer(timer: fastrpc::BatchTimer);
            /// The longest the opening exchange may take, TLS included.
            handshake_timeout(limit: std::time::Duration);
            /// The longest silence of a peer that owes us bytes.
            read_timeout(limit: std::time::Duration);
            /// The longest time without progress while bytes wait to be written.
            write_timeout(limit: std::time::Duration);
            /// How long a connection with nothing in progress stays open.
            idle_timeout(limit: std::time::Duration);
            /// Bytes asked of the connection in one read.
            read_buffer(bytes: usize);
            /// Bytes at which a batch goes out whatever the batch delay.
            write_buffer(bytes: usize);
        }
    };
}

/// What is told of bodies that stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bodies {
    /// The longest pause between two pieces of one that arrives.
    pub(crate) pause: std::time::Duration,
    /// Most bytes of one that is collected for the classic wire.
    pub(crate) max_collected: usize,
}

impl Default for Bodies {
    fn default() -> Self {
        Self { pause: std::time::Duration::from_secs(120), max_collected: 64 << 20 }
    }
}

/// The settings that client and server share where they may speak the framed wire.
macro_rules! forward_framed_setters {
    ($builder:literal) => {
        $crate::forward::forward_setters! { $builder:
            /// Which wire is spoken: the framed one with peers that speak it and the classic one with others, or one alone.
            wire(wire: Wire);
            /// How this side compresses what it sends on the framed wire.
            framed_compression(codec: RecordCodec);
            /// Compresses each message of the framed wire alone.
            compress_alone(alone: bool);
            /// Framed wire: the silence after which the peer is asked whether it lives.
            ping(interval: Option<Duration>);
            /// Framed wire: how old a connection gets before another takes its place.
            max_age(age: Option<Duration>);
            /// Framed wire: how long calls may go on after a drain.
            drain_timeout(limit: Duration);
            /// Framed wire: bytes that the bodies on a connection may have under way or unread.
            max_window(bytes: u32);
            /// Framed wire: after so long without a message the memory of compression is given back.
            idle_context(after: Duration);
            /// Framed wire: what compression contexts may take of memory.
            context_memory(memory: ContextMemory);
        }

        /// The longest pause between two pieces of a body that arrives on the framed wire; the body breaks off then. A handler of
        /// streams may still answer; one of whole messages is not called, and the answer is 408. It does not hold for streams that
        /// were upgraded. Default: 120 s.
        pub fn body_pause(mut self, limit: Duration) -> Self {
            self.bodies.pause = limit;
            self
        }

        /// Most bytes of a streamed body that are collected to be sent where the wire turns out to be the classic one. Default:
        /// 64 MiB.
        pub fn max_collected(mut self, bytes: usize) -> Self {
            self.bodies.max_collected = bytes;
            self
        }
    };
}

pub(crate) use {forward_framed_setters, forward_link_setters, forward_setters};
