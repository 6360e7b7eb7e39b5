//! The users of the shipped `deploy/users.acl`, with passwords for tests. Every test's Redis has
//! them, so every system test shows that the roles may do what they need: what one is refused is an
//! entry in ACL LOG, at which [`assert_nothing_refused`] stops.

use std::{
    fs,
    path::{Path, PathBuf},
};

use redis::{Client, RedisResult, Value};

use crate::wait;

/// The file that is shipped.
pub const USERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/users.acl");
/// The users of replication.
pub const REPLICATION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/sentinel/users.acl");
/// Who may do everything: the tests themselves.
pub const OPERATOR: &str = "operator";
/// The gateways' user.
pub const GATEWAY: &str = "gateway";
/// The workers' user.
pub const WORKER: &str = "worker";
/// Who only looks; it is off until [`let_in`].
pub const VIEWER: &str = "viewer";
/// Who a replica is on its primary.
pub const REPLICA: &str = "replica";
/// Who the Sentinels are.
pub const SENTINEL: &str = "sentinel";

/// What a user logs in with.
pub fn password(user: &str) -> String {
    format!("secret-of-{user}")
}

/// The shipped files with passwords put in and comments left out, written into `dir` as an `aclfile`.
pub fn write(dir: &Path) -> PathBuf {
    let read = |file| fs::read_to_string(file).expect("the shipped files are there");
    let mut text = read(USERS) + &read(REPLICATION);
    for user in [OPERATOR, GATEWAY, WORKER, REPLICA, SENTINEL] {
        let place = format!(">{}_PASSWORD", user.to_uppercase());
        assert_eq!(text.matches(&place).count(), 1, "{place} in {USERS}");
        text = text.replace(&place, &format!(">{}", password(user)));
    }
    let users = text.lines().filter(|line| line.starts_with("user "));
    let text = users.collect::<Vec<_>>().join("\n") + "\n";
    let path = dir.join("users.acl");
    fs::write(&path, text).expect("the server's directory is writable");
    path
}

/// Gives the user [`VIEWER`] a password, as docs/OPERATIONS.md has it.
pub fn let_in(client: &Client) -> RedisResult<()> {
    let mut acl = redis::cmd("ACL");
    acl.arg("SETUSER").arg(VIEWER).arg("on");
    acl.arg(format!(">{}", password(VIEWER)));
    acl.query(&mut client.get_connection()?)
}

/// Panics with what a user was refused since the server's start, if it still answers.
pub fn assert_nothing_refused(client: &Client) {
    let entries = refused(client).unwrap_or_default();
    assert!(
        entries.is_empty(),
        "ACL LOG is not empty, see deploy/users.acl: {entries:#?}"
    );
}

/// What is in ACL LOG: who was refused what.
pub fn refused(client: &Client) -> RedisResult<Vec<String>> {
    let mut connection = client.get_connection_with_timeout(wait::DEADLINE)?;
    connection.set_read_timeout(Some(wait::DEADLINE))?;
    let log: Vec<Vec<(String, Value)>> = redis::cmd("ACL").arg("LOG").query(&mut connection)?;
    let entry = |fields: Vec<(String, Value)>| {
        let shown = fields.iter().filter_map(|(name, value)| {
            let wanted = ["count", "reason", "context", "object", "username"];
            let value = match value {
                Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                Value::Int(number) => number.to_string(),
                _ => return None,
            };
            wanted
                .contains(&name.as_str())
                .then(|| format!("{name} {value}"))
        });
        shown.collect::<Vec<_>>().join(", ")
    };
    Ok(log.into_iter().map(entry).collect())
}
