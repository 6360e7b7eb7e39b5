//! Line plots as SVG.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 34.0;
const COLOURS: [&str; 8] = [
    "#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2", "#be185d", "#4d7c0f",
];

/// A line.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// How the horizontal axis is labelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Axis {
    /// Seconds.
    Time,
    /// Percentiles by the number of nines: 0 is the 0th, 1 the 90th, 2 the 99th.
    Nines,
}

/// One plot with its title and legend; nothing if there is nothing to draw.
pub(crate) fn plot(title: &str, unit: &str, axis: Axis, lines: &[Line]) -> String {
    let lines: Vec<&Line> = lines.iter().filter(|line| line.points.len() > 1).collect();
    if lines.is_empty() {
        return String::new();
    }
    let all = || lines.iter().flat_map(|line| line.points.iter());
    let (x0, x1) = all().fold((f64::MAX, f64::MIN), |(a, b), (x, _)| {
        (a.min(*x), b.max(*x))
    });
    let top = nice(all().fold(0.0, |top: f64, (_, y)| top.max(*y)));
    let x = |value: f64| LEFT + (value - x0) / (x1 - x0).max(1e-9) * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!(
        "<figure><figcaption>{} <small>{}</small></figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">",
        escape(title),
        escape(unit)
    );
    for step in 0..=4 {
        let value = top * f64::from(step) / 4.0;
        let at = y(value);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.0}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/><text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 4.0,
            number(value)
        );
    }
    for (value, label) in ticks(axis, x0, x1) {
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{label}</text>",
            x(value),
            HEIGHT - BOTTOM + 18.0
        );
    }
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let points: Vec<_> = line
            .points
            .iter()
            .map(|(a, b)| format!("{:.1},{:.1}", x(*a), y(*b)))
            .collect();
        let _ = write!(
            svg,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\" points=\"{}\"/>",
            points.join(" ")
        );
    }
    svg += "</svg><p class=\"legend\">";
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let _ = write!(
            svg,
            "<span><i style=\"background:{colour}\"></i>{}</span> ",
            escape(&line.name)
        );
    }
    svg + "</p></figure>"
}

fn ticks(axis: Axis, from: f64, to: f64) -> Vec<(f64, String)> {
    match axis {
        Axis::Time => (0..=6)
            .map(|step| from + (to - from) * f64::from(step) / 6.0)
            .map(|value| (value, format!("{value:.0} s")))
            .collect(),
        Axis::Nines => ["0", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %"]
            .iter()
            .zip(0_u32..)
            .map(|(label, nines)| (f64::from(nines), (*label).to_owned()))
            .filter(|(nines, _)| *nines >= from && *nines <= to)
            .collect(),
    }
}

/// The next round number from a value on: 1, 2 or 5 with zeros.
fn nice(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 4.0, 5.0, 8.0, 10.0];
    let step = steps.iter().find(|step| **step * power >= value);
    step.unwrap_or(&10.0) * power
}

/// A number as short as it can be read.
fn number(value: f64) -> String {
    if value >= 1e6 {
        format!("{:.1}M", value / 1e6)
    } else if value >= 1e4 {
        format!("{:.0}k", value / 1e3)
    } else if value >= 10.0 || value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

/// Text for HTML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        for (value, end) in [(0.0, 1.0), (3.2, 4.0), (47.0, 50.0), (900.0, 1000.0)] {
            assert!((nice(value) - end).abs() < 1e-9, "{value}");
        }
    }

    #[test]
    fn names_cannot_break_out_of_the_page() {
        let line = Line {
            name: "<script>".into(),
            points: vec![(0.0, 1.0), (1.0, 2.0)],
        };
        let svg = plot("a&b", "ms", Axis::Time, &[line]);
        assert!(!svg.contains("<script>") && svg.contains("a&amp;b"));
    }
}
