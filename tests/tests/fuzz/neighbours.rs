//! A conversation next door: another site of the shard that is mistreated, in the same lanes.

use frontdesk_shared::{ids::Site, protocol::frame::Verb};
use frontdesk_tests::{
    desk_state::SiteDump,
    key_table::KeyTable,
    lane_driver::{LaneDriver, Pushed, Socket, on_duty, words_with_id},
    redis_dump::Dump,
    redis_server::{Options, RedisServer},
};
use frontdesk_worker::{desk::settings::DeskSettings, library::Outcome};
use redis::aio::MultiplexedConnection;

/// The site of the neighbours, and one of the same shard that is not theirs.
pub const HOME: &str = "a0";

/// Without a disk: nothing here is about one.
pub fn server() -> RedisServer {
    Options::default()
        .set("appendonly", "no")
        .set("maxmemory", "0")
        .start()
}

pub fn run(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future);
}

/// Another site of the shard.
pub fn hostile_site(driver: &LaneDriver) -> Site {
    let mut names = (1..1000).map(|n| Site::parse(&format!("b{n}")).expect("well-formed"));
    let found = names.find(|site| frontdesk_shared::ids::Shard::of(site) == driver.shard);
    found.expect("one of a thousand")
}

/// An emptied Redis with a driver of the neighbours' site.
pub async fn driver(server: &RedisServer, settings: DeskSettings) -> LaneDriver {
    let mut connection = server.connect().await;
    let () = redis::cmd("FLUSHALL")
        .query_async(&mut connection)
        .await
        .expect("flushed");
    LaneDriver::connect(&server.url(), HOME, settings).await
}

pub struct Neighbours {
    staff: Socket,
    customer: Socket,
    words: usize,
}

impl Neighbours {
    pub async fn meet(driver: &mut LaneDriver) -> Self {
        let mut staff = driver.open("sam").await;
        driver.send(&mut staff, on_duty(1)).await;
        let mut customer = driver.open("alice").await;
        driver.send(&mut customer, Verb::CustomerConnect).await;
        assert!(driver.conversation_of("alice").await.is_some());
        driver.pushes().await;
        Self {
            staff,
            customer,
            words: 0,
        }
    }

    /// Both say something; it is applied as the next entry of their lanes, acknowledged and heard.
    pub async fn talk(&mut self, driver: &mut LaneDriver) {
        self.words += 1;
        let id = format!("m{}", self.words);
        let (customer, staff) = (&mut self.customer, &mut self.staff);
        say(driver, customer, staff, &id).await;
        say(driver, staff, customer, &id).await;
    }

    /// Both were told that the customer was silent for too long.
    pub fn heard_timeout(&self, pushes: &[Pushed]) -> bool {
        let told = |socket: &Socket, what: &str| {
            let own = pushes
                .iter()
                .filter(|push| push.client == socket.client.as_str());
            own.map(Pushed::short).any(|short| short == what)
        };
        told(&self.customer, "chat_close/timeout")
            && told(&self.staff, "chat_close/customer_timeout")
    }

    /// They were told nothing.
    pub fn heard_nothing(&self, pushes: &[Pushed]) {
        let own = [self.staff.client.as_str(), self.customer.client.as_str()];
        let heard = pushes.iter().find(|push| own.contains(&&*push.client));
        assert_eq!(heard, None);
    }
}

async fn say(driver: &mut LaneDriver, from: &mut Socket, to: &Socket, id: &str) {
    let outcome = driver.send(from, words_with_id("你好", id)).await;
    assert!(matches!(outcome, Outcome::Acked(_)), "{outcome:?}");
    let heard = driver.pushes().await;
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert_eq!(heard[0].client, to.client.as_str());
    assert_eq!(heard[0].frame()["payload"]["message"], "你好");
}

/// The rules that need no model, in one site.
pub async fn check_rules(connection: &mut MultiplexedConnection, site: &Site) {
    let prefix = frontdesk_shared::keys::site_prefix(site);
    let dump = Dump::try_read(connection, &format!("{prefix}*"))
        .await
        .expect("readable");
    let rules = SiteDump::new(&dump, &prefix).check_rules();
    rules.unwrap_or_else(|broken| panic!("{broken:#}\n{dump}"));
}

/// Every key with its type, as bytes.
pub async fn check_keys(driver: &mut LaneDriver, table: &KeyTable, exact: bool) {
    let connection = &mut driver.connection;
    let names: Vec<Vec<u8>> = redis::cmd("KEYS")
        .arg("*")
        .query_async(connection)
        .await
        .expect("keys");
    let mut kinds = redis::pipe();
    for name in &names {
        kinds.cmd("TYPE").arg(name);
    }
    let kinds: Vec<String> = kinds.query_async(connection).await.expect("types");
    for (name, kind) in names.iter().zip(&kinds) {
        let checked = if exact {
            table.check(driver.shard, name, kind)
        } else {
            table.check_family(driver.shard, name, kind)
        };
        checked.unwrap_or_else(|broken| panic!("{broken:#}"));
    }
}
