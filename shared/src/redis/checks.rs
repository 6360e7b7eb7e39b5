//! The checks at start: does this Redis keep what it acknowledges, and is the data ours?
//!
//! INFO is read first, since every role's user may (deploy/users.acl). CONFIG GET knows more, and
//! more than a role should: it shows passwords. So it is asked only on a connection that names no
//! user; a named user is one of a role, without CONFIG, and to be refused would leave an entry in
//! ACL LOG at every start, where operators look for intruders.

use std::collections::HashMap;

use redis::{RedisError, aio::MultiplexedConnection};
use tracing::warn;

use super::{Redis, RedisSetupError, SCHEMA, info_field};
use crate::{
    ids::{LANES, SHARDS},
    keys,
};

/// Directive, value it should have, whether a start without it is refused.
const WANTED: [(&str, &str, bool); 4] = [
    ("appendonly", "yes", true),
    ("maxmemory-policy", "noeviction", true),
    ("appendfsync", "always", false),
    ("no-appendfsync-on-rewrite", "no", false),
];

impl Redis {
    /// Refuses a Redis that forgets what it acknowledged (`--allow-weak-redis` only warns), and one
    /// that takes no writes.
    pub async fn check_durability(&self, allow_weak: bool) -> Result<(), RedisSetupError> {
        let mut connection = self.connect().await?;
        let info: String = redis::cmd("INFO").query_async(&mut connection).await?;
        if info_field(&info, "role") == Some("slave") {
            return Err(RedisSetupError::Replica);
        }
        let mut settings = from_info(&info);
        if !self.names_user {
            settings.extend(from_config(&mut connection).await?);
        }
        let mut unseen = Vec::new();
        for (setting, wanted, required) in WANTED {
            let Some(found) = settings.get(setting).cloned() else {
                unseen.push(format!("{setting} {wanted}"));
                continue;
            };
            if found == wanted {
                continue;
            }
            if required && !allow_weak {
                return Err(RedisSetupError::Weak {
                    setting,
                    found,
                    wanted,
                });
            }
            warn!(
                setting,
                found,
                wanted,
                "WEAKER THAN SHIPPED: acknowledged messages may be lost, see docs/OPERATIONS.md"
            );
        }
        if !unseen.is_empty() {
            warn!(
                settings = unseen.join(", "),
                "this Redis user cannot see these settings: make sure yourself, see docs/OPERATIONS.md"
            );
        }
        tell_of_replication(&info);
        Ok(())
    }

    /// Writes the cluster's shape at first boot and refuses another one afterwards.
    /// `app` is the worker's App; a gateway passes `None`. Returns whether anything had to be written.
    pub async fn check_cluster(&self, app: Option<&str>) -> Result<bool, RedisSetupError> {
        let mut connection = self.connect().await?;
        let mut facts = vec![
            ("schema", SCHEMA.to_string()),
            ("shards", SHARDS.to_string()),
            ("lanes", LANES.to_string()),
        ];
        facts.extend(app.map(|name| ("app", name.to_owned())));
        let mut written = false;
        for (fact, ours) in facts {
            // Looked at first: HSETNX is refused when memory is full, and a start must not be.
            let mut get = redis::cmd("HGET");
            get.arg(keys::META).arg(fact);
            let mut found: Option<String> = get.query_async(&mut connection).await?;
            if found.is_none() {
                redis::cmd("HSETNX")
                    .arg(keys::META)
                    .arg(fact)
                    .arg(&ours)
                    .exec_async(&mut connection)
                    .await?;
                found = get.query_async(&mut connection).await?;
                written = true;
            }
            let found = found.unwrap_or_default();
            if found != ours {
                return Err(RedisSetupError::OtherCluster { fact, found, ours });
            }
        }
        Ok(written)
    }
}

fn from_info(info: &str) -> HashMap<String, String> {
    let appendonly = info_field(info, "aof_enabled").map(|on| if on == "1" { "yes" } else { "no" });
    let known = [
        ("appendonly", appendonly),
        ("maxmemory-policy", info_field(info, "maxmemory_policy")),
    ];
    known
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect()
}

/// Nothing where CONFIG is not there, as in a hosted Redis, or not allowed after all.
async fn from_config(
    connection: &mut MultiplexedConnection,
) -> Result<HashMap<String, String>, RedisError> {
    let mut command = redis::cmd("CONFIG");
    command
        .arg("GET")
        .arg("append*")
        .arg("no-append*")
        .arg("maxmemory-policy");
    match command.query_async(connection).await {
        Err(error) if !error.is_io_error() => Ok(HashMap::new()),
        settings => settings,
    }
}

/// A reply waits for the disk, but not for a replica: what a failover may lose must be known
/// beforehand.
fn tell_of_replication(info: &str) {
    if info_field(info, "connected_slaves").is_none_or(|count| count == "0") {
        return;
    }
    // INFO shows the field only where the setting is on.
    if info_field(info, "min_slaves_good_slaves").is_some() {
        warn!(
            "THIS REDIS HAS REPLICAS: a failover may lose what was acknowledged in the last moments before it, see docs/OPERATIONS.md"
        );
    } else {
        warn!(
            "THIS REDIS HAS REPLICAS and min-replicas-to-write 0: a failover may lose what was acknowledged before it, and a primary that is cut off goes on acknowledging what will be lost; see docs/OPERATIONS.md"
        );
    }
}
