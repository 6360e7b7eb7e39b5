//! The primary behind Redis Sentinel, looked up again for every connection.
//!
//! All Sentinels are asked at once, and of those that answer soon the one with the highest
//! configuration epoch is believed: a Sentinel that was cut off knows an older one. So a Sentinel
//! that hangs, as one does on the machine that has just died with the primary, costs half a second
//! and not a timeout after the other. What was found is asked for its role by whoever connects to
//! it (`Redis::connect`).
//!
//! Written here because the redis crate's own client cannot be given a private CA together with a
//! login that leaves CLIENT SETINFO out, which the users of deploy/users.acl may not.

use std::time::{Duration, Instant};

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, RedisConnectionInfo, RedisError,
};
use tokio::{sync::Mutex, task::JoinSet};

use super::{RedisSetupError, Tls, with_tcp_settings};

/// The port of Sentinels that name none.
const PORT: u16 = 26379;
/// How long a Sentinel may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long others are waited for once one has answered.
const OTHERS: Duration = Duration::from_millis(500);

/// The Sentinels of one primary.
pub(super) struct Sentinels {
    name: String,
    all: Vec<Client>,
    /// The connection to the primary, but for its address.
    primary: ConnectionInfo,
    tls: Tls,
    /// When the last lookup began, and what it found.
    found: Mutex<Option<(Instant, Client)>>,
}

impl std::fmt::Debug for Sentinels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sentinels")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What a Sentinel says.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    epoch: u64,
    host: String,
    port: u16,
}

impl Sentinels {
    /// Takes `redis+sentinel://[user:password@]host[:port],…/name` apart; `None` for other URLs.
    /// The user is that of Redis; the Sentinels have a password of their own, if any.
    pub(super) fn parse(
        url: &str,
        password: Option<&str>,
        tls: &Tls,
    ) -> Result<Option<Self>, RedisSetupError> {
        let Some((scheme @ ("redis" | "rediss"), rest)) = url.split_once("+sentinel://") else {
            return Ok(None);
        };
        let (authority, name) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (format!("{login}@"), hosts),
            None => (String::new(), authority),
        };
        let hosts: Vec<&str> = hosts.split(',').filter(|host| !host.is_empty()).collect();
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        let Some(first) = hosts
            .first()
            .filter(|_| !name.is_empty() && name.chars().all(plain))
        else {
            return Err(RedisSetupError::SentinelUrl);
        };
        let primary = with_tcp_settings(&format!("{scheme}://{login}{first}/"))?;
        let mut own = RedisConnectionInfo::default().set_skip_set_lib_name();
        if let Some(password) = password {
            own = own.set_password(password);
        }
        let mut all = Vec::new();
        for host in hosts {
            let has_port = host.rsplit(']').next().is_some_and(|it| it.contains(':'));
            let port = if has_port {
                String::new()
            } else {
                format!(":{PORT}")
            };
            let info = with_tcp_settings(&format!("{scheme}://{host}{port}/"))?;
            all.push(tls.client(info.set_redis_settings(own.clone()))?);
        }
        Ok(Some(Self {
            name: name.to_owned(),
            all,
            primary,
            tls: tls.clone(),
            found: Mutex::default(),
        }))
    }

    /// How the programs log in to the primary.
    pub(super) fn login(&self) -> &RedisConnectionInfo {
        self.primary.redis_settings()
    }

    /// The primary of this moment. Who comes while a lookup is under way shares the next one.
    pub(super) async fn primary(&self) -> Result<Client, RedisError> {
        let asked = Instant::now();
        let mut found = self.found.lock().await;
        if let Some((began, client)) = &*found
            && *began >= asked
        {
            return Ok(client.clone());
        }
        let began = Instant::now();
        let answer = self.ask().await?;
        let address = match self.primary.addr() {
            ConnectionAddr::TcpTls {
                insecure,
                tls_params,
                ..
            } => ConnectionAddr::TcpTls {
                host: answer.host,
                port: answer.port,
                insecure: *insecure,
                tls_params: tls_params.clone(),
            },
            _ => ConnectionAddr::Tcp(answer.host, answer.port),
        };
        let client = self.tls.client(self.primary.clone().set_addr(address))?;
        *found = Some((began, client.clone()));
        Ok(client)
    }

    async fn ask(&self) -> Result<Answer, RedisError> {
        let mut asked = JoinSet::new();
        for sentinel in &self.all {
            asked.spawn(ask(sentinel.clone(), self.name.clone()));
        }
        let (mut best, mut failed): (Option<Answer>, _) = (None, None);
        let mut patience = PATIENCE;
        // Dropping the rest ends it.
        while let Ok(Some(answer)) = tokio::time::timeout(patience, asked.join_next()).await {
            match answer {
                Ok(Ok(answer)) => {
                    patience = OTHERS;
                    if best.as_ref().is_none_or(|best| best.epoch < answer.epoch) {
                        best = Some(answer);
                    }
                }
                Ok(Err(error)) => failed = Some(error),
                Err(_ended) => {}
            }
        }
        best.ok_or_else(|| {
            failed.unwrap_or_else(|| std::io::Error::from(std::io::ErrorKind::TimedOut).into())
        })
    }
}

/// What one Sentinel knows.
async fn ask(sentinel: Client, name: String) -> Result<Answer, RedisError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    let mut connection = sentinel
        .get_multiplexed_async_connection_with_config(&config)
        .await?;
    let facts: std::collections::HashMap<String, String> = redis::cmd("SENTINEL")
        .arg("MASTER")
        .arg(&name)
        .query_async(&mut connection)
        .await?;
    let number = |name: &str| facts.get(name)?.parse::<u64>().ok();
    let answer = || {
        Some(Answer {
            epoch: number("config-epoch")?,
            host: facts.get("ip")?.clone(),
            port: number("port")?.try_into().ok()?,
        })
    };
    answer().ok_or_else(|| {
        let what = "a Sentinel's answer names no primary";
        (redis::ErrorKind::UnexpectedReturnType, what).into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Option<Sentinels>, RedisSetupError> {
        Sentinels::parse(url, Some("own"), &Tls::default())
    }

    #[test]
    fn a_url_names_login_sentinels_and_primary() {
        let url = "redis+sentinel://gateway:p%40ss@10.0.0.1:7000,[::1],s3.test/front-desk";
        let parsed = parse(url).expect("well-formed").expect("of Sentinels");
        assert_eq!(parsed.name, "front-desk");
        assert_eq!(parsed.login().username(), Some("gateway"));
        assert_eq!(parsed.login().password(), Some("p@ss"));
        let addresses: Vec<String> = parsed
            .all
            .iter()
            .map(|client| client.get_connection_info().addr().to_string())
            .collect();
        assert_eq!(addresses, ["10.0.0.1:7000", "::1:26379", "s3.test:26379"]);
        let theirs = parsed.all[0].get_connection_info().redis_settings();
        assert_eq!((theirs.username(), theirs.password()), (None, Some("own")));
        assert!(!format!("{parsed:?}").contains("ss"), "{parsed:?}");
    }

    #[test]
    fn other_urls_are_not_of_sentinels_and_half_ones_are_refused() {
        assert!(parse("redis://127.0.0.1:6379/").expect("fine").is_none());
        for half in [
            "redis+sentinel://h:1",
            "redis+sentinel://h:1/",
            "redis+sentinel:///name",
        ] {
            assert!(
                matches!(parse(half), Err(RedisSetupError::SentinelUrl)),
                "{half}"
            );
        }
    }
}
