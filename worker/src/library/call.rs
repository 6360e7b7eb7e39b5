//! The arguments of the apply script: what entries have in common once, the rest in the order of `lua/apply.lua`.

use std::collections::HashMap;

use frontdesk_shared::{
    event::packed::put,
    ids::{Lane, Shard, StreamId},
    keys,
};

use super::{Library, Prepared};
use crate::app::{Fields, Hint, Transition};

/// Fields that are the same for many entries; a call says them once per shape.
const SHARED: [&str; 2] = ["prefix", "site"];

impl Library {
    /// A call of the apply script for the next entries of some lanes of a shard.
    pub fn apply_call<'a>(
        &self,
        shard: Shard,
        lanes: impl Iterator<Item = (Lane, &'a [Prepared])> + Clone,
    ) -> redis::Cmd {
        let mut names = vec![keys::applied(shard)];
        names.extend(lanes.clone().map(|(lane, _)| keys::events(shard, lane)));
        let mut command = self.call("apply", &names);
        command
            .arg(keys::shard_prefix(shard))
            .arg(shard.number())
            .arg(keys::GATEWAY_CHANNEL_PREFIX);
        command.arg(&self.settings);
        let transitions = || {
            let entries = lanes.clone().flat_map(|(_, entries)| entries);
            entries.map(|entry| &entry.transition)
        };
        let mut shapes: Vec<&Transition> = Vec::new();
        let mut shape_numbers = Vec::new();
        let mut looks = Looks::default();
        for transition in transitions() {
            shape_numbers.push(
                1 + shape_of(transition, &shapes).unwrap_or_else(|| {
                    shapes.push(transition);
                    shapes.len() - 1
                }),
            );
            if let Some(hint) = &transition.hint {
                looks.add(hint);
            }
        }
        command.arg(shapes.len());
        for shape in &shapes {
            command.arg(packed_shape(shape));
        }
        looks.write(&mut command);
        let mut shape_numbers = shape_numbers.into_iter();
        for (lane, entries) in lanes.clone() {
            let newest = entries.last().map_or(StreamId::ZERO, |entry| entry.id);
            command.arg(lane.number()).arg(entries.len());
            command.arg(newest.to_string());
        }
        for (_, entries) in lanes {
            let mut previous = None;
            for entry in entries {
                if previous.replace(entry.id) == Some(entry.before) {
                    command.arg(entry.id.to_string());
                } else {
                    command.arg(format!("{}<{}", entry.id, entry.before));
                }
                command.arg(shape_numbers.next());
                for (_, value) in own_fields(&entry.transition) {
                    command.arg(value);
                }
                if let Some(hint) = &entry.transition.hint {
                    command.arg(&hint.mark);
                    for (_, value) in &hint.fields {
                        command.arg(value);
                    }
                    command.arg(looks.number(hint));
                }
            }
        }
        command
    }
}

/// The fields of hashes that the script reads for all entries of a call at once.
#[derive(Default)]
struct Looks<'a> {
    hashes: Vec<(&'a str, Vec<&'a str>)>,
    /// Each field's place among those of its hash.
    places: HashMap<(&'a str, &'a str), usize>,
}

impl<'a> Looks<'a> {
    fn add(&mut self, hint: &'a Hint) {
        let (hash, field) = (hint.hash.as_str(), hint.field.as_str());
        if self.places.contains_key(&(hash, field)) {
            return;
        }
        let known = self.hashes.iter().position(|(it, _)| *it == hash);
        let at = known.unwrap_or_else(|| {
            self.hashes.push((hash, Vec::new()));
            self.hashes.len() - 1
        });
        let fields = &mut self.hashes[at].1;
        self.places.insert((hash, field), fields.len());
        fields.push(field);
    }

    fn write(&self, command: &mut redis::Cmd) {
        command.arg(self.hashes.len());
        for (hash, fields) in &self.hashes {
            command.arg(hash).arg(fields.len()).arg(fields);
        }
    }

    /// A field's number among those of all hashes, from 1.
    fn number(&self, hint: &Hint) -> usize {
        let (hash, field) = (hint.hash.as_str(), hint.field.as_str());
        let before = self.hashes.iter().take_while(|(it, _)| *it != hash);
        let before: usize = before.map(|(_, fields)| fields.len()).sum();
        before + self.places.get(&(hash, field)).copied().unwrap_or_default() + 1
    }
}

/// What a transition is given that no shape says, in order.
fn own_fields(transition: &Transition) -> impl Iterator<Item = &(&'static str, String)> {
    let own = transition.fields.iter();
    own.filter(|(name, _)| !SHARED.contains(name))
}

/// The fields of a transition's hint.
fn hinted(transition: &Transition) -> &[(&'static str, String)] {
    transition.hint.as_ref().map_or(&[], |hint| &hint.fields)
}

/// Which shape a transition has: the first with the same name, names of fields and shared values.
fn shape_of(transition: &Transition, shapes: &[&Transition]) -> Option<usize> {
    let same = |((a, x), (b, y)): (&(&str, String), &(&str, String))| {
        a == b && (x == y || !SHARED.contains(a))
    };
    let side = |it: &Transition| it.hint.as_ref().map(|hint| hint.side);
    let same_names = |((a, _), (b, _)): (&(&str, String), &(&str, String))| a == b;
    shapes.iter().position(|shape| {
        shape.name == transition.name
            && side(shape) == side(transition)
            && shape.fields.len() == transition.fields.len()
            && shape.fields.iter().zip(&transition.fields).all(same)
            && hinted(shape).len() == hinted(transition).len()
            && hinted(shape).iter().zip(hinted(transition)).all(same_names)
    })
}

/// Texts as one argument, each with its length before it.
pub fn packed<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut packed = Vec::new();
    for text in texts {
        put(&mut packed, text);
    }
    packed
}

/// An App's settings as the apply script takes them.
pub fn packed_settings(settings: &Fields) -> Vec<u8> {
    let texts = settings.iter().flat_map(|(name, value)| [*name, value]);
    packed(texts.map(str::as_bytes))
}

fn packed_shape(shape: &Transition) -> Vec<u8> {
    let side = shape.hint.as_ref().map_or("", |hint| hint.side);
    let head = [shape.name, shape.field("site"), shape.field("prefix"), side];
    let names = own_fields(shape).map(|(name, _)| *name);
    let hint = shape.hint.iter().flat_map(|hint| {
        let names = hint.fields.iter().map(|(name, _)| *name);
        std::iter::once("mark").chain(names).chain(["number"])
    });
    let texts = head.into_iter().chain(names).chain(hint);
    packed(texts.map(str::as_bytes))
}
