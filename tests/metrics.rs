//! The metrics as a monitoring system meets them: their names, and the text format of Prometheus.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    process::{Command, Stdio},
};

use proptest::prelude::*;
use support::await_that;
use syncswim::{Gossip, GossipConfig, MetricKind, MetricUnit, Metrics};

/// A sample: its labels, sorted, and its value.
type Sample = (BTreeMap<String, String>, f64);

/// What the text says of one family.
#[derive(Debug, Default)]
struct Family {
    help: String,
    kind: String,
    /// By the name of the line, which for histograms has a suffix.
    samples: Vec<(String, Sample)>,
}

/// Reads a text as <https://prometheus.io/docs/instrumenting/exposition_formats/> describes version 0.0.4, and panics where
/// it breaks a rule. What that page leaves to the writer is taken as we write it: HELP, TYPE, then the samples of one family.
fn parse(text: &str) -> BTreeMap<String, Family> {
    assert!(text.ends_with('\n'), "the last line ends with a line feed");
    let (mut families, mut current) = (BTreeMap::<String, Family>::new(), String::new());
    for line in text[..text.len() - 1].split('\n') {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').expect("HELP has a text");
            assert!(is_name(name, ":"), "{line}");
            let family = Family { help: unescape(help, false), ..Family::default() };
            assert!(families.insert(name.into(), family).is_none(), "{name} comes twice");
            current = name.into();
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("TYPE has a kind");
            let family = families.get_mut(name).filter(|_| name == current).expect("TYPE is after its HELP");
            assert!(family.kind.is_empty() && family.samples.is_empty(), "{name}: one TYPE, before samples");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            family.kind = kind.into();
        } else {
            let (name, sample) = parse_sample(line);
            let family = families.get_mut(&current).expect("a sample is of a family");
            let suffixes: &[&str] =
                if family.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            assert!(!family.kind.is_empty(), "{line}: TYPE comes before");
            let suffix = name.strip_prefix(&current).expect("the samples of a family are together");
            assert!(suffixes.contains(&suffix), "{line}");
            assert!(!family.samples.iter().any(|(n, s)| (n, &s.0) == (&name, &sample.0)), "{line}: twice");
            family.samples.push((name, sample));
        }
    }
    families.iter().for_each(|(name, family)| check_family(name, family));
    families
}

fn check_family(name: &str, family: &Family) {
    assert!(!family.samples.is_empty(), "{name} has no sample");
    match &*family.kind {
        "counter" => assert!(name.ends_with("_total"), "{name}"),
        "histogram" => check_histogram(name, family),
        _ => assert!(!name.ends_with("_total"), "{name}"),
    }
}

fn check_histogram(name: &str, family: &Family) {
    let of = |suffix: &str| {
        let line = format!("{name}{suffix}");
        family.samples.iter().filter(move |(name, _)| *name == line).map(|(_, sample)| sample)
    };
    let bounds: Vec<f64> = of("_bucket").map(|(labels, _)| number(&labels["le"])).collect();
    let counts: Vec<f64> = of("_bucket").map(|(_, count)| *count).collect();
    assert!(bounds.is_sorted_by(|a, b| a < b) && bounds.last() == Some(&f64::INFINITY), "{bounds:?}");
    assert!(counts.is_sorted(), "buckets are cumulative: {counts:?}");
    let (count, sum) = (of("_count").collect::<Vec<_>>(), of("_sum").collect::<Vec<_>>());
    assert_eq!((count.len(), sum.len()), (1, 1));
    assert_eq!(Some(&count[0].1), counts.last());
    let (least, most) = counts.windows(2).zip(bounds.windows(2)).fold((0.0, 0.0), |(least, most), (c, b)| {
        (least + (c[1] - c[0]) * b[0], if c[1] > c[0] { most + (c[1] - c[0]) * b[1] } else { most })
    });
    let most = most + counts[0] * bounds[0];
    assert!((least..=most).contains(&sum[0].1), "the sum {} is not in {least}..={most}", sum[0].1);
}

