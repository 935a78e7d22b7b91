//! The metrics from the side of a monitoring system: their names, and the text format of Prometheus.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use proptest::prelude::*;
use support::await_that;
use syncswim::{Gossip, GossipConfig, MetricKind, MetricLabel, MetricUnit, Metrics};

/// A sample: its labels, sorted, and its value.
type Sample = (BTreeMap<String, String>, f64);

/// One family in the text.
#[derive(Debug, Default)]
struct Family {
    help: String,
    kind: String,
    /// With the name of the line, which has a suffix for histograms.
    samples: Vec<(String, Sample)>,
}

/// Reads a text as <https://prometheus.io/docs/instrumenting/exposition_formats/> describes version 0.0.4, and panics where
/// it breaks a rule. Where that page leaves a choice to the writer, it expects this library's: HELP, TYPE, then the samples
/// of one family.
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

/// The position of the quote that ends a value.
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

/// Whether it is the name of a label or, with `besides`, of a metric, which may have colons too.
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
        assert!(metric.label.as_ref().is_none_or(|label| is_name(label.name, "")));
        assert_eq!(metric.value.number().is_none(), metric.kind == MetricKind::Histogram);
        // The metrics of a family follow each other, have one help and one kind, and differ in their labels.
        let of_family = families.entry(metric.family).or_insert_with(|| {
            last = metric.family;
            (metric.help, metric.kind, BTreeSet::new())
        });
        assert_eq!((last, of_family.0, of_family.1), (metric.family, metric.help, metric.kind));
        assert!(of_family.2.insert(metric.label.clone().map(|label| label.value)), "{metric:?}");
    }
}

#[test]
fn the_prometheus_text_has_every_metric() {
    let metrics = measured();
    let families = parse(&metrics.prometheus_text(&[("node", "b"), ("zone", "1")]).unwrap());
    let labels = |own: &Option<MetricLabel>| -> BTreeMap<String, String> {
        let own = own.iter().map(|own| (own.name, own.value));
        let all = [("node", "b"), ("zone", "1")].into_iter().chain(own);
        all.map(|(name, value)| (name.into(), value.into())).collect()
    };
    for metric in metrics.iter() {
        let family = &families[metric.family];
        assert_eq!((&*family.help, &*family.kind), (metric.help, &*metric.kind.to_string()));
        if let Some(value) = metric.value.number() {
            let line = (metric.family.to_owned(), (labels(&metric.label), value as f64));
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
fn invalid_labels_are_refused_with_the_reason() {
    for (labels, problem) in [
        (&[("", "x")][..], "\"\", which is empty; give"),
        (&[("1st", "x")], "begins with a digit"),
        (&[("a-b", "x")], "\"a-b\", which has other characters"),
        (&[("é", "x")], "has other characters"),
        (&[("a b", "x")], "has other characters"),
        (&[("__name__", "x")], "keeps for itself"),
        (&[("le", "x")], "of the metrics themselves"),
        (&[("ok", "x"), ("state", "x")], "\"state\", which is a label of the metrics"),
        (&[("a", "x"), ("b", "x"), ("a", "y")], "\"a\", which is given twice; give it once"),
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

/// Runs Prometheus' own tool with this input. Returns `None`, and prints a line, where it is not installed.
fn promtool(arguments: &[&str], input: &str) -> Option<Output> {
    let mut command = Command::new("promtool");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut promtool) = command.spawn() else {
        println!("promtool is not installed (Debian: apt-get install prometheus): not tested with it");
        return None;
    };
    promtool.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    Some(promtool.wait_with_output().unwrap())
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout))
}

#[test]
fn promtool_finds_nothing_in_the_text() {
    let text = measured().prometheus_text(&[("node", "b \"1\"\\\n")]).unwrap();
    let Some(output) = promtool(&["check", "metrics"], &text) else { return };
    assert!(output.status.success() && said(&output).is_empty(), "{}\n{text}", said(&output));
}

#[test]
fn the_alerts_fire_when_they_should() {
    let Some(output) = promtool(&["test", "rules", operating("alerts_test.yml").to_str().unwrap()], "")
    else {
        return;
    };
    assert!(output.status.success(), "{}", said(&output));
}

/// The path of a file in docs/operating.
fn operating(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operating").join(file)
}

#[test]
fn the_table_in_the_documentation_lists_the_metrics() {
    let mut table =
        "| in `Metrics`, C and Python | in Prometheus | kind | unit | meaning |\n|---|---|---|---|---|\n"
            .to_owned();
    for metric in Metrics::default().iter() {
        let label =
            metric.label.map_or(String::new(), |label| format!("{{{}=\"{}\"}}", label.name, label.value));
        let (name, family, kind, unit, help) =
            (metric.name, metric.family, metric.kind, metric.unit, metric.help);
        table += &format!("| `{name}` | `{family}{label}` | {kind} | {unit} | {help} |\n");
    }
    let path = operating("METRICS.md");
    let text = fs::read_to_string(&path).unwrap();
    let end =
        text.find(" the_table -->\n\n").expect("the mark before the table") + " the_table -->\n\n".len();
    if env::var_os("SYNCSWIM_WRITE").is_some() {
        fs::write(&path, text[..end].to_owned() + &table).unwrap();
    } else {
        assert_eq!(text[end..], table, "write it anew: SYNCSWIM_WRITE=1 cargo test --test metrics the_table");
    }
}

/// All names of metrics in a text, without the suffixes of histograms.
fn names_in(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let names = words.filter(|word| word.starts_with("syncswim_") && !word.ends_with('_'));
    names.map(|name| name.strip_suffix("_bucket").unwrap_or(name)).collect()
}

#[test]
fn dashboard_and_alerts_know_the_names() {
    let families: BTreeSet<&str> = Metrics::default().iter().map(|metric| metric.family).collect();
    for file in ["dashboard.json", "alerts.yml", "alerts_test.yml"] {
        let text = fs::read_to_string(operating(file)).unwrap();
        let unknown: Vec<_> = names_in(&text).difference(&families).copied().collect::<Vec<_>>();
        assert!(unknown.is_empty(), "{file} has {unknown:?}");
        assert!(names_in(&text).len() > 5, "{file}");
    }
}

#[test]
fn prometheus_understands_every_query_of_the_dashboard() {
    let text = fs::read_to_string(operating("dashboard.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let queries: Vec<&str> = targets.map(|target| target["expr"].as_str().unwrap()).collect();
    assert!(queries.len() > 20, "{queries:?}");
    // One rule for each; Grafana fills in the variable.
    let rules = queries.iter().enumerate().map(|(at, query)| {
        let query = query.replace("$__rate_interval", "1m");
        serde_json::json!({ "record": format!("query:{at}"), "expr": query })
    });
    let rules = serde_json::json!({ "groups": [{ "name": "queries", "rules": rules.collect::<Vec<_>>() }] });
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dashboard-queries.yml");
    fs::write(&path, rules.to_string()).unwrap();
    let Some(output) = promtool(&["check", "rules", path.to_str().unwrap()], "") else { return };
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn panels_have_titles_descriptions_and_places_of_their_own() {
    let text = fs::read_to_string(operating("dashboard.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let (mut cells, mut ids) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()) && !panel["title"].as_str().unwrap().is_empty());
        assert!(panel["type"] == "row" || !panel["description"].as_str().unwrap().is_empty(), "{panel}");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
        assert!(x + w <= 24, "{panel}");
        let own = (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y)));
        own.for_each(|cell| assert!(cells.insert(cell), "{cell:?} has two panels: {panel}"));
    }
}
