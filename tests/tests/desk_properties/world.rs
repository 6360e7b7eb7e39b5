//! Two sites in one shard, their models, and how a life is lived there.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use frontdesk_shared::{
    event::{Event, Kind, Request},
    ids::{BootId, ClientId, Lane, Shard, Site, StreamId},
    keys,
};
use frontdesk_tests::{
    desk_model::DeskModel, desk_state::SiteDump, lane_driver::LaneDriver, redis_dump::Dump,
};
use frontdesk_worker::desk::settings::DeskSettings;

use crate::{
    events::user_name,
    lives::{Act, LONG, Step, USERS},
};

/// A connection as its gateway sees it: also when its events wait to be applied.
pub struct Socket {
    pub client: ClientId,
    pub sent: u64,
}

pub struct World {
    pub driver: LaneDriver,
    pub sites: [Site; 2],
    pub models: [DeskModel; 2],
    pub boots: [BootId; 2],
    pub sockets: BTreeMap<(usize, usize), Vec<Socket>>,
    /// What everybody has asked by requests.
    pub asked: BTreeMap<(usize, usize), Vec<Request>>,
    /// The last event appended, and whether others wait to be applied.
    pub latest: StreamId,
    pub holds: bool,
    pub prefixes: [String; 2],
    /// What is in Redis after the last call.
    pub dump: Dump,
    /// The last entry applied in each lane.
    pub done: BTreeMap<Lane, StreamId>,
    /// How far everybody had got in each conversation.
    pub marks: [BTreeMap<(String, String), (u64, u64)>; 2],
    /// How often somebody was told what.
    pub seen: BTreeMap<String, usize>,
}

impl World {
    pub async fn new(url: &str, settings: &DeskSettings) -> Result<Self> {
        let sites = ["a0".to_owned(), sibling("a0")];
        let mut driver = LaneDriver::connect(url, &sites[0], settings.clone()).await;
        let () = redis::cmd("FLUSHALL")
            .query_async(&mut driver.connection)
            .await?;
        let sites = sites.map(|site| Site::parse(&site).expect("well-formed"));
        Ok(Self {
            dump: driver.dump().await,
            driver,
            prefixes: sites.each_ref().map(keys::site_prefix),
            sites,
            models: [(); 2].map(|()| DeskModel::new(settings.clone())),
            boots: [(); 2].map(|()| BootId::random()),
            sockets: BTreeMap::new(),
            asked: BTreeMap::new(),
            latest: StreamId::ZERO,
            holds: false,
            done: BTreeMap::new(),
            marks: Default::default(),
            seen: BTreeMap::new(),
        })
    }

