//! Every Redis key and channel name, in one place. Scripts join only a prefix built here and ids
//! that [`crate::ids`] has validated. docs/ARCHITECTURE.md lists type and lifetime of each.

use crate::ids::{BootId, ConversationId, HookId, Lane, Shard, Site, Uid};

/// Cluster-wide facts written at first boot: `schema`, `shards`, `lanes`, `app`; in open mode `key`, by
/// which resume tokens are signed.
pub const META: &str = "frontdesk:meta";
/// Hash of gateway registrations: boot id → heartbeat counter, or `dead <ms>` once it was declared
/// dead or has stopped. A boot that is not there, or dead, is fenced: it never comes back.
pub const GATEWAYS: &str = "frontdesk:gateways";
/// Hash of live workers: worker id → heartbeat counter.
pub const WORKERS: &str = "frontdesk:workers";
/// Channel on which workers tell each other that leases may be free. A hint: losing it costs a second.
pub const WORKERS_CHANNEL: &str = "frontdesk:workers:changed";
/// Channel on which scripts tell workers the number of a shard whose webhooks have something to deliver. A hint,
/// too: workers also look by themselves.
pub const HOOKS_CHANNEL: &str = "frontdesk:workers:hooks";
/// What precedes a boot id in the name of a gateway's channel.
pub const GATEWAY_CHANNEL_PREFIX: &str = "frontdesk:gateway:";

/// A one-time ticket's identity, by the hash of the ticket: what is in Redis lets nobody in.
pub fn ticket(hash: &str) -> String {
    format!("frontdesk:ticket:{hash}")
}

/// The channel one gateway listens on.
pub fn gateway_channel(boot: &BootId) -> String {
    format!("{GATEWAY_CHANNEL_PREFIX}{boot}")
}

/// What every key of a shard begins with: the hash tag keeps them in one slot of a Redis Cluster.
pub fn shard_prefix(shard: Shard) -> String {
    format!("{{s{:02}}}:", shard.number())
}

/// The stream of one lane's events.
pub fn events(shard: Shard, lane: Lane) -> String {
    format!("{}events:{}", shard_prefix(shard), lane.number())
}

/// Hash lane → id of the last entry applied.
pub fn applied(shard: Shard) -> String {
    format!("{}applied", shard_prefix(shard))
}

/// The lease of one lane: text, the reading worker's token, with a TTL.
pub fn lease(shard: Shard, lane: Lane) -> String {
    format!("{}lease:{}", shard_prefix(shard), lane.number())
}

/// Hash of the shard's clock: `now`, `seen`.
pub fn clock(shard: Shard) -> String {
    format!("{}clock", shard_prefix(shard))
}

/// Sorted set of timers by their time on the shard's clock.
pub fn due(shard: Shard) -> String {
    format!("{}due", shard_prefix(shard))
}

/// Sorted set of queues whose places may have changed.
pub fn moved(shard: Shard) -> String {
    format!("{}moved", shard_prefix(shard))
}

/// Set of sites that have staff on duty or customers waiting.
pub fn sites(shard: Shard) -> String {
    format!("{}sites", shard_prefix(shard))
}

/// Hash site → the webhooks of the site and which types each wants.
pub fn wanted_hooks(shard: Shard) -> String {
    format!("{}hooks", shard_prefix(shard))
}

/// Sorted set of webhooks, `<site>|<hook>`, by when there is something to deliver to them.
pub fn hooked(shard: Shard) -> String {
    format!("{}hooked", shard_prefix(shard))
}

/// Sorted set of boots that are dead in this shard, by the wall clock of their burial.
pub fn fenced(shard: Shard) -> String {
    format!("{}fenced", shard_prefix(shard))
}

/// Stream of the events that could not be applied.
pub fn dead(shard: Shard) -> String {
    format!("{}dead", shard_prefix(shard))
}

/// Hash of the connections of one gateway's boot: client_id → `site uid`.
pub fn connections(shard: Shard, boot: &BootId) -> String {
    format!("{}boot:{boot}", shard_prefix(shard))
}

/// Hash of payload counters: boot id → number of the last payload published for it.
pub fn pushes(shard: Shard) -> String {
    format!("{}pushes", shard_prefix(shard))
}

/// When a user was last revoked, in seconds since 1970.
pub fn revoked(site: &Site, uid: &Uid) -> String {
    format!("{}revoked:{uid}", site_prefix(site))
}

/// What every key of a site begins with.
pub fn site_prefix(site: &Site) -> String {
    format!("{}site:{site}:", shard_prefix(Shard::of(site)))
}

/// Hash of what is known of a user who is here.
pub fn user(site: &Site, uid: &Uid) -> String {
    format!("{}u:{uid}", site_prefix(site))
}

/// Hash of what messages change of a site's open conversations.
pub fn talks(site: &Site) -> String {
    format!("{}talks", site_prefix(site))
}

/// Sorted set of a site's staff on duty, by the length of their queue.
pub fn duty(site: &Site) -> String {
    format!("{}duty", site_prefix(site))
}

/// Sorted set of a site's waiting customers who are not lost, by their tickets.
pub fn waiting(site: &Site) -> String {
    format!("{}waiting", site_prefix(site))
}

/// Sorted set of a site's waiting customers who are lost.
pub fn away(site: &Site) -> String {
    format!("{}away", site_prefix(site))
}

/// Hash of a conversation's state.
pub fn conversation(site: &Site, id: &ConversationId) -> String {
    format!("{}conv:{id}", site_prefix(site))
}

/// Stream of everything visible in a conversation, with ids `<seq>-0`.
pub fn log(site: &Site, id: &ConversationId) -> String {
    format!("{}log:{id}", site_prefix(site))
}

/// Hash of a site's webhooks: id → JSON, without the secret.
pub fn hooks(site: &Site) -> String {
    format!("{}hooks", site_prefix(site))
}

/// What the keys of one webhook begin with; `queue`, `retry`, `parked` or `counts` follows.
pub fn hook(site: &Site, id: &HookId) -> String {
    format!("{}hook:{id}:", site_prefix(site))
}

/// Sorted set of a user's conversations by the ms of their last change.
pub fn conversations(site: &Site, uid: &Uid) -> String {
    format!("{}convs:{uid}", site_prefix(site))
}

/// Hash of the messages of a conversation that were recalled: seq → seq of its `recalled` entry.
pub fn recalled(site: &Site, id: &ConversationId) -> String {
    format!("{}gone:{id}", site_prefix(site))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_a_shard_share_a_hash_tag() {
        let shard = Shard::all().nth(7).expect("seven is below SHARDS");
        let lane = Lane::all().nth(3).expect("three is below LANES");
        assert_eq!(events(shard, lane), "{s07}:events:3");
        assert_eq!(applied(shard), "{s07}:applied");
    }
}
