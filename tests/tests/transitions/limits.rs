//! The user's bucket: how much may be said at once and after a while, over all devices. What must happen
//! is computed from the times that events got, so a slow machine changes what is seen, not what is right.

use frontdesk_shared::{config::RateArgs, ids::MessageRef, protocol::frame::Verb};
use frontdesk_tests::redis_server::Options;
use frontdesk_worker::{desk::settings::DeskSettings, library::Outcome};

use crate::scene::{Change, Scene};

on_both![
    several_devices_of_a_user_share_one_bucket,
    what_is_refused_uses_no_token_and_stores_nothing,
    what_is_stored_is_acknowledged_again_however_fast,
];

/// Tokens per second, and at once.
const RATE: u32 = 1;
const BURST: u32 = 5;

fn settings() -> DeskSettings {
    DeskSettings {
        rate: RateArgs {
            rate_per_user: RATE,
            rate_burst: BURST,
        },
        ..DeskSettings::default()
    }
}

/// The bucket once more, in tokens.
struct Bucket {
    tokens: f64,
    at: u64,
}

impl Bucket {
    /// At this ms a message comes. Returns after how long, in ms, it might, if it comes too fast.
    fn take(&mut self, now: u64) -> Option<f64> {
        let passed = now.saturating_sub(self.at) as f64 / 1000.0;
        self.tokens = (self.tokens + passed * f64::from(RATE)).min(f64::from(BURST));
        self.at = now;
        if self.tokens >= 1.0 - 1e-9 {
            self.tokens -= 1.0;
            return None;
        }
        Some((1.0 - self.tokens) / f64::from(RATE) * 1000.0)
    }
}

fn words(number: usize) -> Verb {
    Verb::Message {
        body: "\"hi\"".into(),
        id: Some(MessageRef::parse(&format!("m{number}")).expect("well-formed")),
        conversation: None,
    }
}

/// When the last event was appended: `<shard>.<lane>.<ms>-<seq>`.
fn time(scene: &Scene) -> u64 {
    let (event, _) = scene.names.last().expect("an event");
    let (_, stream) = event.rsplit_once('.').expect("an event's id");
    let (ms, _) = stream.split_once('-').expect("a stream id");
    ms.parse().expect("a number")
}

/// After how many ms to come again, if it was refused as too fast.
fn refused(change: &Change) -> Option<f64> {
    let mut told = change.told().into_iter();
    let line = told.find(|line| line.contains("error/rate_limited"))?;
    let (_, after) = line.split_once("retry_after_ms=").expect("says when");
    let digits = after.split(' ').next().expect("a number");
    Some(digits.parse().expect("a number"))
}

async fn several_devices_of_a_user_share_one_bucket(options: Options) {
    let mut scene = Scene::new(options, settings()).await;
    let mut sam = scene.staff("sam", 1).await;
    let mut devices = [scene.customer("alice").await, scene.open("alice").await];
    let mut bucket = Bucket {
        tokens: f64::from(BURST),
        at: 0,
    };
    let (mut said, mut refusals) = (0, 0);
    while refusals < 4 {
        assert!(said < 1000, "a thousand messages, {refusals} refusals");
        let change = scene.send(&mut devices[said % 2], words(said)).await;
        said += 1;
        match (refused(&change), bucket.take(time(&scene))) {
            (None, None) => {}
            (Some(after), Some(expected)) => {
                assert!((after - expected).abs() <= 1.0, "{after} for {expected}");
                refusals += 1;
            }
            (is, should) => panic!("message {said}: refused {is:?}, should be {should:?}"),
        }
    }
    // Others have buckets of their own.
    let change = scene.send(&mut sam, words(0)).await;
    assert_eq!(refused(&change), None);
}

async fn what_is_refused_uses_no_token_and_stores_nothing(options: Options) {
    let mut scene = Scene::new(options, settings()).await;
    scene.staff("sam", 1).await;
    let mut alice = scene.customer("alice").await;
    let mut n = 0;
    let (before, change) = loop {
        n += 1;
        assert!(n < 1000, "never refused");
        let before = bucket_of_alice(&mut scene).await;
        let change = scene.send(&mut alice, words(n)).await;
        if refused(&change).is_some() {
            break (before, change);
        }
    };
    let kept: Vec<_> = change
        .lines
        .iter()
        .filter(|line| !line.starts_with('>'))
        .collect();
    let n = n + 1; // customer_connect was the first frame
    let frame = [
        format!("+ u:alice n:alice.1={n}"),
        format!("- u:alice n:alice.1={}", n - 1),
    ];
    assert_eq!(kept, frame.iter().collect::<Vec<_>>());
    assert_eq!(bucket_of_alice(&mut scene).await, before);
}

/// After a lost socket a client sends all again that was not acknowledged: it was paid for.
async fn what_is_stored_is_acknowledged_again_however_fast(options: Options) {
    let mut scene = Scene::new(options, settings()).await;
    scene.staff("sam", 1).await;
    let mut alice = scene.customer("alice").await;
    let mut stored = Vec::new();
    for n in 0.. {
        assert!(n < 1000, "never refused");
        if refused(&scene.send(&mut alice, words(n)).await).is_some() {
            break;
        }
        stored.push(n);
    }
    let before = bucket_of_alice(&mut scene).await;
    for n in stored {
        let change = scene.send(&mut alice, words(n)).await;
        assert!(matches!(change.outcome, Outcome::Acked(_)), "{n}");
        assert_eq!(change.told(), [""; 0]);
    }
    assert_eq!(
        bucket_of_alice(&mut scene).await,
        before,
        "it uses no token"
    );
    // The same id for other words is refused as ever.
    let other = Verb::Message {
        body: "\"other\"".into(),
        id: Some(MessageRef::parse("m0").expect("well-formed")),
        conversation: None,
    };
    let change = scene.send(&mut alice, other).await;
    assert!(
        change.told()[0].contains("error/id_reused"),
        "{:?}",
        change.lines
    );
}

async fn bucket_of_alice(scene: &mut Scene) -> Option<String> {
    let key = scene.driver.key("u:alice");
    scene.driver.dump().await.hash(&key).remove("b")
}
