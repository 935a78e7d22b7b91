//! Bar charts as SVG, by hand: a group for each size, a bar for each peer, its range as a whisker.

use std::fmt::Write;

use crate::{options::Options, parent::Results, report::Summary, scenario::Metric};

const COLOURS: [&str; 7] = ["#1b6ca8", "#e07a2f", "#3a9a5b", "#b03a48", "#7d5ba6", "#7a7a7a", "#c2a21e"];
const BAR: f64 = 22.0;
const GAP: f64 = 30.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 60.0;
const HEIGHT: f64 = 220.0;

pub(crate) fn svg(metric: &Metric, options: &Options, results: &Results) -> String {
    let summary = |size: usize, peer: &str| {
        let samples = results.get(&(size, metric_peer(options, peer)?))?;
        Summary::of(samples.values.get(metric.key)?)
    };
    let cells = || options.sizes.iter().flat_map(|size| options.peers.iter().map(|peer| (*size, peer.name)));
    let highest = cells().filter_map(|(size, peer)| summary(size, peer)).map(|s| s.max).fold(0.0, f64::max);
    let step = step(highest);
    let top = ((highest / step).ceil() * step).max(step);
    let y = |value: f64| TOP + HEIGHT * (1.0 - value / top);
    let group = BAR * options.peers.len() as f64 + GAP;
    let width =
        (LEFT + group * options.sizes.len() as f64 + 20.0).max(LEFT + 110.0 * options.peers.len() as f64);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        TOP + HEIGHT + 30.0
    );
    let mut put = |line: String| writeln!(out, "{line}").expect("a string takes everything");
    let unit = if metric.unit.is_empty() { String::new() } else { format!(", {}", metric.unit) };
    put(format!("<text x=\"10\" y=\"20\" font-size=\"14\">{}{unit}</text>", metric.label));
    for (i, peer) in options.peers.iter().enumerate() {
        let x = LEFT + 110.0 * i as f64;
        let colour = COLOURS[i % COLOURS.len()];
        put(format!("<rect x=\"{x}\" y=\"32\" width=\"12\" height=\"12\" fill=\"{colour}\"/>"));
        put(format!("<text x=\"{}\" y=\"43\">{}</text>", x + 17.0, peer.name));
    }
    let lines = (top / step).round() as usize;
    for line in 0..=lines {
        let value = step * line as f64;
        let at = y(value);
        put(format!("<line x1=\"{LEFT}\" x2=\"{width}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>"));
        put(format!(
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            at + 4.0,
            tick(value)
        ));
    }
    for (i, size) in options.sizes.iter().enumerate() {
        let left = LEFT + GAP / 2.0 + group * i as f64;
        let middle = left + (group - GAP) / 2.0;
        let base = TOP + HEIGHT + 18.0;
        put(format!("<text x=\"{middle:.1}\" y=\"{base}\" text-anchor=\"middle\">{size} nodes</text>"));
        for (j, peer) in options.peers.iter().enumerate() {
            let Some(Summary { median, min, max }) = summary(*size, peer.name) else { continue };
            let (x, colour) = (left + BAR * j as f64, COLOURS[j % COLOURS.len()]);
            let (bar, height) = (BAR - 4.0, y(0.0) - y(median));
            put(format!(
                "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{bar}\" height=\"{height:.1}\" fill=\"{colour}\"/>",
                y(median)
            ));
            let centre = x + bar / 2.0;
            put(format!(
                "<line x1=\"{centre:.1}\" x2=\"{centre:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"black\"/>",
                y(max),
                y(min)
            ));
        }
    }
    out.push_str("</svg>\n");
    out
}

fn metric_peer(options: &Options, name: &str) -> Option<&'static str> {
    options.peers.iter().map(|peer| peer.name).find(|known| *known == name)
}

/// A round distance between lines, with about five of them.
fn step(highest: f64) -> f64 {
    let rough = (highest / 5.0).max(1e-6);
    let power = 10f64.powf(rough.log10().floor());
    let round = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= rough);
    round.unwrap_or(10.0) * power
}

fn tick(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
