//! Metrics of the same name, gathered.

use prometheus::proto::{Bucket, Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

/// What a value does over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only rises.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// All families, in the order in which they were first added to.
#[derive(Debug, Default)]
pub(crate) struct Families(Vec<MetricFamily>);

impl Families {
    /// Adds a value to the family of that name.
    pub(crate) fn add(&mut self, name: &str, help: &str, kind: Kind, labels: &[(&str, &str)], value: f64) {
        let mut metric = labelled(labels);
        let kind = match kind {
            Kind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
                MetricType::COUNTER
            }
            Kind::Gauge => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
                MetricType::GAUGE
            }
        };
        self.put(name, help, kind, metric);
    }

    /// Adds a histogram: bounds with how many values are not above them, and how many there are in all with their sum.
    pub(crate) fn histogram(
        &mut self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
        cumulative: impl Iterator<Item = (f64, u64)>,
        (count, sum): (u64, f64),
    ) {
        let buckets = cumulative.map(|(bound, count)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(count);
            bucket
        });
        let mut histogram = prometheus::proto::Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(count);
        histogram.set_sample_sum(sum);
        let mut metric = labelled(labels);
        metric.set_histogram(histogram);
        self.put(name, help, MetricType::HISTOGRAM, metric);
    }

    fn put(&mut self, name: &str, help: &str, kind: MetricType, metric: Metric) {
        // Those of one name follow each other, so the last ones are looked at first.
        let place = self.0.iter().rposition(|family| family.name() == name).unwrap_or_else(|| {
            let mut family = MetricFamily::default();
            family.set_name(name.to_owned());
            family.set_help(help.to_owned());
            family.set_field_type(kind);
            self.0.push(family);
            self.0.len() - 1
        });
        self.0[place].mut_metric().push(metric);
    }

    /// As the encoder wants them.
    pub(crate) fn into_vec(self) -> Vec<MetricFamily> {
        self.0
    }
}

fn labelled(labels: &[(&str, &str)]) -> Metric {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    Metric::from_label(labels.iter().map(pair).collect())
}
