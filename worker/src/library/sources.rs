//! The library's text: what is generated, and its files in their order.

use std::fmt::Write as _;

use frontdesk_shared::{
    keys,
    protocol::{Lang, notice::NOTICES},
};

use super::limits;
use crate::app::{App, Source};

macro_rules! sources {
    ($($name:literal),* $(,)?) => {
        &[$(Source { name: $name, code: include_str!(concat!("../../lua/", $name)) }),*]
    };
}

/// Helpers before the App's files, in order.
const BEFORE: &[Source] = sources![
    "globals.lua",
    "prelude.lua",
    "numbers.lua",
    "call.lua",
    "push.lua",
    "dead.lua",
    "outbox.lua",
];
/// The functions, after the App's files.
const AFTER: &[Source] = sources![
    "apply.lua",
    "lease.lua",
    "tick.lua",
    "declare.lua",
    "bury.lua",
    "beat.lua",
    "stats.lua",
    "hooks/claim.lua",
    "hooks/take.lua",
    "hooks/body.lua",
    "hooks/done.lua",
    "hooks/look.lua",
    "hooks/sweep.lua",
    "replay.lua",
];

/// All of it, but for the line that names it.
pub(super) fn joined(app: &dyn App) -> String {
    let mut body = generated();
    for source in BEFORE.iter().chain(app.sources()).chain(AFTER) {
        let _ = writeln!(body, "-- {}", source.name);
        body.push_str(source.code);
    }
    body
}

/// The tables `N` (texts) and `L` (limits), and the channel of hints in Lua.
fn generated() -> String {
    let mut lua = String::from("local N = {}\n");
    for lang in Lang::ALL {
        let _ = writeln!(lua, "N[{}] = {{", lua_string(lang.tag()));
        for notice in NOTICES {
            let head = notice.head(lang);
            let pieces: Vec<String> = head.split("{queue}").map(lua_string).collect();
            let _ = writeln!(
                lua,
                "[{}] = {{ {} }},",
                lua_string(notice.key),
                pieces.join(", ")
            );
        }
        lua.push_str("}\n");
    }
    let _ = writeln!(lua, "local L = {{ {} }}", limits::table());
    let channel = lua_string(keys::HOOKS_CHANNEL);
    let _ = writeln!(lua, "local HOOKS_CHANNEL = {channel}");
    lua
}

/// A Lua 5.1 string literal: bytes above 127 stand as they are.
fn lua_string(text: &str) -> String {
    format!(
        "\"{}\"",
        text.replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n")
    )
}
