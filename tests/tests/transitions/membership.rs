//! Every verb that names a conversation, with one that is not theirs to use.

use frontdesk_shared::protocol::frame::{Mark, Verb};
use frontdesk_tests::{
    lane_driver::{on_duty, read_to, recall, words, words_to},
    redis_server::Options,
};
use frontdesk_worker::desk::settings::{DeskSettings, OnStaffLeave};

use crate::scene::{Scene, close, conversation_of};

on_both![a_conversation_is_only_for_its_members];

/// Who, with which conversation, and what is answered: to `message`, `close`, to `delivered` and `read`,
/// and to `recall` of the first message in it.
const ROWS: [(&str, &str, [&str; 4]); 9] = [
    ("stranger", "open", [NONE, NONE, NONE, NONE]),
    ("other staff", "open", [NONE, NONE, NONE, NONE]),
    (
        "past staff",
        "open",
        [NONE, NONE, "error/forbidden", "recalled/-"],
    ),
    ("stranger", "ended", [NONE, NONE, NONE, NONE]),
    ("other staff", "ended", [NONE, NONE, NONE, NONE]),
    ("its staff", "ended", [NONE, NONE, "", "error/forbidden"]),
    ("its customer", "ended", [NONE, NONE, "", "recalled/-"]),
    ("its customer", "unknown", [NONE, NONE, NONE, NONE]),
    ("its staff", "unknown", [NONE, NONE, NONE, NONE]),
];
const NONE: &str = "error/no_conversation";

async fn a_conversation_is_only_for_its_members(options: Options) {
    let settings = DeskSettings {
        on_staff_leave: OnStaffLeave::Requeue,
        ..DeskSettings::default()
    };
    let mut scene = Scene::new(options, settings).await;
    // alice's conversation was zoe's and is sue's, carl's was sam's and is over.
    let mut zoe = scene.staff("zoe", 1).await;
    let mut alice = scene.customer("alice").await;
    scene.send(&mut zoe, words("first")).await;
    let open = conversation_of(&mut scene, "alice").await;
    let mut sue = scene.open("sue").await;
    scene.send(&mut sue, on_duty(1)).await;
    scene.send(&mut zoe, Verb::StaffOffline).await;
    scene.send(&mut alice, words("second")).await;
    let mut sam = scene.staff("sam", 1).await;
    let mut carl = scene.customer("carl").await;
    let ended = conversation_of(&mut scene, "carl").await;
    scene.send(&mut carl, words("first")).await;
    scene.send(&mut sam, close(None)).await;
    scene.open("bob").await;
    scene.staff("pat", 1).await;

    for (who, which, expected) in ROWS {
        let uid = match who {
            "stranger" => "bob",
            "other staff" => "pat",
            "past staff" => "zoe",
            "its staff" => "sam",
            _ => "carl",
        };
        let mut socket = scene.open(uid).await;
        let conversation = match which {
            "open" => &open,
            "ended" => &ended,
            _ => "0.0.1-1.1",
        };
        let mark = |mark| match read_to(1, conversation) {
            Verb::Mark {
                conversation,
                up_to,
                ..
            } => Verb::Mark {
                conversation,
                up_to,
                mark,
            },
            _ => unreachable!("a mark"),
        };
        let verbs = [
            (words_to("x", conversation), expected[0]),
            (close(Some(conversation)), expected[1]),
            (mark(Mark::Delivered), expected[2]),
            (mark(Mark::Read), expected[2]),
            (recall(2, conversation), expected[3]),
        ];
        for (verb, expected) in verbs {
            let said = format!("{who}, {which}, {verb:?}");
            let change = scene.send(&mut socket, verb).await;
            let own = scene.short(socket.client.as_str());
            let told = change.told();
            let mine = told
                .iter()
                .filter_map(|line| line.strip_prefix(&format!("{own} ")));
            let codes: Vec<_> = mine
                .map(|line| line.split(' ').next().unwrap_or(line))
                .collect();
            let wanted = if expected.is_empty() {
                vec![]
            } else {
                vec![expected]
            };
            assert_eq!(codes, wanted, "{said}: {:?}", change.lines);
        }
    }
}
