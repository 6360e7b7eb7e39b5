//! Customers and staff who talk while something is done to the cluster, and the comparison of what
//! they were told with what the cluster wrote down.
//!
//! Every message has an id of its own and is sent again, as it is, when its ack is late, as a
//! client must do. The rule that [`Load::finish`] holds: what was acknowledged is in the log once,
//! at the place and with the id that the ack named; nothing is in it twice; each sender's order is
//! kept; and the other side heard exactly what is written.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::task::JoinHandle;

use crate::{
    client::{Client, Incoming},
    cluster::{Cluster, DEFAULT_SITE},
    conversation_log::{self, Entry},
    wait,
};

/// How many messages a sender may be ahead of its oldest one without an ack. Must stay below the
/// ids that the cluster remembers of a user (256): one that is sent again later would count twice.
const WINDOW: u64 = 4;
/// After this a message without an ack is sent again.
const RESEND: Duration = Duration::from_secs(4);
/// How long all acks may take once nobody disturbs the cluster any more.
const DRAIN: Duration = Duration::from_secs(60);

/// Conversations in progress.
#[derive(Debug)]
pub struct Load {
    conversations: Vec<(String, JoinHandle<Speaker>, JoinHandle<Speaker>)>,
    acks: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Load {
    /// Starts `count` conversations, customers on the first gateway, staff on the last. Each has
    /// one user in a lane of either of the first two workers.
    pub async fn start(cluster: &Cluster, count: usize) -> Self {
        let mut load = Self {
            conversations: Vec::new(),
            acks: Arc::default(),
            stop: Arc::default(),
        };
        for i in 0..count {
            let customer_uid = cluster.uid_at(&format!("c{i}-"), i % 2).await;
            let staff_uid = cluster.uid_at(&format!("s{i}-"), (i + 1) % 2).await;
            let last = cluster.gateways.len() - 1;
            let mut staff = cluster.connect(last, &format!("uid={staff_uid}")).await;
            staff.act("staffOnline").await;
            staff.expect("message", "on_duty").await;
            let mut customer = cluster.connect(0, &format!("uid={customer_uid}")).await;
            customer.act("customerConnect").await;
            let connected = customer.expect("message", "connected").await;
            let new_customer = staff.expect("message", "new_customer").await;
            let conversation = text(&connected, "conversation");
            assert_eq!(conversation, text(&new_customer, "conversation"));
            let customer = load.speaker(customer, customer_uid, "customer", connected);
            let staff = load.speaker(staff, staff_uid, "staff", new_customer);
            load.conversations.push((
                conversation,
                tokio::spawn(customer.run()),
                tokio::spawn(staff.run()),
            ));
        }
        load
    }

    fn speaker(&self, client: Client, uid: String, side: &'static str, begin: Value) -> Speaker {
        Speaker {
            client,
            uid,
            side,
            seen: vec![begin],
            sent: 0,
            pending: BTreeMap::new(),
            acked: Vec::new(),
            refused: HashSet::new(),
            acks: Arc::clone(&self.acks),
            stop: Arc::clone(&self.stop),
        }
    }

    /// Waits until this many more messages are acknowledged.
    pub async fn progress(&self, more: u64) {
        let goal = self.acks.load(Ordering::Relaxed) + more;
        let what = format!("{more} more acks");
        wait::within(&what, DRAIN, async || {
            let ended = |task: &JoinHandle<Speaker>| task.is_finished();
            assert!(
                !self
                    .conversations
                    .iter()
                    .any(|(_, a, b)| ended(a) || ended(b)),
                "a speaker has ended early"
            );
            (self.acks.load(Ordering::Relaxed) >= goal).then_some(())
        })
        .await;
    }

    /// Lets everybody fall silent, waits for the last acks, and compares with the log.
    /// Returns how many messages there were.
    pub async fn finish(self, cluster: &Cluster) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let mut redis = cluster.redis.connect().await;
        let mut total = 0;
        for (conversation, customer, staff) in self.conversations {
            let mut customer = customer.await.expect("the customer's task ends well");
            let mut staff = staff.await.expect("the staff member's task ends well");
            let messages = customer.acked.len() + staff.acked.len();
            customer.hear(staff.acked.len()).await;
            staff.hear(customer.acked.len()).await;
            let log = conversation_log::read(&mut redis, DEFAULT_SITE, &conversation).await;
            customer.compare(&log);
            staff.compare(&log);
            let written = log.iter().filter(|entry| entry.kind == "message").count();
            assert_eq!(
                written, messages,
                "{conversation}: entries and acks differ in number"
            );
            total += messages;
        }
        assert_eq!(
            cluster.dead_letters().await,
            0,
            "events became dead letters"
        );
        total
    }
}

