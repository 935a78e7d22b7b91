//! SVG plots.

use std::path::Path;

use plotters::prelude::*;

const COLOURS: usize = 6;
/// More samples than these are thinned: nobody would see them.
const POINTS: usize = 500;

/// Cumulative distributions: which share of the samples is at most x.
pub fn distribution(folder: Option<&Path>, name: &str, x: &str, curves: &[(String, Vec<f64>)]) {
    let curves: Vec<_> = curves
        .iter()
        .map(|(label, samples)| {
            let mut sorted = samples.clone();
            sorted.sort_by(f64::total_cmp);
            let (n, step) = (sorted.len(), sorted.len().div_ceil(POINTS).max(1));
            let points = sorted.into_iter().enumerate().map(|(i, x)| (x, (i + 1) as f64 / n as f64));
            // From the end, so that the maximum stays.
            (label.clone(), points.rev().step_by(step).collect())
        })
        .collect();
    lines(folder, name, x, "share", &curves);
}

/// Lines through points.
pub fn lines(folder: Option<&Path>, name: &str, x: &str, y: &str, curves: &[(String, Vec<(f64, f64)>)]) {
    let Some(folder) = folder else { return };
    let path = folder.join(format!("{name}.svg"));
    if let Err(problem) = draw(&path, x, y, curves) {
        eprintln!("{} was not written: {problem}", path.display());
    }
}

fn draw(
    path: &Path,
    x: &str,
    y: &str,
    curves: &[(String, Vec<(f64, f64)>)],
) -> Result<(), Box<dyn std::error::Error>> {
    let points = || curves.iter().flat_map(|(_, points)| points);
    let range = |pick: fn(&(f64, f64)) -> f64| {
        let low = points().map(pick).fold(f64::INFINITY, f64::min);
        let high = points().map(pick).fold(f64::NEG_INFINITY, f64::max);
        let margin = ((high - low) * 0.03).max(1e-6);
        low - margin..high + margin
    };
    if points().next().is_none() {
        return Err("there is nothing to draw".into());
    }
    let area = SVGBackend::new(path, (800, 420)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(range(|p| p.0), range(|p| p.1))?;
    chart.configure_mesh().x_desc(x).y_desc(y).light_line_style(WHITE).draw()?;
    for (i, (label, points)) in curves.iter().enumerate() {
        let colour = Palette99::pick(i % COLOURS).stroke_width(2);
        chart
            .draw_series(LineSeries::new(points.iter().copied(), colour))?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .position(SeriesLabelPosition::LowerRight)
        .draw()?;
    area.present()?;
    Ok(())
}
