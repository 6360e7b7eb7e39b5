//! A drill: people live on a cluster by chance while faults are done to it; then everything is
//! mended, everybody settles, and what they sent, were promised and saw is held against what the
//! cluster wrote down ([`check`]). Then all go home, and nothing may be left of them.
//!
//! All chance comes from one seed, which a failure prints; `FRONTDESK_SEED` sets it. The machine
//! decides what runs when, so a replay repeats what people and faults do, not each interleaving.
//! `FRONTDESK_HISTORY=1` prints everything that happened.

pub mod check;
pub mod faults;
mod guests;
pub mod history;
mod person;
mod resume;
mod settled;
pub mod view;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use frontdesk_shared::{ids::Site, keys};
use rand::{SeedableRng as _, rngs::StdRng};
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use self::{
    check::Evidence,
    history::{History, Record, What},
    person::{Name, Person, Stage},
};
pub use self::{
    guests::Guests,
    person::{Act, NUMBERS_PER_DEVICE},
    settled::Settled,
};
use crate::{
    cluster::{Builder, Cluster, DEFAULT_SITE},
    redis_dump::Dump,
    wait,
};

/// The sites on which people live: the same names on both, so that a mix-up shows.
pub const SITES: [&str; 2] = [DEFAULT_SITE, "elsewhere"];
/// How long it may take until everybody has settled once nobody disturbs the cluster any more.
const SETTLE: Duration = Duration::from_secs(90);
/// Everything is quiet when nobody was told anything for so long: several ticks.
const QUIET: Duration = Duration::from_millis(1500);
/// How often the state is looked at while people live.
const LOOK: Duration = Duration::from_millis(400);

/// How many people live on each site.
#[derive(Debug, Clone, Copy)]
pub struct Cast {
    /// Customers.
    pub customers: usize,
    /// Staff; the n-th serves up to n (at most 3) at a time.
    pub staff: usize,
    /// Every how many of them one resumes; 0: nobody.
    pub resuming: usize,
    /// How many devices has who resumes.
    pub devices: usize,
}

impl Cast {
    /// How many devices the n-th has, if they resume.
    fn devices_of(&self, n: usize) -> Option<usize> {
        let resumes = self.resuming > 0 && (n + 1).is_multiple_of(self.resuming);
        resumes.then_some(self.devices)
    }
}

impl Default for Cast {
    fn default() -> Self {
        Self {
            customers: 8,
            staff: 3,
            resuming: 2,
            devices: 2,
        }
    }
}

/// See the head of this file.
#[derive(Debug)]
pub struct Drill {
    /// Everything that is done to the cluster goes through the drill or is noted in its history.
    pub cluster: Cluster,
    /// What happened so far.
    pub history: History,
    /// Chance for whoever plans faults.
    pub chance: StdRng,
    seed: u64,
    began: Instant,
    act: watch::Sender<Act>,
    stage: Stage,
    people: JoinSet<()>,
    settled: Vec<Arc<Settled>>,
    looking: JoinHandle<()>,
    seen: Arc<Mutex<Vec<String>>>,
    forgotten: Vec<Forgotten>,
}

/// What a loss of power may have undone: what was told since a record on sockets that were open then.
#[derive(Debug, Clone, Copy)]
struct Forgotten {
    /// The first record concerned.
    from: usize,
    /// The last socket concerned.
    sockets: u64,
}

impl Drill {
    /// Starts the cluster and lets people in. The seed is `FRONTDESK_SEED`, or a new one.
    pub async fn start(builder: Builder, cast: Cast) -> Self {
        let seed = std::env::var("FRONTDESK_SEED").ok();
        let seed = seed.map_or_else(rand::random, |seed| {
            seed.parse().expect("FRONTDESK_SEED is a number")
        });
        let cluster = builder.start().await;
        let history = History::default();
        let (act, acts) = watch::channel(Act::Live);
        let stage = Stage {
            history: history.clone(),
            act: acts,
            gateways: Arc::default(),
            sockets: Arc::default(),
            acks: Arc::<AtomicU64>::default(),
            devices: Arc::default(),
        };
        let broken = Arc::<Mutex<Vec<String>>>::default();
        let looking = look(cluster.redis.client(), history.clone(), broken.clone());
        let mut drill = Self {
            cluster,
            history,
            chance: StdRng::seed_from_u64(seed),
            seed,
            began: Instant::now(),
            act,
            stage,
            people: JoinSet::new(),
            settled: Vec::new(),
            looking: tokio::spawn(looking),
            seen: broken,
            forgotten: Vec::new(),
        };
        drill.gateways_changed();
        for site in SITES {
            for n in 0..cast.staff {
                drill.enter(
                    site,
                    &format!("s{n}"),
                    Some((n + 1).min(3)),
                    cast.devices_of(n),
                );
            }
            for n in 0..cast.customers {
                drill.enter(site, &format!("c{n}"), None, cast.devices_of(n));
            }
        }
        drill
    }

