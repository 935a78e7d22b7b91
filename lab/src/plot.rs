//! SVG plots.

use std::{error::Error, path::Path};

use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Of a plot of curves, without its legend.
const WIDTH: u32 = 760;
const HEIGHT: u32 = 450;
/// The height of the title and the parameters.
const HEAD: i32 = 54;
/// More samples than these are thinned, since no reader could see them.
const POINTS: usize = 500;

/// The text around the curves of a plot.
#[derive(Debug, Clone, Copy)]
pub struct Caption<'a> {
    /// Of the file, without ending.
    pub name: &'a str,
    /// What it shows.
    pub title: &'a str,
    /// The parameters of the run, below the title.
    pub parameters: &'a str,
    /// What is on this axis, with its unit.
    pub x: &'a str,
    /// The same.
    pub y: &'a str,
}

/// Cumulative distributions: the share of the samples that is at most x. A sample that is not a number stands for an event
/// that did not happen: its share is missing at the top.
pub fn distribution(folder: Option<&Path>, caption: Caption<'_>, curves: &[(String, Vec<f64>)]) {
    let curves: Vec<_> = curves
        .iter()
        .map(|(label, samples)| {
            let mut sorted = samples.clone();
            sorted.sort_by(f64::total_cmp);
            let (n, step) = (sorted.len(), sorted.len().div_ceil(POINTS).max(1));
            let points = sorted.into_iter().enumerate().map(|(i, x)| (x, (i + 1) as f64 / n as f64));
            let points = points.filter(|(x, _)| x.is_finite()).collect::<Vec<_>>();
            // From the end, so that the maximum stays.
            (label.clone(), points.into_iter().rev().step_by(step).collect())
        })
        .collect();
    lines(folder, caption, &curves);
}

/// Lines through points.
pub fn lines(folder: Option<&Path>, caption: Caption<'_>, curves: &[(String, Vec<(f64, f64)>)]) {
    let Some(folder) = folder else { return };
    let path = folder.join(format!("{}.svg", caption.name));
    if let Err(problem) = draw_lines(&path, caption, curves) {
        eprintln!("{} was not written: {problem}", path.display());
    }
}

fn draw_lines(
    path: &Path,
    caption: Caption<'_>,
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
    // The legend is at the right, where no curve runs under it.
    let longest = curves.iter().map(|(label, _)| label.chars().count()).max().unwrap_or_default();
    let legend = u32::try_from(40 + 7 * longest)?;
    let area = SVGBackend::new(path, (WIDTH + legend, HEIGHT)).into_drawing_area();
    area.fill(&WHITE)?;
    head(&area, caption.title, caption.parameters)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .margin_top(HEAD)
        .margin_right(legend)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(range(|p| p.0), range(|p| p.1))?;
    chart.configure_mesh().x_desc(caption.x).y_desc(caption.y).light_line_style(WHITE).draw()?;
    for (i, (label, points)) in curves.iter().enumerate() {
        let colour = Palette99::pick(i).stroke_width(2);
        chart.draw_series(LineSeries::new(points.iter().copied(), colour))?;
        let (x, y) = (i32::try_from(WIDTH)? + 4, HEAD + 8 + 18 * i32::try_from(i)?);
        area.draw(&PathElement::new([(x, y), (x + 16, y)], colour))?;
        area.draw(&Text::new(label.clone(), (x + 22, y - 6), text(12, &BLACK)))?;
    }
    area.present()?;
    Ok(())
}

/// Title and parameters.
fn head(area: &Area<'_>, title: &str, parameters: &str) -> Result<(), Box<dyn Error>> {
    area.draw(&Text::new(title.to_owned(), (10, 8), text(16, &BLACK)))?;
    area.draw(&Text::new(parameters.to_owned(), (10, 29), text(12, &BLACK.mix(0.7))))?;
    Ok(())
}

fn text<'a>(size: i32, colour: &impl Color) -> TextStyle<'a> {
    ("sans-serif", size).into_font().color(colour)
}

/// The value of a bar, with its range as a whisker.
#[derive(Debug, Clone, Copy)]
pub struct Bar {
    /// The height.
    pub median: f64,
    /// The lower end of the whisker.
    pub min: f64,
    /// The upper end.
    pub max: f64,
}

/// Bars in groups, each with a label. All groups have a place for each of the names, which may be empty. `title` has the unit.
///
/// # Errors
///
/// The file cannot be written.
pub fn bars(
    path: &Path,
    title: &str,
    parameters: &str,
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
    let area = SVGBackend::new(path, (width, 330)).into_drawing_area();
    area.fill(&WHITE)?;
    head(&area, title, parameters)?;
    let colour = |i: usize| Palette99::pick(i);
    for (i, name) in names.iter().enumerate() {
        let x = 70 + LEGEND * i32::try_from(i)?;
        area.draw(&Rectangle::new([(x, HEAD), (x + 12, HEAD + 12)], colour(i).filled()))?;
        area.draw(&Text::new((*name).to_owned(), (x + 17, HEAD + 1), text(12, &BLACK)))?;
    }
    let mut chart = ChartBuilder::on(&area)
        .margin_top(HEAD + 26)
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
        let centred = text(12, &BLACK).pos(Pos::new(HPos::Center, VPos::Top));
        area.draw(&Text::new(label.clone(), (x, y + 6), centred))?;
    }
    area.present()?;
    Ok(())
}
