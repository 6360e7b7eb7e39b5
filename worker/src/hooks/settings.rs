//! How webhooks are delivered.

use std::{sync::Arc, time::Duration};

use clap::{Args, builder::RangedU64ValueParser};
use frontdesk_shared::config::ConfigError;
use ipnet::IpNet;

use super::{
    address::{Allowed, plain_net},
    schedule::Schedule,
    sender::Lookup,
};

/// Most pauses between attempts.
const MAX_PAUSES: usize = 20;
/// The longest pause, in seconds.
const MAX_PAUSE_S: u64 = 7 * 24 * 60 * 60;

/// Settings of the command line.
#[derive(Debug, Clone, Args)]
pub struct HookArgs {
    /// Networks that webhooks may be sent to although they are not public, such as 10.1.0.0/16, several or
    /// separated by commas; all that is public is allowed anyway
    #[arg(long, env = "FRONTDESK_HOOK_ALLOW", value_delimiter = ',')]
    pub hook_allow: Vec<IpNet>,
    /// Networks that webhooks may not be sent to although they are public or allowed, several or separated by commas:
    /// your own public addresses, which reach more from within than from without
    #[arg(long, env = "FRONTDESK_HOOK_DENY", value_delimiter = ',')]
    pub hook_deny: Vec<IpNet>,
    /// Seconds that a receiver of webhooks has for its answer (1 to 60)
    #[arg(long, env = "FRONTDESK_HOOK_TIMEOUT_S", default_value_t = 10, value_parser = RangedU64ValueParser::<u64>::new().range(1..=60))]
    pub hook_timeout_s: u64,
    /// Seconds to wait before each further attempt of a webhook, give or take a fifth; after the last one it
    /// is parked
    #[arg(
        long,
        env = "FRONTDESK_HOOK_RETRY_S",
        value_delimiter = ',',
        default_value = "5,30,120,600,1800,3600,10800,21600,43200"
    )]
    pub hook_retry_s: Vec<u64>,
    /// Seconds for which deliveries are kept that nobody tries: parked ones, and those of webhooks that are off (60 to
    /// 31536000)
    #[arg(long, env = "FRONTDESK_HOOK_KEEP_S", default_value_t = 7 * 24 * 60 * 60, value_parser = RangedU64ValueParser::<u64>::new().range(60..=31_536_000))]
    pub hook_keep_s: u64,
    /// Most webhooks that this worker sends at once (4 to 1024)
    #[arg(long, env = "FRONTDESK_HOOK_AT_ONCE", default_value_t = 64, value_parser = RangedU64ValueParser::<usize>::new().range(4..=1024))]
    pub hook_at_once: usize,
}

/// What the role runs with.
#[derive(Clone)]
pub struct Settings {
    /// What may be called.
    pub allowed: Allowed,
    /// How long a receiver has.
    pub timeout: Duration,
    /// When to try again.
    pub schedule: Schedule,
    /// For how long what nobody tries is kept.
    pub keep: Duration,
    /// Requests at once.
    pub at_once: usize,
    /// How names are looked up; the system's way if there is none.
    pub lookup: Option<Arc<Lookup>>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("allowed", &self.allowed)
            .field("timeout", &self.timeout)
            .field("schedule", &self.schedule)
            .field("keep", &self.keep)
            .field("at_once", &self.at_once)
            .finish_non_exhaustive()
    }
}

/// Whether a network has all of another one, however either is written.
fn covers(inner: &IpNet) -> impl Fn(&&IpNet) -> bool {
    let inner = plain_net(*inner);
    move |net| plain_net(**net).contains(&inner)
}

impl HookArgs {
    /// Refuses values outside their range, with a sentence that says what to change.
    pub fn check(&self) -> Result<(), ConfigError> {
        let pauses = &self.hook_retry_s;
        let fits = |pause: &u64| (1..=MAX_PAUSE_S).contains(pause);
        if pauses.is_empty() || pauses.len() > MAX_PAUSES || !pauses.iter().all(fits) {
            return Err(ConfigError(
                "--hook-retry-s (FRONTDESK_HOOK_RETRY_S) must be 1 to 20 numbers of seconds, separated by commas, each 1 to 604800".into(),
            ));
        }
        for allowed in &self.hook_allow {
            if let Some(denied) = self.hook_deny.iter().find(covers(allowed)) {
                return Err(ConfigError(format!(
                    "--hook-allow (FRONTDESK_HOOK_ALLOW) has {allowed}, all of which --hook-deny (FRONTDESK_HOOK_DENY) {denied} refuses: leave one of them out"
                )));
            }
        }
        Ok(())
    }

    /// The same for the role.
    pub fn settings(&self) -> Settings {
        let pauses = self.hook_retry_s.iter().copied();
        Settings {
            allowed: Allowed::new(self.hook_allow.clone()).but(self.hook_deny.clone()),
            timeout: Duration::from_secs(self.hook_timeout_s),
            schedule: Schedule::new(pauses.map(Duration::from_secs).collect()),
            keep: Duration::from_secs(self.hook_keep_s),
            at_once: self.hook_at_once,
            lookup: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        hooks: HookArgs,
    }

    #[test]
    fn the_settings_are_read_and_checked() {
        let parse = |args: &[&str]| {
            let parsed = Cli::try_parse_from([&["test"], args].concat());
            parsed.map(|cli| cli.hooks)
        };
        let defaults = parse(&[]).expect("defaults are well-formed");
        assert!(defaults.check().is_ok());
        assert_eq!(defaults.settings().schedule.attempts(), 10);
        let some = [
            "--hook-allow",
            "10.0.0.0/8,::1/128",
            "--hook-retry-s",
            "1,2",
        ];
        let some = parse(&some).expect("well-formed");
        assert!(some.check().is_ok() && some.hook_allow.len() == 2);
        assert!(parse(&["--hook-retry-s", "0"]).is_ok_and(|args| args.check().is_err()));
        for setting in ["--hook-allow", "--hook-deny"] {
            assert!(parse(&[setting, "10.0.0.0/40"]).is_err());
        }
        let both = |deny| parse(&["--hook-allow", "10.1.0.0/16", "--hook-deny", deny]);
        let part = both("10.1.2.0/24,192.0.2.1/32").expect("well-formed");
        assert!(part.check().is_ok());
        let permits = |address: &str| {
            let allowed = part.settings().allowed;
            allowed.permits(address.parse().expect("an address"))
        };
        assert!(permits("10.1.3.1") && !permits("10.1.2.1"));
        let all = both("10.0.0.0/8").expect("well-formed");
        let said = all.check().expect_err("nothing is left").to_string();
        assert!(
            said.contains("10.1.0.0/16") && said.contains("10.0.0.0/8"),
            "{said}"
        );
        assert!(parse(&["--hook-timeout-s", "0"]).is_err());
    }
}
