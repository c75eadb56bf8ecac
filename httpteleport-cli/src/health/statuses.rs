//! Which statuses of a reply are good ones: `204`, `200-299,404`.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use http::StatusCode;

/// What a final reply can have.
const POSSIBLE: RangeInclusive<u16> = 200..=599;
/// More than anybody lists.
const MOST: usize = 100;
const FORM: &str = "write statuses of 200 to 599 and ranges of them, such as 204 or 200-299,404";

/// Statuses and ranges of them. The default is 200 to 399.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Statuses(Vec<RangeInclusive<u16>>);

impl Statuses {
    /// Whether this status is one of them.
    pub(crate) fn has(&self, status: StatusCode) -> bool {
        self.0.iter().any(|range| range.contains(&status.as_u16()))
    }
}

impl Default for Statuses {
    fn default() -> Statuses {
        Statuses(vec![200..=399])
    }
}

impl FromStr for Statuses {
    type Err = String;

    /// Reads them with commas between them.
    fn from_str(text: &str) -> Result<Statuses, String> {
        let ranges: Option<Vec<_>> = text.split(',').map(|part| range(part.trim())).collect();
        match ranges {
            Some(ranges) if ranges.len() <= MOST => Ok(Statuses(ranges)),
            Some(_) => Err(format!("more than {MOST} of them; write ranges, such as 200-299")),
            None => Err(FORM.to_owned()),
        }
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |range: &RangeInclusive<u16>| match (range.start(), range.end()) {
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}-{last}"),
        };
        f.write_str(&self.0.iter().map(part).collect::<Vec<_>>().join(","))
    }
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (status(first)?, status(last)?);
    (first <= last).then_some(first..=last)
}

fn status(text: &str) -> Option<u16> {
    let digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|status| digits && POSSIBLE.contains(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_statuses_and_ranges() {
        let statuses: Statuses = "200-204, 404,599".parse().expect("fine");
        let good: Vec<_> =
            POSSIBLE.filter(|status| statuses.has(StatusCode::from_u16(*status).expect("one"))).collect();
        assert_eq!(good, [200, 201, 202, 203, 204, 404, 599]);
        assert_eq!(statuses.to_string(), "200-204,404,599");
        assert_eq!(Statuses::default().to_string(), "200-399");
    }

    #[test]
    fn what_is_none() {
        for text in
            ["", "ok", "199", "600", "204-200", "200-", "-200", "200-299-300", "200,,204", "+200", "2xx", "0200"]
        {
            assert_eq!(text.parse::<Statuses>(), Err(FORM.to_owned()), "{text}");
        }
        let many = vec!["200"; MOST + 1].join(",");
        assert!(many.parse::<Statuses>().expect_err("too many").starts_with("more than 100 of them"));
        assert!(many[4..].parse::<Statuses>().is_ok());
    }
}
