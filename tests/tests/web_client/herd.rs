//! Two hundred clients lose their gateway in one moment, and must not come to the next one together.
//!
//! Judged is when each decides to come back: it tells its page how long it will wait. When its socket then opens is up to
//! the machine, which may be busy.

use std::{collections::BTreeMap, time::Duration};

use frontdesk_tests::{child::Child, cluster::Cluster, proxy::Proxy, tokens, wait};
use serde_json::{Value, json};

use crate::programs;

const CLIENTS: usize = 200;
const WINDOW_MS: f64 = 100.0;
/// The first pause is anything up to 1 s, so any 100 ms hold a tenth, however the losses fall. Of 200 that is 20
/// with a deviation of 4.3: more than 60 in one of the windows is a chance of 1 in 10^10.
const AT_MOST: usize = 60;
/// Rounding, of what is told and of timers.
const ROUNDING_MS: f64 = 3.0;
/// The longest pause, and time for 200 handshakes.
const BACK: Duration = Duration::from_secs(30 + 60);

/// A change of a client's state, by the clock of its process.
#[derive(Debug, Clone)]
struct Change {
    at: f64,
    state: String,
    code: Value,
    /// How long it will wait.
    pause: Option<f64>,
}

/// The clients, in front of a gateway that can be exchanged behind their backs.
struct Herd {
    node: Child,
    front: Proxy,
    cluster: Cluster,
}

impl Herd {
    /// All of them live on the first of two gateways.
    async fn start() -> Self {
        let cluster = Cluster::builder()
            .signed()
            .gateway_setting("max-connections-per-ip", 100_000)
            .gateway_setting("connection-rate-per-ip", 100_000)
            .gateway_setting("request-rate-per-ip", 100_000);
        let cluster = cluster.start().await;
        let front = Proxy::start(cluster.addr(0));
        let tokens: Vec<_> = (0..CLIENTS)
            .map(|n| tokens::token(&format!("customer{n}"), "customer"))
            .collect();
        let setup = json!({ "url": format!("http://{}", front.addr()), "tokens": tokens });
        let file = cluster.logs().join("herd.json");
        std::fs::write(&file, setup.to_string()).expect("written");
        let node = programs::herd(&file, cluster.logs());
        let herd = Self {
            node,
            front,
            cluster,
        };
        herd.live("all have come", 1).await;
        let sockets = herd.cluster.gateways[0].metric("frontdesk_gateway_connections");
        assert!(sockets.await >= 200.0, "they are on the first gateway");
        herd
    }

    /// Lines that the clients' process has written.
    fn lines(&self) -> Vec<Value> {
        let log = self.node.log();
        // The last one may be half written.
        let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let lines = whole.lines().map(serde_json::from_str);
        lines
            .map(|line| line.unwrap_or_else(|error| panic!("{error} in {log}")))
            .collect()
    }

    /// What each client has gone through.
    fn changes(&self) -> BTreeMap<u64, Vec<Change>> {
        let mut changes = BTreeMap::<_, Vec<_>>::new();
        for line in self.lines() {
            let Some(client) = line["client"].as_u64() else {
                continue;
            };
            changes.entry(client).or_default().push(Change {
                at: line["at"].as_f64().expect("a time"),
                state: line["state"].as_str().expect("a state").to_owned(),
                code: line["code"].clone(),
                pause: line["retryInMs"].as_f64(),
            });
        }
        changes
    }

    /// Waits until all are live, each for the `times`th time.
    async fn live(&self, what: &str, times: usize) {
        let all = async || {
            let changes = self.changes();
            let is_live = |client: &&Vec<Change>| {
                let lives = client
                    .iter()
                    .filter(|change| change.state == "live")
                    .count();
                lives >= times && client.last().is_some_and(|last| last.state == "live")
            };
            (changes.values().filter(is_live).count() == CLIENTS).then_some(())
        };
        wait::within(what, BACK, all).await;
    }

    /// New connections come to the second gateway; the first one ends as `end` has it.
    async fn lose_a_gateway(&mut self, end: impl FnOnce(&mut Child)) {
        self.front.lead_to(self.cluster.addr(1));
        end(&mut self.cluster.gateways[0].child);
        self.live("all are back", 2).await;
    }

    /// The longest time for which the clients' event loop stood still, in ms.
    fn stood_still(&self) -> f64 {
        let lines = self.lines();
        let stood = lines.iter().filter_map(|line| line["stood"].as_f64());
        stood.fold(0.0, f64::max)
    }

    /// When each client meant to come back; all lost their sockets with one of these codes.
    fn returns(&self, codes: &[u16]) -> Vec<f64> {
        let early = self.stood_still() + ROUNDING_MS;
        let mut returns = Vec::new();
        for (client, changes) in self.changes() {
            let lived = changes.iter().position(|change| change.state == "live");
            let after = &changes[lived.expect("it was live") + 1..];
            let [lost, tried, ..] = after else {
                panic!("client {client} has lost nothing: {changes:?}");
            };
            assert_eq!(
                (lost.state.as_str(), tried.state.as_str()),
                ("waiting", "connecting")
            );
            assert!(
                codes.iter().any(|code| lost.code == *code),
                "client {client}: {lost:?}"
            );
            let due = lost.at + lost.pause.expect("it says how long it waits");
            assert!(
                tried.at >= due - early,
                "client {client} tried too early: {after:?}"
            );
            returns.push(due);
        }
        returns.sort_by(f64::total_cmp);
        returns
    }
}

/// The most that return within any one window.
fn crowd(returns: &[f64]) -> usize {
    let within = |from: &f64| {
        let window = returns
            .iter()
            .filter(|at| *at >= from && **at < from + WINDOW_MS);
        window.count()
    };
    returns.iter().map(within).max().unwrap_or_default()
}

fn assert_spread(returns: &[f64]) {
    assert_eq!(returns.len(), CLIENTS);
    let most = crowd(returns);
    assert!(most <= AT_MOST, "{most} at once: {returns:?}");
}

#[tokio::test]
async fn two_hundred_clients_of_a_killed_gateway_do_not_return_at_once() {
    let mut herd = Herd::start().await;
    herd.lose_a_gateway(Child::kill9).await;
    assert_spread(&herd.returns(&[1006]));
}

#[tokio::test]
async fn two_hundred_clients_of_a_drained_gateway_do_not_return_at_once() {
    let mut herd = Herd::start().await;
    herd.lose_a_gateway(|gateway| gateway.term()).await;
    assert_spread(&herd.returns(&[1001]));
}

#[test]
fn a_crowd_is_counted_over_any_window() {
    assert_eq!(crowd(&[0.0, 50.0, 99.9, 100.0, 150.0, 199.0, 260.0]), 4);
    assert_eq!(crowd(&[]), 0);
}