    /// Somebody with one socket who does not resume, or with so many devices that do.
    fn enter(&mut self, site: &str, uid: &str, max: Option<usize>, devices: Option<usize>) {
        for device in 0..devices.unwrap_or(1) {
            let name = Name {
                site: site.to_owned(),
                uid: uid.to_owned(),
                max,
                device,
                resumes: devices.is_some(),
            };
            let settled = Arc::new(Settled::new(format!("{site}/{uid}#{device}")));
            self.settled.push(Arc::clone(&settled));
            let seed = self.seed ^ (self.settled.len() as u64) << 32;
            let person = Person::new(name, self.stage.clone(), seed, settled);
            self.people.spawn(person.run());
        }
    }

    /// Tells people where the gateways are.
    pub fn gateways_changed(&mut self) {
        let alive = self.cluster.gateways.iter_mut();
        let alive = alive.filter_map(|gateway| match gateway.child.exited() {
            None => Some(gateway.listen),
            Some(_) => None,
        });
        let gateways: Vec<_> = alive.collect();
        *self
            .stage
            .gateways
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = gateways;
    }

    /// How many messages were acknowledged so far.
    pub fn acks(&self) -> u64 {
        self.stage.acks.load(Ordering::Relaxed)
    }

    /// How many people there are.
    pub fn count(&self) -> usize {
        self.settled.len()
    }

    /// How often people were told this code so far.
    pub fn told(&self, code: &str) -> usize {
        let records = self.history.records().into_iter();
        let told =
            |what: &What| matches!(what, What::Told(frame) if frame["payload"]["code"] == code);
        records.filter(|record| told(&record.what)).count()
    }

    /// Waits until this many more messages are acknowledged.
    pub async fn progress(&self, more: u64) {
        let goal = self.acks() + more;
        let what = format!("{more} more acks (seed {})", self.seed);
        wait::within(&what, SETTLE, async || (self.acks() >= goal).then_some(())).await;
    }

