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

pub(crate) use {forward_link_setters, forward_setters};
