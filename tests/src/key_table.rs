//! The table of keys in docs/ARCHITECTURE.md as a rule: what is not in it may not be in Redis.

use anyhow::{Context as _, Result, ensure};
use frontdesk_shared::{
    ids::{BootId, ConversationId, LANES, Shard, Site, Uid},
    keys,
};

const DOCS: &str = include_str!("../../docs/ARCHITECTURE.md");

/// The keys that there may be.
#[derive(Debug)]
pub struct KeyTable(Vec<Row>);

#[derive(Debug)]
struct Row {
    /// `{sNN}:site:<site>:u:<uid>`, taken apart at the colons.
    parts: Vec<String>,
    /// As Redis calls it.
    kind: &'static str,
}

impl KeyTable {
    /// Reads the table from the document.
    pub fn read() -> Self {
        let (_, table) = DOCS.split_once("## Redis keys").expect("a chapter of keys");
        let (table, _) = table.split_once("Channels:").expect("channels come after");
        let mut rows = Vec::new();
        for line in table.lines() {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let [_, names, kind, ..] = cells[..] else {
                continue;
            };
            let kind = match kind {
                "hash" => "hash",
                "stream" => "stream",
                "zset" => "zset",
                "set" => "set",
                "text" | "counter" => "string",
                _ => continue,
            };
            for name in names_of(names) {
                let parts = name.split(':').map(str::to_owned).collect();
                rows.push(Row { parts, kind });
            }
        }
        assert!(rows.len() > 20, "the table of keys is not found");
        Self(rows)
    }

    /// Holds a key of a shard against the table: its form, the ids in it, and its type.
    pub fn check(&self, shard: Shard, name: &[u8], kind: &str) -> Result<()> {
        let name = std::str::from_utf8(name).context("the name of a key is no text")?;
        let parts: Vec<&str> = name.split(':').collect();
        let fits = |row: &&Row| {
            row.parts.len() == parts.len()
                && row
                    .parts
                    .iter()
                    .zip(&parts)
                    .all(|(rule, part)| part_fits(shard, rule, part))
        };
        self.compare(name, kind, fits)
    }

    /// The same for scripts that were given what no `parse` would let through: up to the first id
    /// that is not the site's the name must be one of the table.
    pub fn check_family(&self, shard: Shard, name: &[u8], kind: &str) -> Result<()> {
        let name = String::from_utf8_lossy(name);
        let fits = |row: &&Row| {
            let mut rest = name.split(':');
            for (n, rule) in row.parts.iter().enumerate() {
                let is_id = rule.starts_with('<') && n > 2;
                let Some(part) = rest.next() else {
                    return false;
                };
                if is_id || rule == "<boot>" {
                    return true;
                }
                if !part_fits(shard, rule, part) {
                    return false;
                }
            }
            rest.next().is_none()
        };
        self.compare(&name, kind, fits)
    }

    fn compare(&self, name: &str, kind: &str, fits: impl Fn(&&Row) -> bool) -> Result<()> {
        let row = self.0.iter().find(fits);
        let row = row.with_context(|| format!("no such key in the table: {name:?}"))?;
        ensure!(row.kind == kind, "{name:?} is a {kind}, not a {}", row.kind);
        Ok(())
    }
}

/// The names in a cell: `S` stands for the prefix of a site, `:1` for another end of the last one.
fn names_of(cell: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut of_site = false;
    for (n, piece) in cell.split('`').enumerate() {
        if n % 2 == 0 {
            of_site = piece.ends_with('S');
        } else if of_site {
            names.push(format!("{{sNN}}:site:<site>:{piece}"));
        } else if let (Some(end), Some(last)) = (piece.strip_prefix(':'), names.last()) {
            let (start, _) = last.rsplit_once(':').expect("a name with an end");
            names.push(format!("{start}:{end}"));
        } else {
            names.push(piece.to_owned());
        }
    }
    names
}

fn part_fits(shard: Shard, rule: &str, part: &str) -> bool {
    match rule {
        "{sNN}" => keys::shard_prefix(shard) == format!("{part}:"),
        "<lane>" => part.parse().is_ok_and(|lane: u8| lane < LANES),
        "<site>" => Site::parse(part).is_ok_and(|site| Shard::of(&site) == shard),
        "<uid>" | "<staff>" => Uid::parse(part).is_ok(),
        "<pair>" => {
            let uids = part.split_once('|').filter(|(a, b)| a < b);
            uids.is_some_and(|(a, b)| Uid::parse(a).is_ok() && Uid::parse(b).is_ok())
        }
        "<boot>" => BootId::parse(part).is_ok(),
        "<id>" => ConversationId::parse(part).is_ok(),
        literal => literal == part,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_the_table_fit_and_others_do_not() {
        let (table, shard) = (KeyTable::read(), Shard::new(6).expect("below SHARDS"));
        for (name, kind) in [
            ("{s06}:events:7", "stream"),
            ("{s06}:site:default:u:alice", "hash"),
            ("{s06}:site:default:q:-", "zset"),
            ("{s06}:site:default:sent:alice:1", "hash"),
            ("{s06}:site:default:turn", "string"),
            ("{s06}:site:default:dm:alice|bob", "string"),
            ("frontdesk:meta", "hash"),
        ] {
            let checked = table.check(shard, name.as_bytes(), kind);
            assert!(checked.is_ok(), "{name}: {checked:?}");
        }
        for (name, kind) in [
            ("{s07}:events:7", "stream"),
            ("{s06}:events:8", "stream"),
            ("{s06}:events:7", "hash"),
            ("{s06}:site:default:u:*", "hash"),
            ("{s06}:site:default:sent:alice:2", "hash"),
            ("{s06}:site:default:", "hash"),
            ("{s06}:site:default:dm:bob|alice", "string"),
            ("{s06}:site:default:dm:bob", "string"),
            ("x", "hash"),
        ] {
            assert!(table.check(shard, name.as_bytes(), kind).is_err(), "{name}");
        }
        let family = |name: &str| table.check_family(shard, name.as_bytes(), "hash").is_ok();
        assert!(family("{s06}:site:default:u:a:b{s01}*") && family("{s06}:boot:\n"));
        assert!(!family("{s06}:site:default:x:a") && !family("{s07}:boot:a"));
    }
}
