//! What is kept when everybody has left, and that it is kept for a time only.

use frontdesk_shared::protocol::frame::Verb;
use frontdesk_tests::{
    desk_state::SiteDump,
    lane_driver::{
        LaneDriver, Socket, on_duty, read_to, recall, words, words_to_user, words_with_id,
    },
    redis_dump::Dump,
    redis_server::Options,
    wait,
};
use frontdesk_worker::{
    desk::settings::{DeskSettings, OnStaffLeave},
    library::{Ack, DIRECT_RENEW_MS, Outcome, SENT_MS},
};

use crate::scene::Scene;

on_both![
    what_stays_of_people_who_have_left_has_an_end,
    after_the_retention_nothing_is_left_of_anybody,
];

fn settings(retention_s: u64) -> DeskSettings {
    DeskSettings {
        on_staff_leave: OnStaffLeave::Requeue,
        leave_message: true,
        retention_s,
        ..DeskSettings::default()
    }
}

/// Everything that leaves traces: words with and without ids, marks, recalls, a conversation handed on, a
/// direct one, a left message that is answered; then everybody goes.
async fn a_day(driver: &mut LaneDriver) {
    let mut alice = driver.open("alice").await;
    driver.send(&mut alice, Verb::CustomerConnect).await;
    driver.send(&mut alice, words("is nobody there?")).await;
    let mut sam = driver.open("sam").await;
    driver.send(&mut sam, on_duty(1)).await;
    let conv = driver.conversation_of("alice").await.expect("taken");
    driver.send(&mut alice, words("at last")).await;
    driver.send(&mut sam, words("hello")).await;
    driver.send(&mut sam, words("wrong window")).await;
    driver.send(&mut sam, recall(5, &conv)).await;
    for socket in [&mut sam, &mut alice] {
        driver.send(socket, read_to(5, &conv)).await;
    }
    // Somebody waits, and leaves the queue.
    let mut bob = driver.open("bob").await;
    driver.send(&mut bob, Verb::CustomerConnect).await;
    driver.send(&mut bob, words("hm")).await;
    driver.send(&mut bob, Verb::CustomerLeave).await;
    // The conversation is handed on, the end comes, and a recall after it.
    let mut sue = driver.open("sue").await;
    driver.send(&mut sue, on_duty(1)).await;
    driver.send(&mut sam, Verb::StaffOffline).await;
    driver.drain().await;
    driver.send(&mut alice, words_with_id("bye", "m1")).await;
    driver.send(&mut alice, Verb::CustomerLeave).await;
    driver.send(&mut alice, recall(2, &conv)).await;
    // Colleagues.
    let lunch = words_to_user("lunch?", "sue", Some("m1"));
    let Outcome::Acked(Ack {
        conversation: direct,
        ..
    }) = driver.send(&mut sam, lunch).await
    else {
        panic!("not acknowledged");
    };
    driver.send(&mut sue, read_to(1, &direct)).await;
    driver.send(&mut sam, recall(1, &direct)).await;
    for socket in [alice, sam, bob, sue] {
        let Socket { uid, .. } = &socket;
        driver.act(uid.as_str(), socket.close()).await;
    }
    driver.drain().await;
    driver.tick_after(2000).await;
    driver.drain().await;
    driver.pushes().await;
}

/// The site's keys, without its prefix.
fn of_site(driver: &LaneDriver, dump: &Dump) -> Vec<String> {
    let prefix = driver.key("");
    dump.names(&prefix).map(str::to_owned).collect()
}

async fn what_stays_of_people_who_have_left_has_an_end(options: Options) {
    let mut scene = Scene::new(options, settings(2 * 24 * 60 * 60)).await;
    let driver = &mut scene.driver;
    a_day(driver).await;
    let dump = driver.dump().await;
    let names = of_site(driver, &dump);
    for kind in ["conv:", "log:", "gone:", "convs:", "who:", "dm:", "sent:"] {
        let found = names.iter().any(|name| name.starts_with(kind));
        assert!(found, "nothing of {kind} in {names:?}");
    }
    let most = 2 * 24 * 60 * 60 * 1000 + DIRECT_RENEW_MS;
    assert!(most > SENT_MS);
    for name in names.iter().filter(|name| *name != "turn") {
        let ttl = dump.0[&driver.key(name)].ttl_ms;
        let ttl = ttl.unwrap_or_else(|| panic!("{name} stays for ever"));
        assert!(
            (1..=most).contains(&ttl.unsigned_abs()),
            "{name} stays for {ttl} ms"
        );
    }
    let prefix = driver.key("");
    let site = SiteDump::new(&dump, &prefix);
    site.check_rules().expect("the rules hold");
    site.check_empty().expect("nothing else is there");
}

async fn after_the_retention_nothing_is_left_of_anybody(options: Options) {
    let mut scene = Scene::new(options, settings(1)).await;
    let driver = &mut scene.driver;
    a_day(driver).await;
    // The ids of a sender's messages are kept for a day, whatever the retention.
    let kept = ["sent:alice:0", "sent:sam:0", "turn"];
    wait::within("everything else is forgotten", wait::DEADLINE, async || {
        let dump = driver.dump().await;
        (of_site(driver, &dump) == kept).then_some(())
    })
    .await;
}
