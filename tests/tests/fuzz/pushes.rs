//! What a gateway hears on its channel.

use bytes::Bytes;
use frontdesk_shared::push::{self, Kind, Payload};
use frontdesk_tests::{
    fuzz::Subject,
    hostile::{bytes, id, mutate, pick},
};
use rand::Rng;

use super::share;

#[test]
fn whatever_is_published_is_a_payload_or_refused() {
    let mut subject = Subject::new("pushes", share::PUSHES, 1);
    for number in subject.numbers() {
        let mut case = subject.case(number);
        let rng = &mut case.rng;
        let mut sent = payload(rng);
        let spoilt = rng.random_ratio(3, 4);
        if spoilt {
            mutate(rng, &mut sent);
        }
        let sent = Bytes::from(sent);
        let what = match push::decode(&sent) {
            Ok(payload) => {
                check(&payload, sent.len());
                "accepted"
            }
            Err(_) => "refused",
        };
        assert!(spoilt || what == "accepted", "{sent:?}");
        let is_probe = push::read_probe(&sent).is_some();
        assert!(!(is_probe && what == "accepted"), "{sent:?}");
        subject.count(what, 1);
    }
    subject.report(&["accepted", "refused"]);
}

fn check(payload: &Payload, length: usize) {
    let held: usize = payload
        .records
        .iter()
        .map(|record| record.bytes.len())
        .sum();
    assert!(held < length);
    let mut again = format!("1 {} {}\n", payload.shard, payload.counter).into_bytes();
    for record in &payload.records {
        let kind = match record.kind {
            Kind::Frame => "F",
            Kind::Welcome => "W",
            Kind::Close => "C",
            Kind::Answer => "A",
        };
        let (event, targets) = (&record.event, &record.targets);
        let text = |bytes: &Bytes| {
            std::str::from_utf8(bytes)
                .expect("heads are text")
                .to_owned()
        };
        let (event, targets) = (text(event), text(targets));
        assert!(
            record
                .targets()
                .all(|client| !client.contains([' ', '\n', ',']))
        );
        again.extend(format!("{kind} {event} {} {targets}\n", record.bytes.len()).bytes());
        again.extend(&record.bytes[..]);
        again.push(b'\n');
    }
    assert_eq!(push::decode(&again.into()).as_ref(), Ok(payload));
}

fn payload(rng: &mut impl Rng) -> Vec<u8> {
    let mut payload = format!("1 {} {}\n", rng.random::<u8>(), rng.random::<u64>()).into_bytes();
    for _ in 0..rng.random_range(0..4) {
        let body = bytes(rng);
        let targets: Vec<String> = (0..rng.random_range(1..4)).map(|_| id(rng, 44)).collect();
        let kind = pick(rng, &["F", "W", "C", "A"]);
        let head = format!("{kind} 7.3.1-0 {} {}\n", body.len(), targets.join(","));
        payload.extend(head.bytes());
        payload.extend(body);
        payload.push(b'\n');
    }
    payload
}
