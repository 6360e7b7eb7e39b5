//! Medians and spreads over the rounds, and the table against the targets.

use std::fmt::Write as _;

/// Values of one figure, one of each round.
#[derive(Debug, Clone, Default)]
pub(super) struct Values(pub(super) Vec<f64>);

impl Values {
    pub(super) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        match sorted.len() {
            0 => f64::NAN,
            n if n % 2 == 1 => sorted[n / 2],
            n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
        }
    }

    /// `median (lowest–highest)`.
    fn show(&self, unit: &str) -> String {
        let lowest = self.0.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let median = number(self.median());
        if self.0.len() < 2 {
            return format!("{median}{unit}");
        }
        format!("{median}{unit} ({}–{})", number(lowest), number(highest))
    }
}

/// What a ratio or a figure should be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// Measured to be known.
    None,
}

impl Target {
    fn met(self, value: f64) -> Option<bool> {
        match self {
            Self::AtLeast(target) => Some(value >= target),
            Self::AtMost(target) => Some(value <= target),
            Self::None => None,
        }
    }
}

/// One row.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) what: String,
    pub(super) unit: &'static str,
    pub(super) frontdesk: Values,
    /// What it is compared with, round by round; empty: the figure itself is held against the target.
    pub(super) other: Values,
    pub(super) target: Target,
}

impl Row {
    /// Round by round: a ratio is of one round, so that a slow moment of the machine hits both.
    fn ratios(&self) -> Values {
        let pairs = self.frontdesk.0.iter().zip(&self.other.0);
        Values(pairs.map(|(ours, other)| ours / other).collect())
    }

    fn decisive(&self) -> f64 {
        if self.other.0.is_empty() {
            self.frontdesk.median()
        } else {
            self.ratios().median()
        }
    }
}

/// The rows as a Markdown table.
pub(super) fn markdown(rows: &[Row]) -> String {
    let mut text = String::from(
        "| what | Frontdesk | compared with | ratio | target | met |\n|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let (other, ratio) = if row.other.0.is_empty() {
            (String::new(), String::new())
        } else {
            (row.other.show(row.unit), row.ratios().show(""))
        };
        let of = if row.other.0.is_empty() {
            row.unit
        } else {
            " ×"
        };
        let target = match row.target {
            Target::AtLeast(value) => format!("≥ {}{of}", number(value)),
            Target::AtMost(value) => format!("≤ {}{of}", number(value)),
            Target::None => String::new(),
        };
        let met = match row.target.met(row.decisive()) {
            Some(true) => "yes",
            Some(false) => "no",
            None => "",
        };
        let _ = writeln!(
            text,
            "| {} | {} | {other} | {ratio} | {target} | {met} |",
            row.what,
            row.frontdesk.show(row.unit)
        );
    }
    text
}

/// Three digits that matter.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if size >= 1000.0 {
        let whole = format!("{value:.0}");
        let (head, tail) = whole.split_at(whole.len() - 3);
        return format!("{head},{tail}");
    }
    match size {
        _ if size >= 100.0 => format!("{value:.0}"),
        _ if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_round_by_round() {
        let row = Row {
            what: "x".into(),
            unit: "/s",
            frontdesk: Values(vec![10.0, 50.0, 12.0]),
            other: Values(vec![20.0, 100.0, 20.0]),
            target: Target::AtLeast(0.55),
        };
        assert!((row.decisive() - 0.5).abs() < 1e-9);
        let table = markdown(&[row]);
        assert!(
            table.contains("| 12.0/s (10.0–50.0) |") && table.ends_with("| ≥ 0.55 × | no |\n"),
            "{table}"
        );
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(number(21_234.4), "21,234");
        assert_eq!(number(0.5), "0.50");
    }
}
