//! A connection's being here: from its registration to its `close` in the log.

use std::{sync::Arc, time::Duration};

use frontdesk_shared::{
    event::{Event, Kind},
    ids::{ClientId, ConversationId, Lane, Shard},
    protocol::{frame::Refusal, notice::by_key, resume::Token},
};
use tokio::runtime::Handle;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tracing::debug;

use crate::{
    Gateway, auth::Identity, backoff::Backoff, outbox::Outbox, registry::Registration,
    typing::Said, uplink::Outcome,
};

/// A connection's being here. Dropping it takes the socket out and appends its `close`, whatever
/// has ended the task: also a panic.
pub(crate) struct Presence {
    pub(crate) gateway: Arc<Gateway>,
    registration: Option<Registration>,
    pub(crate) identity: Identity,
    pub(crate) client: ClientId,
    /// The lane of its user.
    lane: (Shard, Lane),
    /// The log may hold its `open`.
    pub(crate) perhaps_open: bool,
    /// It left on purpose.
    pub(crate) clean: bool,
}

impl Presence {
    /// Enters a socket that has come.
    pub(crate) fn enter(gateway: Arc<Gateway>, identity: Identity) -> (Self, Arc<Outbox>) {
        let client = ClientId::random(&gateway.boot);
        let lane = (Shard::of(&identity.site), Lane::of(&identity.uid));
        let (shard, _) = lane;
        let (registration, outbox) = gateway.registry.register(shard, &client);
        let presence = Self {
            gateway,
            registration: Some(registration),
            identity,
            client,
            lane,
            perhaps_open: false,
            clean: false,
        };
        (presence, outbox)
    }

    /// Something that this connection does.
    pub(crate) fn event(&self, kind: Kind) -> Event {
        Event {
            site: self.identity.site.clone(),
            uid: self.identity.uid.clone(),
            kind,
        }
    }

    /// Its user types, or has stopped.
    pub(crate) fn types(&self, conversation: Option<ConversationId>, on: bool) {
        self.gateway.typing.say(Said {
            site: self.identity.site.clone(),
            uid: self.identity.uid.clone(),
            lang: self.identity.lang,
            client: self.client.clone(),
            conversation,
            on,
        });
    }

    /// The connection that a resume token was made for, if it was this user's.
    pub(crate) fn resumed(&self, token: &Token) -> Result<ClientId, Refusal> {
        let verified = self.gateway.resume.verify(token.secret(), &self.identity);
        verified.map_err(|_| Refusal {
            code: "bad_resume",
            field: None,
            reference: None,
        })
    }

    /// The `welcome` frame with this connection's resume token, which no log and no Redis ever sees.
    pub(crate) fn welcome(&self, frame: Utf8Bytes) -> Utf8Bytes {
        let Some(open) = frame.strip_suffix("}}") else {
            return frame;
        };
        let token = self.gateway.resume.sign(&self.identity, &self.client);
        format!(r#"{open},"resume":"{token}"}}}}"#).into()
    }

    /// The `resync` frame.
    pub(crate) fn resync(&self) -> Utf8Bytes {
        let head = by_key("resync").map(|row| row.head(self.identity.lang));
        (head.unwrap_or_default() + "}}").into()
    }

    /// When to try again, if the cluster does not keep up with this user's lane.
    pub(crate) fn too_busy(&self) -> Option<Duration> {
        let (shard, lane) = self.lane;
        self.gateway.pressure.refuses(shard, lane)
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let Some(registration) = self.registration.take() else {
            return;
        };
        // A runtime that is gone runs nothing more; the reaper of dead gateways does it.
        if !self.perhaps_open || Handle::try_current().is_err() {
            return;
        }
        let close = self.event(Kind::Close {
            clean: self.clean,
            client: self.client.clone(),
        });
        let closing = registration.into_closing();
        let gateway = Arc::clone(&self.gateway);
        self.gateway.tasks.spawn(async move {
            confirm_close(&gateway, &close).await;
            drop(closing);
        });
    }
}

/// The socket is gone, but the log must learn of it; unless this boot is fenced, since then the
/// reaper of dead gateways writes it.
pub(crate) async fn confirm_close(gateway: &Gateway, close: &Event) {
    let confirmed = async {
        let mut backoff = Backoff::new();
        loop {
            let mut receipt = gateway.uplink.append(close).await;
            if let Outcome::Stored(event) = receipt.outcome().await {
                debug!(%event, "closed");
                return;
            }
            backoff.wait().await;
        }
    };
    let fenced = gateway.status.fenced();
    fenced.run_until_cancelled(confirmed).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{offline, offline_front};
    use frontdesk_shared::{
        ids::{Site, Uid},
        protocol::{Lang, Role},
    };

    fn somebody() -> Identity {
        Identity {
            site: Site::parse("default").expect("valid"),
            uid: Uid::parse("alice").expect("valid"),
            role: Role::Any,
            lang: Lang::En,
            proof: None,
        }
    }

    /// Otherwise a bug in one connection would leave its user in the state for ever.
    #[tokio::test]
    async fn a_task_that_panics_still_writes_its_close() {
        let front = offline_front(&["frontdesk-gateway"]);
        let (gateway, mut appends) = offline(&front);
        let (mut presence, _outbox) = Presence::enter(gateway.clone(), somebody());
        presence.perhaps_open = true;
        let (shard, client) = (Shard::of(&presence.identity.site), presence.client.clone());
        let task = tokio::spawn(async move {
            let _here = presence;
            panic!("on purpose");
        });
        assert!(task.await.is_err());
        let close = appends.recv().await.expect("queued");
        assert_eq!(close.waiting.kind, "close");
        assert_eq!(close.waiting.client.as_ref(), Some(&client));
        assert!(
            gateway.registry.holds(shard, client.as_str()),
            "until it is in the log"
        );
        gateway.status.fence();
        front.tasks.close();
        front.tasks.wait().await;
        assert!(
            !gateway.registry.holds(shard, client.as_str()),
            "a fenced boot gives up"
        );
    }

    #[tokio::test]
    async fn what_was_never_opened_needs_no_close() {
        let front = offline_front(&["frontdesk-gateway"]);
        let (gateway, mut appends) = offline(&front);
        drop(Presence::enter(gateway.clone(), somebody()));
        assert!(appends.try_recv().is_err() && front.tasks.is_empty());
    }
}
