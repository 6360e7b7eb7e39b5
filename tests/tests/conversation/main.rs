//! Conversations through the whole cluster: customers on one gateway, staff on the other, both
//! workers at work. Every notice is compared with `frontdesk_tests::table` by the client itself.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "in a test a panic with a sentence is how a failure is reported"
)]

mod desk;
mod rush;
mod tables;

use frontdesk_tests::{client::Client, cluster::Cluster};
use serde_json::{Value, json};

fn text(payload: &Value, field: &str) -> String {
    let text = payload[field].as_str();
    text.unwrap_or_else(|| panic!("no {field} in {payload}"))
        .to_owned()
}

async fn customer(cluster: &Cluster, uid: &str) -> Client {
    cluster.connect(0, &format!("uid={uid}")).await
}

/// A member of staff on the other gateway, on duty for `max` customers.
async fn staff(cluster: &Cluster, uid: &str, max: u32) -> Client {
    let mut staff = cluster.connect(1, &format!("uid={uid}")).await;
    go_on_duty(&mut staff, max).await;
    staff
}

async fn go_on_duty(staff: &mut Client, max: u32) {
    let payload = json!({"name": "客服1", "max": max});
    staff
        .send(json!({"action": "staffOnline", "payload": payload}))
        .await;
    staff.expect("message", "on_duty").await;
}

/// The customer is connected to this member of staff. Returns both payloads.
async fn meet(customer: &mut Client, staff: &mut Client) -> (Value, Value) {
    customer.act("customerConnect").await;
    let connected = customer.expect("message", "connected").await;
    let new_customer = staff.expect("message", "new_customer").await;
    assert_eq!(connected["conversation"], new_customer["conversation"]);
    (connected, new_customer)
}

async fn expect_place(customer: &mut Client, code: &str, place: u64) {
    let told = customer.expect("message", code).await;
    assert_eq!(told["queue"], place, "{}: {told}", customer.name);
}

async fn queue_up(customer: &mut Client, place: u64) {
    customer.act("customerConnect").await;
    expect_place(customer, "queued", place).await;
}

/// The member of staff is sent this customer, who waited.
async fn turn_comes(customer: &mut Client, staff: &mut Client) -> String {
    customer.expect_after_moves("message", "your_turn").await;
    let connected = customer.expect("message", "connected").await;
    let new_customer = staff.expect("message", "new_customer").await;
    assert_eq!(connected["conversation"], new_customer["conversation"]);
    text(&connected, "conversation")
}
