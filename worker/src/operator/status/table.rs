//! [`Status`] for people. What is as it should be is counted, what is not is listed.

use std::fmt::Write as _;

use super::{LaneState, Status};
use crate::operator::{
    output::{bytes, columns, duration, printable},
    pulse::Pulse,
};

/// Most lanes that are listed.
const MOST_LANES: usize = 16;

/// The whole page.
pub fn page(status: &Status) -> String {
    let mut page = head(status);
    for problem in &status.problems {
        let _ = writeln!(page, "! {}", printable(problem));
    }
    for part in [
        gateways(status),
        workers(status),
        lanes(status),
        sites(status),
    ] {
        if !part.is_empty() {
            let _ = write!(page, "\n{part}");
        }
    }
    page.truncate(page.trim_end().len());
    page
}

fn head(status: &Status) -> String {
    let redis = &status.redis;
    let most = redis.memory_max_bytes.map(bytes);
    let replicas = match redis.replicas {
        0 => String::new(),
        n => format!(", {n} replicas"),
    };
    let owned = status.lanes.iter().filter(|lane| lane.owner.is_some());
    format!(
        "Redis {} ({}{replicas}), up for {}, {} of {} used\n{} of {} lanes have a worker; dead letters: {}\n",
        printable(&redis.version),
        printable(&redis.role),
        duration(redis.uptime_s.saturating_mul(1000)),
        bytes(redis.memory_used_bytes),
        most.as_deref().unwrap_or("unlimited memory"),
        owned.count(),
        status.lanes.len(),
        status.dead_letters,
    )
}

fn gateways(status: &Status) -> String {
    let listed = status.gateways.iter().filter(|g| g.state != Pulse::Dead);
    let rows: Vec<_> = listed
        .map(|gateway| {
            vec![
                printable(&gateway.boot),
                gateway.state.as_str().to_owned(),
                gateway.connections.to_string(),
            ]
        })
        .collect();
    let dead = status.gateways.len() - rows.len();
    let mut text = if rows.is_empty() {
        String::new()
    } else {
        columns(&["GATEWAY", "STATE", "CONNECTIONS"], &rows)
    };
    if dead > 0 {
        let _ = writeln!(text, "gateways that have ended within a day: {dead}");
    }
    text
}

fn workers(status: &Status) -> String {
    let rows: Vec<_> = status
        .workers
        .iter()
        .map(|worker| {
            vec![
                printable(&worker.id),
                worker.state.as_str().to_owned(),
                worker.lanes.to_string(),
            ]
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    columns(&["WORKER", "STATE", "LANES"], &rows)
}

/// Lanes without a worker and lanes in which something waits, the oldest first.
fn lanes(status: &Status) -> String {
    let mut lanes: Vec<&LaneState> = status
        .lanes
        .iter()
        .filter(|lane| lane.owner.is_none() || lane.backlog > 0)
        .collect();
    lanes.sort_by_key(|lane| std::cmp::Reverse(lane.oldest_ms));
    let rows: Vec<_> = lanes
        .iter()
        .take(MOST_LANES)
        .map(|lane| {
            let more = if lane.more_backlog { "+" } else { "" };
            vec![
                format!("{}.{}", lane.shard, lane.lane),
                lane.owner.as_deref().map_or("nobody".to_owned(), printable),
                format!("{}{more}", lane.backlog),
                lane.oldest_ms.map_or("-".to_owned(), duration),
            ]
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let mut text = columns(&["LANE", "WORKER", "WAITING", "OLDEST"], &rows);
    if lanes.len() > MOST_LANES {
        let _ = writeln!(text, "and {} lanes more", lanes.len() - MOST_LANES);
    }
    text
}

fn sites(status: &Status) -> String {
    let rows: Vec<_> = status
        .sites
        .iter()
        .map(|site| {
            vec![
                printable(&site.site),
                site.staff_on_duty.to_string(),
                site.staff_free.to_string(),
                site.customers_waiting.to_string(),
                site.customers_away.to_string(),
            ]
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let mut text = columns(&["SITE", "ON DUTY", "FREE", "WAITING", "AWAY"], &rows);
    if status.more_sites {
        text.push_str("and more sites\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::status::{Gateway, SiteState, Worker};

    #[test]
    fn a_page_names_what_is_wrong_and_counts_the_rest() {
        let lane = |lane, owner: Option<&str>, oldest_ms| LaneState {
            shard: 6,
            lane,
            owner: owner.map(str::to_owned),
            backlog: usize::from(oldest_ms > 0),
            more_backlog: false,
            oldest_ms: Some(oldest_ms).filter(|age| *age > 0),
        };
        let gateway = |name: &str, state, dead_since| Gateway {
            boot: name.to_owned(),
            state,
            dead_since,
            connections: 7,
        };
        let status = Status {
            gateways: vec![
                gateway("g1", Pulse::Alive, None),
                gateway("g2", Pulse::Dead, Some(1)),
            ],
            workers: vec![Worker {
                id: "w\u{1b}1".to_owned(),
                state: Pulse::Silent,
                lanes: 2,
            }],
            lanes: vec![
                lane(0, Some("w1"), 0),
                lane(1, None, 0),
                lane(2, Some("w1"), 1500),
            ],
            sites: vec![SiteState {
                site: "default".to_owned(),
                shard: 6,
                staff_on_duty: 2,
                staff_free: 1,
                customers_waiting: 0,
                customers_away: 0,
            }],
            problems: vec!["worker w\u{1b}1 is silent".to_owned()],
            ..Status::default()
        };
        let expected = "\
Redis  (), up for 0 ms, 0 B of unlimited memory used
2 of 3 lanes have a worker; dead letters: 0
! worker w\\u{1b}1 is silent

GATEWAY  STATE  CONNECTIONS
g1       alive            7
gateways that have ended within a day: 1

WORKER    STATE   LANES
w\\u{1b}1  silent      2

LANE  WORKER  WAITING  OLDEST
 6.2  w1            1   1.5 s
 6.1  nobody        0       -

SITE     ON DUTY  FREE  WAITING  AWAY
default        2     1        0     0";
        assert_eq!(page(&status), expected);
    }
}
