//! Whether the process may hold as many sockets as it is set to.

use frontdesk_shared::http;
use tracing::warn;

/// Files that are no sockets of clients: Redis, listeners, logs, and handshakes under way.
const OTHER_FILES: usize = 256 + http::MAX_PENDING;

/// Says so if `--max-connections` cannot be reached.
pub(crate) fn warn_if_few(max_connections: usize) {
    let Ok(limits) = std::fs::read_to_string("/proc/self/limits") else {
        return; // not Linux
    };
    if let Some(open_files) = soft_limit_of_files(&limits)
        && open_files < max_connections + OTHER_FILES
    {
        warn!(
            open_files,
            max_connections,
            "the limit of open files is too low for --max-connections; raise it (ulimit -n, LimitNOFILE=) or lower the setting"
        );
    }
}

fn soft_limit_of_files(limits: &str) -> Option<usize> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok() // `unlimited` is enough
}

#[cfg(test)]
mod tests {
    use super::soft_limit_of_files;

    #[test]
    fn the_soft_limit_is_read() {
        let line =
            "Limit\nMax open files            1024                 524288               files\n";
        assert_eq!(soft_limit_of_files(line), Some(1024));
        assert_eq!(
            soft_limit_of_files("Max open files unlimited unlimited files"),
            None
        );
        assert_eq!(soft_limit_of_files(""), None);
    }
}
