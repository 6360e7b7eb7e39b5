//! The shapes of what is said of webhooks, for `openapi.json`. As in [`crate::api::schema`] they are only described.
#![allow(dead_code, reason = "described, not made")]
#![allow(clippy::struct_field_names, reason = "the names are those of the API")]

use utoipa::{IntoParams, ToSchema};

/// What a webhook is to be.
#[derive(ToSchema)]
pub(crate) struct WebhookSpec {
    /// Where it is sent: http or https, without a login and a fragment.
    #[schema(max_length = 2000, example = "https://receiver.invalid/frontdesk")]
    url: String,
    /// What it is told, at least one: `conversation.queued`, `conversation.started`, `conversation.transferred`,
    /// `conversation.ended`, `message.created`, `message.recalled`.
    #[schema(min_items = 1, example = json!(["message.created"]))]
    types: Vec<String>,
    /// Whether it is told anything.
    #[schema(default = true)]
    enabled: Option<bool>,
}

/// A webhook.
#[derive(ToSchema)]
pub(crate) struct Webhook {
    id: String,
    url: String,
    types: Vec<String>,
    enabled: bool,
    /// When it was made, in ms since 1970.
    created: u64,
    /// When it was changed last.
    changed: u64,
    /// What its deliveries are signed with. Only in the answer to who has it made or changed.
    #[schema(required = false)]
    secret: String,
}

/// A webhook, and how it stands.
#[derive(ToSchema)]
pub(crate) struct WebhookStatus {
    id: String,
    url: String,
    types: Vec<String>,
    enabled: bool,
    created: u64,
    changed: u64,
    /// Deliveries that were not tried yet.
    waiting: u64,
    /// Those that are being tried, or will be again.
    retrying: u64,
    /// Those that are not tried any more.
    parked: u64,
    /// How many have arrived so far.
    delivered: u64,
    /// How many attempts have failed.
    failed: u64,
    /// How many were dropped, since too many waited.
    dropped: u64,
    /// How many were forgotten: parked ones, since there were too many, and what nobody tried for long.
    forgotten: u64,
    /// When one arrived last, in ms since 1970.
    #[schema(required = false)]
    delivered_at: u64,
    /// When one failed last.
    #[schema(required = false)]
    failed_at: u64,
    /// Why.
    #[schema(required = false)]
    why: String,
}

/// The webhooks of a site, the oldest first.
#[derive(ToSchema)]
pub(crate) struct Webhooks {
    webhooks: Vec<WebhookStatus>,
}

/// A delivery that is not tried any more.
#[derive(ToSchema)]
pub(crate) struct ParkedDelivery {
    /// Its id, that of the event.
    delivery: String,
    r#type: String,
    /// When the event happened, in ms since 1970.
    time: u64,
    conversation: String,
    #[schema(required = false)]
    seq: u64,
    attempts: u64,
    /// Why the last one failed.
    why: String,
    /// When that was.
    parked_at: u64,
}

/// A page of them, the last parked first.
#[derive(ToSchema)]
pub(crate) struct Parked {
    deliveries: Vec<ParkedDelivery>,
    more: bool,
    /// Leads to the next page.
    #[schema(required = false)]
    before: String,
}

/// What is to be tried now, or not any more.
#[derive(ToSchema)]
pub(crate) struct WhichDelivery {
    /// One delivery; all without it.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9.-]{0,63}$")]
    delivery: Option<String>,
}

/// So many are tried now.
#[derive(ToSchema)]
pub(crate) struct Redelivered {
    id: String,
    /// Those that were parked.
    redelivered: u64,
    /// Those that waited for another attempt.
    hastened: u64,
}

/// So many are not tried any more.
#[derive(ToSchema)]
pub(crate) struct NowParked {
    id: String,
    parked: u64,
}

/// Which webhook.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct OfWebhook {
    /// Its id.
    #[param(pattern = "^[A-Za-z0-9][A-Za-z0-9.-]{0,63}$")]
    hook: String,
}

/// A page of parked deliveries.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageOfParked {
    /// What the page before has said.
    #[param(pattern = "^[0-9]{1,15}-[0-9]{1,15}$")]
    before: Option<String>,
    /// Most deliveries.
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u64>,
}
