//! What a site's own programs do to its webhooks, by the HTTP API.

use super::{DecodeError, fields::Fields};
use crate::{
    hooks::{self, HookTypes, HookUrl},
    ids::{HookId, MessageId},
    token::Secret,
};

/// The field that holds a secret. It is made by the gateway anew each time somebody asks, so it does not belong
/// to what was asked.
pub const SECRET_FIELD: &str = "secret";

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookAct {
    /// One is made.
    Create {
        /// What it is.
        spec: HookSpec,
        /// What its deliveries are signed with.
        secret: Secret,
    },
    /// One is changed.
    Change {
        /// Which.
        hook: HookId,
        /// What it is from now on.
        spec: HookSpec,
    },
    /// One gets another secret.
    Rotate {
        /// Which.
        hook: HookId,
        /// The secret; the one before counts for [`hooks::OLD_SECRET_MS`] beside it.
        secret: Secret,
    },
    /// One is removed, with all that waits for it.
    Delete {
        /// Which.
        hook: HookId,
    },
    /// Deliveries that are not tried any more, or wait for another attempt, are tried now.
    Redeliver {
        /// Of which.
        hook: HookId,
        /// This one, or all.
        delivery: Option<MessageId>,
    },
    /// Deliveries that wait are not tried any more.
    Park {
        /// Of which.
        hook: HookId,
        /// This one, or all.
        delivery: Option<MessageId>,
    },
}

/// What can be said of a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookSpec {
    /// Where it is sent.
    pub url: HookUrl,
    /// Which types it wants.
    pub types: HookTypes,
    /// Whether it is told anything.
    pub enabled: bool,
}

impl HookAct {
    /// Its name in the log, which is also that of its transition.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Create { .. } => "hook_create",
            Self::Change { .. } => "hook_change",
            Self::Rotate { .. } => "hook_rotate",
            Self::Delete { .. } => "hook_delete",
            Self::Redeliver { .. } => "hook_redeliver",
            Self::Park { .. } => "hook_park",
        }
    }

    /// Hands its fields to `put`.
    pub(super) fn write(&self, mut put: impl FnMut(&'static str, &str)) {
        match self {
            Self::Create { spec, secret } => {
                spec.write(&mut put);
                put(SECRET_FIELD, secret.expose());
            }
            Self::Change { hook, spec } => {
                put("hook", hook.as_str());
                spec.write(put);
            }
            Self::Rotate { hook, secret } => {
                put("hook", hook.as_str());
                put(SECRET_FIELD, secret.expose());
            }
            Self::Delete { hook } => put("hook", hook.as_str()),
            Self::Redeliver { hook, delivery } | Self::Park { hook, delivery } => {
                put("hook", hook.as_str());
                if let Some(delivery) = delivery {
                    put("delivery", delivery.as_str());
                }
            }
        }
    }

    /// Reads what `write` has written; `None` if the name is none of these.
    pub(super) fn read<'a, G: Fn(&str) -> Option<&'a str>>(
        name: &str,
        fields: &Fields<'_, G>,
    ) -> Result<Option<Self>, DecodeError> {
        let hook = || fields.parse("hook", HookId::parse);
        let secret = || fields.parse(SECRET_FIELD, |text| hooks::secret(text).ok_or(()));
        Ok(Some(match name {
            "hook_create" => Self::Create {
                spec: HookSpec::read(fields)?,
                secret: secret()?,
            },
            "hook_change" => Self::Change {
                hook: hook()?,
                spec: HookSpec::read(fields)?,
            },
            "hook_rotate" => Self::Rotate {
                hook: hook()?,
                secret: secret()?,
            },
            "hook_delete" => Self::Delete { hook: hook()? },
            "hook_redeliver" => Self::Redeliver {
                hook: hook()?,
                delivery: fields.optional("delivery", MessageId::parse)?,
            },
            "hook_park" => Self::Park {
                hook: hook()?,
                delivery: fields.optional("delivery", MessageId::parse)?,
            },
            _ => return Ok(None),
        }))
    }
}

impl HookSpec {
    fn write(&self, mut put: impl FnMut(&'static str, &str)) {
        put("url", self.url.as_str());
        put("types", &self.types.letters());
        put("enabled", if self.enabled { "1" } else { "0" });
    }

    fn read<'a, G: Fn(&str) -> Option<&'a str>>(
        fields: &Fields<'_, G>,
    ) -> Result<Self, DecodeError> {
        Ok(Self {
            url: fields.parse("url", |url| HookUrl::parse(url).ok_or(()))?,
            types: fields.parse("types", |types| HookTypes::from_letters(types).ok_or(()))?,
            enabled: fields.text("enabled")? == "1",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::new_secret;

    fn read(act: &HookAct, spoil: Option<(&'static str, &str)>) -> Result<HookAct, DecodeError> {
        let mut written = Vec::new();
        act.write(|name, value| written.push((name, value.to_owned())));
        if let Some((name, value)) = spoil {
            written.retain(|(known, _)| *known != name);
            written.push((name, value.to_owned()));
        }
        let get = |name: &str| {
            let field = written.iter().find(|(known, _)| *known == name);
            field.map(|(_, value)| value.as_str())
        };
        let read = HookAct::read(act.name(), &Fields { get: &get })?;
        read.ok_or(DecodeError::Poison("do"))
    }

    #[test]
    fn every_act_survives_the_log_and_a_spoilt_one_does_not() {
        let hook = HookId::parse("6.1.1-0.1").expect("valid");
        let secret = new_secret().expect("random");
        let spec = HookSpec {
            url: HookUrl::parse("https://example.com/a?b").expect("valid"),
            types: HookTypes::from_letters("me").expect("known"),
            enabled: false,
        };
        let delivery = MessageId::parse("6.1.2-0.1").ok();
        for act in [
            HookAct::Create {
                spec: spec.clone(),
                secret: secret.clone(),
            },
            HookAct::Change {
                hook: hook.clone(),
                spec: spec.clone(),
            },
            HookAct::Rotate {
                hook: hook.clone(),
                secret: secret.clone(),
            },
            HookAct::Delete { hook: hook.clone() },
            HookAct::Redeliver {
                hook: hook.clone(),
                delivery: delivery.clone(),
            },
            HookAct::Redeliver {
                hook: hook.clone(),
                delivery: None,
            },
            HookAct::Park { hook, delivery },
        ] {
            assert_eq!(read(&act, None), Ok(act.clone()));
            assert!(!format!("{act:?}").contains(secret.expose()));
        }
        let act = HookAct::Create { spec, secret };
        for (field, value) in [
            ("url", "ftp://example.com/"),
            ("types", "x"),
            ("types", ""),
            ("secret", "whsec_AAAA"),
        ] {
            let read = read(&act, Some((field, value)));
            assert_eq!(read, Err(DecodeError::Poison(field)));
        }
    }
}
