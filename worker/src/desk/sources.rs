//! The desk's Lua files, in the order in which they are joined.

use crate::app::Source;

macro_rules! sources {
    ($($name:literal),* $(,)?) => {
        &[$(Source { name: $name, code: include_str!(concat!("../../lua/desk/", $name)) }),*]
    };
}

pub(super) const SOURCES: &[Source] = sources![
    "enter.lua",
    "members.lua",
    "hooks.lua",
    "hooks_kept.lua",
    "roles.lua",
    "lists.lua",
    "log.lua",
    "known.lua",
    "sent.lua",
    "direct.lua",
    "assign.lua",
    "left.lua",
    "finish.lua",
    "leave.lua",
    "grace.lua",
    "history.lua",
    "snapshot.lua",
    "transitions/open.lua",
    "transitions/close.lua",
    "transitions/revoke.lua",
    "transitions/staff_online.lua",
    "transitions/staff_offline.lua",
    "transitions/customer_connect.lua",
    "transitions/customer_leave.lua",
    "transitions/close_conversation.lua",
    "transitions/message.lua",
    "transitions/mark.lua",
    "transitions/recall.lua",
    "transitions/resume.lua",
    "transitions/direct.lua",
    "transitions/request.lua",
    "transitions/hook_create.lua",
    "transitions/hook_change.lua",
    "transitions/hook_rotate.lua",
    "transitions/hook_delete.lua",
    "transitions/hook_redeliver.lua",
    "transitions/idle_timer.lua",
    "transitions/lost_timer.lua",
    "transitions/gateway_dead.lua",
    "transitions/queue_moved.lua",
    "transitions/queue_lost.lua",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The words after `-- fields` in a transition's header, up to the next key of the header.
    fn declared(code: &str) -> BTreeSet<String> {
        let line = code
            .lines()
            .find_map(|line| line.strip_prefix("-- fields "))
            .unwrap_or_default();
        line.split_whitespace().map(str::to_owned).collect()
    }

    /// The names that a transition's file reads from its fields.
    fn used(code: &str) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for (at, _) in code.match_indices("a.") {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
                continue;
            }
            let name: String = code[at + 2..]
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            names.insert(name);
        }
        names
    }

    #[test]
    fn headers_declare_every_field_that_is_used() {
        for source in SOURCES
            .iter()
            .filter(|s| s.name.starts_with("transitions/"))
        {
            let declared = declared(source.code);
            assert!(
                declared.contains("prefix"),
                "{} has no `-- fields` line",
                source.name
            );
            for name in used(source.code) {
                assert!(
                    declared.contains(&name),
                    "{} uses a.{name}, not in its header",
                    source.name
                );
            }
        }
    }

    #[test]
    fn a_file_is_short_and_defines_its_transition() {
        for source in SOURCES {
            assert!(
                source.code.lines().count() <= 120,
                "{} is long",
                source.name
            );
            if let Some(name) = source
                .name
                .strip_prefix("transitions/")
                .and_then(|n| n.strip_suffix(".lua"))
            {
                assert!(
                    source
                        .code
                        .contains(&format!("T.{name} = function(c, e, a)")),
                    "{name}"
                );
            }
        }
    }
}
