//! A lane's life in a worker: [`share`] says whose it should be, [`lease`] takes it, [`reader`]
//! reads it, [`apply`] applies it, [`acks`] tells the senders, [`ahead`] sends that with the next command.

pub mod acks;
pub mod ahead;
pub mod apply;
pub mod lease;
pub mod reader;
pub mod share;

use std::{collections::BTreeSet, sync::Arc};

use frontdesk_shared::{ids::Lane, redis::Redis};
use tokio::sync::{Notify, Semaphore, watch};

use crate::{app::App, library::Library};

/// Lanes of one shard.
pub type Lanes = BTreeSet<Lane>;

/// Whether a reader reads lane 0, whose owner drives the shard's timers and burials.
pub fn reads_lane_0(active: &watch::Receiver<Lanes>) -> bool {
    active.borrow().iter().any(|lane| lane.number() == 0)
}

/// What every part of a worker needs.
#[derive(Clone)]
pub struct Context {
    /// How to reach Redis.
    pub redis: Redis,
    /// The scripts.
    pub library: Arc<Library>,
    /// The App.
    pub app: Arc<dyn App>,
    /// What readers tell the lease keeper.
    pub signals: Arc<Signals>,
    /// Room for entries in memory, in bytes.
    pub room: Arc<Semaphore>,
}

/// What readers tell the lease keeper.
#[derive(Debug, Default)]
pub struct Signals {
    /// A script answered GAP: somebody else may hold the lane, look again.
    pub recheck: Notify,
    /// An entry is of a version that this program does not know.
    pub outdated: Notify,
    /// What the lease keeper tells readers when it changes: connections to Redis have gone silent, so
    /// begin with new ones.
    pub renew: watch::Sender<u64>,
}