    pub async fn step(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::User {
                second_site,
                user,
                act,
                hold,
            } => {
                let place = (usize::from(*second_site), *user);
                let Some(place) = self.somebody_who_can(place, act) else {
                    return Ok(());
                };
                let sockets = self.sockets.get(&place).map_or(0, Vec::len);
                let wanted = match act {
                    Act::Open { .. } | Act::Ask { .. } | Act::AskAgain { .. } => 0,
                    Act::Resume { replaces, .. } => 1 + usize::from(replaces.is_some()),
                    _ => 1,
                };
                for _ in sockets..wanted {
                    let english = false;
                    let gateway = *user % 2;
                    self.act(place, &Act::Open { gateway, english }, *hold)
                        .await?;
                }
                self.act(place, act, *hold).await
            }
            Step::Tick { seconds } => self.tick(*seconds).await,
            Step::Release { first, most } => self.release(*first, *most).await,
        }
    }

    pub async fn act(&mut self, place: (usize, usize), act: &Act, hold: bool) -> Result<()> {
        let event = Event {
            site: self.sites[place.0].clone(),
            uid: user_name(place.1),
            kind: self.event(place, act),
        };
        let id = self.driver.append_event(&event).await;
        self.latest = id;
        if hold {
            self.holds = true;
            return Ok(());
        }
        let lane = Lane::of(&event.uid);
        let pending = self.driver.pending(lane, 100).await;
        if pending.len() == 1 {
            self.call(lane, 1).await
        } else {
            // What was held before in this lane comes first.
            ensure!(pending.last().is_some_and(|last| last.prepared.id == id));
            self.call(lane, pending.len()).await
        }
    }

    /// Words and ends are mostly from somebody who has a conversation, or little would happen.
    fn somebody_who_can(&self, place: (usize, usize), act: &Act) -> Option<(usize, usize)> {
        if let Act::Ask { act, .. } = act {
            return self.somebody_who_can(place, act);
        }
        if let Act::AskAgain { .. } = act {
            let askers = self.asked.keys().filter(|asker| asker.0 == place.0);
            let askers: Vec<_> = askers.copied().collect();
            return askers.get(place.1.checked_rem(askers.len())?).copied();
        }
        let (Act::Say { socket, .. }
        | Act::End { socket, .. }
        | Act::Mark { socket, .. }
        | Act::Recall { socket, .. }) = act
        else {
            return Some(place);
        };
        let users = &self.models[place.0].users;
        let talking: Vec<usize> = (0..USERS)
            .filter(|user| {
                let user = users.get(user_name(*user).as_str());
                user.is_some_and(|user| match &user.duty {
                    Some(duty) => !duty.open.is_empty(),
                    None => user.conversation.is_some(),
                })
            })
            .collect();
        if (place.1 + socket).is_multiple_of(8) {
            return Some(place);
        }
        let somebody = talking.get(place.1.checked_rem(talking.len())?)?;
        Some((place.0, *somebody))
    }

    pub async fn tick(&mut self, seconds: u64) -> Result<()> {
        let fired = self.driver.tick_after(seconds * 1000).await;
        let clock = self.driver.clock().await;
        let (mut expected, mut events) = (Vec::new(), Vec::new());
        for (site, model) in self.sites.iter().zip(&mut self.models) {
            for (uid, lost) in model.give_up(clock) {
                expected.push((site.to_string(), format!("{uid} {lost}")));
            }
            for conv in model.fire(clock) {
                expected.push((site.to_string(), model.name(conv).to_owned()));
            }
        }
        let mut told_to_move = false;
        for lane in Lane::all() {
            for pending in self.driver.pending(lane, 100).await {
                let event = pending.event.expect("well-formed");
                match event.kind {
                    Kind::IdleTimer { conversation } => {
                        events.push((event.site.to_string(), conversation.to_string()));
                    }
                    Kind::LostTimer { lost } => {
                        events.push((event.site.to_string(), format!("{} {lost}", event.uid)));
                    }
                    Kind::QueueMoved => told_to_move = true,
                    _ => {}
                }
            }
        }
        ensure!(
            fired == expected.len() as u64,
            "{fired} timers fired, not {expected:?}"
        );
        for due in &expected {
            ensure!(
                events.contains(due),
                "the timer of {due:?} is not on its way"
            );
        }
        let moved = self.models.iter().any(DeskModel::somebody_moved);
        ensure!(
            told_to_move || !moved,
            "places have changed and nobody is told"
        );
        self.release(0, 8).await
    }

    pub async fn release(&mut self, first: usize, most: usize) -> Result<()> {
        let lanes: Vec<Lane> = Lane::all().collect();
        for n in 0..lanes.len() {
            let lane = lanes[(first + n) % lanes.len()];
            while !self.driver.pending(lane, 1).await.is_empty() {
                self.call(lane, most).await?;
            }
        }
        self.holds = false;
        Ok(())
    }

    pub async fn everybody_leaves(&mut self) -> Result<()> {
        self.release(0, 32).await?;
        let places: Vec<_> = self.sockets.keys().copied().collect();
        for place in places {
            while !self.sockets[&place].is_empty() {
                self.act(place, &Act::Close { socket: 0 }, false).await?;
            }
        }
        // So are messages that were left.
        self.tick(LONG).await?;
        // Who was lost is given up first; whoever that moved in a queue has left by then.
        self.tick(200).await?;
        self.tick(200).await?;
        let dump = self.driver.dump().await;
        for site in &self.sites {
            SiteDump::new(&dump, &keys::site_prefix(site)).check_empty()?;
        }
        let prefix = keys::shard_prefix(self.driver.shard);
        for name in dump.names(&prefix) {
            let kind = name.split(':').next().unwrap_or_default();
            let stays = ["events", "applied", "clock", "pushes", "site"];
            ensure!(stays.contains(&kind), "{name} is left behind");
        }
        Ok(())
    }
}

/// Another site of the same shard.
fn sibling(site: &str) -> String {
    let shard = Shard::of(&Site::parse(site).expect("well-formed"));
    let names = (1..1000).map(|n| format!("a{n}"));
    let mut siblings = names.filter(|name| Shard::of(&Site::parse(name).expect("ok")) == shard);
    siblings.next().expect("one of a thousand")
}
