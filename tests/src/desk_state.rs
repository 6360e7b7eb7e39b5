//! Holds what is in Redis against the model, and against rules that need no model.
//!
//! `model.rs` compares state with the model, `told.rs` pushes and acks; `rules.rs` needs no model.

mod model;
mod rules;
mod told;

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use crate::redis_dump::Dump;

/// The id of an entry of a log, and its fields.
type LogLine = (String, BTreeMap<String, String>);

/// One site's part of a dump.
#[derive(Debug, Clone, Copy)]
pub struct SiteDump<'d> {
    dump: &'d Dump,
    prefix: &'d str,
}

impl<'d> SiteDump<'d> {
    /// The keys of a dump that begin with a site's prefix.
    pub fn new(dump: &'d Dump, prefix: &'d str) -> Self {
        Self { dump, prefix }
    }

    fn key(&self, rest: &str) -> String {
        format!("{}{rest}", self.prefix)
    }

    fn hash(&self, rest: &str) -> BTreeMap<String, String> {
        self.dump.hash(&self.key(rest))
    }

    /// The members of a sorted set, in order.
    fn members(&self, rest: &str) -> Vec<String> {
        let members = self.dump.sorted(&self.key(rest));
        members.into_iter().map(|(member, _)| member).collect()
    }

    /// What follows `kind` in the names of the site's keys.
    fn names(&self, kind: &str) -> Vec<String> {
        let prefix = self.key(kind);
        self.dump.names(&prefix).map(str::to_owned).collect()
    }

    fn ttl(&self, rest: &str) -> Option<i64> {
        self.dump
            .0
            .get(&self.key(rest))
            .and_then(|kept| kept.ttl_ms)
    }

    /// The lines of a conversation's log, each a map of fields.
    fn log(&self, conv: &str) -> Vec<LogLine> {
        let entries = self.dump.stream(&self.key(&format!("log:{conv}")));
        entries
            .into_iter()
            .map(|(id, fields)| (id, fields.into_iter().collect()))
            .collect()
    }
}

impl SiteDump<'_> {
    /// The ids of the entries of a conversation's log.
    pub fn ids(&self, conv: &str) -> Vec<String> {
        let log = self.log(conv).into_iter();
        log.filter_map(|(_, mut fields)| fields.remove("id"))
            .collect()
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, actual: &T, expected: &T) -> Result<()> {
    if actual == expected {
        return Ok(());
    }
    bail!("{what}\n     is {actual:?}\n not is {expected:?}");
}
