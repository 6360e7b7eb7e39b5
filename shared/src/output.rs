//! What the commands of operators print: JSON for programs, aligned columns for people.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use clap::Args;

/// How to print.
#[derive(Debug, Clone, Copy, Args)]
pub struct Format {
    /// Print JSON, one line; this is so, too, where the output is no terminal
    #[arg(long)]
    json: bool,
    /// Print tables where the output is no terminal, too
    #[arg(long, conflicts_with = "json")]
    table: bool,
}

impl Format {
    /// Whether to print JSON.
    pub fn is_json(self) -> bool {
        self.json || !(self.table || io::stdout().is_terminal())
    }
}

/// Prints a text and ends the line. Who does not listen any more (`| head`) is no failure.
pub fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let written = writeln!(out, "{text}").and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Rows under their heads, in columns; a column of numbers is aligned to the right.
pub fn columns(heads: &[&str], rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> = heads
        .iter()
        .enumerate()
        .map(|(at, head)| {
            let cells = rows.iter().filter_map(|row| row.get(at));
            let widths = cells.map(|cell| cell.chars().count());
            widths.max().unwrap_or(0).max(head.chars().count())
        })
        .collect();
    let numbers: Vec<bool> = (0..heads.len())
        .map(|at| {
            let mut cells = rows.iter().filter_map(|row| row.get(at));
            cells.all(|cell| cell == "-" || cell.starts_with(|c: char| c.is_ascii_digit()))
        })
        .collect();
    let mut text = String::new();
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    for row in std::iter::once(&heads).chain(rows) {
        let mut line = String::new();
        for (at, cell) in row.iter().enumerate() {
            let width = widths.get(at).copied().unwrap_or_default();
            let _ = if numbers.get(at) == Some(&true) {
                write!(line, "{cell:>width$}  ")
            } else {
                write!(line, "{cell:<width$}  ")
            };
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// A text that came from outside, without what moves a terminal's cursor or turns its writing around.
pub fn printable(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || turns(c) {
            safe.extend(c.escape_unicode());
        } else {
            safe.push(c);
        }
    }
    safe
}

/// A time in the unit in which people would say it.
pub fn duration(ms: u64) -> String {
    let time = Duration::from_millis(ms);
    match time.as_secs() {
        0 => format!("{ms} ms"),
        1..=119 => format!("{:.1} s", time.as_secs_f64()),
        s @ 120..=7199 => format!("{} min", s / 60),
        s @ 7200..=172_799 => format!("{} h", s / 3600),
        s => format!("{} days", s / 86_400),
    }
}

/// Bytes likewise.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let mut size = count as f64;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        if size < 1024.0 {
            break;
        }
        (size, unit) = (size / 1024.0, next);
    }
    if unit == UNITS[0] {
        return format!("{count} B");
    }
    format!("{size:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let rows = [row(["w1", "9", "-"]), row(["worker", "10", "1.5 s"])];
        let expected = "\
WORKER  LANES  OLDEST
w1          9       -
worker     10   1.5 s
";
        assert_eq!(columns(&["WORKER", "LANES", "OLDEST"], &rows), expected);
    }

    #[test]
    fn what_came_from_outside_cannot_write_elsewhere() {
        assert_eq!(
            printable("客服 \u{1b}[2J\r\n"),
            "客服 \\u{1b}[2J\\u{d}\\u{a}"
        );
        assert_eq!(printable("a\u{202e}b\u{9b}"), "a\\u{202e}b\\u{9b}");
    }

    #[test]
    fn quantities_have_units() {
        assert_eq!(duration(340), "340 ms");
        assert_eq!(duration(34_500), "34.5 s");
        assert_eq!(duration(3 * 60_000), "3 min");
        assert_eq!(duration(3 * 3_600_000), "3 h");
        assert_eq!(duration(9 * 86_400_000), "9 days");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(3 << 20), "3.0 MiB");
        assert_eq!(bytes(1 << 41), "2048.0 GiB");
    }
}
