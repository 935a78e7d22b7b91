//! A metric as it is listed, and the kinds of metrics.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Histogram;

/// One metric at one moment, as [`Metrics::iter`](super::Metrics::iter) yields it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// The name of the field of [`Metrics`](super::Metrics), and of the metric in C and Python.
    pub name: &'static str,
    /// The name in [`prometheus_text`](super::Metrics::prometheus_text). Metrics that differ in their `label` share it.
    pub family: &'static str,
    /// The label that distinguishes it from the others of its family.
    pub label: Option<MetricLabel>,
    /// How its value changes.
    pub kind: MetricKind,
    /// The unit of its value.
    pub unit: MetricUnit,
    /// Its meaning, in one line.
    pub help: &'static str,
    /// The value.
    pub value: MetricValue,
}

/// A label of a metric, as `state="alive"`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct MetricLabel {
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub value: &'static str,
}

/// How the value of a metric changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum MetricKind {
    /// It rises, and is 0 after a restart.
    Counter,
    /// It goes up and down.
    Gauge,
    /// It counts values by size.
    Histogram,
}

/// As the text format of Prometheus has them.
impl fmt::Display for MetricKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        })
    }
}

/// The unit of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum MetricUnit {
    /// A plain number.
    Number,
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
}

impl fmt::Display for MetricUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Number => "number",
            Self::Bytes => "bytes",
            Self::Seconds => "seconds",
        })
    }
}

/// The value of a metric.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricValue {
    /// The value of a counter or a gauge.
    Number(u64),
    /// The value of a histogram.
    Histogram(Histogram),
}

impl MetricValue {
    /// The number, if it is one.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Histogram(_) => None,
        }
    }
}

impl From<&u64> for MetricValue {
    fn from(number: &u64) -> Self {
        Self::Number(*number)
    }
}

impl From<&Histogram> for MetricValue {
    fn from(histogram: &Histogram) -> Self {
        Self::Histogram(histogram.clone())
    }
}
