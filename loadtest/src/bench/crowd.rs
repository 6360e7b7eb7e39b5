//! A full house without its sockets: staff on duty, each with a customer, and a long queue. Their
//! events are appended as a gateway would, under a boot id of our own that keeps beating; a hundred
//! thousand sockets would measure the machine's memory and not the script.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use frontdesk_shared::{
    event::{Event, Kind},
    ids::{BootId, ClientId, Lane, Shard, Site, Uid},
    keys,
    protocol::{Lang, Role, frame::Verb},
};
use redis::{AsyncCommands as _, Pipeline, aio::MultiplexedConnection};
use tokio::{task::JoinHandle, time::sleep};

/// Events in one pipeline.
const BATCH: usize = 500;
/// How long the workers may take to apply all.
const APPLIED_WITHIN: Duration = Duration::from_secs(240);

/// Staff and customers who are there, by Redis.
#[derive(Debug)]
pub(super) struct Crowd {
    connection: MultiplexedConnection,
    site: Site,
    boot: BootId,
    pipeline: Pipeline,
    heart: JoinHandle<()>,
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.heart.abort();
    }
}

impl Crowd {
    /// Nobody yet.
    pub(super) async fn new(connection: MultiplexedConnection, site: &str) -> Result<Self> {
        let boot = BootId::random();
        let mut own = connection.clone();
        let field = boot.to_string();
        let _: u64 = own.hincr(keys::GATEWAYS, &field, 1).await?;
        let heart = tokio::spawn(async move {
            loop {
                sleep(Duration::from_secs(1)).await;
                // A missed beat is made up for by the next.
                let _: Result<u64, _> = own.hincr(keys::GATEWAYS, &field, 1).await;
            }
        });
        Ok(Self {
            connection,
            site: Site::parse(site)?,
            boot,
            pipeline: redis::pipe(),
            heart,
        })
    }

    /// So many staff with a customer each, and so many who wait.
    pub(super) async fn gather(&mut self, staff: u64, waiting: u64) -> Result<()> {
        let prefix = keys::site_prefix(&self.site);
        for n in 0..staff {
            let verb = Verb::StaffOnline {
                name: None,
                max: Some(1),
            };
            self.enter(&format!("crowd.s{n}"), Role::Staff, verb)
                .await?;
        }
        self.flush().await?;
        self.until(&format!("{prefix}duty"), staff).await?;
        for n in 0..staff + waiting {
            let uid = format!("crowd.c{n}");
            self.enter(&uid, Role::Customer, Verb::CustomerConnect)
                .await?;
        }
        self.flush().await?;
        self.until(&format!("{prefix}waiting"), waiting).await
    }

    async fn enter(&mut self, uid: &str, role: Role, verb: Verb) -> Result<()> {
        let client = ClientId::random(&self.boot);
        let open = Kind::Open {
            client: client.clone(),
            lang: Lang::En,
            role,
            proof: None,
        };
        let uid = Uid::parse(uid)?;
        let stream = keys::events(Shard::of(&self.site), Lane::of(&uid));
        for kind in [open, Kind::Verb { client, n: 1, verb }] {
            let event = Event {
                site: self.site.clone(),
                uid: uid.clone(),
                kind,
            };
            self.pipeline.xadd(&stream, "*", &event.encode()).ignore();
        }
        if self.pipeline.len() >= BATCH {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        if self.pipeline.is_empty() {
            return Ok(());
        }
        let pipeline = std::mem::replace(&mut self.pipeline, redis::pipe());
        Ok(pipeline.query_async(&mut self.connection).await?)
    }

    async fn until(&mut self, key: &str, count: u64) -> Result<()> {
        let deadline = Instant::now() + APPLIED_WITHIN;
        loop {
            let now: u64 = self.connection.zcard(key).await?;
            if now >= count {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "{key} has {now} of {count} after four minutes"
            );
            sleep(Duration::from_millis(100)).await;
        }
    }
}
