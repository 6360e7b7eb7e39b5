//! `watch`: `status` again and again. On a terminal in place, on its other screen, so that what was there
//! before comes back; the terminal's modes are never changed, and Ctrl-C is a signal as ever.

use std::{
    io::{self, Write},
    time::Duration,
};

use frontdesk_shared::redis::{RedisSetupError, is_displaced};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval},
};

use super::{
    output::{self, Format},
    status::{Status, read::Reader, table},
};

/// To the other screen, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
/// Back, with the cursor.
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// To the first place.
const HOME: &str = "\x1b[H";
/// Nothing right of here, nothing below.
const REST_OF_LINE: &str = "\x1b[K";
const REST_OF_SCREEN: &str = "\x1b[J";

/// Shows the cluster until SIGINT, SIGTERM or SIGHUP, or until nobody reads what is printed.
pub async fn run(mut reader: Reader, format: Format, every: Duration) -> anyhow::Result<bool> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut screen = Screen::new(format)?;
    let ended = async {
        loop {
            ticks.tick().await;
            let looked = reader.look().await;
            // A wrong setting does not mend itself.
            if let Err(error) = &looked
                && !is_passing(error)
            {
                return looked.map(drop);
            }
            match screen.show(&looked) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                shown => shown?,
            }
        }
    };
    tokio::select! {
        ended = ended => ended?,
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
    }
    screen.leave()?;
    Ok(true)
}

/// Redis does not answer, now.
fn is_passing(error: &anyhow::Error) -> bool {
    match error.downcast_ref::<RedisSetupError>() {
        Some(RedisSetupError::Unreachable(error)) => {
            error.is_io_error() || is_displaced(error) || error.code() == Some("LOADING")
        }
        Some(_) => false,
        None => error.is::<tokio::time::error::Elapsed>(),
    }
}

/// Where it is shown.
#[derive(Debug)]
struct Screen {
    in_place: bool,
    format: Format,
    last: Option<String>,
}

impl Screen {
    fn new(format: Format) -> io::Result<Self> {
        use io::IsTerminal as _;
        let in_place = io::stdout().is_terminal() && !format.is_json();
        let screen = Self {
            in_place,
            format,
            last: None,
        };
        if in_place {
            write_out(ENTER)?;
        }
        Ok(screen)
    }

    fn show(&mut self, looked: &anyhow::Result<Status>) -> io::Result<()> {
        if !self.in_place {
            return match looked {
                Ok(status) if self.format.is_json() => {
                    write_out(&(serde_json::to_string(status)? + "\n"))
                }
                Ok(status) => write_out(&(table::page(status) + "\n\n")),
                Err(error) => writeln!(io::stderr(), "frontdesk-worker: {error:#}").map(|()| ()),
            };
        }
        let page = match (looked, &self.last) {
            (Ok(status), _) => {
                let page = table::page(status);
                self.last = Some(page.clone());
                page
            }
            (Err(error), last) => {
                let last = last.as_deref().unwrap_or_default();
                format!("! {}\n{last}", output::printable(&format!("{error:#}")))
            }
        };
        write_out(&drawn(&page, size()))
    }

    /// Back to where the terminal was; what was shown last stays.
    fn leave(mut self) -> io::Result<()> {
        let in_place = std::mem::take(&mut self.in_place);
        match self.last.take().filter(|_| in_place) {
            Some(last) => write_out(&format!("{LEAVE}{last}\n")),
            None if in_place => write_out(LEAVE),
            None => Ok(()),
        }
    }
}

/// However it ends.
impl Drop for Screen {
    fn drop(&mut self) {
        if self.in_place {
            let _ = write_out(LEAVE);
        }
    }
}

fn write_out(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Columns and rows of the terminal.
fn size() -> (usize, usize) {
    let size = rustix::termios::tcgetwinsize(io::stdout());
    size.map_or((80, 24), |size| {
        (usize::from(size.ws_col), usize::from(size.ws_row))
    })
}

/// A page over the one before, as much of it as there is room for.
fn drawn(page: &str, (columns, rows): (usize, usize)) -> String {
    // Of a terminal that does not say, as many do whose other end is a program.
    let columns = if columns == 0 { 80 } else { columns };
    let rows = if rows == 0 { 24 } else { rows };
    let mut text = HOME.to_owned();
    // The last line is left to the cursor: a line break there would scroll.
    for line in page.lines().take(rows - 1) {
        text.extend(line.chars().take(columns));
        text.push_str(REST_OF_LINE);
        text.push('\n');
    }
    text + REST_OF_SCREEN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_cut_to_the_screen() {
        let page = "12345\n客服67\nthree";
        assert_eq!(
            drawn(page, (4, 3)),
            "\x1b[H1234\x1b[K\n客服67\x1b[K\n\x1b[J"
        );
        assert_eq!(drawn("a", (0, 0)), "\x1b[Ha\x1b[K\n\x1b[J");
    }
}
