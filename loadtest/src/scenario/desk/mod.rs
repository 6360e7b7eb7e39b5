//! A desk: customers arrive by chance, wait, talk, leave; staff think and answer. With *talkers*,
//! customers who stay and speak at a steady pace, it is the soak.
//!
//! [`customer`] (each of whose messages is an [`exchange`]) and [`staff`] do not know of each other, as in life: they may be in different processes.
//! So each message says who wrote it, when it was due and the how-manieth it is, and whoever hears
//! it checks that. Every message of a customer is answered by one of the staff; an answer that does
//! not come is a message lost on one of the two ways.

mod customer;
mod exchange;
mod staff;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use clap::Args;
use rand::Rng as _;
use serde::{Deserialize, Serialize};
use tokio::{select, task::JoinSet, time::sleep_until};

use crate::{config::Load, context::Context};
use customer::Customer;
use staff::Staff;

/// Longest time between two messages of a customer; the desk closes who is silent for a minute.
const LONGEST_SILENCE: Duration = Duration::from_secs(40);

/// Options of `desk`.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct Options {
    /// Staff on duty
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) staff: u64,
    /// Customers that each of them takes at a time
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
    pub(crate) max: u32,
    /// Customers who come per second on average (a Poisson process)
    #[arg(long, default_value_t = 5.0)]
    pub(crate) arrivals: f64,
    /// Messages of each customer, each answered once
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) messages: u64,
    /// Seconds that a customer thinks before each message, on average
    #[arg(long, default_value_t = 2.0)]
    pub(crate) think_s: f64,
    /// Seconds that staff think before each answer, on average
    #[arg(long, default_value_t = 1.0)]
    pub(crate) answer_s: f64,
    /// Seconds that a customer waits in the queue before giving up; 0: for ever
    #[arg(long, default_value_t = 0.0)]
    pub(crate) patience_s: f64,
    /// Bytes of each message's text
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(64..=16_384))]
    pub(crate) bytes: u32,
    /// Customers who stay (the soak's).
    #[arg(skip)]
    pub(crate) talkers: u64,
    /// Time between two messages of a talker.
    #[arg(skip)]
    pub(crate) talk_every_s: f64,
}

impl Options {
    pub(crate) fn check(&self, load: &Load) -> Result<()> {
        let times = [self.arrivals, self.think_s, self.answer_s, self.patience_s];
        ensure!(
            times.iter().all(|time| *time >= 0.0 && time.is_finite()),
            "--arrivals and the times must not be negative"
        );
        ensure!(
            self.staff >= u64::from(load.sites),
            "--sites {} needs as many --staff, one for each site",
            load.sites
        );
        ensure!(
            load.gateway.len() < 1000,
            "more than 1000 gateways cannot be meant"
        );
        Ok(())
    }

    /// Sockets at a time, about: by Little's law, with room for a queue.
    pub(crate) fn sockets(&self) -> u64 {
        let stay = self.messages as f64 * (self.think_s + self.answer_s + 0.1);
        let visitors = Duration::from_secs_f64((self.arrivals * stay * 2.0).min(1e9)).as_secs();
        self.staff + self.talkers + visitors
    }

    fn bytes(&self) -> usize {
        usize::try_from(self.bytes).unwrap_or(100)
    }

    /// Whether it is the soak: it completes messages, not conversations.
    fn is_soak(&self) -> bool {
        self.talkers > 0
    }
}

/// Runs this process's part.
pub(crate) async fn run(options: &Options, context: &Arc<Context>) -> Result<()> {
    let plan = &context.plan;
    let options = Arc::new(options.clone());
    let mut entering = JoinSet::new();
    for index in plan.share(options.staff) {
        entering.spawn(Staff::enter(context.clone(), options.clone(), index));
    }
    let mut staff = Vec::new();
    while let Some(entered) = entering.join_next().await {
        staff.push(entered??);
    }
    let began = context.ready(u64::try_from(staff.len())?).await?;
    let mut on_duty = JoinSet::new();
    for member in staff {
        on_duty.spawn(member.work());
    }
    let mut customers = JoinSet::new();
    for index in plan.share(options.talkers) {
        customers.spawn(Customer::talker(context, &options, index).stay(began));
    }
    let arriving = arrive(&options, context, began, &mut customers);
    select! {
        result = arriving => result?,
        () = context.until_over(began) => {}
    }
    context.until_over(began).await;
    while customers.join_next().await.is_some() {}
    while on_duty.join_next().await.is_some() {}
    Ok(())
}

/// Lets customers in at their moments, whatever became of those before.
async fn arrive(
    options: &Arc<Options>,
    context: &Arc<Context>,
    began: Instant,
    customers: &mut JoinSet<()>,
) -> Result<()> {
    let plan = &context.plan;
    let rate = options.arrivals / f64::from(plan.processes.max(1));
    if rate <= 0.0 {
        return Ok(());
    }
    let mut due = began;
    for k in 0.. {
        due += exponential(1.0 / rate);
        sleep_until(due.into()).await;
        context.count(|counts| counts.arrived += 1);
        let index = u64::from(plan.index) + k * u64::from(plan.processes);
        customers.spawn(Customer::visitor(context, options, index).visit(due));
        while customers.try_join_next().is_some() {}
    }
    Ok(())
}

/// A random time with this mean, in seconds: what lies between events of a Poisson process.
fn exponential(mean_s: f64) -> Duration {
    let uniform: f64 = rand::rng().random_range(f64::EPSILON..1.0);
    Duration::from_secs_f64(-uniform.ln() * mean_s)
}

/// A thinking time: exponential, but never so long that the desk would close the conversation.
fn thinking(mean_s: f64) -> Duration {
    exponential(mean_s).min(LONGEST_SILENCE)
}
