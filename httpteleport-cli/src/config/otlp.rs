//! Where spans of requests go.

use std::path::PathBuf;

use http::Uri;
use http::uri::Scheme;

use super::Mistakes;
use crate::cli::OtlpArgs;

/// The collector that gets them, and which it gets.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Otlp {
    /// The whole URL that they are posted to.
    pub(crate) collector: Uri,
    /// PEM certificates to trust there instead of the system's.
    pub(crate) ca: Option<PathBuf>,
    /// Which part of the requests has spans that bring no decision: 0 to 1.
    pub(crate) sample: f64,
    /// What this node is called.
    pub(crate) service: String,
}

impl Otlp {
    /// What is said where the program has no spans.
    pub(crate) const MISSING: &str = "built without otlp; build with --features otlp";

    /// Makes them of the options, in a program that `has` spans.
    pub(super) fn new(args: &OtlpArgs, has: bool, mistakes: &mut Mistakes) -> Option<Otlp> {
        let others = [
            ("--otlp-sample", args.otlp_sample.is_some()),
            ("--otlp-service", args.otlp_service.is_some()),
            ("--otlp-ca", args.otlp_ca.is_some()),
        ];
        let mut given = others.iter().filter(|option| option.1);
        if !has {
            let asked = args.otlp_endpoint.as_ref().map(|_| "--otlp-endpoint").or(given.next().map(|option| option.0));
            if let Some(option) = asked {
                mistakes.add(format!("{option}: {}", Otlp::MISSING));
            }
            return None;
        }
        let Some(collector) = args.otlp_endpoint.clone() else {
            for (option, _) in given {
                mistakes.add(format!("{option}: no spans are sent; say where to with --otlp-endpoint"));
            }
            return None;
        };
        if args.otlp_ca.is_some() && collector.scheme() != Some(&Scheme::HTTPS) {
            mistakes.add(
                "--otlp-ca: the collector is not https; write https:// in --otlp-endpoint, or drop the option"
                    .to_owned(),
            );
        }
        Some(Otlp {
            collector,
            ca: args.otlp_ca.clone(),
            sample: args.otlp_sample.unwrap_or(1.0),
            service: args.otlp_service.clone().unwrap_or_else(|| "httptp".to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(args: &OtlpArgs, has: bool) -> (Option<Otlp>, Vec<String>) {
        let mut mistakes = Mistakes::default();
        let otlp = Otlp::new(args, has, &mut mistakes);
        (otlp, mistakes.into_lines())
    }

    #[test]
    fn a_program_without_spans_says_how_to_get_one_with_them() {
        let collector = Some(Uri::from_static("http://h/v1/traces"));
        let all = OtlpArgs { otlp_endpoint: collector.clone(), otlp_sample: Some(0.5), ..OtlpArgs::default() };
        let told = |option: &str| vec![format!("{option}: built without otlp; build with --features otlp")];
        assert_eq!(made(&all, false), (None, told("--otlp-endpoint")));
        assert_eq!(made(&OtlpArgs { otlp_endpoint: None, ..all }, false), (None, told("--otlp-sample")));
        assert_eq!(made(&OtlpArgs::default(), false), (None, Vec::new()));
    }

    #[test]
    fn without_a_collector_nothing_is_sent() {
        assert_eq!(made(&OtlpArgs::default(), true), (None, Vec::new()));
        let args = OtlpArgs { otlp_service: Some("near".to_owned()), ..OtlpArgs::default() };
        let want = "--otlp-service: no spans are sent; say where to with --otlp-endpoint";
        assert_eq!(made(&args, true), (None, vec![want.to_owned()]));
        let endpoint = Some(Uri::from_static("http://h/v1/traces"));
        let args = OtlpArgs { otlp_ca: Some("ca.pem".into()), otlp_endpoint: endpoint, ..OtlpArgs::default() };
        assert!(made(&args, true).1[0].starts_with("--otlp-ca: the collector is not https;"));
    }
}
