//! Tables of medians with what they range over, for the terminal and for Markdown.

use crate::{
    options::Options,
    parent::Results,
    peers::Peer,
    scenario::Metric,
    timing::{Figure, Nanos},
};

/// A median with its range.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Summary {
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
            _ => sorted[middle],
        };
        Some(Self { median, min, max })
    }
}

pub(crate) struct Table {
    title: String,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
}

impl Table {
    pub(crate) fn new(title: impl Into<String>, head: &[&str]) -> Self {
        let head = head.iter().map(|cell| (*cell).to_owned()).collect();
        Self { title: title.into(), head, rows: Vec::new(), notes: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    pub(crate) fn print(&self) {
        let width = |column: usize| {
            let cells = self.rows.iter().chain([&self.head]).filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        println!("\n{}\n", self.title);
        for row in [&self.head].into_iter().chain(&self.rows) {
            let cells = row.iter().zip(&widths).enumerate();
            let line: Vec<String> = cells
                .map(|(column, (cell, width))| match column {
                    0 => format!("{cell:<width$}"),
                    _ => format!("{cell:>width$}"),
                })
                .collect();
            println!("{}", line.join("  ").trim_end());
        }
        self.notes.iter().for_each(|note| println!("– {note}"));
    }

    pub(crate) fn markdown(&self) -> String {
        let line = |row: &Vec<String>| format!("| {} |\n", row.join(" | "));
        let rule = format!("| --- |{}\n", " ---: |".repeat(self.head.len() - 1));
        let rows: String = self.rows.iter().map(line).collect();
        let mut notes: String = self.notes.iter().map(|note| format!("- {note}\n")).collect();
        if !notes.is_empty() {
            notes.push('\n');
        }
        format!("## {}\n\n{}{rule}{rows}\n{notes}", self.title, line(&self.head))
    }
}

/// The summary of one metric, from the runs of one peer at one size.
pub(crate) fn summary(results: &Results, size: usize, peer: &Peer, metric: &Metric) -> Option<Summary> {
    let samples = results.get(&(size, peer.name))?;
    Summary::of(samples.values.get(metric.key)?)
}

/// Metrics in rows, peers in columns; under each figure its range and its ratio to the first peer's.
pub(crate) fn cluster_table(
    title: impl Into<String>,
    metrics: &[Metric],
    size: usize,
    peers: &[&'static Peer],
    results: &Results,
) -> Table {
    let names: Vec<&str> = peers.iter().map(|peer| peer.name).collect();
    let mut table = Table::new(title, &[&["median (min–max) ratio"], &names[..]].concat());
    let summary = |peer: &Peer, metric: &Metric| summary(results, size, peer, metric);
    for metric in metrics {
        let reference = peers.first().and_then(|first| summary(first, metric)).map(|summary| summary.median);
        let cells = peers.iter().enumerate().map(|(column, peer)| match summary(peer, metric) {
            None => "–".to_owned(),
            Some(summary) => cell(metric, summary, reference.filter(|_| column > 0)),
        });
        table.row(std::iter::once(metric.title()).chain(cells));
    }
    for peer in peers {
        let lacks = peer.lacks.filter(|_| metrics.iter().any(|metric| metric.key == "leave"));
        let own = lacks.map(str::to_owned).into_iter();
        let notes = results.get(&(size, peer.name)).map_or(&[][..], |samples| &samples.notes);
        own.chain(notes.iter().cloned()).for_each(|note| table.note(format!("{}: {note}", peer.name)));
    }
    table
}

fn cell(metric: &Metric, summary: Summary, reference: Option<f64>) -> String {
    let Summary { median, min, max } = summary;
    let decimals = metric.decimals;
    let range = if min == max { String::new() } else { format!(" ({min:.decimals$}–{max:.decimals$})") };
    // There is no ratio to zero.
    let ratio = reference.filter(|reference| *reference > 0.0).map_or(String::new(), |reference| {
        let ratio = median / reference;
        if ratio < 10.0 { format!(" {ratio:.2}×") } else { format!(" {ratio:.0}×") }
    });
    format!("{median:.decimals$}{range}{ratio}")
}

/// A time with its range, and how many times the reference it is.
pub(crate) fn time_cells(figure: &Figure, reference: Option<&Figure>) -> [String; 3] {
    let Figure { median, min, max, .. } = *figure;
    let ratio = reference.map_or("–".to_owned(), |reference| ratio(median, reference.median));
    [median.to_string(), format!("{min}–{max}"), ratio]
}

fn ratio(time: Nanos, reference: Nanos) -> String {
    let ratio = time.0 / reference.0;
    if ratio < 10.0 { format!("{ratio:.2}×") } else { format!("{ratio:.0}×") }
}

/// The versions, presets and numbers of runs of the comparison.
pub(crate) fn notes(options: &Options, presets: &str) -> String {
    format!(
        "Presets: LAN, and where a library has the knob a probe every 1 s, its timeout 500 ms, gossip every 200 ms.\n\n\
         {presets}\n\
         {} runs; {} s of rest after convergence, idle figures over {} s, {} crash(es) per run. A ratio is to \
         syncswim.\n",
        options.runs,
        options.settle.as_secs(),
        options.idle.as_secs(),
        options.crashes,
    )
}
