//! Prometheus text of gateways and workers: the few lines that tell how the cluster is doing.

use std::{collections::BTreeMap, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// What is read, and whether the instances' values add up (else the greatest counts).
const WANTED: [(&str, bool); 7] = [
    ("frontdesk_desk_customers_waiting", true),
    ("frontdesk_desk_staff_on_duty", true),
    ("frontdesk_gateway_connections", true),
    ("frontdesk_gateway_backlog_seconds", false),
    ("frontdesk_worker_acks_lost_total", true),
    ("frontdesk_gateway_holes_total", true),
    ("frontdesk_worker_entries_total", true),
];
const TIMEOUT: Duration = Duration::from_secs(1);
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// The sums over all listeners; one that does not answer is left out.
pub(crate) async fn read_all(listeners: &[String]) -> BTreeMap<String, f64> {
    let mut all = BTreeMap::new();
    for listener in listeners {
        if let Ok(Some(page)) = timeout(TIMEOUT, read(listener)).await {
            add(&page, &mut all);
        }
    }
    all
}

async fn read(listener: &str) -> Option<String> {
    let address = listener.trim_start_matches("http://");
    let address = address.split('/').next()?;
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut page = String::new();
    stream
        .take(MAX_BYTES)
        .read_to_string(&mut page)
        .await
        .ok()?;
    Some(page)
}

fn add(page: &str, all: &mut BTreeMap<String, f64>) {
    for line in page.lines() {
        let Some((series, value)) = line.rsplit_once(' ') else {
            continue;
        };
        let name = series.split('{').next().unwrap_or_default();
        let Some((name, adds_up)) = WANTED.iter().find(|(wanted, _)| *wanted == name) else {
            continue;
        };
        let value: f64 = value.parse().unwrap_or(0.0);
        let sum = all.entry((*name).to_owned()).or_default();
        *sum = if *adds_up {
            *sum + value
        } else {
            sum.max(value)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_add_up_and_ages_do_not() {
        let page = "# HELP x\nfrontdesk_gateway_connections 3\nfrontdesk_gateway_backlog_seconds 0.5\nother 7\n";
        let mut all = BTreeMap::new();
        add(page, &mut all);
        add(page, &mut all);
        assert_eq!(
            all["frontdesk_gateway_connections"].total_cmp(&6.0),
            std::cmp::Ordering::Equal
        );
        assert_eq!(
            all["frontdesk_gateway_backlog_seconds"].total_cmp(&0.5),
            std::cmp::Ordering::Equal
        );
        assert_eq!(all.len(), 2);
    }
}
