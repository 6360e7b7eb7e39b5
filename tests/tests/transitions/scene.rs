//! Where a transition happens: a Redis, a driver, a second client, and names in the place of ids.

use std::collections::BTreeMap;

use frontdesk_shared::{
    event::Kind,
    ids::{BootId, ConversationId, Lane, Uid},
    keys,
    protocol::frame::Verb,
    redis::Redis,
};
use frontdesk_tests::{
    desk_state::SiteDump,
    lane_driver::{LaneDriver, Pushed, Socket, on_duty},
    redis_dump::{Content, Dump},
    redis_server::{Options, RedisServer},
};
use frontdesk_worker::{desk::settings::DeskSettings, library::Outcome};
use redis::aio::MultiplexedConnection;

pub struct Scene {
    pub driver: LaneDriver,
    pub second: MultiplexedConnection,
    pub names: Vec<(String, String)>,
    pub gateways: usize,
    pub events: usize,
    pub sockets: BTreeMap<String, usize>,
    server: RedisServer,
}

/// What a transition did, as lines.
pub struct Change {
    pub lines: Vec<String>,
    pub outcome: Outcome,
}

impl Change {
    #[track_caller]
    pub fn is(&self, expected: &str) {
        let expected: Vec<&str> = expected
            .lines()
            .map(str::trim)
            .filter(|l| !l.is_empty())
            .collect();
        assert!(
            self.lines == expected,
            "\nis:\n{}\nnot:\n{}\n",
            self.lines.join("\n"),
            expected.join("\n")
        );
    }

    pub fn told(&self) -> Vec<&str> {
        let told = self.lines.iter().filter_map(|line| line.strip_prefix("> "));
        told.collect()
    }
}

impl Scene {
    pub async fn new(options: Options, settings: DeskSettings) -> Self {
        let server = options.set("appendonly", "no").start();
        let driver = LaneDriver::connect(&server.url(), "default", settings).await;
        let redis = Redis::new(&server.url()).expect("the URL is well-formed");
        Self {
            second: redis.connect().await.expect("Redis accepts"),
            names: vec![
                (keys::site_prefix(&driver.site), String::new()),
                (keys::shard_prefix(driver.shard), String::new()),
            ],
            gateways: 0,
            events: 0,
            sockets: BTreeMap::new(),
            driver,
            server,
        }
    }

    /// Where its Redis is, for somebody who may do everything.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// A connection of a gateway of its own, not opened yet.
    pub fn socket(&mut self, uid: &str) -> Socket {
        self.gateways += 1;
        let boot = BootId::random();
        let socket = Socket::new(uid, &boot);
        let count = self.sockets.entry(uid.to_owned()).or_default();
        *count += 1;
        let name = format!("{uid}.{count}");
        self.names.push((socket.client.to_string(), name));
        self.names
            .push((boot.to_string(), format!("g{}", self.gateways)));
        socket
    }

    /// What is called by a name.
    pub fn id_of(&self, name: &str) -> String {
        let (thing, n) = name.split_once('.').unwrap_or((name, ""));
        let (id, _) = self
            .names
            .iter()
            .find(|(_, known)| known == thing)
            .expect("a name");
        format!("{id}.{n}")
    }

    pub async fn open(&mut self, uid: &str) -> Socket {
        let socket = self.socket(uid);
        self.change(uid, socket.open()).await;
        socket
    }

    pub async fn staff(&mut self, uid: &str, max: u32) -> Socket {
        let mut socket = self.open(uid).await;
        self.send(&mut socket, on_duty(max)).await;
        socket
    }

    pub async fn customer(&mut self, uid: &str) -> Socket {
        let mut socket = self.open(uid).await;
        self.send(&mut socket, Verb::CustomerConnect).await;
        socket
    }

    pub async fn send(&mut self, socket: &mut Socket, verb: Verb) -> Change {
        let (uid, kind) = (socket.uid.to_string(), socket.verb(verb));
        self.change(&uid, kind).await
    }

    /// Appends an event, has it applied by two clients at once and once more.
    pub async fn change(&mut self, uid: &str, kind: Kind) -> Change {
        let lane = Lane::of(&Uid::parse(uid).expect("well-formed"));
        self.driver.append(uid, kind).await;
        self.settle(lane).await
    }

    /// Applies what waits in a lane, which must be one entry.
    pub async fn settle(&mut self, lane: Lane) -> Change {
        let pending = self.driver.pending(lane, 2).await;
        assert_eq!(pending.len(), 1, "one entry waits");
        let entries = [pending[0].prepared.clone()];
        // Of two events one is later: a time that was written again shows as a change.
        if entries[0].id.ms <= self.driver.time_ms().await {
            self.driver.pass(entries[0].id).await;
        }
        let event = self.driver.event_id(lane, entries[0].id);
        self.events += 1;
        self.names.push((event, format!("e{}", self.events)));
        let before = self.driver.dump().await;
        assert_eq!(
            self.driver.pushes().await,
            [],
            "nothing happens between calls"
        );

        let mut first = self.driver.connection.clone();
        let (library, shard) = (self.driver.library(), self.driver.shard);
        let (one, other) = tokio::join!(
            library.apply(&mut first, shard, lane, &entries),
            library.apply(&mut self.second, shard, lane, &entries)
        );
        let mut outcomes = [one, other].map(|outcome| outcome.expect("the script runs").remove(0));
        if outcomes[0] == Outcome::Duplicate {
            outcomes.swap(0, 1);
        }
        let [outcome, again] = outcomes;
        assert_eq!(again, Outcome::Duplicate);
        let after = self.driver.dump().await;
        let pushes = self.driver.pushes().await;

        assert_eq!(
            self.driver.apply(lane, &entries).await,
            [Outcome::Duplicate]
        );
        let later = self.driver.dump().await;
        assert_eq!(later.without_ttls(), after.clone().without_ttls());
        assert_eq!(self.driver.pushes().await, []);
        assert_eq!(self.driver.applied(lane).await, Some(entries[0].id));
        let prefix = keys::site_prefix(&self.driver.site);
        let rules = SiteDump::new(&after, &prefix).check_rules();
        rules.unwrap_or_else(|broken| panic!("{broken:#}\n{after}"));
        Change {
            lines: self.lines(&before, &after, &pushes),
            outcome,
        }
    }