    /// Lets people live for a while, during which nothing can be waited for.
    pub async fn live(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Lets everybody settle, looks at everything, sends all home, looks again. What is found
    /// wrong panics; [`Evidence`] is for who wants to look further.
    pub async fn finish(self) -> Evidence {
        let evidence = self.end().await;
        evidence.assert_sound();
        evidence
    }

    /// [`Drill::finish`] without a judgement.
    pub async fn end(mut self) -> Evidence {
        self.act.send_replace(Act::Settle);
        let mut redis = self.cluster.redis.connect().await;
        let unsettled = self.settle().await;
        let live = live_sockets(&self.history);
        let talking = Dump::read(&mut redis).await;
        self.act.send_replace(Act::Leave);
        let gone = async { while self.people.join_next().await.is_some() {} };
        wait::ends_within("everybody goes home", wait::DEADLINE, gone).await;
        let empty = until_empty(&mut redis).await;
        self.looking.abort();
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (records, undone) = self.remembered();
        let devices = self.stage.devices.lock();
        let devices = devices.unwrap_or_else(PoisonError::into_inner).clone();
        let evidence = Evidence {
            all: self.history.records(),
            devices,
            seed: self.seed,
            took: self.began.elapsed(),
            records,
            undone,
            live,
            talking,
            empty,
            seen: seen.clone(),
            unsettled,
        };
        print(&evidence.summary());
        if std::env::var_os("FRONTDESK_HISTORY").is_some() {
            let lines = evidence.records.iter().map(ToString::to_string);
            print(&lines.collect::<Vec<_>>().join("\n"));
        }
        evidence
    }

    /// How many sockets there have been.
    fn sockets(&self) -> u64 {
        self.stage.sockets.load(Ordering::SeqCst)
    }

    /// The records; and apart from them what was told and may be undone.
    fn remembered(&self) -> (Vec<Record>, Vec<Record>) {
        // A socket that is told to resume after a loss is told nothing any more that was lost.
        let mut healed: BTreeMap<u64, usize> = BTreeMap::new();
        let kept = |index: usize, record: &Record, healed: &BTreeMap<u64, usize>| {
            let told = matches!(record.what, What::Told(_));
            let healed = healed.get(&record.socket).copied().unwrap_or_default();
            let undone = |loss: &Forgotten| {
                index >= loss.from && record.socket <= loss.sockets && healed <= loss.from
            };
            !(told && self.forgotten.iter().any(undone))
        };
        let (mut records, mut undone) = (Vec::new(), Vec::new());
        for (index, record) in self.history.records().into_iter().enumerate() {
            if matches!(&record.what, What::Told(frame) if frame["action"] == "resync") {
                healed.insert(record.socket, index);
            }
            let list = if kept(index, &record, &healed) {
                &mut records
            } else {
                &mut undone
            };
            list.push(record);
        }
        (records, undone)
    }

    /// Waits until nobody is owed anything, nothing moves, and nobody is registered who is not here.
    /// Returns what did not become so.
    async fn settle(&self) -> Vec<String> {
        let mut redis = self.cluster.redis.connect().await;
        let (began, mut last, mut since) = (Instant::now(), 0, Instant::now());
        loop {
            let length = self.history.len();
            let all = self.settled.iter().all(|one| one.owed().is_none());
            if length != last || !all {
                (last, since) = (length, Instant::now());
            }
            if since.elapsed() > QUIET {
                let dump = Dump::read(&mut redis).await;
                let wrong = check::presence(&dump, &live_sockets(&self.history));
                if wrong.is_empty() {
                    return wrong;
                }
                since = Instant::now();
            }
            if began.elapsed() > SETTLE {
                let dump = Dump::read(&mut redis).await;
                let mut wrong = check::presence(&dump, &live_sockets(&self.history));
                wrong.extend(self.settled.iter().filter_map(|one| one.owed()));
                return wrong;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// For whoever runs tests with `--nocapture`.
#[allow(clippy::print_stdout, reason = "what a drill was is the test's output")]
fn print(line: &str) {
    println!("{line}");
}

/// The sockets that were welcomed and have not ended, and their client ids.
fn live_sockets(history: &History) -> BTreeMap<u64, String> {
    let mut live = BTreeMap::new();
    for record in history.records() {
        match &record.what {
            What::Told(frame) if frame["action"] == "welcome" => {
                let id = frame["payload"]["client_id"].as_str().unwrap_or_default();
                live.insert(record.socket, id.to_owned());
            }
            What::Lost(_) | What::Left => drop(live.remove(&record.socket)),
            _ => {}
        }
    }
    live
}

/// Looks at the state again and again while people live: the rules hold at every moment.
async fn look(client: redis::Client, history: History, seen: Arc<Mutex<Vec<String>>>) {
    loop {
        // Redis may be stopped or gone; then there is nothing to see.
        if let Ok(mut redis) = client.get_multiplexed_async_connection().await
            && let Ok(dump) = Dump::try_read(&mut redis, "*").await
        {
            let wrong = check::rules(&dump);
            if !wrong.is_empty() {
                history.fault(format!("the state broke a rule: {wrong:?}"));
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.extend(wrong);
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits until nothing is left of anybody; returns what is there in the end.
async fn until_empty(redis: &mut redis::aio::MultiplexedConnection) -> Dump {
    let began = Instant::now();
    loop {
        let dump = Dump::read(redis).await;
        if check::left_behind(&dump).is_empty() || began.elapsed() > SETTLE {
            return dump;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What all keys of a site begin with.
pub(crate) fn prefix(site: &str) -> String {
    keys::site_prefix(&Site::parse(site).expect("a well-formed site"))
}
