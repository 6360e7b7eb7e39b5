//! What the transitions of users' acts are given, be they frames of a socket or requests of the HTTP API.

use frontdesk_shared::{
    event::{Act, HookAct, HookSpec, Request, hook::SECRET_FIELD},
    ids::{MessageRef, Uid},
    protocol::{frame::Verb, notice::json_string, resume},
};
use xxhash_rust::xxh3::xxh3_128;

use crate::app::Fields;

/// Adds what the transition `request` takes, and that of its act.
pub(super) fn request(uid: &Uid, request: &Request, fields: &mut Fields) {
    fields.push(("client", request.client.to_string()));
    fields.extend(request.by.as_ref().map(|by| ("by", by.to_string())));
    fields.push(("role", request.role.as_str().to_owned()));
    fields.push(("lang", request.lang.tag().to_owned()));
    fields.extend(request.iat.map(|iat| ("iat", iat.to_string())));
    fields.push(("key", request.key.to_string()));
    fields.push(("whole", digest(&whole(uid, &request.act))));
    let act = match &request.act {
        Act::Verb(it) => verb(uid.as_str(), it, fields),
        Act::Hook(it) => hook(it, fields),
        Act::Revoke { keep_s } => {
            fields.push(("keep_s", keep_s.to_string()));
            "revoke"
        }
    };
    fields.push(("act", act.to_owned()));
}

/// All that is asked, as one text. No field holds a NUL: ids and numbers by their alphabets, words as JSON.
fn whole(uid: &Uid, act: &Act) -> String {
    let mut whole = format!("{}\0{uid}", act.name());
    act.write(|name, value| {
        if name == SECRET_FIELD {
            return;
        }
        for part in [name, value] {
            whole.push('\0');
            whole.push_str(part);
        }
    });
    whole
}

/// Adds what an act on webhooks takes, and says which transition that is.
fn hook(act: &HookAct, fields: &mut Fields) -> &'static str {
    let (hook, spec, secret) = match act {
        HookAct::Create { spec, secret } => (None, Some(spec), Some(secret)),
        HookAct::Change { hook, spec } => (Some(hook), Some(spec), None),
        HookAct::Rotate { hook, secret } => (Some(hook), None, Some(secret)),
        HookAct::Delete { hook } => (Some(hook), None, None),
        HookAct::Redeliver { hook, delivery } | HookAct::Park { hook, delivery } => {
            fields.extend(delivery.as_ref().map(|id| ("delivery", id.to_string())));
            (Some(hook), None, None)
        }
    };
    fields.extend(hook.map(|hook| ("hook", hook.to_string())));
    fields.extend(secret.map(|it| (SECRET_FIELD, it.expose().to_owned())));
    if let Some(HookSpec {
        url,
        types,
        enabled,
    }) = spec
    {
        fields.push(("url", json_string(url.as_str())));
        fields.push(("types", types.json()));
        // What the site's list of wishes says of it.
        let wants = enabled.then(|| types.letters());
        fields.push(("wants", wants.unwrap_or_else(|| "-".to_owned())));
    }
    act.name()
}

fn digest(text: &str) -> String {
    format!("{:032x}", xxh3_128(text.as_bytes()))
}

/// Adds what a frame's transition takes, and says which that is.
pub(super) fn verb(uid: &str, verb: &Verb, fields: &mut Fields) -> &'static str {
    match verb {
        Verb::StaffOnline { name, max } => {
            fields.extend(name.clone().map(|name| ("name", name)));
            fields.extend(max.map(|max| ("max", max.to_string())));
            "staff_online"
        }
        Verb::StaffOffline => "staff_offline",
        Verb::CustomerConnect => "customer_connect",
        Verb::CustomerLeave => "customer_leave",
        Verb::Message {
            body,
            id,
            conversation,
        } => {
            push_body(fields, body, id.as_ref(), body);
            fields.extend(
                conversation
                    .as_ref()
                    .map(|c| ("conversation", c.to_string())),
            );
            "message"
        }
        Verb::Close { conversation } => {
            fields.extend(
                conversation
                    .as_ref()
                    .map(|c| ("conversation", c.to_string())),
            );
            "close_conversation"
        }
        Verb::Mark {
            conversation,
            up_to,
            mark,
        } => {
            fields.push(("conversation", conversation.to_string()));
            fields.push(("up_to", up_to.to_string()));
            fields.push(("mark", mark.as_str().to_owned()));
            "mark"
        }
        Verb::Recall {
            conversation,
            seq,
            message,
            id,
        } => {
            fields.push(("conversation", conversation.to_string()));
            fields.push(("seq", seq.to_string()));
            fields.extend(message.as_ref().map(|m| ("message", m.to_string())));
            fields.extend(id.as_ref().map(|id| ("id", id.to_string())));
            "recall"
        }
        Verb::Resume {
            replaces,
            positions,
        } => {
            fields.extend(replaces.as_ref().map(|c| ("replaces", c.to_string())));
            fields.push(("positions", resume::encode(positions)));
            "resume"
        }
        Verb::Direct { to, body, id } => {
            let to = to.as_str();
            // With the same id to somebody else they are other words.
            push_body(fields, body, id.as_ref(), &format!("{to} {body}"));
            fields.push(("to", to.to_owned()));
            // In the order of their bytes: Lua would compare texts by the locale of the server.
            fields.push(("first", uid.min(to).to_owned()));
            fields.push(("second", uid.max(to).to_owned()));
            "direct"
        }
    }
}

/// Words, with the sender's id and the digest that tells whether the same id means the same.
fn push_body(fields: &mut Fields, body: &str, id: Option<&MessageRef>, same: &str) {
    if let Some(id) = id {
        fields.push(("id", id.to_string()));
        fields.push(("digest", digest(same)));
    }
    fields.push(("body", body.to_owned()));
}
