//! Options of spans.

use std::path::PathBuf;

use clap::Args;
use http::Uri;
use http::uri::{PathAndQuery, Scheme};

use crate::endpoint::check_host;

/// Whether this program has no spans, so that there is no sense in showing these options.
const HIDDEN: bool = cfg!(not(feature = "otlp"));

/// As typed; [`Otlp`](crate::config::Otlp) is what they mean together.
#[derive(Args, Debug, Default)]
pub(crate) struct OtlpArgs {
    /// Collector that gets spans of requests by OTLP/HTTP, such as http://localhost:4318; they are posted to /v1/traces there [default:
    /// none are made]
    #[arg(long, value_name = "URL", help_heading = "Traces", hide = HIDDEN, value_parser = collector)]
    pub(crate) otlp_endpoint: Option<Uri>,

    /// Which part of the requests has spans that bring no decision in a traceparent: 0 to 1 [default: 1]
    #[arg(long, value_name = "RATIO", help_heading = "Traces", hide = HIDDEN, value_parser = ratio)]
    pub(crate) otlp_sample: Option<f64>,

    /// What this node is called among spans (service.name) [default: httptp]
    #[arg(long, value_name = "NAME", help_heading = "Traces", hide = HIDDEN, value_parser = name)]
    pub(crate) otlp_service: Option<String>,

    /// Certificates to trust at an https collector, PEM [default: this system's]
    #[arg(long, value_name = "FILE", help_heading = "Traces", hide = HIDDEN)]
    pub(crate) otlp_ca: Option<PathBuf>,
}

/// Where spans are posted to, of what is told of the collector.
fn collector(text: &str) -> Result<Uri, &'static str> {
    let why = "is no http or https URL without a query; write for example http://localhost:4318";
    let mut parts = text.parse::<Uri>().map_err(|_| why)?.into_parts();
    let known = matches!(&parts.scheme, Some(scheme) if *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS);
    let path = parts.path_and_query.take().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let authority = parts.authority.as_ref();
    let host = authority.is_some_and(|authority| {
        let alone = authority.host().len() == authority.as_str().len();
        let with_port = authority.port_u16().is_some() && !authority.as_str().contains('@');
        check_host(authority.host()).is_ok() && (alone || with_port)
    });
    if !known || !host || path.query().is_some() {
        return Err(why);
    }
    let path = format!("{}/v1/traces", path.path().trim_end_matches('/'));
    parts.path_and_query = Some(path.parse().map_err(|_| why)?);
    Uri::from_parts(parts).map_err(|_| why)
}

fn ratio(text: &str) -> Result<f64, &'static str> {
    let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or("is no number from 0 to 1; write for example 0.01")
}

fn name(text: &str) -> Result<String, &'static str> {
    let good = !text.trim().is_empty() && text.len() <= 255;
    good.then(|| text.to_owned()).ok_or("is no name; use 1 to 255 bytes of text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_a_path_below_the_collector_s_own() {
        for (text, want) in [
            ("http://localhost:4318", "http://localhost:4318/v1/traces"),
            ("https://c.example/otlp/", "https://c.example/otlp/v1/traces"),
            ("http://[::1]:4318/", "http://[::1]:4318/v1/traces"),
        ] {
            assert_eq!(collector(text).map(|url| url.to_string()).as_deref(), Ok(want));
        }
        for bad in [
            "",
            "localhost:4318",
            "grpc://h:4317",
            "http://",
            "/v1/traces",
            "http://h/?x",
            "http://me:pw@h",
            "http://h:x",
            "http://127.0.0:4318",
        ] {
            assert!(collector(bad).is_err(), "{bad}");
        }
        assert_eq!(["0", "0.25", "1"].map(ratio), [Ok(0.0), Ok(0.25), Ok(1.0)]);
        assert!(["", "-0.1", "1.1", "NaN", "inf", "half"].iter().all(|text| ratio(text).is_err()));
    }
}
