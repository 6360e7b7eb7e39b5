//! Which role may use which verb, and on whose conversations: the script decides. One row for each
//! verb; a new verb gets a row.

use frontdesk_tests::{client::Client, tokens};
use serde_json::{Value, json};

use super::House;

/// The answer's action and code.
type Answer = (&'static str, &'static str);

const WRONG_ROLE: Answer = ("error", "wrong_role");
const NONE: Answer = ("error", "no_conversation");
const ROLES: [&str; 4] = ["customer", "staff", "supervisor", "service"];

/// A verb, and what each role is answered who has just come and is alone on its site.
#[rustfmt::skip]
const ALONE: &[(&str, [Answer; 4])] = &[
    ("staffOnline",     [WRONG_ROLE, ("message", "on_duty"), ("message", "on_duty"), WRONG_ROLE]),
    ("staffOffline",    [WRONG_ROLE, ("message", "off_duty"), ("message", "off_duty"), WRONG_ROLE]),
    ("customerConnect", [("message", "no_staff"), WRONG_ROLE, WRONG_ROLE, WRONG_ROLE]),
    ("customerLeave",   [NONE, WRONG_ROLE, WRONG_ROLE, WRONG_ROLE]),
    ("message",         [NONE, NONE, NONE, WRONG_ROLE]),
    ("close",           [NONE, NONE, NONE, WRONG_ROLE]),
];

/// The same verbs on a conversation of two others.
#[rustfmt::skip]
const OF_OTHERS: &[(&str, [Answer; 4])] = &[
    ("message", [NONE, NONE, NONE, WRONG_ROLE]),
    ("close",   [NONE, NONE, NONE, WRONG_ROLE]),
];

fn frame(verb: &str, conversation: Option<&str>) -> Value {
    let mut payload = match verb {
        "message" => json!({"message": "let me in", "id": "m1"}),
        _ => json!({}),
    };
    if let Some(conversation) = conversation {
        payload["conversation"] = json!(conversation);
    }
    json!({"action": verb, "payload": payload})
}

async fn enter(house: &House, gateway: usize, uid: &str, role: &str, site: &str) -> Client {
    let mut claims = tokens::claims(uid, role);
    claims["site"] = json!(site);
    Client::connect_with(house.cluster.addr(gateway), &tokens::signed(&claims)).await
}

#[tokio::test]
async fn each_role_may_use_its_verbs() {
    let house = House::open().await;
    for (verb, answers) in ALONE {
        for (role, (action, code)) in ROLES.iter().zip(answers) {
            let (uid, site) = (format!("{role}-{verb}"), format!("{role}-{verb}"));
            let mut client = enter(&house, 0, &uid, role, &site).await;
            client.send(frame(verb, None)).await;
            client.expect(action, code).await;
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
    for (verb, answers) in OF_OTHERS {
        for (role, (action, code)) in ROLES.iter().zip(answers) {
            for site in ["acme", "other"] {
                let mut other = enter(&house, 0, &format!("{role}-{verb}"), role, site).await;
                let on_duty = ["staff", "supervisor"].contains(role);
                if on_duty {
                    other.act("staffOnline").await;
                    other.expect("message", "on_duty").await;
                }
                other.send(frame(verb, Some(theirs))).await;
                other.expect(action, code).await;
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
