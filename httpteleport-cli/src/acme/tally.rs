//! What has become of orders.

use crate::counters::Count;

/// All orders of the process.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Those that have brought a certificate.
    pub(crate) done: Count,
    /// Those that have failed.
    pub(crate) failed: Count,
    /// Handshakes for a host without a certificate for which none was ordered.
    pub(crate) refused: Count,
}
