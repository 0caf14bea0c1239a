//! Curves with logarithmic axes, as SVG that is readable on a light and on a dark page.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, anyhow};
use plotters::{chart::SeriesLabelPosition, coord::ranged1d::Ranged, prelude::*};

use super::report::{Samples, thousands};

const SIZE: (u32, u32) = (800, 440);
const BACKGROUND: RGBColor = RGBColor(255, 255, 255);
const TEXT: RGBColor = RGBColor(31, 35, 40);
const GRID: RGBColor = RGBColor(223, 227, 232);
/// The colours that a dark page replaces, with their replacements.
const DARK: [(RGBColor, RGBColor); 3] =
    [(BACKGROUND, RGBColor(13, 17, 23)), (TEXT, RGBColor(230, 237, 243)), (GRID, RGBColor(48, 54, 61))];
/// Of medium brightness, for both kinds of pages. The first one is that of the alternative to which the others are compared.
const CURVES: [RGBColor; 6] = [
    RGBColor(125, 133, 144),
    RGBColor(31, 119, 210),
    RGBColor(217, 115, 13),
    RGBColor(35, 150, 90),
    RGBColor(140, 90, 210),
    RGBColor(205, 60, 110),
];

/// Curves over the same two quantities. The first curve is the alternative.
#[derive(Debug)]
pub(crate) struct Picture {
    /// The name of the file without its ending.
    pub(crate) file: &'static str,
    pub(crate) title: &'static str,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) curves: Vec<Curve>,
}

/// A logarithmic axis.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Axis {
    /// The quantity with its unit.
    pub(crate) title: &'static str,
}

/// The measurements of one subject.
#[derive(Debug)]
pub(crate) struct Curve {
    pub(crate) name: &'static str,
    /// The measurements at each place of the horizontal axis. The curve joins their medians, and a bar shows their quartiles.
    pub(crate) points: Vec<(f64, Samples)>,
}

impl Picture {
    /// The picture as a document.
    ///
    /// # Errors
    ///
    /// If no curve has a point above zero.
    pub(crate) fn svg(&self) -> Result<String> {
        let mut svg = String::new();
        // The error of plotters holds a reference to the backend.
        self.draw(&mut svg).map_err(|error| anyhow!("cannot draw {}: {error}", self.file))?;
        let head = svg.find('>').context("plotters wrote no document")? + 1;
        svg.insert_str(head, &style());
        Ok(svg)
    }

    /// Whether the first curve falls, so that there is room on the right.
    fn falls(&self) -> bool {
        let medians = || {
            self.curves.iter().take(1).flat_map(|curve| &curve.points).map(|(_, samples)| samples.median())
        };
        medians().next() > medians().next_back()
    }

    fn draw(&self, svg: &mut String) -> Result<()> {
        let points = || self.curves.iter().flat_map(|curve| &curve.points);
        let (xs, x_marks) = range(points().map(|(x, _)| *x)).context("there is no point")?;
        let (ys, y_marks) = range(points().flat_map(|(_, samples)| samples.quartiles()).flatten())
            .context("there is no measurement")?;
        let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        area.fill(&BACKGROUND)?;
        let mut chart = ChartBuilder::on(&area)
            .margin(14)
            .margin_right(24)
            .caption(self.title, ("sans-serif", 20).into_font().color(&TEXT))
            .x_label_area_size(46)
            .y_label_area_size(74)
            .build_cartesian_2d(xs.log_scale(), ys.log_scale())?;
        chart
            .configure_mesh()
            .x_labels(x_marks)
            .y_labels(y_marks)
            .x_label_formatter(&|value| label(*value))
            .y_label_formatter(&|value| label(*value))
            .x_desc(self.x.title)
            .y_desc(self.y.title)
            .label_style(("sans-serif", 15).into_font().color(&TEXT))
            .axis_desc_style(("sans-serif", 16).into_font().color(&TEXT))
            .axis_style(TEXT)
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .draw()?;
        for (curve, colour) in self.curves.iter().zip(CURVES) {
            curve.draw(&mut chart, colour)?;
        }
        chart
            .configure_series_labels()
            .position(if self.falls() {
                SeriesLabelPosition::UpperRight
            } else {
                SeriesLabelPosition::UpperLeft
            })
            .label_font(("sans-serif", 15).into_font().color(&TEXT))
            .background_style(BACKGROUND)
            .border_style(GRID)
            .draw()?;
        Ok(area.present()?)
    }
}

impl Curve {
    fn draw<'a, X, Y>(
        &self,
        chart: &mut ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, Y>>,
        colour: RGBColor,
    ) -> Result<()>
    where
        X: Ranged<ValueType = f64>,
        Y: Ranged<ValueType = f64>,
    {
        let known = || {
            self.points
                .iter()
                .filter_map(|(x, samples)| Some((*x, samples.quartiles()?)))
                .filter(|(_, it)| it[0] > 0.0)
        };
        let line = known().map(|(x, [_, median, _])| (x, median));
        chart
            .draw_series(LineSeries::new(line, colour.stroke_width(2)))?
            .label(self.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(3)));
        chart.draw_series(known().map(|(x, [_, median, _])| Circle::new((x, median), 3, colour.filled())))?;
        let bars = known()
            .map(|(x, [low, _, high])| PathElement::new([(x, low), (x, high)], colour.stroke_width(1)));
        chart.draw_series(bars)?;
        Ok(())
    }
}

