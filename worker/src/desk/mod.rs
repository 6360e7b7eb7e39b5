//! The support desk as an App: customers, staff, queue, conversations.
//! The rules live in `lua/desk`; here is what every transition is given.

mod acts;
pub mod settings;
mod sources;
mod ways;

use frontdesk_shared::{
    event::{Event, Kind, Proof},
    keys,
    protocol::notice::json_string,
};

use crate::app::{App, Fields, Memory, Source, Transition};
use settings::DeskSettings;
use ways::Ways;

/// The support desk.
#[derive(Debug, Clone)]
pub struct Desk {
    settings: DeskSettings,
}

impl Desk {
    /// A desk with these settings.
    pub fn new(settings: DeskSettings) -> Self {
        Self { settings }
    }

    /// Microseconds that a user's frame takes, and those that they may be ahead by.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // of positive numbers of settings
    fn rate_us(&self) -> (u64, u64) {
        let rate = &self.settings.rate;
        let us = 1_000_000.0 / f64::from(rate.rate_per_user);
        let ahead = us * f64::from(rate.rate_burst - 1);
        (us.round() as u64, ahead.round() as u64)
    }
}

impl App for Desk {
    fn name(&self) -> &'static str {
        "desk"
    }

    fn sources(&self) -> &'static [Source] {
        sources::SOURCES
    }

    fn settings(&self) -> Fields {
        let settings = &self.settings;
        let (us, ahead) = self.rate_us();
        vec![
            ("idle_ms", (settings.idle_s * 1000).to_string()),
            ("max_per_staff", settings.max_per_staff.to_string()),
            ("queue_limit", settings.queue_limit.to_string()),
            ("policy", settings.policy.to_string()),
            ("on_staff_leave", settings.on_staff_leave.to_string()),
            ("grace_ms", (settings.grace_s * 1000).to_string()),
            (
                "customer_direct",
                u8::from(settings.customer_direct).to_string(),
            ),
            (
                "leave_message",
                u8::from(settings.leave_message).to_string(),
            ),
            ("retention_ms", (settings.retention_s * 1000).to_string()),
            ("rate_us", us.to_string()),
            ("rate_ahead_us", ahead.to_string()),
            ("recall_ms", (settings.recall_s * 1000).to_string()),
            ("default_name", json_string(&settings.default_staff_name)),
        ]
    }

    fn prepare(&self, event: &Event) -> Transition {
        let mut fields: Fields = vec![
            ("prefix", keys::site_prefix(&event.site)),
            ("site", event.site.to_string()),
            ("uid", event.uid.to_string()),
        ];
        let name = match &event.kind {
            Kind::Open {
                client,
                lang,
                role,
                proof,
            } => {
                fields.push(("client", client.to_string()));
                fields.push(("lang", lang.to_string()));
                fields.push(("role", role.as_str().to_owned()));
                if let Some(Proof { iat, name }) = proof {
                    fields.push(("iat", iat.to_string()));
                    fields.extend(name.clone().map(|name| ("name", name)));
                }
                "open"
            }
            Kind::Close { client, clean } => {
                fields.push(("client", client.to_string()));
                fields.push(("clean", u8::from(*clean).to_string()));
                "close"
            }
            Kind::Revoke { keep_s } => {
                fields.push(("keep_s", keep_s.to_string()));
                "revoke"
            }
            Kind::Verb { client, n, verb } => {
                fields.push(("client", client.to_string()));
                fields.push(("n", n.to_string()));
                acts::verb(event.uid.as_str(), verb, &mut fields)
            }
            Kind::Request(request) => {
                acts::request(&event.uid, request, &mut fields);
                "request"
            }
            Kind::IdleTimer { conversation } => {
                fields.push(("conversation", conversation.to_string()));
                "idle_timer"
            }
            Kind::LostTimer { lost } => {
                fields.push(("lost", lost.to_string()));
                "lost_timer"
            }
            Kind::GatewayDead { boot } => {
                fields.push(("boot", boot.to_string()));
                "gateway_dead"
            }
            Kind::QueueMoved => "queue_moved",
            Kind::QueueLost { queue, upto } => {
                fields.push(("queue", queue.clone()));
                fields.push(("upto", upto.to_string()));
                "queue_lost"
            }
        };
        Transition {
            name,
            fields,
            hint: None,
        }
    }

    fn memory(&self) -> Box<dyn Memory> {
        Box::new(Ways::new(self.clone()))
    }
}
