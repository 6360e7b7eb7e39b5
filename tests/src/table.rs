//! What a client may be told, copied by hand from the tables in docs/PROTOCOL.md, so that a change
//! of the program's own table is noticed here.

/// Language of a client's texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lang {
    /// Simplified Chinese, the default.
    Zh,
    /// English.
    En,
}

/// One row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// The frame's `action`.
    pub action: &'static str,
    /// `payload.code`.
    pub code: &'static str,
    zh: &'static str,
    en: &'static str,
}

impl Row {
    /// `payload.message` with the place in the queue filled in.
    pub fn text(&self, lang: Lang, place: Option<u64>) -> String {
        let text = match lang {
            Lang::Zh => self.zh,
            Lang::En => self.en,
        };
        place.map_or(text.to_owned(), |place| {
            text.replace("{n}", &place.to_string())
        })
    }
}

/// The row with this action and code.
pub fn row(action: &str, code: &str) -> &'static Row {
    ROWS.iter()
        .find(|row| row.action == action && row.code == code)
        .unwrap_or_else(|| panic!("{action}/{code} is in no table"))
}

const fn r(action: &'static str, code: &'static str, zh: &'static str, en: &'static str) -> Row {
    Row {
        action,
        code,
        zh,
        en,
    }
}

/// Everything but the words that people send and the `ack`.
#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    r("welcome", "welcome", "连接成功", "Connected"),
    r("refreshed", "refreshed", "身份令牌已更新", "The new token counts from here on"),
    r("message", "on_duty", "您已上线", "You are on duty"),
    r("message", "off_duty", "您已下线", "You are off duty"),
    r("message", "no_staff", "当前暂无客服上班", "Nobody is on duty at the moment"),
    r("message", "queued", "当前暂无空闲客服,已为您自动分配排队较少客服,请等待排队", "Everyone is busy; you have joined the shortest queue, please wait"),
    r("message", "queue_full", "排队人数已满,请稍后再试", "The queue is full, please try again later"),
    r("message", "connected", "您已连接到客服", "You are now talking to our staff"),
    r("message", "still_queued", "当前正在排队中", "You are still in the queue"),
    r("message", "your_turn", "排队结束", "It is your turn"),
    r("message", "new_customer", "新客户已接入,可以开始聊天了", "A new customer is here, you can start talking"),
    r("message", "queue_moved", "剩余排队人数: {n}", "Your place in the queue: {n}"),
    r("chat_close", "staff_offline", "当前客服已下线,聊天结束", "The staff member has left, the conversation has ended"),
    r("chat_close", "closed", "客服已结束聊天", "The staff member has ended the conversation"),
    r("chat_close", "timeout", "您长时间未回复,聊天已结束", "You have not replied for a long time, the conversation has ended"),
    r("chat_close", "customer_left", "客户已离开,聊天结束", "The customer has left, the conversation has ended"),
    r("chat_close", "customer_timeout", "客户超时未回复,聊天结束", "The customer did not reply in time, the conversation has ended"),
    r("queue_close", "staff_offline", "当前客服已下线,是否连接新的客服?", "The staff member has left; connect to somebody else?"),
    r("resync", "resync", "可能有消息未送达,请恢复会话", "Pushes may be missing, please resume"),
    r("error", "bad_json", "消息不是合法的 JSON", "The frame is not a JSON object with an action"),
    r("error", "bad_field", "字段缺失或不合法", "A field is missing or not valid"),
    r("error", "unknown_action", "未知的操作", "Unknown action"),
    r("error", "too_large", "消息过长", "The message is too long"),
    r("error", "bad_max", "接待上限不合法", "max is outside the allowed range"),
    r("error", "wrong_role", "您的身份不能执行此操作", "Your role cannot do this"),
    r("error", "no_conversation", "当前没有进行中的聊天", "There is no such conversation"),
    r("error", "which_conversation", "请指明聊天", "Name the conversation"),
    r("error", "too_many_conversations", "您的会话数已达上限", "You have as many conversations as allowed"),
    r("error", "queue_words_full", "排队期间的留言已满", "No more messages can be kept while you wait"),
    r("error", "id_reused", "消息编号已被使用", "This id was used for another message"),
    r("error", "no_user", "没有这个用户", "There is no such user"),
    r("error", "forbidden", "无权执行此操作", "You may not do this here"),
    r("error", "bad_resume", "恢复凭据无效", "The resume token is not valid"),
    r("error", "rate_limited", "发送过于频繁,请稍后再试", "Too fast, please slow down"),
    r("error", "no_message", "没有这条消息", "There is no such message"),
    r("error", "recall_expired", "已超过可撤回的时间", "It is too late to recall this message"),
    r("error", "busy", "系统繁忙,请稍后再试", "The system is busy, please try again later"),
    r("error", "bad_token", "身份令牌无效", "The token is not valid for this connection"),
    r("error", "internal", "系统内部错误,已记录", "Something failed on our side and was recorded"),
];
