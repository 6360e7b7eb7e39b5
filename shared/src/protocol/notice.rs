//! Everything a client may be told, in every language: the one table of actions, codes and texts.
//! The worker compiles it into the Lua library, the gateway encodes its own errors from it.

use std::{fmt::Write as _, time::Duration};

use super::Lang;

/// One row: `payload.code` decides, `payload.message` is for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notice {
    /// The row's name in scripts: the code, or `action.code` where two actions share a code.
    pub key: &'static str,
    /// The frame's `action`.
    pub action: &'static str,
    /// The stable `payload.code`.
    pub code: &'static str,
    /// `payload.message` in the order of [`Lang::ALL`]; `{queue}` stands for the place in the queue.
    pub text: [&'static str; 2],
}

impl Notice {
    /// The text in one language.
    pub fn text(&self, lang: Lang) -> &'static str {
        match lang {
            Lang::ZhCn => self.text[0],
            Lang::En => self.text[1],
        }
    }

    /// The frame up to where further fields of the payload go, so without its two closing braces:
    /// `{"action":"…","payload":{"code":"…","message":"…"`.
    pub fn head(&self, lang: Lang) -> String {
        format!(
            r#"{{"action":"{}","payload":{{"code":"{}","message":{}"#,
            self.action,
            self.code,
            json_string(self.text(lang)),
        )
    }
}

/// The row with this key.
pub fn by_key(key: &str) -> Option<&'static Notice> {
    NOTICES.iter().find(|notice| notice.key == key)
}

const fn notice(
    action: &'static str,
    code: &'static str,
    zh: &'static str,
    en: &'static str,
) -> Notice {
    Notice {
        key: code,
        action,
        code,
        text: [zh, en],
    }
}

const fn error(code: &'static str, zh: &'static str, en: &'static str) -> Notice {
    notice("error", code, zh, en)
}

const QUEUE_STAFF_OFFLINE: Notice = notice(
    "queue_close",
    "staff_offline",
    "当前客服已下线,是否连接新的客服?",
    "The staff member has left; connect to somebody else?",
);

const NO_ANSWER: Notice = error(
    "timeout",
    "尚未得到结果,请用同一幂等键重试",
    "Not known yet whether it was done; ask again with the same Idempotency-Key",
);

/// The whole table. A row is found by its key; a client tells rows apart by action and code.
#[rustfmt::skip]
pub const NOTICES: &[Notice] = &[
    notice("welcome", "welcome", "连接成功", "Connected"),
    notice("refreshed", "refreshed", "身份令牌已更新", "The new token counts from here on"),
    notice("message", "on_duty", "您已上线", "You are on duty"),
    notice("message", "off_duty", "您已下线", "You are off duty"),
    notice("message", "no_staff", "当前暂无客服上班", "Nobody is on duty at the moment"),
    notice("message", "queued", "当前暂无空闲客服,已为您自动分配排队较少客服,请等待排队", "Everyone is busy; you have joined the shortest queue, please wait"),
    notice("message", "queue_full", "排队人数已满,请稍后再试", "The queue is full, please try again later"),
    notice("message", "connected", "您已连接到客服", "You are now talking to our staff"),
    notice("message", "still_queued", "当前正在排队中", "You are still in the queue"),
    notice("message", "your_turn", "排队结束", "It is your turn"),
    notice("message", "new_customer", "新客户已接入,可以开始聊天了", "A new customer is here, you can start talking"),
    notice("message", "queue_moved", "剩余排队人数: {queue}", "Your place in the queue: {queue}"),
    notice("chat_close", "staff_offline", "当前客服已下线,聊天结束", "The staff member has left, the conversation has ended"),
    notice("chat_close", "closed", "客服已结束聊天", "The staff member has ended the conversation"),
    notice("chat_close", "timeout", "您长时间未回复,聊天已结束", "You have not replied for a long time, the conversation has ended"),
    notice("chat_close", "customer_left", "客户已离开,聊天结束", "The customer has left, the conversation has ended"),
    notice("chat_close", "customer_timeout", "客户超时未回复,聊天结束", "The customer did not reply in time, the conversation has ended"),
    Notice { key: "queue_close.staff_offline", ..QUEUE_STAFF_OFFLINE },
    notice("resync", "resync", "可能有消息未送达,请恢复会话", "Pushes may be missing, please resume"),
    error("bad_json", "消息不是合法的 JSON", "The frame is not a JSON object with an action"),
    error("bad_field", "字段缺失或不合法", "A field is missing or not valid"),
    error("unknown_action", "未知的操作", "Unknown action"),
    error("too_large", "消息过长", "The message is too long"),
    error("bad_max", "接待上限不合法", "max is outside the allowed range"),
    error("wrong_role", "您的身份不能执行此操作", "Your role cannot do this"),
    error("no_conversation", "当前没有进行中的聊天", "There is no such conversation"),
    error("which_conversation", "请指明聊天", "Name the conversation"),
    error("too_many_conversations", "您的会话数已达上限", "You have as many conversations as allowed"),
    error("queue_words_full", "排队期间的留言已满", "No more messages can be kept while you wait"),
    error("id_reused", "消息编号已被使用", "This id was used for another message"),
    error("key_reused", "该幂等键已用于其他请求", "This Idempotency-Key was used for another request"),
    error("no_webhook", "没有这个 webhook", "There is no such webhook"),
    error("no_delivery", "没有这个投递,或正在投递", "There is no such delivery, or it is under way"),
    error("too_many_webhooks", "webhook 数量已达上限", "The site has as many webhooks as allowed"),
    error("webhook_full", "该 webhook 的投递数量已达上限", "The webhook has as many deliveries as allowed"),
    Notice { key: "error.timeout", ..NO_ANSWER },
    error("bad_resume", "恢复凭据无效", "The resume token is not valid"),
    error("no_user", "没有这个用户", "There is no such user"),
    error("forbidden", "无权执行此操作", "You may not do this here"),
    error("rate_limited", "发送过于频繁,请稍后再试", "Too fast, please slow down"),
    error("no_message", "没有这条消息", "There is no such message"),
    error("recall_expired", "已超过可撤回的时间", "It is too late to recall this message"),
    error("busy", "系统繁忙,请稍后再试", "The system is busy, please try again later"),
    error("bad_token", "身份令牌无效", "The token is not valid for this connection"),
    error("internal", "系统内部错误,已记录", "Something failed on our side and was recorded"),
];

