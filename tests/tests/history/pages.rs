//! Pages of history: where they begin, in which order they go, where they end.

use serde_json::{Value, json};

use crate::scene::{Scene, ask_history, entries_of, history};

/// What is asked for, which seqs come in which order, and whether there are more.
type Row = (Value, Vec<usize>, bool);

/// The log has 40 entries: the assignment and 39 messages.
fn rows() -> Vec<Row> {
    let down = |from: usize, to: usize| (to..=from).rev().collect::<Vec<_>>();
    let up = |from: usize, to: usize| (from..=to).collect::<Vec<_>>();
    vec![
        (json!({}), down(40, 1), false),
        (json!({"limit": 100}), down(40, 1), false),
        (json!({"limit": 40}), down(40, 1), false),
        (json!({"limit": 39}), down(40, 2), true),
        (json!({"limit": 1}), vec![40], true),
        (json!({"before": 40, "limit": 8}), down(39, 32), true),
        (json!({"before": 9, "limit": 8}), down(8, 1), false),
        (json!({"before": 9, "limit": 7}), down(8, 2), true),
        (json!({"before": 1}), vec![], false),
        (json!({"before": 1000}), down(40, 1), false),
        (json!({"after": 0, "limit": 3}), up(1, 3), true),
        (json!({"after": 3, "limit": 16}), up(4, 19), true),
        (json!({"after": 30}), up(31, 40), false),
        (json!({"after": 30, "limit": 10}), up(31, 40), false),
        (json!({"after": 30, "limit": 9}), up(31, 39), true),
        (json!({"after": 40}), vec![], false),
        (json!({"after": 9_007_199_254_740_992_u64}), vec![], false),
    ]
}

#[tokio::test]
async fn pages_go_back_newest_first_and_on_oldest_first_and_say_whether_there_is_more() {
    let mut scene = Scene::start().await;
    scene.chat(39).await;
    let log = scene.entries().await;
    assert_eq!(log.len(), 40);
    for client in [&mut scene.customer, &mut scene.staff] {
        for (rest, seqs, more) in rows() {
            let page = history(client, &scene.conversation, rest.clone()).await;
            let expected: Vec<_> = seqs.iter().map(|seq| &log[*seq - 1]).collect();
            let given = entries_of(&page);
            assert_eq!(given.iter().collect::<Vec<_>>(), expected, "{rest}");
            assert_eq!(page["more"], more, "{rest}");
            assert!(page["ref"].is_null(), "{page}");
        }
    }
}

#[tokio::test]
async fn page_by_page_is_everything_once_in_both_directions() {
    let mut scene = Scene::start().await;
    scene.chat(30).await;
    let log = scene.entries().await;
    for (field, start, reverse) in [("before", 1_000_000, true), ("after", 0, false)] {
        let (mut all, mut from) = (Vec::new(), json!(start));
        for number in 0.. {
            let reference = format!("{field}{number}");
            let rest = json!({field: from, "limit": 7, "id": reference});
            let page = history(&mut scene.customer, &scene.conversation, rest).await;
            assert_eq!(page["ref"], reference);
            all.extend(entries_of(&page));
            from = all.last().expect("no page is empty")["seq"].clone();
            if page["more"] == false {
                break;
            }
        }
        if reverse {
            all.reverse();
        }
        assert_eq!(all, log, "{field}");
    }
}

/// Long messages: a page holds what fits into a frame, at least one, and says that there is more.
#[tokio::test]
async fn a_page_of_long_messages_is_bounded_in_bytes() {
    let mut scene = Scene::start().await;
    // As long as a message may be; and about as long as its JSON can become in a frame.
    let (text, widest) = ("x".repeat(16 * 1024), "\u{1}".repeat(10 * 1024));
    let texts: Vec<_> = (0..8).map(|_| text.clone()).chain([widest]).collect();
    scene.talk(&texts).await;
    let log = scene.entries().await;
    let page = history(&mut scene.customer, &scene.conversation, json!({})).await;
    assert_eq!(entries_of(&page), log[9..], "nearly a frame by itself");
    assert_eq!(page["more"], true);
    let rest = json!({"before": 10});
    let page = history(&mut scene.customer, &scene.conversation, rest).await;
    assert!(
        page.to_string().len() <= 64 * 1024,
        "{}",
        page.to_string().len()
    );
    let (given, mut expected) = (entries_of(&page), log[6..9].to_vec());
    expected.reverse();
    assert_eq!((given, &page["more"]), (expected, &json!(true)));
}

#[tokio::test]
async fn what_is_not_well_formed_is_refused_with_the_field() {
    let mut scene = Scene::start().await;
    for (rest, field) in [
        (json!({"limit": 0}), "limit"),
        (json!({"limit": 101}), "limit"),
        (json!({"limit": "5"}), "limit"),
        (json!({"before": 0}), "before"),
        (json!({"before": -3}), "before"),
        (json!({"before": 1.5}), "before"),
        (json!({"after": "0"}), "after"),
        (json!({"before": 1, "after": 1}), "after"),
        (json!({"conversation": null}), "conversation"),
        (json!({"conversation": "{s00}:x"}), "conversation"),
        (json!({"conversation": 7}), "conversation"),
    ] {
        let mut rest = rest;
        rest["id"] = json!("q1");
        ask_history(&mut scene.customer, &scene.conversation, rest.clone()).await;
        let refused = scene.customer.expect("error", "bad_field").await;
        assert_eq!(
            (&refused["field"], &refused["ref"]),
            (&json!(field), &json!("q1")),
            "{rest}"
        );
    }
}
