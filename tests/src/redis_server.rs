//! One real redis-server with the shipped `deploy/redis.conf` and `deploy/users.acl`, on its own
//! port, in its own directory. Starts without async, so property tests can use it too.
//!
//! The directory is in memory where there is room. Tests kill Redis, which loses nothing that it
//! has written, fsync or not; a disk that stalls for seconds because something is compiled
//! meanwhile would only test the timeouts. `FRONTDESK_TEST_DIR` names another place.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use redis::{AsyncConnectionConfig, Client, Connection, aio::MultiplexedConnection};
use tempfile::TempDir;

use crate::{child::Child, ports::Port, redis_users, wait, watchdog::Watchdog};

/// The configuration that is shipped.
pub const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/redis.conf");

/// How a test's Redis differs from the shipped one.
#[derive(Debug, Clone, Default)]
pub struct Options {
    cluster: bool,
    clock: i64,
    without_users: bool,
    settings: Vec<(String, String)>,
}

impl Options {
    /// A Redis Cluster of one node that owns every slot.
    #[must_use]
    pub fn cluster(mut self) -> Self {
        self.cluster = true;
        self
    }

    /// No users and no passwords, as `make run` has it.
    #[must_use]
    pub fn without_users(mut self) -> Self {
        self.without_users = true;
        self
    }

    /// Another value for a directive of redis.conf.
    #[must_use]
    pub fn set(mut self, directive: &str, value: &str) -> Self {
        self.settings.push((directive.into(), value.into()));
        self
    }

    /// Starts it and waits until it answers.
    pub fn start(self) -> RedisServer {
        let (port, bus) = (Port::lease(), Port::lease());
        let dir = tempfile::Builder::new()
            .prefix("frontdesk-redis-")
            .tempdir_in(place())
            .expect("the temporary directory is writable");
        let child = launch(&self, &port, &bus, dir.path());
        let mut server = RedisServer {
            child,
            options: self,
            port,
            bus,
            dir,
            _watchdog: Watchdog::start(),
        };
        server.wait_ready();
        server
    }
}

/// A running redis-server.
#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    options: Options,
    port: Port,
    bus: Port,
    dir: TempDir,
    _watchdog: Watchdog,
}

