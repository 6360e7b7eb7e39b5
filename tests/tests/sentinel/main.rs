//! Redis Sentinel with real processes: three servers and three Sentinels from the shipped files in
//! deploy/sentinel, gateways and workers that know the Sentinels only, and people who talk while
//! the primary is asked to go, is killed, or sleeps.
//!
//! Replication is asynchronous, so what was acknowledged last may be gone. Held is the rest: the
//! cluster heals by itself; log and state go back together, so what is missing of a conversation is
//! its end, and nothing is doubled or out of order; no gateway is declared dead; and whoever was
//! connected is told to come again. How much was lost is printed.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "in a test a panic with a sentence is how a failure is reported, and losses are printed"
)]

mod site;
mod talk;

use frontdesk_tests::{
    client::Client,
    process::Settings,
    proxy::Proxy,
    redis_users::{GATEWAY, WORKER, password},
    wait,
};
use site::{HEALED, Site};
use talk::{PAIRS, Talk};

/// What holds after every failover.
async fn healed(site: &mut Site, primary: usize, before: Talk) -> usize {
    site.ready().await;
    let after = Talk::start(site, "after").await;
    let (lost, _) = after.end(&site.servers[primary]).await;
    assert_eq!(lost, 0, "nothing has failed any more");
    assert_eq!(site.dead_gateways(primary), 0, "a gateway was reaped");
    assert_eq!(site.dead_letters(primary), 0);
    let (lost, cut_off) = before.end(&site.servers[primary]).await;
    assert!(cut_off == PAIRS || lost == 0, "lost without a word");
    lost
}

/// Asked to, Sentinel promotes a replica first and demotes the old primary seconds later: what that one
/// acknowledges in between is lost.
#[tokio::test]
async fn a_planned_failover_heals() {
    let mut site = Site::start().await;
    let lost = planned(&mut site).await;
    println!("a planned failover: {lost} acknowledged messages lost");
}

/// As docs/OPERATIONS.md has it.
#[tokio::test]
async fn a_planned_failover_with_writes_paused_loses_nothing() {
    let mut site = Site::start().await;
    let mut pause = redis::cmd("CLIENT");
    pause.arg("PAUSE").arg(20_000).arg("WRITE");
    let before = Talk::start(&site, "before").await;
    let () = pause.query(&mut site.servers[0].connection()).unwrap();
    failover(&site);
    let primary = site.fails_over().await;
    all_follow(&site, primary).await;
    assert_eq!(healed(&mut site, primary, before).await, 0);
}

fn failover(site: &Site) {
    let mut failover = redis::cmd("SENTINEL");
    failover.arg("FAILOVER").arg("frontdesk");
    let () = failover.query(&mut site.sentinel(0).unwrap()).unwrap();
}

async fn planned(site: &mut Site) -> usize {
    let before = Talk::start(site, "before").await;
    failover(site);
    let primary = site.fails_over().await;
    all_follow(site, primary).await;
    healed(site, primary, before).await
}

/// Until then the old primary takes writes that will be lost, also of who comes now.
async fn all_follow(site: &Site, primary: usize) {
    wait::within("both others follow", HEALED, async || {
        site.replicas(primary).await.filter(|count| *count == 2)
    })
    .await;
}

#[tokio::test]
async fn a_killed_primary_is_replaced_and_comes_back_as_a_replica() {
    let mut site = Site::start().await;
    let before = Talk::start(&site, "before").await;
    site.servers[0].kill9();
    let primary = site.fails_over().await;
    let lost = healed(&mut site, primary, before).await;
    println!("a killed primary: {lost} acknowledged messages lost");
    // It comes back as the primary that it was, for the Sentinels to demote.
    let undisturbed = Talk::start(&site, "undisturbed").await;
    site.servers[0].restart();
    wait::within("it follows", HEALED, async || {
        site.replicas(primary).await.filter(|count| *count == 2)
    })
    .await;
    assert_eq!(undisturbed.end(&site.servers[primary]).await, (0, 0));
}

/// Split brain: the old primary wakes, does not know that it was replaced, and still has the
/// connections of everybody who knew it.
#[tokio::test]
async fn a_primary_that_sleeps_through_its_replacement_takes_nobody_along() {
    let mut site = Site::start().await;
    let before = Talk::start(&site, "before").await;
    site.servers[0].pause();
    let primary = site.fails_over().await;
    site.ready().await;
    let undisturbed = Talk::start(&site, "undisturbed").await;
    site.servers[0].unpause();
    wait::within("the old one follows", HEALED, async || {
        site.replicas(primary).await.filter(|count| *count == 2)
    })
    .await;
    assert_eq!(undisturbed.end(&site.servers[primary]).await, (0, 0));
    let lost = healed(&mut site, primary, before).await;
    println!("a primary that slept: {lost} acknowledged messages lost");
}

/// Without Sentinels, by an address that follows the primary: nobody ends the connections to the old
/// one, which goes on answering.
#[tokio::test]
async fn a_primary_demoted_by_hand_is_left_by_everybody() {
    let mut site = Site::start_servers().await;
    let proxy = Proxy::start(site.servers[0].addr());
    let url = |user| format!("redis://{user}:{}@{}/", password(user), proxy.addr());
    site.start_programs(&Settings::default(), &url(WORKER), &url(GATEWAY));
    site.ready().await;
    let before = Talk::start(&site, "before").await;
    // What the gateways only read with must follow, too.
    for gateway in &site.gateways {
        let mut reader = Client::connect(gateway.listen, "uid=reader").await;
        reader.act("conversations").await;
        reader.expect_action("conversations").await;
        reader.act("typing").await;
        reader.expect("error", "no_conversation").await;
    }
    let new = site.servers[1].addr();
    site.replicaof(1, "NO", "ONE");
    proxy.lead_to(new);
    for other in [0, 2] {
        site.replicaof(other, "127.0.0.1", &new.port().to_string());
    }
    healed(&mut site, 1, before).await;
    // Subscriptions may stay: a primary's publishes reach its replicas.
    wait::within("the old one is left alone", HEALED, async || {
        let mut redis = site.servers[0].connect().await;
        let mut list = redis::cmd("CLIENT");
        let list: String = list.arg("LIST").query_async(&mut redis).await.ok()?;
        let ours = |line: &&str| line.contains("user=gateway") || line.contains("user=worker");
        let mut ours = list.lines().filter(ours);
        ours.all(|line| !line.contains(" sub=0 ")).then_some(())
    })
    .await;
}