/// An `error` frame. `field` names the field that is wrong, `reference` is the sender's `id`, and
/// nothing should be sent again before `retry_after`.
/// The texts must already be free of surprises: a field name of ours, a validated id.
pub fn error_frame(
    code: &str,
    lang: Lang,
    field: Option<&str>,
    reference: Option<&str>,
    retry_after: Option<Duration>,
) -> String {
    let row = by_key(code).filter(|row| row.action == "error");
    let mut frame = row
        .or_else(|| by_key("internal"))
        .map_or_else(String::new, |row| row.head(lang));
    if let Some(field) = field {
        let _ = write!(frame, r#","field":{}"#, json_string(field));
    }
    if let Some(reference) = reference {
        let _ = write!(frame, r#","ref":{}"#, json_string(reference));
    }
    if let Some(after) = retry_after {
        // Rounded up: a moment before would be too early.
        let ms = after.as_micros().div_ceil(1000);
        let _ = write!(frame, r#","retry_after_ms":{ms}"#);
    }
    frame.push_str("}}");
    frame
}

/// The answer to a `refresh`: for how long the new token counts.
pub fn refreshed_frame(lang: Lang, expires_in: Duration, reference: Option<&str>) -> String {
    let mut frame = by_key("refreshed").map_or_else(String::new, |row| row.head(lang));
    let _ = write!(frame, r#","expires_in_s":{}"#, expires_in.as_secs());
    if let Some(reference) = reference {
        let _ = write!(frame, r#","ref":{}"#, json_string(reference));
    }
    frame.push_str("}}");
    frame
}

/// A text as a JSON string, quotes included.
pub fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Whether a text is one JSON string, quotes included, that may be joined into a frame as it is.
pub fn is_json_string(text: &str) -> bool {
    // JSON allows blanks around a value.
    text.starts_with('"')
        && text.ends_with('"')
        && serde_json::from_str::<std::borrow::Cow<'_, str>>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_unique_and_every_head_is_json() {
        for (i, row) in NOTICES.iter().enumerate() {
            assert!(
                NOTICES[i + 1..].iter().all(|other| other.key != row.key),
                "{}",
                row.key
            );
            for lang in Lang::ALL {
                let frame: serde_json::Value = serde_json::from_str(&(row.head(lang) + "}}"))
                    .expect("a head closes into JSON");
                assert_eq!(frame["payload"]["code"], row.code);
            }
        }
    }

    #[test]
    fn an_error_names_field_and_reference() {
        let frame = error_frame("bad_field", Lang::En, Some("max"), Some("m1"), None);
        assert_eq!(
            frame,
            r#"{"action":"error","payload":{"code":"bad_field","message":"A field is missing or not valid","field":"max","ref":"m1"}}"#
        );
        let later = Some(Duration::from_millis(1500));
        let frame = error_frame("busy", Lang::En, None, None, later);
        assert!(frame.ends_with(r#","retry_after_ms":1500}}"#), "{frame}");
    }
}
