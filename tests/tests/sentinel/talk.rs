//! People who talk, and the comparison of what they were told with what the primary has.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use frontdesk_tests::{
    client::{Client, Incoming},
    conversation_log,
    redis_server::RedisServer,
    wait,
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

use crate::site::Site;

/// A message without an ack is sent again after so long.
const RESEND: Duration = Duration::from_secs(5);
/// Conversations at once.
pub const PAIRS: usize = 3;

/// Sends a frame, if the socket still takes it.
async fn send(client: &mut Client, action: &str, payload: Value) -> Option<()> {
    let frame = json!({"action": action, "payload": payload});
    client.send_raw(Message::text(frame.to_string())).await.ok()
}

/// The next frame with this action and code; `None` if the socket ends or asks to come later.
async fn answer(client: &mut Client, action: &str, code: &str) -> Option<Value> {
    loop {
        let Incoming::Frame(mut frame) = client.next_within(wait::DEADLINE).await? else {
            return None;
        };
        if frame["action"] == action && frame["payload"]["code"] == code {
            return Some(frame["payload"].take());
        }
        if frame["action"] == "error" {
            return None;
        }
    }
}

/// A customer and staff in conversation, and what they were told is stored.
pub struct Pair {
    staff: Client,
    customer: Client,
    conversation: String,
    site: String,
    sent: u64,
    acked: Vec<Value>,
    cut_off: bool,
}

impl Pair {
    /// Staff on one gateway, a customer on the other; `None` where a failover comes in between.
    pub async fn try_connect(site: &Site, name: String) -> Option<Self> {
        let enter = async |gateway: usize, query: String| {
            let client = Client::try_connect(site.gateways[gateway].listen, &query).await;
            let mut client = client.ok()?;
            answer(&mut client, "welcome", "welcome").await?;
            Some(client)
        };
        let mut staff = enter(0, format!("uid=staff&site={name}")).await?;
        send(&mut staff, "staffOnline", json!({})).await?;
        answer(&mut staff, "message", "on_duty").await?;
        let mut customer = enter(1, format!("uid=customer&site={name}")).await?;
        send(&mut customer, "customerConnect", json!({})).await?;
        let connected = answer(&mut customer, "message", "connected").await?;
        answer(&mut staff, "message", "new_customer").await?;
        Some(Self {
            staff,
            customer,
            conversation: connected["conversation"].as_str()?.to_owned(),
            site: name,
            sent: 0,
            acked: Vec::new(),
            cut_off: false,
        })
    }

    /// Each says one thing, has it acknowledged, and is heard. `None` once a socket has ended.
    pub async fn exchange(&mut self) -> Option<()> {
        for customer_speaks in [true, false] {
            let (speaker, listener) = if customer_speaks {
                (&mut self.customer, &mut self.staff)
            } else {
                (&mut self.staff, &mut self.customer)
            };
            self.sent += 1;
            let (words, id) = (format!("words {}", self.sent), format!("m{}", self.sent));
            let acked = loop {
                send(speaker, "message", json!({"message": words, "id": id})).await?;
                // An ack that was lost with the primary comes when the message is sent again.
                let ack = async {
                    loop {
                        let frame = match speaker.next_within(RESEND).await {
                            Some(Incoming::Frame(frame)) => frame,
                            Some(_closed) => return Err(()),
                            None => return Ok(None),
                        };
                        if frame["action"] == "ack" && frame["payload"]["ref"] == id {
                            return Ok(Some(frame["payload"].clone()));
                        }
                    }
                };
                if let Some(ack) = ack.await.ok()? {
                    break ack;
                }
            };
            self.acked.push(acked);
            loop {
                let Incoming::Frame(frame) = listener.next_within(wait::DEADLINE).await? else {
                    return None;
                };
                if frame["action"] == "message" && frame["payload"]["message"] == words {
                    break;
                }
            }
        }
        Some(())
    }

    /// Talks until a socket ends, or `until` says so.
    pub async fn talk(mut self, until: Arc<AtomicBool>) -> Self {
        while !until.load(Ordering::Relaxed) && !self.cut_off {
            self.cut_off = self.exchange().await.is_none();
        }
        self
    }

    /// How many acknowledged messages the primary does not have. They are the last ones; what it has
    /// is what was acknowledged, once each and in order.
    pub async fn lost(&self, primary: &RedisServer) -> usize {
        let mut redis = primary.connect().await;
        let log = conversation_log::read(&mut redis, &self.site, &self.conversation).await;
        let seqs: Vec<u64> = log.iter().map(|entry| entry.seq).collect();
        assert!(seqs.iter().copied().eq(1..=seqs.len() as u64), "{seqs:?}");
        let said: Vec<u64> = log
            .iter()
            .filter_map(|entry| entry.reference.as_ref()?[1..].parse().ok())
            .collect();
        // In order, each once; a single one without an ack may be there.
        assert!(said.iter().copied().eq(1..=said.len() as u64), "{said:?}");
        let stored: HashMap<&str, _> = log.iter().map(|it| (it.id.as_str(), it)).collect();
        let mut lost = 0;
        for ack in &self.acked {
            let found = stored.get(ack["id"].as_str().unwrap());
            assert!(found.is_none() || lost == 0, "a hole before {ack}");
            match found {
                Some(entry) => assert_eq!(ack["seq"], entry.seq),
                None => lost += 1,
            }
        }
        println!(
            "{}: {} acknowledged, {lost} of them lost",
            self.site,
            self.acked.len()
        );
        lost
    }
}

/// Pairs that talk in the background.
pub struct Talk {
    pairs: Vec<JoinHandle<Pair>>,
    stop: Arc<AtomicBool>,
}

impl Talk {
    pub async fn start(site: &Site, name: &str) -> Self {
        let (stop, mut pairs) = (Arc::new(AtomicBool::new(false)), Vec::new());
        for n in 0..PAIRS {
            let pair = site.pair(&format!("{name}{n}")).await;
            pairs.push(tokio::spawn(pair.talk(Arc::clone(&stop))));
        }
        Self { pairs, stop }
    }

    /// Waits for their end. How many acknowledged messages are lost, and how many pairs were cut off.
    pub async fn end(self, primary: &RedisServer) -> (usize, usize) {
        self.stop.store(true, Ordering::Relaxed);
        let (mut lost, mut cut_off) = (0, 0);
        for pair in self.pairs {
            let pair = pair.await.unwrap();
            lost += pair.lost(primary).await;
            cut_off += usize::from(pair.cut_off);
        }
        (lost, cut_off)
    }
}