fn parse_sample(line: &str) -> (String, Sample) {
    let end = line.find(['{', ' ']).expect("behind the name is something");
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name, ":"), "{line}");
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, behind) = rest.split_once("=\"").expect("a label has a value");
            assert!(is_name(label, ""), "{line}");
            let end = end_of_value(behind);
            assert!(labels.insert(label.into(), unescape(&behind[..end], true)).is_none(), "{line}");
            rest = &behind[end + 1..];
            match rest.strip_prefix(',') {
                Some(next) => rest = next,
                None => break,
            }
        }
        rest = rest.strip_prefix('}').expect("labels end");
    }
    let value = rest.strip_prefix(' ').expect("a space is before the value");
    (name.into(), (labels, number(value)))
}

/// Where the quote is that ends a value.
fn end_of_value(text: &str) -> usize {
    let mut escaped = false;
    let is_end = |c: char| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    };
    text.find(is_end).expect("a value ends")
}

fn unescape(text: &str, in_label: bool) -> String {
    let (mut plain, mut chars) = (String::new(), text.chars());
    while let Some(c) = chars.next() {
        match c {
            '\\' => plain.push(match chars.next() {
                Some('\\') => '\\',
                Some('n') => '\n',
                Some('"') if in_label => '"',
                other => panic!("{other:?} cannot be escaped in {text:?}"),
            }),
            '"' if in_label => panic!("a quote in {text:?}"),
            c => plain.push(c),
        }
    }
    plain
}

/// Of a metric, which may have colons besides, or of a label.
fn is_name(name: &str, besides: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_' || besides.contains(c);
    name.starts_with(is_letter) && name.chars().all(|c| is_letter(c) || c.is_ascii_digit())
}

fn number(text: &str) -> f64 {
    match text {
        "+Inf" => f64::INFINITY,
        _ => text.parse().unwrap_or_else(|_| panic!("{text:?} is no number")),
    }
}

/// The metrics of a node that has measured something.
fn measured() -> Metrics {
    let start = |name: &str| Gossip::start(GossipConfig::local(name).bind(([127, 0, 0, 1], 0))).unwrap();
    let (a, b) = (start("a"), start("b"));
    b.join([a.local().addr.to_string()]).unwrap();
    await_that("a probe is answered", || b.metrics().probe_round_trip.count() > 0);
    b.metrics()
}

fn text(labels: &[(&str, &str)]) -> String {
    Metrics::default().prometheus_text(labels).unwrap()
}

#[test]
fn names_kinds_and_units_fit_the_conventions() {
    let (mut names, mut families) = (BTreeSet::new(), BTreeMap::new());
    let mut last = "";
    for metric in Metrics::default().iter() {
        assert!(names.insert(metric.name), "{} comes twice", metric.name);
        assert!(is_name(metric.family, "") && metric.family.starts_with("syncswim_"), "{metric:?}");
        let counter = metric.kind == MetricKind::Counter;
        assert_eq!(metric.family.ends_with("_total"), counter, "{metric:?}");
        let base = metric.family.trim_end_matches("_total");
        let unit = match metric.unit {
            MetricUnit::Bytes => base.ends_with("_bytes"),
            MetricUnit::Seconds => base.ends_with("_seconds"),
            _ => !base.ends_with("_bytes") && !base.ends_with("_seconds"),
        };
        assert!(unit, "{metric:?}");
        assert!(metric.help.ends_with('.') && !metric.help.contains(['\n', '[']), "{metric:?}");
        assert!(metric.label.is_none_or(|(name, _)| is_name(name, "")));
        assert_eq!(metric.value.number().is_none(), metric.kind == MetricKind::Histogram);
        // The metrics of a family follow each other, have one help and one kind, and differ in their labels.
        let of_family = families.entry(metric.family).or_insert_with(|| {
            last = metric.family;
            (metric.help, metric.kind, BTreeSet::new())
        });
        assert_eq!((last, of_family.0, of_family.1), (metric.family, metric.help, metric.kind));
        assert!(of_family.2.insert(metric.label), "{metric:?}");
    }
}