/// The text beside a line of the grid: for powers of ten alone.
fn label(value: f64) -> String {
    let power = value.log10();
    if (power - power.round()).abs() > 1e-6 {
        return String::new();
    }
    if value > 0.999e6 {
        return format!("{} M", thousands(value / 1e6));
    }
    if value > 0.999 {
        return thousands(value);
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive count")]
    let digits = -power.round() as usize;
    format!("{value:.digits$}")
}

/// The range of an axis from a power of ten on, and the number of lines of its grid: ten for each power of ten.
fn range(values: impl Iterator<Item = f64>) -> Option<(std::ops::Range<f64>, usize)> {
    let (low, high) =
        values.filter(|value| *value > 0.0).fold(None, |range: Option<(f64, f64)>, value| {
            Some(range.map_or((value, value), |(low, high)| (low.min(value), high.max(value))))
        })?;
    let start = 10_f64.powf((low * 1.001).log10().floor());
    let power = 10_f64.powf(high.log10().floor());
    let end = [1.0, 2.0, 5.0, 10.0].map(|step| step * power).into_iter().find(|end| *end >= high * 0.999)?;
    let end = if end <= start { start * 10.0 } else { end };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a positive number of powers of ten"
    )]
    let powers = (end / start).log10().floor().max(1.0) as usize;
    // A little more on both sides, so that the first and the last line lie inside.
    Some((start * 0.999..end * 1.001, powers * 10))
}

/// Replaces colours where the page is dark. A style takes precedence over the attributes of plotters.
fn style() -> String {
    let mut rules = String::new();
    for (light, dark) in DARK {
        let (light, dark) = (hex(light), hex(dark));
        let _ = write!(rules, "[fill=\"{light}\"]{{fill:{dark}}}[stroke=\"{light}\"]{{stroke:{dark}}}");
    }
    format!("\n<style>@media (prefers-color-scheme: dark) {{{rules}}}</style>")
}

/// A colour as plotters writes it.
fn hex(RGBColor(red, green, blue): RGBColor) -> String {
    format!("#{red:02X}{green:02X}{blue:02X}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(points: Vec<(f64, Samples)>) -> Picture {
        Picture {
            file: "test",
            title: "A title",
            x: Axis { title: "sidecars" },
            y: Axis { title: "time, ms" },
            curves: vec![Curve { name: "bare <loop>", points }],
        }
    }

    #[test]
    fn a_picture_names_its_axes_and_curves_and_is_readable_on_a_dark_page() {
        let samples = |value: f64| [value, value * 2.0].into_iter().collect::<Samples>();
        let svg = picture(vec![(1.0, samples(0.5)), (1000.0, samples(70.0))]).svg().unwrap();
        for text in
            ["A title", "sidecars", "time, ms", "bare &lt;loop&gt;", "1,000", "0.1", "prefers-color-scheme"]
        {
            assert!(svg.contains(text), "{text} is missing: {svg}");
        }
        for (light, _) in DARK {
            assert!(
                svg.contains(&format!("=\"{}\"", hex(light))),
                "the style names {light:?}, which is not used"
            );
        }
    }

    #[test]
    fn the_names_stand_where_the_first_curve_is_low() {
        let of = |first: f64, last: f64| {
            let points = [(1.0, first), (10.0, last)].map(|(x, y)| (x, [y].into_iter().collect()));
            picture(points.into()).falls()
        };
        assert!(of(5.0, 1.0));
        assert!(!of(1.0, 5.0));
    }

    #[test]
    fn a_picture_without_a_measurement_is_an_error() {
        assert!(picture(vec![(1.0, Samples::new())]).svg().is_err());
        assert!(picture(Vec::new()).svg().is_err());
    }

    #[test]
    fn an_axis_starts_at_a_power_of_ten_and_has_ten_lines_for_each() {
        let values = |values: &[f64]| {
            let (range, lines) = range(values.iter().copied()).unwrap();
            (label(range.start / 0.999), label(range.end / 1.001), lines)
        };
        assert_eq!(values(&[1.0, 1000.0]), ("1".to_owned(), "1,000".to_owned(), 30));
        assert_eq!(values(&[0.02, 70.0]), ("0.01".to_owned(), "100".to_owned(), 40));
        assert_eq!(values(&[10.0]), ("10".to_owned(), "100".to_owned(), 10));
        assert_eq!(range([0.0].into_iter()), None);
    }

    #[test]
    fn only_powers_of_ten_have_a_label() {
        assert_eq!([0.001, 2.0, 10.0, 1e4, 1e6].map(label), ["0.001", "", "10", "10,000", "1 M"]);
    }
}
