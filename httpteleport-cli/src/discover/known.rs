//! What the sources of a group have led to, for a group that takes its place: what is not found again at once still holds.

use super::source::{Source, To};
use super::{Families, Options};
use crate::outbound::Place;

/// Sources, as the settings name them, and where each has led.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known(Vec<Led>);

/// A source and what is behind it: itself, or those of a file.
#[derive(Clone, Debug)]
struct Led {
    named: Source,
    inner: Vec<(Source, Vec<Place>)>,
}

impl Known {
    /// One more source of the settings, and what is behind it.
    pub(super) fn add(&mut self, named: Source, inner: Vec<(Source, Vec<Place>)>) {
        self.0.push(Led { named, inner });
    }

    /// Where a source of now may still lead, whose part among others may be another one by now.
    pub(super) fn places(&self, source: &Source, options: &Options) -> Vec<Place> {
        let mut known = self.0.iter().flat_map(|led| &led.inner);
        let led = known.find(|(known, places)| known.to == source.to && !places.is_empty());
        let Some((before, places)) = led else { return Vec::new() };
        let wanted = |place: &&Place| is_of(place, options.families);
        places.iter().filter(wanted).map(|place| source.again(before, place)).collect()
    }

    /// The sources that a file has named, if it did.
    pub(super) fn in_file(&self, file: &Source) -> Vec<Source> {
        let named = self.0.iter().find(|led| led.named == *file && matches!(led.named.to, To::File(_)));
        named.map(|led| led.inner.iter().map(|(source, _)| source.clone()).collect()).unwrap_or_default()
    }
}

fn is_of(place: &Place, families: Families) -> bool {
    place.ip().is_none_or(|ip| families.has(ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::parse(text).expect("a URL")
    }

    #[test]
    fn places_are_those_of_before_with_the_part_of_now() {
        let before = source("http+srv://_a._tcp.b#weight=2");
        let place =
            |url: &str, weight, priority| Place { weight, priority, ..source(url).fixed().expect("an address") };
        let led = vec![place("http://10.0.0.1", 20, 10), place("http://[fd00::1]", 2, 20)];
        let mut known = Known::default();
        known.add(before.clone(), vec![(before, led)]);
        let parts = |text: &str, families| {
            let options = Options { families, ..Options::default() };
            let places = known.places(&source(text), &options);
            places.iter().map(|place| (place.weight, place.priority)).collect::<Vec<_>>()
        };
        assert_eq!(parts("http+srv://_a._tcp.b#weight=3", Families::ANY), [(30, 10), (3, 20)]);
        let largest =
            known.places(&Source { weight: u32::MAX / 5, ..source("http+srv://_a._tcp.b") }, &Options::default());
        assert_eq!(largest.iter().map(|place| place.weight).collect::<Vec<_>>(), [u32::MAX, u32::MAX / 5]);
        assert_eq!(parts("http+srv://_a._tcp.b#backup", Families::IPV4), [(10, u16::MAX)]);
        assert_eq!(parts("http+srv://_a._tcp.c", Families::ANY), []);
        assert_eq!(parts("https+srv://_a._tcp.b", Families::ANY), []);
    }
}
