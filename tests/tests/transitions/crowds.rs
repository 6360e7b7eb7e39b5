//! What concerns more users than one call may touch, so `queue_lost` and `queue_moved`.

use std::collections::{BTreeMap, BTreeSet};

use frontdesk_shared::{
    ids::{BootId, Lane},
    keys,
    protocol::{MAX_WAITING_BYTES, frame::Verb},
};
use frontdesk_tests::{
    desk_state::SiteDump,
    lane_driver::{Kind, Pushed, Socket, on_duty, words},
    redis_server::Options,
};
use frontdesk_worker::{
    desk::settings::{DeskSettings, OnStaffLeave, Policy},
    library::{MAX_FILLED_BYTES, MAX_TOUCHED_USERS},
};

use crate::scene::{Scene, lane};

on_both![
    a_lost_queue_of_a_thousand_is_finished_by_continuations,
    a_thousand_are_requeued_by_continuations,
    a_continuation_leaves_alone_who_came_later,
    a_requeued_queue_whose_staff_returns_stays_and_the_lane_goes_on,
    more_than_two_hundred_are_told_their_place_by_continuations,
    who_takes_many_over_gets_their_words_in_several_calls,
];

/// A site with sam's one place taken and `count` customers waiting behind it.
async fn crowd(
    options: Options,
    settings: DeskSettings,
    count: usize,
) -> (Scene, Socket, Vec<Socket>) {
    let settings = DeskSettings {
        queue_limit: 2000,
        ..settings
    };
    let mut scene = Scene::new(options, settings).await;
    let sam = scene.staff("sam", 1).await;
    let boot = BootId::random();
    let mut customers = Vec::new();
    for n in 0..=count {
        let uid = format!("c{n}");
        let mut socket = Socket::new(&uid, &boot);
        scene.driver.append(&uid, socket.open()).await;
        let connect = socket.verb(Verb::CustomerConnect);
        scene.driver.append(&uid, connect).await;
        customers.push(socket);
    }
    scene.driver.drain().await;
    scene.driver.pushes().await;
    assert_eq!(scene.members("waiting").await.len(), count);
    (scene, sam, customers)
}

impl Scene {
    async fn members(&mut self, rest: &str) -> Vec<String> {
        let dump = self.driver.dump().await;
        let members = dump.sorted(&self.driver.key(rest));
        members.into_iter().map(|(member, _)| member).collect()
    }

    /// Applies what waits, one entry a call, and what that appends. No call touches too many users.
    /// Returns how many calls it took and what was pushed.
    async fn drain_in_small_calls(&mut self) -> (usize, Vec<Pushed>) {
        let (mut calls, mut pushes) = (0, Vec::new());
        let mut before = self.driver.dump().await;
        loop {
            let so_far = calls;
            for lane in Lane::all() {
                if self.driver.apply_pending(lane, 1).await.is_empty() {
                    continue;
                }
                calls += 1;
                assert!(calls < 100, "the lane never ends");
                let after = self.driver.dump().await;
                let users = self.driver.key("u:");
                let changes = after.changes_since(&before);
                let touched: BTreeSet<&str> = changes
                    .iter()
                    .filter_map(|line| line[2..].strip_prefix(&users)?.split(' ').next())
                    .collect();
                assert!(
                    touched.len() <= MAX_TOUCHED_USERS,
                    "{} users",
                    touched.len()
                );
                before = after;
            }
            pushes.extend(self.driver.pushes().await);
            if calls == so_far {
                return (calls, pushes);
            }
        }
    }

    async fn check(&mut self) {
        let (dump, prefix) = (self.driver.dump().await, self.driver.key(""));
        let rules = SiteDump::new(&dump, &prefix).check_rules();
        rules.unwrap_or_else(|broken| panic!("{broken:#}"));
        assert_eq!(dump.stream(&keys::dead(self.driver.shard)), []);
    }
}

/// How often each connection was told what.
fn told(pushes: &[Pushed], what: &str) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    for pushed in pushes.iter().filter(|pushed| pushed.short() == what) {
        *times.entry(pushed.client.clone()).or_default() += 1;
    }
    times
}

