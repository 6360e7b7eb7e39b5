//! The parent's side of the children: starts them, gives orders, gathers reports.

use std::{
    os::unix::process::CommandExt as _,
    process::{Command as StdCommand, Stdio},
};

use anyhow::{Context as _, Result, anyhow, bail};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, Command},
    sync::mpsc,
};

use super::{Order, Report};
use crate::context::Plan;

/// All children of a run. They are killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Crew {
    members: Vec<Member>,
    reports: mpsc::UnboundedReceiver<(usize, Report)>,
}

#[derive(Debug)]
struct Member {
    _process: Child,
    orders: ChildStdin,
}

impl Crew {
    /// Starts so many, without a plan yet.
    pub(crate) fn start(count: u32) -> Result<Self> {
        let (sender, reports) = mpsc::unbounded_channel();
        let mut members = Vec::new();
        for index in 0..usize::try_from(count)? {
            members.push(Member::start(index, sender.clone())?);
        }
        Ok(Self { members, reports })
    }

    /// Gives everybody the plan and waits until all are prepared; gives the number of connections.
    /// `in_turn`: one after the other.
    pub(crate) async fn prepare(&mut self, plan: &Plan, in_turn: bool) -> Result<u64> {
        let mut connections = 0;
        for index in 0..self.members.len() {
            let plan = Plan {
                index: u32::try_from(index)?,
                ..plan.clone()
            };
            self.order(index, &Order::Plan(Box::new(plan))).await?;
            if in_turn {
                connections += self.prepared().await?;
            }
        }
        if !in_turn {
            for _ in 0..self.members.len() {
                connections += self.prepared().await?;
            }
        }
        Ok(connections)
    }

    /// Gives everybody an order.
    pub(crate) async fn order_all(&mut self, order: &Order) -> Result<()> {
        for index in 0..self.members.len() {
            self.order(index, order).await?;
        }
        Ok(())
    }

    /// The next report of anybody, and whose it is.
    pub(crate) async fn report(&mut self) -> Result<(usize, Report)> {
        match self.reports.recv().await {
            Some((_, Report::Failed(reason))) => bail!(reason),
            Some(report) => Ok(report),
            None => bail!("all processes of the load are gone"),
        }
    }

    /// How many they are.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    async fn prepared(&mut self) -> Result<u64> {
        match self.report().await? {
            (_, Report::Ready(connections)) => Ok(connections),
            (_, other) => Err(anyhow!("not prepared, but {other:?}")),
        }
    }

    async fn order(&mut self, index: usize, order: &Order) -> Result<()> {
        let mut line = serde_json::to_string(order)?;
        line.push('\n');
        let orders = &mut self.members[index].orders;
        orders
            .write_all(line.as_bytes())
            .await
            .context("a process of the load is gone")
    }
}

impl Member {
    fn start(index: usize, reports: mpsc::UnboundedSender<(usize, Report)>) -> Result<Self> {
        let mut command = StdCommand::new("/proc/self/exe");
        command.arg("child");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        // A group of its own: Ctrl-C is the parent's, who lets the others finish.
        command.process_group(0);
        let mut process = Command::from(command)
            .kill_on_drop(true)
            .spawn()
            .context("a process of the load cannot be started")?;
        let orders = process.stdin.take().context("a pipe was asked for")?;
        let output = process.stdout.take().context("a pipe was asked for")?;
        tokio::spawn(async move {
            let mut lines = BufReader::new(output).lines();
            let mut done = false;
            while let Ok(Some(line)) = lines.next_line().await {
                let report = serde_json::from_str(&line)
                    .unwrap_or_else(|error| Report::Failed(format!("{error}: {line}")));
                done |= matches!(report, Report::Done | Report::Failed(_));
                if reports.send((index, report)).is_err() {
                    return;
                }
            }
            if !done {
                let reason = format!("process {index} of the load has ended before its time");
                let _ = reports.send((index, Report::Failed(reason)));
            }
        });
        Ok(Self {
            _process: process,
            orders,
        })
    }
}
