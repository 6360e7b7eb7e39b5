//! Which role may use which verb, and on whose conversations: the script decides. One row for each
//! verb; a new verb gets a row.

use frontdesk_tests::{
    client::{Client, Incoming},
    tokens,
};
use serde_json::{Value, json};

use super::House;

const WRONG: &str = "error/wrong_role";
const NONE: &str = "error/no_conversation";
const FORBIDDEN: &str = "error/forbidden";
const ROLES: [&str; 4] = ["customer", "staff", "supervisor", "service"];

/// A verb, and what each role is answered who has just come and is alone on its site: `action/code`, or
/// the action alone of a frame without a code.
#[rustfmt::skip]
const ALONE: &[(&str, [&str; 4])] = &[
    ("staffOnline",     [WRONG, "message/on_duty", "message/on_duty", WRONG]),
    ("staffOffline",    [WRONG, "message/off_duty", "message/off_duty", WRONG]),
    ("customerConnect", ["message/no_staff", WRONG, WRONG, WRONG]),
    ("customerLeave",   [NONE, WRONG, WRONG, WRONG]),
    ("message",         [NONE, NONE, NONE, WRONG]),
    ("close",           [NONE, NONE, NONE, WRONG]),
    ("delivered",       [NONE, NONE, NONE, WRONG]),
    ("read",            [NONE, NONE, NONE, WRONG]),
    ("recall",          [NONE, NONE, NONE, WRONG]),
    ("direct",          [FORBIDDEN, "error/no_user", "error/no_user", WRONG]),
    ("history",         [NONE; 4]),
    ("transcript",      [NONE; 4]),
    ("conversations",   ["conversations"; 4]),
];

/// A verb on a conversation of two others: what members of their site are answered. Those of another
/// site are answered as in [`ALONE`], whatever they name.
#[rustfmt::skip]
const OF_OTHERS: &[(&str, [&str; 4])] = &[
    ("message",    [NONE, NONE, NONE, WRONG]),
    ("close",      [NONE, NONE, NONE, WRONG]),
    ("delivered",  [NONE, NONE, NONE, WRONG]),
    ("read",       [NONE, NONE, NONE, WRONG]),
    ("recall",     [NONE, NONE, NONE, WRONG]),
    ("history",    [FORBIDDEN, FORBIDDEN, "history", "history"]),
    ("transcript", [FORBIDDEN, FORBIDDEN, "history", "history"]),
];

fn frame(verb: &str, conversation: Option<&str>) -> Value {
    const NAMED: [&str; 5] = ["delivered", "read", "recall", "history", "transcript"];
    let nowhere = Some("0.0.1-0.1").filter(|_| NAMED.contains(&verb));
    let mut payload = match verb {
        "message" => json!({"message": "let me in", "id": "m1"}),
        "delivered" | "read" => json!({"up_to": 1}),
        "recall" => json!({"seq": 1}),
        "direct" => json!({"to": "nobody", "message": "let me in"}),
        _ => json!({}),
    };
    if let Some(conversation) = conversation.or(nowhere) {
        payload["conversation"] = json!(conversation);
    }
    json!({"action": verb, "payload": payload})
}

async fn enter(house: &House, gateway: usize, uid: &str, role: &str, site: &str) -> Client {
    let mut claims = tokens::claims(uid, role);
    claims["site"] = json!(site);
    Client::connect_with(house.cluster.addr(gateway), &tokens::signed(&claims)).await
}

async fn expect(client: &mut Client, answer: &str) {
    if let Some((action, code)) = answer.split_once('/') {
        client.expect(action, code).await;
        return;
    }
    match client.next().await {
        Incoming::Frame(frame) if frame["action"] == answer => {}
        other => client.fail(&format!("wanted {answer}, got {other}")),
    }
}

#[tokio::test]
async fn each_role_may_use_its_verbs() {
    let house = House::open().await;
    for (verb, answers) in ALONE {
        for (role, answer) in ROLES.iter().zip(answers) {
            let name = format!("{role}-{verb}");
            let mut client = enter(&house, 0, &name, role, &name).await;
            client.send(frame(verb, None)).await;
            expect(&mut client, answer).await;
            client.close(None).await;
        }
    }
    assert_eq!(house.cluster.dead_letters().await, 0);
    house.close();
}

#[tokio::test]
async fn nobody_takes_part_in_a_conversation_of_others() {
    let house = House::open().await;
    let mut staff = enter(&house, 1, "sam", "staff", "acme").await;
    staff.act("staffOnline").await;
    staff.expect("message", "on_duty").await;
    let mut customer = enter(&house, 0, "carl", "customer", "acme").await;
    customer.act("customerConnect").await;
    let connected = customer.expect("message", "connected").await;
    staff.expect("message", "new_customer").await;
    let theirs = connected["conversation"].as_str().expect("an id");
    for (verb, here) in OF_OTHERS {
        let elsewhere = ALONE.iter().find(|(alone, _)| alone == verb);
        let (_, elsewhere) = elsewhere.expect("it has a row there");
        for (site, answers) in [("acme", here), ("other", elsewhere)] {
            for (role, answer) in ROLES.iter().zip(answers) {
                let name = format!("{role}-{verb}");
                let mut other = enter(&house, 0, &name, role, site).await;
                let on_duty = ["staff", "supervisor"].contains(role);
                if on_duty {
                    other.act("staffOnline").await;
                    other.expect("message", "on_duty").await;
                }
                other.send(frame(verb, Some(theirs))).await;
                expect(&mut other, answer).await;
                if on_duty {
                    other.act("staffOffline").await;
                    other.expect("message", "off_duty").await;
                }
                other.close(None).await;
            }
        }
    }
    customer.expect_nothing().await;
    staff.say("still us").await;
    customer.expect_words("staff", "still us").await;
    house.close();
}

/// The name of the token is what customers see, unless staff call themselves otherwise.
#[tokio::test]
async fn staff_are_called_as_their_token_says() {
    let house = House::open().await;
    let mut claims = tokens::claims("sam", "supervisor");
    claims["name"] = json!("Sam \"the\" 客服");
    let addr = house.cluster.addr(0);
    let mut staff = Client::connect_with(addr, &tokens::signed(&claims)).await;
    staff.act("staffOnline").await;
    let told = staff.expect("message", "on_duty").await;
    assert_eq!(told["name"], claims["name"]);
    let mut customer =
        Client::connect_with(house.cluster.addr(1), &tokens::token("carl", "customer")).await;
    customer.act("customerConnect").await;
    let told = customer.expect("message", "connected").await;
    assert_eq!(told["name"], claims["name"]);
    staff.expect("message", "new_customer").await;
    staff
        .send(json!({"action": "staffOnline", "payload": {"name": "Sammy"}}))
        .await;
    let told = staff.expect("message", "on_duty").await;
    assert_eq!(told["name"], "Sammy");
    house.close();
}
