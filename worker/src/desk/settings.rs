//! The desk's settings. Workers of one cluster must agree on them.

use std::fmt;

use clap::{Args, ValueEnum, builder::BoolishValueParser};
use frontdesk_shared::{
    config::{ConfigError, RateArgs},
    protocol::MAX_NAME_CHARS,
};

/// Longest queue that can be configured: scores of queue lengths stay exact up to it.
pub const MAX_QUEUE_LIMIT: u32 = 200_000;
/// Most customers at a time that can be configured for one staff member.
pub const MAX_MAX_PER_STAFF: u32 = 50;

/// How the desk behaves.
#[derive(Debug, Clone, Args)]
pub struct DeskSettings {
    /// Seconds without a message from the customer after which a conversation ends
    #[arg(long, env = "FRONTDESK_IDLE_S", default_value_t = 60)]
    pub idle_s: u64,
    /// Most customers that one staff member may ask to have at a time (1 to 50)
    #[arg(long, env = "FRONTDESK_MAX_PER_STAFF", default_value_t = 5)]
    pub max_per_staff: u32,
    /// Most customers that may wait in one site (up to 200000)
    #[arg(long, env = "FRONTDESK_QUEUE_LIMIT", default_value_t = 1000)]
    pub queue_limit: u32,
    /// Where customers wait: in the shortest queue among staff, or in one shared queue
    #[arg(long, env = "FRONTDESK_POLICY", value_enum, default_value_t = Policy::Shortest)]
    pub policy: Policy,
    /// What happens to the customers of a staff member who leaves: their conversations close, or
    /// they go back to the front of a queue
    #[arg(long, env = "FRONTDESK_ON_STAFF_LEAVE", value_enum, default_value_t = OnStaffLeave::Close)]
    pub on_staff_leave: OnStaffLeave,
    /// Seconds for which the place of somebody who resumes is kept when their last socket is lost
    /// (0: not at all; up to 3600)
    #[arg(long, env = "FRONTDESK_GRACE_S", default_value_t = 30)]
    pub grace_s: u64,
    /// Whether customers may write to users by uid, and be written to so
    #[arg(
        long,
        env = "FRONTDESK_CUSTOMER_DIRECT",
        action = clap::ArgAction::Set,
        value_parser = BoolishValueParser::new(),
        default_value_t = false
    )]
    pub customer_direct: bool,
    /// Whether customers may leave messages when nobody is on duty, for staff who come later
    #[arg(
        long,
        env = "FRONTDESK_LEAVE_MESSAGE",
        action = clap::ArgAction::Set,
        value_parser = BoolishValueParser::new(),
        default_value_t = false
    )]
    pub leave_message: bool,
    /// Seconds for which an ended conversation is kept, and a direct one after its last message
    #[arg(long, env = "FRONTDESK_RETENTION_S", default_value_t = 7 * 24 * 60 * 60)]
    pub retention_s: u64,
    /// How much one user may send.
    #[command(flatten)]
    pub rate: RateArgs,
    /// Seconds for which a sender may recall a message (0: never)
    #[arg(long, env = "FRONTDESK_RECALL_S", default_value_t = 120)]
    pub recall_s: u64,
    /// Name of staff who come on duty without one
    #[arg(long, env = "FRONTDESK_DEFAULT_STAFF_NAME", default_value = "客服")]
    pub default_staff_name: String,
}

/// Where customers wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Policy {
    /// In the shortest queue among staff; a free place still takes who has waited longest.
    Shortest,
    /// In one queue for all.
    Shared,
}

/// What happens to the customers of a staff member who leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnStaffLeave {
    /// Conversations end, waiting customers are asked whether to connect to somebody else.
    Close,
    /// Both wait for somebody else, in the order in which they once came.
    Requeue,
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shortest => "shortest",
            Self::Shared => "shared",
        })
    }
}

impl fmt::Display for OnStaffLeave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Close => "close",
            Self::Requeue => "requeue",
        })
    }
}

impl Default for DeskSettings {
    fn default() -> Self {
        Self {
            idle_s: 60,
            max_per_staff: 5,
            queue_limit: 1000,
            policy: Policy::Shortest,
            on_staff_leave: OnStaffLeave::Close,
            grace_s: 30,
            customer_direct: false,
            leave_message: false,
            retention_s: 7 * 24 * 60 * 60,
            rate: RateArgs::default(),
            recall_s: 120,
            default_staff_name: "客服".to_owned(),
        }
    }
}

impl DeskSettings {
    /// Refuses values outside their range, with a sentence that says what to change.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |text: &str| Err(ConfigError(text.to_owned()));
        let name = self.default_staff_name.chars();
        if !(1..=24 * 60 * 60).contains(&self.idle_s) {
            return wrong("--idle-s (FRONTDESK_IDLE_S) must be 1 to 86400 seconds");
        }
        if !(1..=MAX_MAX_PER_STAFF).contains(&self.max_per_staff) {
            return wrong("--max-per-staff (FRONTDESK_MAX_PER_STAFF) must be 1 to 50");
        }
        if self.queue_limit > MAX_QUEUE_LIMIT {
            return wrong("--queue-limit (FRONTDESK_QUEUE_LIMIT) must be at most 200000");
        }
        if self.grace_s > 3600 {
            return wrong("--grace-s (FRONTDESK_GRACE_S) must be at most 3600 seconds");
        }
        if !(1..=10 * 365 * 24 * 60 * 60).contains(&self.retention_s) {
            return wrong("--retention-s (FRONTDESK_RETENTION_S) must be 1 second to ten years");
        }
        if self.recall_s > 24 * 60 * 60 {
            return wrong("--recall-s (FRONTDESK_RECALL_S) must be at most 86400 seconds");
        }
        if name.clone().count() > MAX_NAME_CHARS
            || name.clone().count() == 0
            || name.clone().any(char::is_control)
        {
            return wrong(
                "--default-staff-name (FRONTDESK_DEFAULT_STAFF_NAME) must have 1 to 64 characters",
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        desk: DeskSettings,
    }

    #[test]
    fn the_defaults_of_code_and_command_line_are_the_same() {
        let parsed = Cli::parse_from(["test"]).desk;
        assert_eq!(
            format!("{parsed:?}"),
            format!("{:?}", DeskSettings::default())
        );
        assert!(parsed.check().is_ok());
    }

    #[test]
    fn wrong_values_are_refused() {
        let check = |change: fn(&mut DeskSettings)| {
            let mut settings = DeskSettings::default();
            change(&mut settings);
            settings.check()
        };
        assert!(check(|s| s.idle_s = 0).is_err());
        assert!(check(|s| s.grace_s = 3601).is_err());
        assert!(check(|s| s.max_per_staff = 0).is_err());
        assert!(check(|s| s.queue_limit = 200_001).is_err());
        assert!(check(|s| s.recall_s = 86_401).is_err());
        assert!(check(|s| s.default_staff_name = String::new()).is_err());
    }
}