#[test]
fn the_text_says_what_the_metrics_are() {
    let metrics = measured();
    let families = parse(&metrics.prometheus_text(&[("node", "b"), ("zone", "1")]).unwrap());
    let labels = |own: Option<(&str, &str)>| -> BTreeMap<String, String> {
        let all = [("node", "b"), ("zone", "1")].into_iter().chain(own);
        all.map(|(name, value)| (name.into(), value.into())).collect()
    };
    for metric in metrics.iter() {
        let family = &families[metric.family];
        assert_eq!((&*family.help, &*family.kind), (metric.help, &*metric.kind.to_string()));
        if let Some(value) = metric.value.number() {
            let line = (metric.family.to_owned(), (labels(metric.label), value as f64));
            assert!(family.samples.contains(&line), "{line:?} is not in {family:?}");
        }
    }
    let families: BTreeSet<&str> = families.keys().map(AsRef::as_ref).collect();
    assert_eq!(families, metrics.iter().map(|metric| metric.family).collect());
    assert_eq!((metrics.alive_members, metrics.member_joins), (2, 1));
}

#[test]
fn the_round_trips_are_in_the_text() {
    let metrics = measured();
    let families = parse(&metrics.prometheus_text(&[]).unwrap());
    let family = &families["syncswim_probe_round_trip_seconds"];
    let sample = |name: &str| family.samples.iter().find(|(line, _)| line.ends_with(name)).unwrap().1.1;
    assert_eq!(sample("_count") as u64, metrics.probe_round_trip.count());
    assert!((sample("_sum") - metrics.probe_round_trip.sum().as_secs_f64()).abs() < 1e-9);
    let buckets = family.samples.iter().filter(|(line, _)| line.ends_with("_bucket")).count();
    assert_eq!(buckets, syncswim::Histogram::BOUNDS.len() + 1);
}

#[test]
fn what_cannot_be_a_label_is_refused_with_the_reason() {
    for (labels, problem) in [
        (&[("", "x")][..], "\"\" is empty"),
        (&[("1st", "x")], "begins with a digit"),
        (&[("a-b", "x")], "\"a-b\" has a character"),
        (&[("é", "x")], "has a character"),
        (&[("a b", "x")], "has a character"),
        (&[("__name__", "x")], "keeps for itself"),
        (&[("le", "x")], "of the metrics themselves"),
        (&[("ok", "x"), ("state", "x")], "\"state\" is a label of the metrics"),
        (&[("a", "x"), ("b", "x"), ("a", "y")], "\"a\" is given twice"),
    ] {
        let error = Metrics::default().prometheus_text(labels).unwrap_err().to_string();
        assert!(error.contains(problem) && error.contains("labels"), "{labels:?}: {error}");
    }
}

proptest! {
    #[test]
    fn any_value_of_a_label_can_be_read_back(
        labels in prop::collection::btree_map("[a-zA-Z][a-zA-Z0-9_]{0,8}", any::<String>(), 0..4),
        special in "[\\\\\"\n{},= n]{0,12}",
    ) {
        let mut labels = labels;
        labels.insert("special_".into(), special);
        labels.retain(|name, _| name != "le" && name != "state");
        let pairs: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (&**name, &**value)).collect();
        for (name, family) in parse(&text(&pairs)) {
            for (line, (mut found, _)) in family.samples {
                let own = if name == "syncswim_members" { found.remove("state") } else { found.remove("le") };
                prop_assert_eq!(own.is_some(), line == "syncswim_members" || line.ends_with("_bucket"));
                prop_assert_eq!(&found, &labels);
            }
        }
    }

    #[test]
    fn a_name_is_taken_if_the_format_has_it_and_else_refused(name in "\\PC{0,6}|[a-z_][a-z0-9_]{0,5}") {
        let free = is_name(&name, "") && !name.starts_with("__") && name != "le" && name != "state";
        let text = Metrics::default().prometheus_text(&[(&name, "x")]);
        prop_assert_eq!(text.is_ok(), free, "{:?}", name);
    }
}

#[test]
fn promtool_finds_nothing() {
    let text = measured().prometheus_text(&[("node", "b \"1\"\\\n")]).unwrap();
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else {
        return println!(
            "promtool is not installed (Debian: apt-get install prometheus): not tested with it"
        );
    };
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.is_empty(), "{said}\n{text}");
}
