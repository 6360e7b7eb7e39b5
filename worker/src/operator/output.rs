//! What the commands print with, and ask.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use anyhow::bail;

pub use frontdesk_shared::output::{Format, bytes, columns, duration, printable, say};

/// Asks on the terminal whether to do something, unless it was said already.
pub fn confirm(question: &str, yes: bool) -> anyhow::Result<bool> {
    if yes {
        return Ok(true);
    }
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        bail!("there is no terminal to ask on: add --yes");
    }
    let mut err = io::stderr().lock();
    write!(err, "{question} [y/N] ")?;
    err.flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    let agreed = matches!(answer.trim(), "y" | "Y" | "yes");
    if !agreed {
        writeln!(err, "nothing was done")?;
    }
    Ok(agreed)
}