async fn a_lost_queue_of_a_thousand_is_finished_by_continuations(options: Options) {
    let (mut scene, mut sam, customers) = crowd(options, DeskSettings::default(), 1000).await;
    let offline = sam.verb(Verb::StaffOffline);
    scene.driver.append("sam", offline).await;
    let (calls, pushes) = scene.drain_in_small_calls().await;
    assert!((6..=7).contains(&calls), "{calls} calls");
    let closed = told(&pushes, "queue_close/staff_offline");
    assert_eq!(closed.len(), 1000);
    assert!(closed.values().all(|times| *times == 1));
    assert_eq!(told(&pushes, "chat_close/staff_offline").len(), 1);
    // off_duty to sam, and one frame to each customer.
    assert_eq!(pushes.len(), 1 + customers.len());
    assert_eq!(scene.members("waiting").await, Vec::<String>::new());
    scene.check().await;
    let dump = scene.driver.dump().await;
    assert!(!dump.0.contains_key(&keys::sites(scene.driver.shard)));
}

async fn a_thousand_are_requeued_by_continuations(options: Options) {
    let settings = DeskSettings {
        on_staff_leave: OnStaffLeave::Requeue,
        ..DeskSettings::default()
    };
    let (mut scene, mut sam, _customers) = crowd(options, settings, 1000).await;
    let mut sue = scene.open("sue").await;
    let waited = scene.members("waiting").await;
    scene.send(&mut sue, on_duty(1)).await;
    let first = scene.members("duty").await;
    assert_eq!(first, ["sue", "sam"]);
    let offline = sam.verb(Verb::StaffOffline);
    scene.driver.append("sam", offline).await;
    let (calls, pushes) = scene.drain_in_small_calls().await;
    assert!((5..=7).contains(&calls), "{calls} calls");
    let queued = told(&pushes, "message/queued");
    assert_eq!(queued.len(), 1000);
    assert!(queued.values().all(|times| *times == 1));
    // Whoever was with sam is the first again; sue has the one who waited longest before.
    let waiting = scene.members("q:sue").await;
    assert_eq!(waiting[1..], waited[1..]);
    assert_eq!(scene.members("waiting").await, waiting);
    scene.check().await;
}

async fn a_continuation_leaves_alone_who_came_later(options: Options) {
    let (mut scene, mut sam, _customers) = crowd(options, DeskSettings::default(), 250).await;
    // Both wait in sam's lane when the first is applied, so the continuation comes after them.
    for verb in [Verb::StaffOffline, on_duty(1)] {
        let event = sam.verb(verb);
        scene.driver.append("sam", event).await;
    }
    assert_eq!(scene.driver.apply_pending(lane("sam"), 1).await.len(), 1);
    let left = scene.members("waiting").await.len();
    assert!((50..60).contains(&left), "{left}");
    assert_eq!(scene.driver.apply_pending(lane("sam"), 1).await.len(), 1);
    assert_eq!(scene.members("waiting").await.len(), left - 1);
    scene.driver.pushes().await;
    assert_ne!(lane("nina"), lane("sam"));
    let mut nina = scene.open("nina").await;
    let change = scene.send(&mut nina, Verb::CustomerConnect).await;
    assert!(
        change.told()[0].contains("message/queued"),
        "{:?}",
        change.lines
    );
    let (calls, pushes) = scene.drain_in_small_calls().await;
    assert_eq!(calls, 1);
    let closed = told(&pushes, "queue_close/staff_offline");
    assert_eq!(closed.len(), left - 1);
    assert_eq!(scene.members("waiting").await, ["nina"]);
    assert_eq!(scene.members("q:sam").await, ["nina"]);
    scene.check().await;
}

async fn a_requeued_queue_whose_staff_returns_stays_and_the_lane_goes_on(options: Options) {
    for policy in [Policy::Shortest, Policy::Shared] {
        let settings = DeskSettings {
            on_staff_leave: OnStaffLeave::Requeue,
            policy,
            ..DeskSettings::default()
        };
        let (mut scene, mut sam, _customers) = crowd(options.clone(), settings, 900).await;
        if policy == Policy::Shortest {
            scene.staff("sue", 1).await;
        }
        for verb in [Verb::StaffOffline, on_duty(1)] {
            let event = sam.verb(verb);
            scene.driver.append("sam", event).await;
        }
        let (calls, _) = scene.drain_in_small_calls().await;
        assert_eq!(
            calls, 3,
            "the two verbs and one continuation, which finds nothing to do"
        );
        let waiting = scene.members("waiting").await;
        // Alone with a shared queue, sam's leaving ended the first part of it.
        let expected = match policy {
            Policy::Shortest => 895..900,
            Policy::Shared => 695..710,
        };
        assert!(
            expected.contains(&waiting.len()),
            "{policy}: {}",
            waiting.len()
        );
        scene.check().await;
    }
}

