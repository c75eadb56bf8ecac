//! Options of `httptp estimate`.

use std::path::PathBuf;

use clap::Args;

use crate::count;

/// Recorded traffic, and what is wanted to know of it.
#[derive(Args, Clone, Debug)]
pub(crate) struct EstimateArgs {
    /// Recorded traffic: a HAR, as browsers' network tools and many proxies save it; or NAME.req.zst, with NAME.resp.zst beside
    /// it, or a folder of such pairs
    ///
    /// A .zst file is a zstd stream of records: u32le head length, u32le body length, head, body. The head is HTTP/1.1 text up
    /// to and with its blank line; record k of the one file is answered by record k of the other.
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,

    /// Tell also what a month at this rate comes to
    #[arg(long, value_name = "N", value_parser = rate)]
    pub(crate) requests_per_second: Option<f64>,

    /// What a gigabyte (1,000,000,000 bytes) costs, in the currency of your choice
    #[arg(long, value_name = "PRICE", value_parser = price, requires = "requests_per_second")]
    pub(crate) price_per_gb: Option<f64>,

    /// Print JSON instead of tables
    #[arg(long)]
    pub(crate) json: bool,

    /// Draw a picture of it as well
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,

    /// How much of each recording is carried, in MiB of HTTP/1.1 text, 1 to 256
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = count::within(1..=256_u16))]
    pub(crate) mib: u16,
}

fn rate(text: &str) -> Result<f64, &'static str> {
    number(text, 1e9).filter(|rate| *rate > 0.0).ok_or("give a number above 0, at most 1000000000")
}

/// A price of a gigabyte.
pub(crate) fn price(text: &str) -> Result<f64, &'static str> {
    number(text, 1e6).ok_or("give a number from 0 to 1000000, for example 0.09")
}

fn number(text: &str, most: f64) -> Option<f64> {
    text.parse().ok().filter(|number| (0.0..=most).contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_bounds() {
        assert_eq!((rate("0.5"), rate("1e9"), price("0")), (Ok(0.5), Ok(1e9), Ok(0.0)));
        for text in ["0", "-1", "inf", "NaN", "1e10", "many", ""] {
            assert!(rate(text).is_err(), "{text}");
        }
        assert!(price("-0.1").is_err() && price("nan").is_err());
    }
}
