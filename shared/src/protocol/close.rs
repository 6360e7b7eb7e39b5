//! WebSocket close codes: one table, printed in docs/PROTOCOL.md.
//! The rule for clients: 4000-4499, 1001, 1006 and 1011-1013 mean reconnect; 4500-4999, 1002, 1003
//! and 1007-1010 mean do not.

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloseCode {
    /// The number on the wire.
    pub code: u16,
    /// The reason on the wire and the label in metrics.
    pub name: &'static str,
    /// What happened.
    pub meaning: &'static str,
}

macro_rules! close_codes {
    ($($ident:ident = $code:literal, $name:literal, $meaning:literal;)*) => {
        $(#[doc = $meaning]
        pub const $ident: CloseCode = CloseCode { code: $code, name: $name, meaning: $meaning };)*
        /// Every close code that Frontdesk sends.
        pub const CLOSE_CODES: &[CloseCode] = &[$($ident),*];
    };
}

close_codes! {
    NORMAL = 1000, "normal", "The client closed, or the server has nothing more to say.";
    GOING_AWAY = 1001, "going_away", "The gateway is stopping; another one serves you.";
    PROTOCOL_ERROR = 1002, "protocol_error", "The client broke the WebSocket protocol.";
    UNSUPPORTED = 1003, "binary_frame", "The client sent a binary frame; frames are JSON text.";
    INVALID_TEXT = 1007, "invalid_utf8", "A text frame was not valid UTF-8.";
    TOO_BIG = 1009, "too_big", "A frame or message was larger than 64 KiB.";
    TRY_AGAIN = 1013, "try_again", "The gateway cannot serve new sockets right now.";
    RESYNC = 4000, "resync", "Pushes to this socket may be missing: reconnect to see the truth.";
    SLOW_CONSUMER = 4001, "slow_consumer", "The client reads more slowly than it is written to.";
    APPEND_UNKNOWN = 4002, "append_unknown", "Whether the last frames were stored is unknown: send them again with the same id.";
    PING_TIMEOUT = 4003, "ping_timeout", "Nothing came from the client for too long, not even a pong.";
    OUT_OF_ORDER = 4004, "out_of_order", "A frame before this one was lost, or the connection is not registered: send again with the same id.";
    TOKEN_EXPIRED = 4401, "token_expired", "The token has run out: come back with a new one.";
    TOO_MANY_CONNECTIONS = 4500, "too_many_connections", "The user holds as many connections as allowed.";
    REVOKED = 4501, "revoked", "The user was revoked; a token from before that lets nobody in.";
    REPLACED = 4502, "replaced", "This client has resumed on another socket.";
}

impl CloseCode {
    /// The row with this number.
    pub fn by_code(code: u16) -> Option<Self> {
        CLOSE_CODES.iter().copied().find(|row| row.code == code)
    }

    /// Whether a client should come back.
    pub fn reconnect(self) -> bool {
        matches!(self.code, 1001 | 1006 | 1011..=1013 | 4000..=4499)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_and_the_rule_covers_them() {
        for (i, row) in CLOSE_CODES.iter().enumerate() {
            assert!(
                CLOSE_CODES[i + 1..]
                    .iter()
                    .all(|other| other.code != row.code)
            );
        }
        assert!(RESYNC.reconnect() && GOING_AWAY.reconnect() && TRY_AGAIN.reconnect());
        assert!(TOKEN_EXPIRED.reconnect() && !REVOKED.reconnect());
        assert!(!TOO_MANY_CONNECTIONS.reconnect() && !REPLACED.reconnect() && !TOO_BIG.reconnect());
    }
}
