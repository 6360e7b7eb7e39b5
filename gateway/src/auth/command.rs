//! What operators do by hand: `frontdesk-gateway token` and `frontdesk-gateway revoke`.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::{Args, builder::RangedU64ValueParser};
use frontdesk_shared::{
    config::{IdentityArgs, JwtAlgorithm, RedisArgs},
    event::{Event, Kind},
    ids::{EventId, Lane, Shard, Site, StreamId, Uid},
    keys,
    protocol::{Role, frame::is_name},
    redis::Redis,
    token::{self, Claims},
};
use jsonwebtoken::get_current_timestamp;
use tokio::time::{Instant, sleep};

use super::signed::{MAX_TOKEN_AGE_S, MIN_TOKEN_AGE_S};

/// For how much longer than a token lives its revocation is remembered, in seconds: clocks differ.
pub(crate) const KEEP_LONGER_S: u64 = 60;
/// How long a worker may take to apply a revocation before we say that it has not.
const APPLIED_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// `token`: prints a token for somebody.
#[derive(Debug, Clone, Args)]
pub struct TokenCommand {
    #[command(flatten)]
    identity: IdentityArgs,
    /// The user
    #[arg(long)]
    uid: String,
    /// The user's site
    #[arg(long, default_value = "default")]
    site: String,
    /// customer, staff, supervisor or service
    #[arg(long)]
    role: String,
    /// Display name
    #[arg(long)]
    name: Option<String>,
    /// Seconds for which it counts
    #[arg(long, default_value_t = 12 * 60 * 60)]
    ttl_s: u64,
}

/// `revoke`: ends a user's sockets and tokens.
#[derive(Debug, Clone, Args)]
pub struct RevokeCommand {
    #[command(flatten)]
    redis: RedisArgs,
    /// The user
    #[arg(long)]
    uid: String,
    /// The user's site
    #[arg(long, default_value = "default")]
    site: String,
    /// What the gateways have as --max-token-age-s: for so long it is remembered (60 seconds to ten years)
    #[arg(long, env = "FRONTDESK_MAX_TOKEN_AGE_S", default_value_t = 30 * 24 * 60 * 60, value_parser = RangedU64ValueParser::<u64>::new().range(MIN_TOKEN_AGE_S..=MAX_TOKEN_AGE_S))]
    max_token_age_s: u64,
}

impl TokenCommand {
    /// The token.
    pub fn run(&self) -> anyhow::Result<String> {
        let secret = self.identity.secret()?;
        let secret = secret.context("open mode has no tokens: set FRONTDESK_SECRET")?;
        ensure!(
            self.identity.jwt_algorithm == JwtAlgorithm::HS256,
            "with --jwt-algorithm RS256 or ES256 tokens are made by whoever has the private key"
        );
        let (uid, site) = user(&self.uid, &self.site)?;
        let role = named_role(&self.role);
        let role = role.context("--role must be customer, staff, supervisor or service")?;
        ensure!(
            self.name.as_deref().is_none_or(is_name),
            "--name must have 1 to 64 characters, no control characters, no blanks at its ends"
        );
        let max = self.identity.max_token_age_s;
        ensure!(
            (1..=max).contains(&self.ttl_s),
            "--ttl-s must be 1 to --max-token-age-s ({max})"
        );
        let iat = get_current_timestamp();
        let claims = Claims {
            iss: &self.identity.jwt_issuer,
            aud: &self.identity.jwt_audience,
            sub: uid.as_str(),
            site: site.as_str(),
            role,
            name: self.name.as_deref(),
            iat,
            exp: iat + self.ttl_s,
        };
        Ok(token::sign(secret.expose().as_bytes(), &claims))
    }
}

impl RevokeCommand {
    /// Appends the event and waits until a worker has applied it, and it holds. Returns what to tell.
    pub async fn run(&self) -> anyhow::Result<String> {
        let (uid, site) = user(&self.uid, &self.site)?;
        let (shard, lane) = (Shard::of(&site), Lane::of(&uid));
        let event = Event {
            site,
            uid,
            kind: Kind::Revoke {
                keep_s: self.max_token_age_s.saturating_add(KEEP_LONGER_S),
            },
        };
        let revoked = keys::revoked(&event.site, &event.uid);
        let redis = Redis::from_args(&self.redis)?;
        redis.check_cluster(None).await?;
        let mut connection = redis.connect().await?;
        let mut append = redis::cmd("XADD");
        append.arg(keys::events(shard, lane)).arg("*");
        append.arg(&event.pack());
        let id: String = append.query_async(&mut connection).await?;
        let stream = StreamId::parse(&id).context("Redis answers with a stream id")?;
        let event = EventId {
            shard,
            lane,
            stream,
        };
        let deadline = Instant::now() + APPLIED_WITHIN;
        loop {
            let applied: Option<String> = redis::cmd("HGET")
                .arg(keys::applied(shard))
                .arg(lane.number())
                .query_async(&mut connection)
                .await?;
            let applied = applied.and_then(|id| StreamId::parse(&id).ok());
            if applied.is_some_and(|applied| applied >= stream) {
                // Which is true of a dead letter, too.
                let mut get = redis::cmd("GET");
                let since: Option<u64> = get.arg(revoked).query_async(&mut connection).await?;
                ensure!(
                    since.is_some_and(|since| since >= stream.ms / 1000),
                    "NOT REVOKED: event {event} has failed; see `frontdesk-worker dead list`, and revoke again once that is mended"
                );
                return Ok(format!("revoked (event {event})"));
            }
            if Instant::now() >= deadline {
                bail!(
                    "the revocation is in the log (event {event}), but no worker has applied it in {} s: it counts as soon as one does",
                    APPLIED_WITHIN.as_secs()
                );
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

/// A role by its name; not that of open mode.
pub(crate) fn named_role(name: &str) -> Option<Role> {
    Role::parse(name).filter(|role| *role != Role::Any)
}

/// Who is meant on the command line.
pub(crate) fn user(uid: &str, site: &str) -> anyhow::Result<(Uid, Site)> {
    let uid = Uid::parse(uid).map_err(|rule| anyhow::anyhow!("--uid {rule}"))?;
    let site = Site::parse(site).map_err(|rule| anyhow::anyhow!("--site {rule}"))?;
    Ok((uid, site))
}
