//! A second machine joins with a gateway only, and later with a worker, knowing nothing but the URL
//! of Redis; then it carries the cluster alone.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "in a test a panic with a sentence is how a failure is reported"
)]

use std::net::Ipv4Addr;

use frontdesk_tests::{
    client::Client,
    cluster::{Cluster, PAIRS},
    ports::Port,
    process::{Program, Settings},
    redis_users::{GATEWAY, WORKER},
    wait,
};

/// Its address, and a directory of its own.
const SECOND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

#[tokio::test]
async fn a_second_machine_joins_with_only_a_gateway_or_a_worker_and_takes_its_share() {
    let cluster = Cluster::builder().gateways(1).workers(1).start().await;
    let first = cluster.workers[0].child.name().to_owned();
    let machine = tempfile::tempdir().expect("the temporary directory is writable");
    let alone = Settings::default();

    let url = cluster.redis.url_for(GATEWAY);
    let port = Port::lease();
    let ip = SECOND.into();
    let mut gateway = Program::gateway_at(ip, port, "g2", &url, &alone, machine.path());
    gateway.ready().await;
    // Staff on the first machine, a customer on the second.
    let mut staff = cluster.connect(0, "uid=staff").await;
    staff.act("staffOnline").await;
    staff.expect("message", "on_duty").await;
    let mut customer = Client::connect(gateway.listen, "uid=customer").await;
    customer.act("customerConnect").await;
    customer.expect("message", "connected").await;
    staff.expect("message", "new_customer").await;
    talk(&mut customer, &mut staff, "one-worker").await;

    let url = cluster.redis.url_for(WORKER);
    let mut worker = Program::worker("w2", &url, &alone, machine.path());
    worker.ready().await;
    let share = async |name: &str| {
        let leases = cluster.leases().await;
        let token = format!("{name}.");
        leases.values().filter(|it| it.starts_with(&token)).count()
    };
    wait::until("both workers have a fair share", async || {
        let (first, second) = (share(&first).await, share("w2").await);
        (first >= PAIRS / 4 && second >= PAIRS / 4).then_some(())
    })
    .await;
    talk(&mut customer, &mut staff, "two-workers").await;

    // The first machine goes, gateway and worker; the customer on the second stays connected.
    let (gateways, workers) = (&cluster.gateways, &cluster.workers);
    gateways[0].child.term();
    assert_eq!(staff.expect_close().await, 1001);
    workers[0].child.term();
    customer.expect("chat_close", "staff_offline").await;
    let mut staff = Client::connect(gateway.listen, "uid=staff").await;
    staff.act("staffOnline").await;
    staff.expect("message", "on_duty").await;
    customer.act("customerConnect").await;
    customer.expect("message", "connected").await;
    staff.expect("message", "new_customer").await;
    talk(&mut customer, &mut staff, "the-second-alone").await;
    wait::until("the second worker has every lane", async || {
        (share("w2").await == PAIRS).then_some(())
    })
    .await;
}

async fn talk(customer: &mut Client, staff: &mut Client, words: &str) {
    customer.say_with_id(words, words).await;
    customer.expect_ack(words).await;
    staff.expect_words("customer", words).await;
    staff.say_with_id(words, words).await;
    staff.expect_ack(words).await;
    customer.expect_words("staff", words).await;
}
