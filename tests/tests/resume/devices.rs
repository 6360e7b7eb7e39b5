//! Several devices of one user.

use frontdesk_tests::cluster::Cluster;

use crate::{resume, talk, texts};

#[tokio::test]
async fn devices_on_two_gateways_see_the_same_their_own_words_included() {
    let cluster = Cluster::start().await;
    let (mut sam, mut phone, connected) = talk(&cluster).await;
    let mut page = cluster.connect(1, "uid=alice&lang=en").await;
    let (snapshot, _) = resume(&mut page, None, &[]).await;
    let item = &snapshot["conversations"][0];
    assert_eq!(item["conversation"], connected["conversation"]);
    assert_eq!((&item["state"], &item["seq"]), (&"open".into(), &1.into()));
    phone.say_with_id("from the phone", "m1").await;
    phone.expect_ack("m1").await;
    page.expect_words("customer", "from the phone").await;
    page.say_with_id("from the page", "p1").await;
    let ack = page.expect_ack("p1").await;
    let shown = phone.expect_words("customer", "from the page").await;
    assert_eq!((&shown["seq"], &shown["id"]), (&ack["seq"], &ack["id"]));
    for text in ["from the phone", "from the page"] {
        sam.expect_words("customer", text).await;
    }
    sam.say("to both").await;
    for device in [&mut phone, &mut page] {
        device.expect_words("staff", "to both").await;
    }
    // One of them is lost; the other goes on, and nobody has left.
    page.lose();
    phone.say_with_id("still here", "m2").await;
    let last = phone.expect_ack("m2").await;
    sam.expect_words("customer", "still here").await;
    let mut page = cluster.connect(0, "uid=alice&lang=en").await;
    let (snapshot, histories) = resume(&mut page, None, &[&shown]).await;
    assert_eq!(snapshot["conversations"][0]["seq"], last["seq"]);
    assert_eq!(texts(&histories[0]), ["to both", "still here"]);
    sam.act("close").await;
    for client in [&mut sam, &mut phone, &mut page] {
        client.expect("chat_close", "closed").await;
    }
}

#[tokio::test]
async fn words_to_somebody_who_is_away_wait_and_are_unread_on_every_device() {
    let cluster = Cluster::start().await;
    let (mut sam, alice, connected) = talk(&cluster).await;
    let token = alice.welcome["resume"].clone();
    alice.lose();
    for (id, text) in [("s1", "one"), ("s2", "two")] {
        sam.say_with_id(text, id).await;
        sam.expect_ack(id).await;
    }
    let mut phone = cluster.connect(1, "uid=alice&lang=en").await;
    let (snapshot, histories) = resume(&mut phone, Some(&token), &[&connected]).await;
    assert_eq!(snapshot["conversations"][0]["unread"], 2);
    assert_eq!(texts(&histories[0]), ["one", "two"]);
    assert_eq!(histories[0].get("reset"), None);
    let mut page = cluster.connect(0, "uid=alice&lang=en").await;
    let (snapshot, _) = resume(&mut page, None, &[]).await;
    assert_eq!(snapshot["conversations"][0]["unread"], 2);
    // The place was kept: they are still in the conversation.
    phone.say_with_id("back", "m1").await;
    phone.expect_ack("m1").await;
    sam.expect_words("customer", "back").await;
    page.expect_words("customer", "back").await;
}
