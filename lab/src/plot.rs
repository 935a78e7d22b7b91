//! SVG plots.

use std::{error::Error, path::Path};

use plotters::{
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

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
    if let Err(problem) = draw_lines(&path, x, y, curves) {
        eprintln!("{} was not written: {problem}", path.display());
    }
}

fn draw_lines(
    path: &Path,
    x: &str,
    y: &str,
    curves: &[(String, Vec<(f64, f64)>)],
) -> Result<(), Box<dyn Error>> {
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

/// What a bar shows: a value, and as a whisker what it ranges over.
#[derive(Debug, Clone, Copy)]
pub struct Bar {
    /// The height.
    pub median: f64,
    /// The lower end of the whisker.
    pub min: f64,
    /// The upper end.
    pub max: f64,
}

/// Bars in groups, each with a label. All groups have a place for each of the names, which may be empty.
///
/// # Errors
///
/// The file cannot be written.
pub fn bars(
    path: &Path,
    title: &str,
    names: &[&str],
    groups: &[(String, Vec<Option<Bar>>)],
) -> Result<(), Box<dyn Error>> {
    const LEGEND: i32 = 110;
    let highest = groups.iter().flat_map(|(_, bars)| bars.iter().flatten()).map(|bar| bar.max);
    let top = highest.fold(f64::MIN_POSITIVE, f64::max) * 1.05;
    // One place more than there are names keeps the groups apart.
    let places = names.len() + 1;
    let wanted = [70 + 22 * places * groups.len(), 70 + LEGEND as usize * names.len()];
    let width = u32::try_from(wanted.into_iter().max().unwrap_or_default())?;
    let area = SVGBackend::new(path, (width, 310)).into_drawing_area();
    area.fill(&WHITE)?;
    let text = |size: i32| ("sans-serif", size).into_font().color(&BLACK);
    area.draw(&Text::new(title.to_owned(), (10, 8), text(14)))?;
    let colour = |i: usize| Palette99::pick(i);
    for (i, name) in names.iter().enumerate() {
        let x = 70 + LEGEND * i32::try_from(i)?;
        area.draw(&Rectangle::new([(x, 32), (x + 12, 44)], colour(i).filled()))?;
        area.draw(&Text::new((*name).to_owned(), (x + 17, 33), text(12)))?;
    }
    let mut chart = ChartBuilder::on(&area)
        .margin_top(60)
        .x_label_area_size(30)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..(places * groups.len()) as f64, 0.0..top)?;
    chart.configure_mesh().disable_x_mesh().x_labels(0).y_labels(6).light_line_style(WHITE).draw()?;
    for (g, (label, bars)) in groups.iter().enumerate() {
        let left = (g * places) as f64 + 0.5;
        for (i, bar) in bars.iter().enumerate() {
            let Some(Bar { median, min, max }) = *bar else { continue };
            let x = left + i as f64;
            chart.draw_series([Rectangle::new([(x + 0.1, 0.0), (x + 0.9, median)], colour(i).filled())])?;
            chart.draw_series([PathElement::new([(x + 0.5, min), (x + 0.5, max)], BLACK)])?;
        }
        let (x, y) = chart.backend_coord(&(left + names.len() as f64 / 2.0, 0.0));
        let centred = text(12).pos(Pos::new(HPos::Center, VPos::Top));
        area.draw(&Text::new(label.clone(), (x, y + 6), centred))?;
    }
    area.present()?;
    Ok(())
}