impl RedisServer {
    /// With the shipped configuration.
    pub fn start() -> Self {
        Options::default().start()
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port.number()))
    }

    /// Its address as the programs take it, for somebody who may do everything.
    pub fn url(&self) -> String {
        self.url_for(redis_users::OPERATOR)
    }

    /// The same for one of the users of `deploy/users.acl`.
    pub fn url_for(&self, user: &str) -> String {
        self.url_at(user, self.addr())
    }

    /// The same by way of another address: a proxy's.
    pub fn url_at(&self, user: &str, addr: SocketAddr) -> String {
        if self.options.without_users {
            return format!("redis://{addr}/");
        }
        let password = redis_users::password(user);
        format!("redis://{user}:{password}@{addr}/")
    }

    /// Its directory, which holds the append-only file.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A client of the redis crate.
    pub fn client(&self) -> Client {
        Client::open(self.url()).expect("the URL is well-formed")
    }

    /// A blocking connection.
    pub fn connection(&self) -> Connection {
        self.client().get_connection().expect("Redis accepts")
    }

    /// An async connection.
    pub async fn connect(&self) -> MultiplexedConnection {
        // The crate's own limits are 0.5 s and 1 s.
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(wait::DEADLINE))
            .set_connection_timeout(Some(wait::DEADLINE));
        let client = self.client();
        let connection = client
            .get_multiplexed_async_connection_with_config(&config)
            .await;
        connection.expect("Redis accepts")
    }

    /// Freezes it.
    pub fn pause(&self) {
        self.child.pause();
    }

    /// Lets it go on.
    pub fn unpause(&self) {
        self.child.unpause();
    }

    /// Ends it without warning.
    pub fn kill9(&mut self) {
        self.assert_nothing_refused(); // the log of that dies with it
        self.child.kill9();
    }

    fn assert_nothing_refused(&mut self) {
        // A frozen one would only be waited for.
        if self.child.exited().is_none() && !self.child.is_paused() {
            redis_users::assert_nothing_refused(&self.client());
        }
    }

    /// Starts it again on the same port and directory, after ending it without warning if it runs.
    pub fn restart(&mut self) {
        self.kill9();
        self.repair_log();
        self.child = launch(&self.options, &self.port, &self.bus, self.dir.path());
        self.wait_ready();
    }

    /// How it ended, if it did by itself.
    pub fn ended(&mut self) -> bool {
        self.child.exited().is_some()
    }

    /// Lets its append-only file grow by no more than this, as a full disk would. A restart lifts it.
    pub fn limit_log(&self, room: u64) {
        let status = Command::new("prlimit")
            .args(["--pid", &self.child.pid().to_string()])
            .arg(format!("--fsize={}", self.log_length() + room))
            .status();
        assert!(status.is_ok_and(|status| status.success()), "prlimit fails");
    }

    /// Starts it again with a wall clock that is so many seconds off the machine's.
    pub fn restart_with_clock(&mut self, seconds: i64) {
        self.options.clock = seconds;
        self.restart();
    }

    /// The length of its newest append-only file.
    pub fn log_length(&self) -> u64 {
        let file = std::fs::metadata(self.newest_log());
        file.expect("Redis keeps an append-only file").len()
    }

    /// Cuts its newest append-only file, while it does not run.
    pub fn cut_log(&self, length: u64) {
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(self.newest_log());
        let file = file.expect("Redis keeps an append-only file");
        file.set_len(length).expect("the file can be cut");
    }

    /// What OPERATIONS.md asks for before a start after an unclean end. Redis cuts a torn end off by itself,
    /// but inside of a transaction it leaves the transaction's beginning (7.0.15); what is written behind
    /// that would be read as part of it at the start after.
    fn repair_log(&self) {
        let manifest = self.dir().join("appendonlydir/appendonly.aof.manifest");
        if !manifest.exists() {
            return;
        }
        let mut repair = Command::new(find_program("redis-check-aof"));
        repair.arg("--fix").arg(manifest);
        let repair = repair.stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
        let mut repair = repair.expect("redis-check-aof starts");
        let mut answer = repair.stdin.take().expect("piped");
        // It asks only if there is something to cut off.
        let _ = std::io::Write::write_all(&mut answer, b"y\n");
        drop(answer);
        let status = repair.wait().expect("it ends");
        assert!(status.success(), "redis-check-aof: {status}");
    }

    fn newest_log(&self) -> PathBuf {
        let dir = self.dir().join("appendonlydir");
        let files = std::fs::read_dir(&dir).expect("Redis has started once");
        let logs = files.filter_map(|file| {
            let path = file.ok()?.path();
            let number = path
                .to_str()?
                .strip_suffix(".incr.aof")?
                .rsplit('.')
                .next()?;
            Some((number.parse::<u64>().ok()?, path))
        });
        logs.max().expect("there is an append-only file").1
    }

    /// Its log.
    pub fn log(&self) -> String {
        self.child.log()
    }

    fn wait_ready(&mut self) {
        let client = self.client();
        let mut connection = wait::until_blocking("redis-server answers", || {
            if let Some(status) = self.child.exited() {
                panic!("redis-server ended ({status}):\n{}", self.child.log());
            }
            let mut connection = client.get_connection().ok()?;
            // Refused while it loads its file.
            let pong: redis::RedisResult<String> = redis::cmd("PING").query(&mut connection);
            pong.ok().map(|_| connection)
        });
        if self.options.cluster {
            own_every_slot(&mut connection);
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.assert_nothing_refused();
        }
    }
}

fn launch(options: &Options, port: &Port, bus: &Port, dir: &Path) -> Child {
    // A copy, since Redis may be told to rewrite it.
    let config = dir.join("redis.conf");
    std::fs::copy(CONFIG, &config).expect("the server's directory is writable");
    let mut args = vec![config.display().to_string()];
    let mut set = |directive: &str, value: &str| {
        args.extend([format!("--{directive}"), value.to_owned()]);
    };
    set("port", &port.number().to_string());
    set("bind", "127.0.0.1");
    set("dir", &dir.display().to_string());
    if options.cluster {
        set("cluster-enabled", "yes");
        set("cluster-port", &bus.number().to_string());
    }
    if !options.without_users {
        set("aclfile", &redis_users::write(dir).display().to_string());
    }
    for (directive, value) in &options.settings {
        set(directive, value);
    }
    let program = find_program("redis-server");
    let env = clock(options.clock);
    Child::start(
        "redis-server",
        &program,
        &args,
        &env,
        &dir.join("redis.log"),
    )
}