async fn more_than_two_hundred_are_told_their_place_by_continuations(options: Options) {
    let (mut scene, _sam, customers) = crowd(options, DeskSettings::default(), 500).await;
    let waiting = scene.members("waiting").await;
    let index: usize = waiting[0][1..].parse().expect("a number");
    let mut customers = customers;
    scene.send(&mut customers[index], Verb::CustomerLeave).await;
    scene.driver.tick_after(0).await;
    let (calls, pushes) = scene.drain_in_small_calls().await;
    assert!((3..=4).contains(&calls), "{calls} calls");
    let moved = told(&pushes, "message/queue_moved");
    assert_eq!(moved.len(), 499);
    assert_eq!(pushes.len(), 499, "each is told once");
    for (place, uid) in (1..).zip(&waiting[1..]) {
        let index: usize = uid[1..].parse().expect("a number");
        let client = customers[index].client.as_str();
        let to_them = pushes.iter().find(|p| p.client == client).expect("told");
        assert_eq!(to_them.frame()["payload"]["queue"], place);
    }
    let dump = scene.driver.dump().await;
    assert!(!dump.0.contains_key(&keys::moved(scene.driver.shard)));
}

/// A socket's queue holds a megabyte; somebody who waits may have left 16 KiB, and staff may take 50 at once.
async fn who_takes_many_over_gets_their_words_in_several_calls(options: Options) {
    const COUNT: usize = 50;
    let settings = DeskSettings {
        max_per_staff: 50,
        leave_message: true,
        ..DeskSettings::default()
    };
    let mut scene = Scene::new(options, settings).await;
    let long = "x".repeat(MAX_WAITING_BYTES - 2);
    let boot = BootId::random();
    let mut waited = Vec::new();
    for n in 0..COUNT {
        let uid = format!("c{n}");
        let mut socket = Socket::new(&uid, &boot);
        for kind in [
            socket.open(),
            socket.verb(Verb::CustomerConnect),
            socket.verb(words(&long)),
        ] {
            scene.driver.append(&uid, kind).await;
        }
        scene.driver.drain().await;
        waited.push(uid);
    }
    scene.driver.pushes().await;
    let mut late = scene.open("late").await;
    let mut sam = scene.open("sam").await;
    let online = sam.verb(on_duty(50));
    scene.driver.append("sam", online).await;
    // In the same call: it may not fill once more what the first has put off.
    let again = sam.verb(on_duty(50));
    scene.driver.append("sam", again).await;
    let mut served: Vec<String> = Vec::new();
    for call in 0.. {
        assert!(call < 10, "it goes on for ever");
        let settled = scene.driver.apply_pending(lane("sam"), 32).await;
        if settled.is_empty() {
            break;
        }
        let pushes = scene.driver.pushes().await;
        let to_sam = pushes.iter().filter(|p| p.client == sam.client.as_str());
        let bytes: usize = to_sam.clone().map(|pushed| pushed.text.len()).sum();
        let most = usize::try_from(MAX_FILLED_BYTES).expect("small") + 2 * MAX_WAITING_BYTES;
        assert!(bytes < most, "{bytes} bytes in one call");
        let new = to_sam.filter(|p| p.short() == "message/new_customer");
        served.extend(new.map(|p| {
            p.frame()["payload"]["customer"]
                .as_str()
                .unwrap()
                .to_owned()
        }));
        if call == 0 {
            assert!((10..20).contains(&served.len()), "{}", served.len());
            // Whoever comes meanwhile does not go before those who wait.
            let connect = late.verb(Verb::CustomerConnect);
            scene.driver.append("late", connect).await;
            scene.driver.apply_pending(lane("late"), 1).await;
            let told = scene.driver.pushes_to(&late).await;
            assert_eq!(told, ["message/queued"]);
        }
    }
    assert_ne!(lane("late"), lane("sam"));
    assert_eq!(served, waited, "each once, the longest waiting first");
    assert_eq!(scene.members("waiting").await, ["late"]);
    let entries = scene.driver.entries(lane("sam"), "-", 1000).await;
    let kinds = entries
        .into_iter()
        .filter_map(|pending| Some(pending.event?.kind));
    let continued = kinds.filter(|kind| matches!(kind, Kind::QueueLost { .. }));
    let continued = continued.count();
    assert!((2..=4).contains(&continued), "{continued} continuations");
    scene.check().await;
}
