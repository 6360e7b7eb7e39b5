//! Supervisors and the service read every conversation of their site; what was taken back is shown to
//! supervisors alone, by a setting. And who had a conversation before may read it on.

use frontdesk_tests::{
    client::Client,
    cluster::Cluster,
    tokens::{claims, signed, token},
};
use serde_json::{Value, json};

use crate::scene::{Scene, ask_history, entries_of, history};

async fn somebody(scene: &Scene, uid: &str, role: &str) -> Client {
    Client::connect_with(scene.cluster.addr(0), &token(uid, role)).await
}

/// The customer takes back what they said at this place.
async fn recall(scene: &mut Scene, seq: u64) {
    let payload = json!({"conversation": scene.conversation, "seq": seq});
    scene.customer.ask("recall", payload).await;
    for client in [&mut scene.customer, &mut scene.staff] {
        assert_eq!(client.expect_action("recalled").await["of"], seq);
    }
}

/// The log with this message taken back, its text shown or not.
fn taken_back(log: &[Value], seq: usize, shown: bool) -> Vec<Value> {
    let mut log = log.to_vec();
    let entry = log[seq - 1].as_object_mut().unwrap();
    entry.insert("recalled".into(), json!(true));
    if !shown {
        entry.remove("message").expect("words");
    }
    log
}

async fn recalled_words_are_shown_to(shown: bool) {
    let cluster = Cluster::builder()
        .signed()
        .workers(1)
        .gateway_setting("supervisor-sees-recalled", shown)
        .start()
        .await;
    let mut scene = Scene::signed(cluster).await;
    scene.chat(3).await;
    recall(&mut scene, 4).await;
    let log = scene.entries().await;
    assert_eq!(
        (&log[4]["kind"], &log[4]["of"]),
        (&json!("recalled"), &json!(4))
    );
    let (plain, original) = (taken_back(&log, 4, false), taken_back(&log, 4, shown));
    let mut supervisor = somebody(&scene, "sue", "supervisor").await;
    let mut service = somebody(&scene, "desk-api", "service").await;
    for (client, expected) in [
        (&mut scene.customer, &plain),
        (&mut scene.staff, &plain),
        (&mut service, &plain),
        (&mut supervisor, &original),
    ] {
        let page = history(client, &scene.conversation, json!({"after": 0})).await;
        assert_eq!(entries_of(&page), *expected);
        let payload = json!({"conversation": scene.conversation});
        client.ask("transcript", payload).await;
        let page = client.expect_action("history").await;
        assert_eq!(
            (entries_of(&page), &page["more"]),
            (expected.clone(), &json!(false))
        );
    }
    // In the list, too.
    scene.customer.ask("conversations", json!({})).await;
    let page = scene.customer.expect_action("conversations").await;
    let last = &page["conversations"][0]["last"];
    assert_eq!((&last["seq"], &last["recalled"]), (&json!(4), &json!(true)));
    assert!(last["message"].is_null(), "{last}");
}

#[tokio::test]
async fn supervisors_see_what_was_taken_back() {
    recalled_words_are_shown_to(true).await;
}

#[tokio::test]
async fn supervisors_do_not_see_it_if_so_set() {
    recalled_words_are_shown_to(false).await;
}

/// Roles of a site end at its wall, and reading is all that they give.
#[tokio::test]
async fn a_supervisor_reads_their_site_and_no_other() {
    let cluster = Cluster::builder().signed().workers(1).start().await;
    let mut scene = Scene::signed(cluster).await;
    scene.chat(2).await;
    let mut elsewhere = claims("sue", "supervisor");
    elsewhere["site"] = json!("other");
    let mut elsewhere = Client::connect_with(scene.cluster.addr(0), &signed(&elsewhere)).await;
    ask_history(&mut elsewhere, &scene.conversation, json!({})).await;
    elsewhere.expect("error", "no_conversation").await;
    for role in ["customer", "staff"] {
        let mut other = somebody(&scene, "mallory", role).await;
        ask_history(&mut other, &scene.conversation, json!({})).await;
        other.expect("error", "forbidden").await;
    }
    for role in ["supervisor", "service"] {
        let mut reader = somebody(&scene, &format!("{role}-1"), role).await;
        let page = history(&mut reader, &scene.conversation, json!({})).await;
        assert_eq!(entries_of(&page).len(), 3);
        let payload = json!({"conversation": scene.conversation});
        reader.ask("typing", payload).await;
        reader.expect("error", "no_conversation").await;
        // A list is of one's own.
        reader.ask("conversations", json!({})).await;
        let page = reader.expect_action("conversations").await;
        assert_eq!(page["conversations"], json!([]));
    }
}

#[tokio::test]
async fn who_had_a_conversation_reads_on_and_no_more() {
    let cluster = Cluster::builder()
        .workers(1)
        .worker_setting("on-staff-leave", "requeue")
        .start()
        .await;
    let mut scene = Scene::on(cluster).await;
    scene.chat(2).await;
    let mut carol = scene.cluster.connect(0, "uid=carol").await;
    carol.act("staffOnline").await;
    carol.expect("message", "on_duty").await;
    scene.staff.act("staffOffline").await;
    scene.staff.expect("message", "off_duty").await;
    for code in ["queued", "your_turn", "connected"] {
        scene.customer.expect("message", code).await;
    }
    carol.expect("message", "new_customer").await;
    carol.expect_words("customer", "第0句 \"<b>\"").await;
    carol.expect_words("staff", "第1句 \"<b>\"").await;
    scene.customer.say("还有一件事").await;
    carol.expect_words("customer", "还有一件事").await;
    let log = scene.entries().await;
    for client in [&mut scene.staff, &mut carol, &mut scene.customer] {
        let page = history(client, &scene.conversation, json!({"after": 0})).await;
        assert_eq!(entries_of(&page), log);
    }
    let payload = json!({"conversation": scene.conversation});
    scene.staff.ask("typing", payload).await;
    scene.staff.expect("error", "forbidden").await;
    scene.staff.ask("conversations", json!({})).await;
    let page = scene.staff.expect_action("conversations").await;
    let one = &page["conversations"][0];
    assert_eq!(one["conversation"], scene.conversation);
    assert_eq!((&one["with"], &one["unread"]), (&json!("alice"), &json!(0)));
}
