//! Why streams and connections end.

use std::fmt;

macro_rules! codes {
    ($(#[$about:meta])* $name:ident { $($(#[$what:meta])* $code:ident = $byte:literal, $text:literal;)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$what])* $code,)*
            /// One that this side does not know.
            Other(u8),
        }

        impl $name {
            /// What a byte of the wire means.
            #[must_use]
            pub const fn from_byte(byte: u8) -> Self {
                match byte {
                    $($byte => Self::$code,)*
                    other => Self::Other(other),
                }
            }

            /// Its byte on the wire.
            #[must_use]
            pub const fn byte(self) -> u8 {
                match self {
                    $(Self::$code => $byte,)*
                    Self::Other(byte) => byte,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$code => f.write_str($text),)*
                    Self::Other(byte) => write!(f, "code {byte}"),
                }
            }
        }
    };
}

codes! {
    /// Why a stream was reset.
    ResetCode {
        /// Nobody wants it any more.
        Cancelled = 0, "cancelled";
        /// It was not begun: it may be repeated.
        Refused = 1, "refused";
        /// Its time is over.
        Late = 2, "late";
        /// Over a limit of the receiver.
        TooLarge = 3, "too large";
        /// The codec could not read it.
        Malformed = 4, "malformed";
        /// The handler, or the source of a body, broke.
        Failed = 5, "failed";
        /// Nobody read its body while others waited for credit.
        Stalled = 6, "stalled";
    }
}

codes! {
    /// Why a connection was closed.
    CloseCode {
        /// Drained, idle, or of age.
        Done = 0, "done";
        /// A frame out of order, or none at all.
        Protocol = 1, "protocol";
        /// The hello's settings make no sense.
        Settings = 2, "settings";
        /// A record that does not decode.
        Compression = 3, "compression";
        /// More body bytes than were granted.
        Credit = 4, "credit";
        /// Too much that costs and brings nothing.
        Flood = 5, "flood";
        /// Nothing came for too long.
        Silent = 6, "silent";
        /// A defect on the sender's side.
        Internal = 7, "internal";
    }
}
