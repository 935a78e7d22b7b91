//! The text format of Prometheus, version 0.0.4.

use std::fmt::{self, Display, Write};

use super::{Metric, MetricValue, Metrics};
use crate::{Error, text::Quoted};

impl Metrics {
    /// The media type of [`prometheus_text`](Self::prometheus_text), for the HTTP header `Content-Type`.
    pub const PROMETHEUS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    /// All metrics in the text format of Prometheus, version 0.0.4, with these labels on each line: the content of a
    /// `/metrics` page. Use labels that distinguish the nodes of one process; Prometheus adds the labels of the process
    /// itself.
    ///
    /// ```
    /// let text = syncswim::Metrics::default().prometheus_text(&[("node", "a")])?;
    /// assert!(text.contains("# TYPE syncswim_probes_total counter\nsyncswim_probes_total{node=\"a\"} 0\n"));
    /// # Ok::<(), syncswim::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] if the name of a label is not made of ASCII letters, digits and underscores, begins with a digit
    /// or two underscores, occurs twice, or is one that the metrics use themselves: `le` and `state`.
    pub fn prometheus_text(&self, labels: &[(&str, &str)]) -> Result<String, Error> {
        check(labels)?;
        let mut text = String::with_capacity(16 << 10);
        self.write_prometheus(&mut text, labels).expect("a string takes all");
        Ok(text)
    }

    fn write_prometheus(&self, text: &mut String, labels: &[(&str, &str)]) -> fmt::Result {
        let mut family = "";
        for metric in self.iter() {
            // Those of one family follow each other.
            if metric.family != family {
                family = metric.family;
                writeln!(text, "# HELP {family} {}", Escaped { text: metric.help, quotes: false })?;
                writeln!(text, "# TYPE {family} {}", metric.kind)?;
            }
            write_samples(text, &metric, labels)?;
        }
        Ok(())
    }
}

fn write_samples(text: &mut String, metric: &Metric, labels: &[(&str, &str)]) -> fmt::Result {
    let family = metric.family;
    let histogram = match &metric.value {
        MetricValue::Number(number) => {
            return writeln!(
                text,
                "{family}{} {number}",
                Labels(labels, metric.label.as_ref().map(|label| (label.name, label.value)))
            );
        }
        MetricValue::Histogram(histogram) => histogram,
    };
    for (bound, count) in histogram.cumulative() {
        let bound = bound.as_secs_f64().to_string();
        writeln!(text, "{family}_bucket{} {count}", Labels(labels, Some(("le", &bound))))?;
    }
    let (all, sum) = (histogram.count(), histogram.sum().as_secs_f64());
    writeln!(text, "{family}_bucket{} {all}", Labels(labels, Some(("le", "+Inf"))))?;
    writeln!(text, "{family}_sum{} {sum}", Labels(labels, None))?;
    writeln!(text, "{family}_count{} {all}", Labels(labels, None))
}

fn check(labels: &[(&str, &str)]) -> Result<(), Error> {
    let own = |name: &str| {
        name == "le"
            || Metrics::default().iter().any(|metric| metric.label.is_some_and(|own| own.name == name))
    };
    for (at, (name, _)) in labels.iter().enumerate() {
        let problem = if name.is_empty() {
            "is empty; give each label a name"
        } else if name.starts_with(|c: char| c.is_ascii_digit()) {
            "begins with a digit; begin it with a letter"
        } else if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            "has other characters than ASCII letters, digits and underscores; leave them out"
        } else if name.starts_with("__") {
            "begins with two underscores, which Prometheus keeps for itself; take one"
        } else if own(name) {
            "is a label of the metrics themselves; take another"
        } else if labels[..at].iter().any(|(before, _)| before == name) {
            "is given twice; give it once"
        } else {
            continue;
        };
        return Err(Error::invalid("labels", format!("has the name {}, which {problem}", Quoted(name))));
    }
    Ok(())
}

/// Labels, followed by the one that distinguishes the sample from the others of its family.
struct Labels<'a>(&'a [(&'a str, &'a str)], Option<(&'a str, &'a str)>);

impl Display for Labels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = '{';
        for (name, value) in self.0.iter().chain(&self.1) {
            write!(f, "{before}{name}=\"{}\"", Escaped { text: value, quotes: true })?;
            before = ',';
        }
        if before == ',' { f.write_char('}') } else { Ok(()) }
    }
}

/// With backslashes before backslashes, line feeds, and in the value of a label before quotes.
struct Escaped<'a> {
    text: &'a str,
    quotes: bool,
}

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.chars().try_for_each(|c| match c {
            '\\' => f.write_str("\\\\"),
            '\n' => f.write_str("\\n"),
            '"' if self.quotes => f.write_str("\\\""),
            c => f.write_char(c),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_the_metrics_themselves_are_refused() {
        let text = |name| Metrics::default().prometheus_text(&[(name, "x")]);
        for own in ["le", "state"] {
            assert!(
                text(own).is_err_and(|error| error.to_string().contains("a label of the metrics")),
                "{own}"
            );
        }
        assert!(text("node").is_ok());
    }
}