/// Settings that put a process's wall clock so many seconds off, by Debian's datefudge.
pub fn clock(seconds: i64) -> Vec<(String, String)> {
    if seconds == 0 {
        return Vec::new();
    }
    let libraries = std::fs::read_dir("/usr/lib").expect("Linux has /usr/lib");
    let library = libraries
        .filter_map(|dir| Some(dir.ok()?.path().join("datefudge/datefudge.so")))
        .find(|library| library.is_file())
        .expect("datefudge is not installed: run `make install`");
    // It is told how far to go back.
    vec![
        ("LD_PRELOAD".into(), library.display().to_string()),
        ("DATEFUDGE".into(), (-seconds).to_string()),
    ]
}

/// Where directories of servers go.
fn place() -> PathBuf {
    const MEMORY: &str = "/dev/shm";
    const ROOM_KIB: u64 = 1024 * 1024;
    if let Some(dir) = std::env::var_os("FRONTDESK_TEST_DIR") {
        return dir.into();
    }
    let free = Command::new("df")
        .args(["-k", "--output=avail", MEMORY])
        .output();
    let free = free.ok().and_then(|output| {
        let text = String::from_utf8(output.stdout).ok()?;
        text.lines().nth(1)?.trim().parse::<u64>().ok()
    });
    match free {
        Some(kib) if kib >= ROOM_KIB => MEMORY.into(),
        _ => std::env::temp_dir(),
    }
}

/// Finds a program that the tests need in PATH or in the system's directories.
pub fn find_program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|dir| dir.join(name))
        .find(|candidate| candidate.is_file());
    found.unwrap_or_else(|| panic!("{name} is not installed: run `make install`"))
}

fn own_every_slot(connection: &mut Connection) {
    let info = |connection: &mut Connection| -> String {
        redis::cmd("CLUSTER")
            .arg("INFO")
            .query(connection)
            .expect("Redis runs as a cluster")
    };
    if info(connection).contains("cluster_slots_assigned:0") {
        let () = redis::cmd("CLUSTER")
            .arg("ADDSLOTSRANGE")
            .arg(0)
            .arg(16383)
            .query(connection)
            .expect("a new node takes every slot");
    }
    wait::until_blocking("the one-node cluster is up", || {
        info(connection).contains("cluster_state:ok").then_some(())
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_acknowledged_survives_kill9() {
        let mut server = RedisServer::start();
        let () = redis::cmd("SET")
            .arg("k")
            .arg("v")
            .query(&mut server.connection())
            .expect("written");
        server.restart();
        let value: String = redis::cmd("GET")
            .arg("k")
            .query(&mut server.connection())
            .expect("still there");
        assert_eq!(value, "v");
    }

    #[test]
    fn the_shipped_configuration_is_in_force() {
        let server = RedisServer::start();
        for (setting, expected) in [
            ("appendonly", "yes"),
            ("appendfsync", "always"),
            ("no-appendfsync-on-rewrite", "no"),
            ("maxmemory-policy", "noeviction"),
            ("maxmemory", "1073741824"),
            ("save", ""),
        ] {
            let pair: Vec<String> = redis::cmd("CONFIG")
                .arg("GET")
                .arg(setting)
                .query(&mut server.connection())
                .expect("readable");
            assert_eq!(pair[1], expected, "{setting}");
        }
    }

    #[test]
    fn a_one_node_cluster_refuses_keys_of_two_slots() {
        let server = Options::default().cluster().start();
        let both: redis::RedisResult<Vec<Option<String>>> = redis::cmd("MGET")
            .arg("a")
            .arg("b")
            .query(&mut server.connection());
        assert!(both.is_err());
    }
}
