//! What is counted, and which counts are broken promises.

use serde::{Deserialize, Serialize};

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counts of one process, or their sums.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub(crate) struct Counts {
            $($(#[$doc])* pub(crate) $name: u64,)*
        }

        impl Counts {
            /// Adds each.
            pub(crate) fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }

            /// By name, in this order.
            pub(crate) fn list(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }
    };
}

counts! {
    /// What the scenario is about, done: messages delivered and acknowledged, welcomes, conversations.
    completed,
    /// Connections that got their `welcome`.
    connected,
    /// Messages sent, not counting those sent again.
    sent,
    /// Messages that reached the other side.
    delivered,
    /// Messages acknowledged.
    acked,
    /// Messages sent again with the same id: no ack for 10 s, refused for now, or after a lost socket.
    resent,
    /// Messages that were answered with `busy` or `rate_limited`.
    busy,
    /// Customers who came.
    arrived,
    /// Conversations that began.
    begun,
    /// Customers who had to wait.
    queued,
    /// Customers who were told `no_staff` or `queue_full`.
    turned_away,
    /// Customers who lost patience.
    gave_up,
    /// Connection attempts that were refused or failed, and were made again.
    retried,
    /// Sockets that ended although this tool had not asked for it.
    disconnected,
    /// Messages on their way when a socket ended: whether they arrived, only the log knows.
    undecided,
    /// Acknowledged, and never delivered.
    lost,
    /// Neither delivered nor acknowledged, though the socket stayed.
    unanswered,
    /// Delivered more than once.
    doubled,
    /// Delivered after a later one of the same sender.
    reordered,
    /// Delivered to somebody else, or in another conversation.
    misdelivered,
    /// The ack and the delivery name different places in the conversation.
    misnumbered,
    /// A staff member had more customers than `max`.
    over_capacity,
    /// Frames of the server that say `error`, other than those.
    errors,
    /// Conversations that ended although neither side had left.
    cut_off,
}

impl Counts {
    /// The broken promises, by name; empty if all held. Lost sockets are none where something is
    /// killed on purpose.
    pub(crate) fn broken(&self, tolerant: bool) -> Vec<(&'static str, u64)> {
        let mut names = vec![
            "lost",
            "unanswered",
            "doubled",
            "reordered",
            "misdelivered",
            "misnumbered",
            "over_capacity",
            "errors",
        ];
        if !tolerant {
            names.extend(["disconnected", "cut_off"]);
        }
        let mut list = self.list();
        list.retain(|(name, count)| *count > 0 && names.contains(name));
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_promises_are_named() {
        let counts = Counts {
            completed: 5,
            lost: 1,
            disconnected: 2,
            ..Counts::default()
        };
        assert_eq!(counts.broken(true), [("lost", 1)]);
        assert_eq!(counts.broken(false), [("disconnected", 2), ("lost", 1)]);
    }
}