/// One side of one conversation.
#[derive(Debug)]
struct Speaker {
    client: Client,
    uid: String,
    side: &'static str,
    /// What it was told with a place in the conversation, acks not counted.
    seen: Vec<Value>,
    sent: u64,
    /// Number of a message to when it was sent last, or is to be sent as if it had been.
    pending: BTreeMap<u64, Instant>,
    acked: Vec<Value>,
    /// Numbers that were refused as `busy` and sent again, so possibly after later ones.
    refused: HashSet<u64>,
    acks: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Speaker {
    async fn run(mut self) -> Self {
        let mut stopped = None;
        loop {
            if self.stop.load(Ordering::Relaxed) {
                let since = stopped.get_or_insert_with(Instant::now);
                if self.pending.is_empty() {
                    return self;
                }
                if since.elapsed() > DRAIN {
                    self.client
                        .fail(&format!("never acknowledged: {:?}", self.pending));
                }
            } else if self.oldest_pending() + WINDOW > self.sent + 1 {
                self.sent += 1;
                self.send(self.sent).await;
                continue;
            }
            if let Some(incoming) = self.client.next_within(Duration::from_millis(50)).await {
                self.take(&incoming);
            }
            let late = self
                .pending
                .iter()
                .find(|(_, sent)| sent.elapsed() > RESEND);
            if let Some(number) = late.map(|(number, _)| *number) {
                self.send(number).await;
            }
        }
    }

    /// The first number without an ack, or the one to be sent next.
    fn oldest_pending(&self) -> u64 {
        let oldest = self.pending.first_key_value();
        oldest.map_or(self.sent + 1, |(number, _)| *number)
    }

    async fn send(&mut self, number: u64) {
        let (words, id) = (self.words(number), format!("m{number}"));
        self.client.say_with_id(&words, &id).await;
        self.pending.insert(number, Instant::now());
    }

    fn words(&self, number: u64) -> String {
        format!("{} 说 {number} \"\\\n", self.uid)
    }

    fn take(&mut self, incoming: &Incoming) {
        let Incoming::Frame(frame) = incoming else {
            self.client
                .fail(&format!("the socket must stay open, but {incoming}"));
        };
        let payload = &frame["payload"];
        let number = payload["ref"]
            .as_str()
            .and_then(|reference| reference.strip_prefix('m')?.parse().ok());
        match (frame["action"].as_str(), number) {
            // An ack may come twice where the message was sent twice; both must say the same.
            (Some("ack"), Some(number)) => {
                if self.pending.remove(&number).is_some() {
                    self.acks.fetch_add(1, Ordering::Relaxed);
                    self.acked.push(payload.clone());
                } else if !self.acked.contains(payload) {
                    self.client.fail(&format!("two acks differ: {payload}"));
                }
            }
            (Some("error"), Some(number)) if payload["code"] == "busy" => {
                self.refused.insert(number);
            }
            (Some("message"), None) if payload["from"].is_string() => {
                let last = self.seen.last().and_then(|last| last["seq"].as_u64());
                if payload["seq"].as_u64() <= last {
                    let last = &self.seen[self.seen.len() - 1];
                    self.client.fail(&format!("told {payload} after {last}"));
                }
                self.seen.push(payload.clone());
            }
            _ => self.client.fail(&format!("unexpected: {frame}")),
        }
    }

    /// Reads until it has heard as many messages as the other side has acks.
    async fn hear(&mut self, count: usize) {
        while self.seen.len() < count + 1 {
            let Some(incoming) = self.client.next_within(wait::DEADLINE).await else {
                let heard = self.seen.len() - 1;
                self.client
                    .fail(&format!("heard {heard} of {count} messages"));
            };
            self.take(&incoming);
        }
        self.client.expect_nothing().await;
    }

    fn compare(&self, log: &[Entry]) {
        let name = &self.client.name;
        let mine: Vec<_> = log.iter().filter(|entry| entry.uid == self.uid).collect();
        // By reference: looking through thousands for each of thousands takes longer than the
        // customers of the other conversations may be silent.
        let mut by_reference: HashMap<&str, Vec<&Entry>> = HashMap::new();
        for entry in &mine {
            if let Some(reference) = &entry.reference {
                by_reference.entry(reference).or_default().push(entry);
            }
        }
        for ack in &self.acked {
            let reference = text(ack, "ref");
            let number: u64 = reference[1..].parse().expect("an id of ours");
            let entries = by_reference.get(&*reference).map_or(&[][..], Vec::as_slice);
            let [entry] = entries else {
                panic!("{name}: {reference} is {} times in the log", entries.len());
            };
            assert_eq!(entry.from, self.side, "{name}: {entry:?}");
            assert_eq!(entry.body, self.words(number), "{name}: {entry:?}");
            assert_eq!(ack["seq"], entry.seq, "{name}: {entry:?}");
            assert_eq!(ack["id"], entry.id, "{name}: {entry:?}");
            assert_eq!(ack["time"].to_string(), entry.time, "{name}: {entry:?}");
        }
        let order: Vec<u64> = mine
            .iter()
            .filter_map(|entry| entry.reference.as_ref()?[1..].parse().ok())
            .filter(|number| !self.refused.contains(number))
            .collect();
        assert!(
            order.is_sorted(),
            "{name}: the order of sending is lost: {order:?}"
        );
        let heard: Vec<_> = self.seen[1..]
            .iter()
            .map(|payload| {
                (
                    payload["seq"].as_u64().unwrap_or(0),
                    text(payload, "message"),
                )
            })
            .collect();
        let written: Vec<_> = log
            .iter()
            .filter(|entry| entry.kind == "message" && entry.uid != self.uid)
            .map(|entry| (entry.seq, entry.body.clone()))
            .collect();
        assert_eq!(heard, written, "{name} heard other than what is written");
    }
}

fn text(payload: &Value, field: &str) -> String {
    let text = payload[field].as_str();
    text.unwrap_or_else(|| panic!("no {field} in {payload}"))
        .to_owned()
}
