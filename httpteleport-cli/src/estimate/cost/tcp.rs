//! What TCP and IP add to the bytes that are sent.

/// Sizes of a segment, IPv4 and no link layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// Most payload bytes of one segment.
    pub mss: u64,
    /// Bytes of its TCP and IP headers, also those of a segment without payload.
    pub headers: u64,
}

impl Tcp {
    /// With timestamps, as Linux, Windows Server and the BSDs send by default: 20 + 32 bytes of headers on an MTU of 1500.
    pub const WITH_TIMESTAMPS: Self = Self { mss: 1448, headers: 52 };
    /// Without: 20 + 20.
    pub const PLAIN: Self = Self { mss: 1460, headers: 40 };

    /// How it is counted, for people.
    #[must_use]
    pub fn rule(self) -> String {
        let Self { mss, headers } = self;
        format!(
            "Payload is what the ends hand to their connection, with all framing, prefaces, settings and window updates. \
             With TCP/IP adds {headers} bytes of TCP and IPv4 headers for each segment of at most {mss} bytes, and {headers} \
             for an acknowledgement without payload after every second segment; an odd last segment is acknowledged by what \
             comes back. What one end writes before the other reads is one flight: it begins a segment of its own and its \
             writes are joined, as if the kernel had waited for all of them. Not counted: connecting, closing, losses, the \
             link layer."
        )
    }

    /// All bytes of a flight.
    #[must_use]
    pub fn bytes(self, flights: &Flights) -> u64 {
        flights.payload + (flights.segments + flights.pure_acks) * self.headers
    }
}

/// Flights in one direction: what one end wrote before the other end read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flights {
    /// How many.
    pub count: u64,
    /// Bytes the ends gave to their connection.
    pub payload: u64,
    /// Segments that carry them.
    pub segments: u64,
    /// Segments without payload that come back for them.
    pub pure_acks: u64,
}

impl Flights {
    /// Adds one flight of `payload` bytes, which begins a segment of its own.
    ///
    /// Every second segment is acknowledged by one without payload (RFC 9293, 3.8.6.3). An odd last one is not: its
    /// acknowledgement rides on what is sent back.
    pub fn add(&mut self, payload: u64, tcp: Tcp) {
        let segments = payload.div_ceil(tcp.mss);
        self.count += 1;
        self.payload += payload;
        self.segments += segments;
        self.pure_acks += segments / 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flight(payload: u64, tcp: Tcp) -> (u64, u64, u64) {
        let mut flights = Flights::default();
        flights.add(payload, tcp);
        (flights.segments, flights.pure_acks, tcp.bytes(&flights))
    }

    #[test]
    fn a_full_segment_is_one_and_a_byte_more_is_two() {
        assert_eq!(flight(1448, Tcp::WITH_TIMESTAMPS), (1, 0, 1500));
        assert_eq!(flight(1449, Tcp::WITH_TIMESTAMPS), (2, 1, 1449 + 3 * 52));
        assert_eq!(flight(1460, Tcp::PLAIN), (1, 0, 1500));
        assert_eq!(flight(10 * 1460, Tcp::PLAIN), (10, 5, 14_600 + 15 * 40));
    }

    #[test]
    fn flights_do_not_share_segments() {
        let mut flights = Flights::default();
        flights.add(100, Tcp::WITH_TIMESTAMPS);
        flights.add(100, Tcp::WITH_TIMESTAMPS);
        assert_eq!(flights, Flights { count: 2, payload: 200, segments: 2, pure_acks: 0 });
    }
}
