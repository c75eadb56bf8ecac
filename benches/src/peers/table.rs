//! What was measured, for people and for programs.

use std::fmt::Write;

use serde_json::json;

use super::measure::Measured;
use super::rows::PEERS;
use crate::spread::Spread;

/// One row as it is printed.
pub struct Line<'a> {
    measured: &'a Measured,
    ns: Spread,
    /// How many times as long as ours: the ratios of each round.
    to_ours: Option<Spread>,
    /// How many times as long as the floor, likewise.
    to_floor: Option<Spread>,
}

/// The lines of a run.
#[must_use]
pub fn lines(run: &[Measured]) -> Vec<Line<'_>> {
    run.iter().map(|measured| Line::of(measured, run)).collect()
}

impl<'a> Line<'a> {
    fn of(measured: &'a Measured, run: &[Measured]) -> Self {
        let to = |name: Option<&str>| {
            let same =
                |other: &&Measured| Some(other.row.peer.name) == name && other.row.callers == measured.row.callers;
            let other = run.iter().find(same)?;
            Spread::of(measured.ns.iter().zip(&other.ns).map(|(ns, other)| ns / other))
        };
        let peer = measured.row.peer;
        let ns = Spread::of(measured.ns.iter().copied()).expect("a row has a round");
        Self { measured, ns, to_ours: to(peer.ours), to_floor: to(peer.floor) }
    }

    /// One JSON object on one line.
    #[must_use]
    pub fn json(&self) -> String {
        let ratio = |spread: Option<Spread>| {
            spread.map(|s| json!({ "median": round(s.median), "min": round(s.min), "max": round(s.max) }))
        };
        let peer = self.measured.row.peer;
        json!({
            "name": self.measured.row.name(),
            "ns_per_op": self.ns.median.round(),
            "ns_min": self.ns.min.round(),
            "ns_max": self.ns.max.round(),
            "allocs_per_op": self.measured.allocs.map(round),
            "callers": self.measured.row.callers,
            "deadline": peer.deadline,
            "ours": peer.ours,
            "to_ours": ratio(self.to_ours),
            "floor": peer.floor,
            "to_floor": ratio(self.to_floor),
        })
        .to_string()
    }

    /// The line of the table.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { measured, ns, to_ours, to_floor } = self;
        let range = ns.range(0);
        let peer = measured.row.peer;
        let times = |spread: &Option<Spread>| spread.map(|s| format!("{:.2}", s.median)).unwrap_or_default();
        let spread = match to_ours {
            Some(s) if peer.ours != Some(peer.name) => s.range(2),
            _ => String::new(),
        };
        let ours = peer.ours.filter(|_| !spread.is_empty()).unwrap_or_default();
        let mut text = format!("{:<30} {:>9.0} {range:>17}", measured.row.name(), ns.median);
        let allocs = measured.allocs.map(|allocs| format!("{allocs:.1}")).unwrap_or_default();
        let (to_ours, to_floor) = (times(to_ours), times(to_floor));
        write!(text, " {allocs:>7} {to_floor:>7} {to_ours:>7} {spread:>13}  {ours}").expect("a string takes all");
        text.trim_end().to_owned()
    }
}

/// The head of the table.
#[must_use]
pub fn head() -> String {
    format!(
        "{:<30} {:>9} {:>17} {:>7} {:>7} {:>7} {:>13}  {}",
        "row", "ns/call", "min-max", "allocs", "x floor", "x ours", "min-max", "ours"
    )
}

/// What the table does not say.
#[must_use]
pub fn notes() -> String {
    let without = PEERS.iter().filter(|peer| !peer.deadline && peer.floor.is_some());
    let without = without.map(|peer| peer.name).collect::<Vec<_>>().join(", ");
    format!(
        "ns/call: time of a round by the calls in it, both ends on one core; median, least and most of the rounds.\n\
         x floor, x ours: how many times as long as the floor, and as our row that makes the same calls, round by round.\n\
         floor: the same bytes as ours, echoed in batches of all callers, and one task woken per call. With 1 caller both \
         are system calls and wakes for the most part, and as far apart as noise takes them: below 1 is no gain.\n\
         gathered: over a stream without vectored writes, where HTTP/2 gathers what else it writes reply by reply.\n\
         Every call carries a deadline an hour away; those of {without} do not, as these know none."
    )
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::rows::Row;

    fn measured(name: &str, callers: usize, ns: &[f64]) -> Measured {
        let peer = PEERS.iter().find(|peer| peer.name == name).unwrap();
        Measured { row: Row { peer, callers }, ns: ns.to_vec(), allocs: None }
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let run = [
            measured("http/httpteleport", 1, &[9.0, 9.0, 9.0]),
            measured("http/httpteleport", 7, &[100.0, 400.0, 100.0]),
            measured("http/hyper2", 7, &[200.0, 800.0, 300.0]),
        ];
        let lines = lines(&run);
        assert_eq!(lines[2].ns, Spread { median: 300.0, min: 200.0, max: 800.0 });
        assert_eq!(lines[2].to_ours, Some(Spread { median: 2.0, min: 2.0, max: 3.0 }));
        assert_eq!(lines[2].to_floor, None);
        assert_eq!(lines[1].to_ours, Some(Spread { median: 1.0, min: 1.0, max: 1.0 }));
    }
}
