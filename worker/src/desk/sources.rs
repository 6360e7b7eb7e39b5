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
    "frames.lua",
    "talks.lua",
    "taken.lua",
    "log.lua",
    "known.lua",
    "sent.lua",
    "direct.lua",
    "assign.lua",
    "fill.lua",
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
    "transitions/hook_park.lua",
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

    /// Commands that write.
    const WRITES: [&str; 13] = [
        "DEL", "HDEL", "HSET", "HSETNX", "INCR", "PEXPIRE", "RENAME", "SADD", "SET", "SREM",
        "XADD", "ZADD", "ZREM",
    ];

    /// How a header names what each key builder of lua/prelude.lua makes.
    const KEYS: [(&str, &str); 10] = [
        ("D.user_key(", "u:<"),
        ("D.conv_key(", "conv:<"),
        ("D.quiet_user_key(", "u:<"),
        ("D.quiet_conv_key(", "conv:<"),
        ("D.log_key(", "log:<"),
        ("D.gone_key(", "gone:<"),
        ("D.list_key(", "convs:<"),
        ("D.who_key(", "who:<"),
        ("D.dm_key(", "dm:<"),
        ("D.queue_key(", "q:<"),
    ];

    /// How a header says what a helper writes.
    const HELPERS: [(&str, &str); 23] = [
        ("D.acked(", "sent:<uid>"),
        ("D.answer_left(", "due"),
        ("D.append(", "log:<"),
        ("D.assign(", "assigning"),
        ("D.come_back(", "away"),
        ("D.depart(", "leaving"),
        ("D.disconnect(", "boot:<boot>"),
        ("D.enqueue(", "q:<queue>"),
        ("D.expel(", "leaving"),
        ("D.fill(", "filling"),
        ("D.finish(", "desk/finish.lua"),
        ("D.leave_message(", "desk/left.lua"),
        ("D.list(", "convs:<uid>"),
        ("D.lose(", "away"),
        ("D.off_duty(", "desk/leave.lua"),
        ("D.place_duty(", "duty"),
        ("D.place_staff(", "free"),
        ("D.queue_lost(", "desk/leave.lua"),
        ("D.reply_directly(", "desk/direct.lua"),
        ("D.say_directly(", "dm:<"),
        ("D.seen(", "who:<uid>"),
        ("D.take(", "u:<uid>"),
        ("D.turn(", "turn"),
    ];

    /// What a header says behind `-- writes`, up to its next part.
    fn writes(code: &str) -> String {
        let header = code.lines().take_while(|line| line.starts_with("--"));
        let part = header.skip_while(|line| !line.starts_with("-- writes "));
        let is_other = |line: &&str| line.starts_with("-- ") && !line.starts_with("--  ");
        let (first, rest): (Vec<_>, Vec<_>) = part.enumerate().partition(|(at, _)| *at == 0);
        let rest = rest.into_iter().map(|(_, line)| line);
        let rest = rest.take_while(|line| !is_other(line) && *line != "--");
        let first = first.into_iter().map(|(_, line)| line);
        first.chain(rest).collect::<Vec<_>>().join(" ")
    }

    /// The families of keys in a piece of code, as headers name them.
    fn families(piece: &str) -> Vec<String> {
        let made = KEYS.iter().filter(|(builder, _)| piece.contains(builder));
        let mut found: Vec<String> = made.map(|(_, family)| (*family).to_owned()).collect();
        for prefix in ["e.S .. \"", "c.P .. \""] {
            let literals = piece.split(prefix).skip(1);
            found.extend(literals.filter_map(|rest| Some(rest.split('"').next()?.to_owned())));
        }
        found
    }

    /// What a transition's own commands write: the key is made in the call, or kept in a local.
    fn written(code: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for call in code.split("redis.call(\"").skip(1) {
            let Some((command, rest)) = call.split_once("\", ") else {
                continue;
            };
            if !WRITES.contains(&command) {
                continue;
            }
            let name: String = rest.chars().take_while(char::is_ascii_lowercase).collect();
            if rest[name.len()..].starts_with([',', ')']) {
                let is_it = |line: &&str| {
                    let names = line.trim_start().strip_prefix("local ");
                    let names = names.and_then(|line| line.split_once(" = "));
                    names.is_some_and(|(names, _)| names.split(", ").any(|it| it == name))
                };
                found.extend(code.lines().filter(is_it).flat_map(families));
            } else {
                let line = rest.lines().next().unwrap_or_default();
                found.extend(families(line.split(", \"").next().unwrap_or_default()));
            }
        }
        found
    }

    #[test]
    fn headers_declare_all_that_is_written() {
        let mut seen = 0;
        for source in SOURCES
            .iter()
            .filter(|s| s.name.starts_with("transitions/"))
        {
            let (name, says) = (source.name, writes(source.code));
            for family in written(source.code) {
                assert!(says.contains(&family), "{name} writes {family}: {says}");
                seen += 1;
            }
            for (helper, what) in HELPERS {
                if source.code.contains(helper) {
                    assert!(
                        says.contains(what),
                        "{name} calls {helper}…): {what}: {says}"
                    );
                    seen += 1;
                }
            }
        }
        assert!(seen > 60, "only {seen} writes are seen");
    }

    /// Who writes by a quiet key, and what: nothing that a way rests on (lua/desk/talks.lua), or what was moved out of it.
    const QUIET_WRITERS: [(&str, &str); 6] = [
        ("enter.lua", "n:<client> and b"),
        ("talks.lua", "what is moved"),
        ("taken.lua", "what is put back"),
        ("transitions/mark.lua", "marks"),
        ("transitions/request.lua", "b"),
        ("transitions/resume.lua", "r:<client>"),
    ];

    #[test]
    fn only_few_write_by_quiet_keys_and_nobody_makes_keys_by_hand() {
        for source in SOURCES {
            let code = source.code;
            let quiet = ["D.quiet_user_key(", "D.quiet_conv_key("];
            let local = |name: &str| {
                let by = quiet
                    .iter()
                    .any(|key| code.contains(&format!("local {name} = {key}")));
                by && WRITES
                    .iter()
                    .any(|write| code.contains(&format!("\"{write}\", {name}")))
            };
            let direct = WRITES.iter().any(|write| {
                let call = format!("\"{write}\", ");
                quiet
                    .iter()
                    .any(|key| code.contains(&format!("{call}{key}")))
                    || code.contains(&format!("{call}quiet_"))
            });
            let listed = QUIET_WRITERS.iter().any(|(name, _)| *name == source.name);
            let writes = direct || local("key") || code.contains("local key, field = D.quiet_");
            assert_eq!(writes, listed, "{}", source.name);
            for made in ["e.S .. \"u:", "e.S .. \"conv:"] {
                assert!(!code.contains(made), "{} makes {made}", source.name);
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
