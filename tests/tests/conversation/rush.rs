//! Many at once.

use std::{collections::BTreeSet, convert::Infallible};

use frontdesk_tests::{
    client::{Client, Incoming},
    cluster::Cluster,
    wait,
};
use serde_json::json;

use crate::{go_on_duty, text};

/// Many at once, through both gateways: nobody is lost, no place is used twice, and everybody is
/// served.
#[tokio::test]
async fn a_rush_is_served_within_the_limits() {
    const CUSTOMERS: usize = 40;
    let cluster = Cluster::start().await;
    let mut staff = Vec::new();
    for (n, max) in [(1, 1), (2, 2), (3, 3)] {
        let mut client = cluster.connect(n % 2, &format!("uid=s{n}")).await;
        go_on_duty(&mut client, max).await;
        staff.push(tokio::spawn(serve(client, max as usize)));
    }
    let customers: Vec<_> = (0..CUSTOMERS)
        .map(|n| {
            let addr = cluster.addr(n % 2);
            tokio::spawn(async move {
                let mut client = Client::connect(addr, &format!("uid=c{n}")).await;
                be_served(&mut client).await;
                client
            })
        })
        .collect();
    for customer in customers {
        customer
            .await
            .expect("this customer was served")
            .expect_nothing()
            .await;
    }
    for staff in staff {
        staff.abort();
        let error = staff.await.expect_err("never ends by itself");
        assert!(error.is_cancelled(), "{error}");
    }
}

/// Ends every conversation as soon as the customer has said something.
async fn serve(mut client: Client, max: usize) -> Infallible {
    let mut open = BTreeSet::new();
    loop {
        let Some(Incoming::Frame(frame)) = client.next_within(wait::DEADLINE * 4).await else {
            client.fail("nothing more came");
        };
        let payload = &frame["payload"];
        let conversation = text(payload, "conversation");
        match (payload["from"].as_str(), payload["code"].as_str()) {
            (None, Some("new_customer")) => {
                assert!(open.insert(conversation), "{frame} twice");
                assert!(
                    open.len() <= max,
                    "{} has more than {max}: {open:?}",
                    client.name
                );
            }
            (Some("customer"), _) => {
                assert!(open.contains(&conversation), "{frame} of a stranger");
                let payload = json!({"conversation": conversation});
                client
                    .send(json!({"action": "close", "payload": payload}))
                    .await;
            }
            (None, Some("closed")) => assert!(open.remove(&conversation), "{frame}: not open"),
            _ => client.fail(&format!("unexpected: {frame}")),
        }
    }
}

async fn be_served(client: &mut Client) {
    client.act("customerConnect").await;
    let mut waiting = false;
    loop {
        let Some(Incoming::Frame(frame)) = client.next_within(wait::DEADLINE * 4).await else {
            client.fail("was forgotten");
        };
        match (frame["payload"]["code"].as_str(), waiting) {
            (Some("queued"), false) => waiting = true,
            (Some("queue_moved" | "your_turn"), true) => {}
            (Some("connected"), _) => client.say("好了").await,
            (Some("closed"), _) => return,
            _ => client.fail(&format!("unexpected: {frame}")),
        }
    }
}