    pub fn lines(&self, before: &Dump, after: &Dump, pushes: &[Pushed]) -> Vec<String> {
        let own = |dump: &Dump| {
            let mut dump = dump.clone();
            // Checked for every transition: what is applied above, the counters in the driver.
            let elsewhere = ["applied", "events", "pushes"];
            let prefix = keys::shard_prefix(self.driver.shard);
            dump.0.retain(|name, kept| {
                kept.ttl_ms = kept.ttl_ms.map(round);
                let rest = name.strip_prefix(&prefix).unwrap_or(name);
                // Moved by every message; limits.rs and askers.rs look at them.
                if rest.starts_with("site:") && rest.contains(":b:") {
                    return false;
                }
                if let Content::Hash(fields) = &mut kept.content
                    && rest.contains(":u:")
                {
                    fields.remove("b");
                }
                !elsewhere.contains(&rest.split(':').next().unwrap_or(rest))
            });
            dump
        };
        let changes = own(after).changes_since(&own(before));
        let mut lines: Vec<String> = changes.iter().map(|line| self.short(line)).collect();
        lines.sort();
        let told = pushes.iter().map(|pushed| {
            let frame: String = self.short(&about(pushed));
            format!(
                "> {} {} {frame}",
                self.short(&pushed.client),
                pushed.short()
            )
        });
        lines.extend(told.map(|line| line.trim_end().to_owned()));
        lines
    }

    /// Names instead of ids; times of Redis's clock as `T`, in seconds as `S`, since they are any.
    pub fn short(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for (id, name) in &self.names {
            line = line.replace(id, name);
        }
        for (name, letter) in [
            ("\"time\":", "T"),
            ("\"created\":", "T"),
            ("\"changed\":", "T"),
            ("\"before\":", "S"),
        ] {
            line = without_number(&line, name, letter);
        }
        // What was asked is named by ids, so its digest is another one each time.
        if let Some((key, answer)) = line.split_once(" {")
            && line.contains(" req:")
            && let Some((key, _digest)) = key.split_once('=')
        {
            line = format!("{key}=D {{{answer}");
        }
        let is_time = |word: &str| {
            let ms: Option<u64> = word.parse().ok();
            ms.is_some_and(|ms| (1_500_000_000_000..10_000_000_000_000).contains(&ms))
        };
        let is_second = |word: &str| {
            let s: Option<u64> = word.parse().ok();
            s.is_some_and(|s| (1_500_000_000..5_000_000_000).contains(&s))
        };
        let words = line.split(' ').map(|word| match word.split_once('=') {
            _ if is_second(word) => "S".to_owned(),
            Some((name, value)) if is_time(value) => format!("{name}=T"),
            _ if is_time(word) => "T".to_owned(),
            _ => word.to_owned(),
        });
        words.collect::<Vec<_>>().join(" ").trim_end().to_owned()
    }
}

/// A letter in the place of the number behind each of these names, as in the JSON of an answer.
fn without_number(line: &str, name: &str, letter: &str) -> String {
    let mut parts = line.split(name);
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        whole += name;
        whole += letter;
        whole += part.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    whole
}

/// TTLs run down while the test looks: within a minute they are what they were set to.
pub fn round(ttl: i64) -> i64 {
    const MINUTE: i64 = 60_000;
    (ttl + MINUTE - 1) / MINUTE * MINUTE
}

/// The payload of a frame in short, without code and text.
pub fn about(pushed: &Pushed) -> String {
    if pushed.text.parse::<u32>().is_ok() {
        return String::new();
    }
    let frame = pushed.frame();
    let payload = frame["payload"].as_object().expect("a payload");
    let is_notice = payload.contains_key("code");
    let fields = payload.iter().filter(|(name, _)| {
        !(matches!(name.as_str(), "code" | "from") || is_notice && *name == "message")
    });
    let fields = fields.map(|(name, value)| {
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        format!("{name}={value}")
    });
    fields.collect::<Vec<_>>().join(" ")
}

/// The conversation that a customer is in.
pub async fn conversation_of(scene: &mut Scene, uid: &str) -> String {
    let conversation = scene.driver.conversation_of(uid).await;
    conversation.expect("in a conversation")
}

pub fn lane(uid: &str) -> Lane {
    Lane::of(&Uid::parse(uid).expect("well-formed"))
}

pub fn close(conversation: Option<&str>) -> Verb {
    let conversation = conversation.map(|id| ConversationId::parse(id).expect("well-formed"));
    Verb::Close { conversation }
}
