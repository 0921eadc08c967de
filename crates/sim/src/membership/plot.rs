//! The figures of a run as pictures (SVG).

use std::error::Error;
use std::ops::Range;
use std::path::{Path, PathBuf};

use plotters::coord::Shift;
use plotters::prelude::*;

use super::report::{Report, Series};

type Failed = Box<dyn Error>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const SIZE: (u32, u32) = (800, 450);
const MEASURED: RGBColor = RGBColor(31, 119, 180);
const RANDOM: RGBColor = RGBColor(214, 39, 40);
const TEXT: &str = "sans-serif";

/// One curve over rounds.
struct Curve<'a> {
    name: &'a str,
    points: Vec<(f64, f64)>,
    colour: RGBColor,
}

/// Draws what there is into `directory`, which is made when it is missing; comes back with the files.
pub fn plot(report: &Report, directory: &Path) -> Result<Vec<PathBuf>, Failed> {
    std::fs::create_dir_all(directory)?;
    let mut files = Vec::new();
    if let Some(series) = &report.series {
        files.push(in_degree(series, directory.join("in-degree.svg"))?);
        let of = |value: fn(&super::RoundFigures) -> f64| {
            series.rounds.iter().map(|at| (f64::from(at.round), value(at))).collect::<Vec<_>>()
        };
        let path = of(|at| at.mean_path);
        let file = directory.join("path.svg");
        files.push(over_rounds(
            "Mean path between live nodes",
            "hops",
            path,
            Some(report.random_mean_path),
            file,
        )?);
        let clustering = of(|at| at.clustering);
        let file = directory.join("clustering.svg");
        files.push(over_rounds("Clustering", "share", clustering, Some(report.random_clustering), file)?);
    }
    if !report.dead_links.is_empty() {
        let dead = report.dead_links.iter().map(|at| (f64::from(at.round), at.fraction)).collect();
        let file = directory.join("dead-links.svg");
        files.push(over_rounds("Links of live nodes that lead to dead ones", "share", dead, None, file)?);
    }
    Ok(files)
}

fn in_degree(series: &Series, file: PathBuf) -> Result<PathBuf, Failed> {
    let bars: Vec<(u32, u32)> =
        series.in_degrees.iter().enumerate().map(|(degree, &nodes)| (degree as u32, nodes)).collect();
    let highest = bars.iter().map(|bar| bar.1).max().unwrap_or(0);
    let area = SVGBackend::new(&file, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption("In-degree of live nodes after the last round", (TEXT, 20))
        .margin(15)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d(-0.5..bars.len() as f64 - 0.5, 0.0..f64::from(highest.max(1)) * 1.05)?;
    chart.configure_mesh().disable_x_mesh().x_desc("links to a node").y_desc("nodes").draw()?;
    chart.draw_series(bars.iter().map(|&(degree, nodes)| {
        let (degree, nodes) = (f64::from(degree), f64::from(nodes));
        Rectangle::new([(degree - 0.4, 0.0), (degree + 0.4, nodes)], MEASURED.filled())
    }))?;
    finish(area, file.clone())
}

/// `random` is the same figure of a random graph. Values over several powers of ten get a logarithmic scale.
fn over_rounds(
    title: &str,
    unit: &str,
    points: Vec<(f64, f64)>,
    random: Option<f64>,
    file: PathBuf,
) -> Result<PathBuf, Failed> {
    let ends = points.first().zip(points.last());
    let (first, last) = ends.map_or((0.0, 1.0), |(first, last)| (first.0, last.0.max(first.0 + 1.0)));
    let all = || points.iter().map(|point| point.1).chain(random);
    let (low, high) = all()
        .filter(|value| *value > 0.0)
        .fold((f64::MAX, 0.0f64), |(low, high), value| (low.min(value), high.max(value)));
    let mut curves = vec![Curve { name: "measured", points: points.clone(), colour: MEASURED }];
    if let Some(random) = random {
        curves.push(Curve {
            name: "random graph",
            points: vec![(first, random), (last, random)],
            colour: RANDOM,
        });
    }
    let area = SVGBackend::new(&file, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut builder = ChartBuilder::on(&area);
    builder.caption(title, (TEXT, 20)).margin(15).x_label_area_size(40).y_label_area_size(70);
    macro_rules! draw {
        ($scale:expr) => {{
            let mut chart = builder.build_cartesian_2d(first..last, $scale)?;
            chart.configure_mesh().x_desc("rounds").y_desc(unit).draw()?;
            for Curve { name, points, colour } in curves {
                let line = LineSeries::new(points, colour.stroke_width(2));
                let key = move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2));
                chart.draw_series(line)?.label(name).legend(key);
            }
            chart
                .configure_series_labels()
                .background_style(WHITE)
                .border_style(BLACK.mix(0.3))
                .label_font((TEXT, 14))
                .draw()?;
        }};
    }
    let scale: Range<f64> = 0.0..(high * 1.05).max(f64::MIN_POSITIVE);
    if random.is_some() && high > 100.0 * low {
        draw!((low / 2.0..high * 2.0).log_scale())
    } else {
        draw!(scale)
    }
    finish(area, file.clone())
}

fn finish(area: Area<'_>, file: PathBuf) -> Result<PathBuf, Failed> {
    area.present()?;
    Ok(file)
}
