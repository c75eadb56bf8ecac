//! Counts: whole numbers within bounds.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// A reader of counts within these bounds, for an option. Its errors say what to write.
pub(crate) fn within<T>(bounds: RangeInclusive<T>) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: FromStr + PartialOrd + Display + Clone + Send + Sync + 'static,
{
    move |text| {
        let count = text.parse().ok().filter(|count| bounds.contains(count));
        count.ok_or_else(|| format!("give a whole number from {} to {}", bounds.start(), bounds.end()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_out_of_bounds_or_no_number_says_what_to_write() {
        let read = within(1..=1024_u16);
        assert_eq!((read("1"), read("1024")), (Ok(1), Ok(1024)));
        for bad in ["0", "1025", "-1", "", "1.5", "many", "99999999999999999999", "1 "] {
            assert_eq!(read(bad), Err("give a whole number from 1 to 1024".to_owned()), "{bad}");
        }
    }
}
