//! What may stand in a lane, through the decoder that every worker uses.

use frontdesk_shared::event::DecodeError;
use frontdesk_tests::{
    fuzz::Subject,
    hostile::{FIELDS, event, mutate, pick, text},
};
use rand::Rng;

use super::{
    bounds::{check_event, decode, survives_the_log},
    share,
};

#[test]
fn whatever_a_lane_holds_decodes_within_bounds_or_is_poison() {
    let mut subject = Subject::new("events", share::EVENTS, 1);
    for number in subject.numbers() {
        let mut case = subject.case(number);
        let rng = &mut case.rng;
        let sent = event(rng);
        check_event(&sent);
        survives_the_log(&sent);
        let fields = sent.encode().into_iter();
        let mut fields: Vec<_> = fields
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        for _ in 0..rng.random_range(1..4) {
            spoil(rng, &mut fields);
        }
        let what = match decode(&fields) {
            Ok(event) => {
                check_event(&event);
                survives_the_log(&event);
                "decoded"
            }
            Err(DecodeError::Poison(field)) => {
                assert!(FIELDS.contains(&field), "{field}");
                "poison"
            }
            Err(DecodeError::UnknownVersion(version)) => {
                assert!(version.parse::<u32>().is_ok_and(|version| version > 1));
                "of a newer version"
            }
        };
        subject.count(what, 1);
    }
    subject.report(&["decoded", "poison", "of a newer version"]);
}

/// One thing goes wrong with an entry's fields.
fn spoil(rng: &mut impl Rng, fields: &mut Vec<(String, String)>) {
    let name = (*pick(rng, FIELDS)).to_owned();
    if fields.is_empty() {
        return fields.push((name, text(rng)));
    }
    let at = rng.random_range(0..fields.len());
    match rng.random_range(0..7) {
        0 => drop(fields.remove(at)),
        1 => fields.push((name, text(rng))),
        2 => fields[at].0 = name,
        3 | 4 => {
            let mut bytes = fields[at].1.clone().into_bytes();
            mutate(rng, &mut bytes);
            fields[at].1 = String::from_utf8_lossy(&bytes).into_owned();
        }
        // Texts of JSON are where the bounds are.
        5 => {
            let longer = serde_json::Value::from(text(rng)).to_string();
            fields.push(((*pick(rng, &["name", "body"])).to_owned(), longer));
        }
        _ => fields[at].1 = text(rng),
    }
}
