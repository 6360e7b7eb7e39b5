//! Processes of this machine, by /proc.

use std::{collections::HashSet, time::Duration};

use anyhow::{Context as _, Result, bail};
use procfs::process::{self, FDTarget};

use super::Usage;

/// The programs that `--find-servers` looks for.
const SERVERS: [&str; 3] = ["frontdesk-gateway", "frontdesk-worker", "redis-server"];
/// The kernel cuts names to so many bytes.
const COMM_BYTES: usize = 15;

/// A watched process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) name: String,
    pid: i32,
    inner: process::Process,
}

impl Process {
    /// `None`: it does not run here.
    pub(crate) fn of(name: &str, pid: i32) -> Option<Self> {
        Some(Self {
            name: name.to_owned(),
            pid,
            inner: process::Process::new(pid).ok()?,
        })
    }

    /// What it uses; nothing once it is gone.
    pub(crate) fn usage(&self) -> Usage {
        let Ok(stat) = self.inner.stat() else {
            return Usage::default();
        };
        let ticks = stat.utime + stat.stime;
        Usage {
            cpu_s: ticks as f64 / procfs::ticks_per_second() as f64,
            rss: stat.rss * procfs::page_size(),
        }
    }
}

/// Those given as `NAME=PID` or `PID`.
pub(crate) fn named(list: &[String]) -> Result<Vec<Process>> {
    list.iter()
        .map(|text| {
            let (name, pid) = text.split_once('=').unwrap_or(("", text));
            let pid = pid
                .parse()
                .with_context(|| format!("--watch {text}: give NAME=PID or PID"))?;
            let Some(process) = Process::of(name, pid) else {
                bail!("--watch {text}: there is no such process");
            };
            Ok(match name {
                "" => with_own_name(process),
                _ => process,
            })
        })
        .collect()
}

/// All Frontdesk programs and Redis servers of this machine.
pub(crate) fn servers() -> Vec<Process> {
    let known = |process: &Process| {
        let mut names = SERVERS.iter().map(|name| cut(name));
        names.any(|name| name == cut(&process.name))
    };
    all().filter(known).collect()
}

/// Those that listen on one of the ports.
pub(crate) fn listening_on(ports: &[u16]) -> Vec<Process> {
    let mut entries = procfs::net::tcp().unwrap_or_default();
    entries.extend(procfs::net::tcp6().unwrap_or_default());
    let inodes: HashSet<u64> = entries
        .into_iter()
        .filter(|entry| {
            entry.state == procfs::net::TcpState::Listen
                && ports.contains(&entry.local_address.port())
        })
        .map(|entry| entry.inode)
        .collect();
    if inodes.is_empty() {
        return Vec::new();
    }
    let holds = |process: &Process| {
        let files = process.inner.fd().into_iter().flatten().flatten();
        let mut targets = files.map(|file| file.target);
        targets.any(|target| matches!(target, FDTarget::Socket(inode) if inodes.contains(&inode)))
    };
    all().filter(holds).collect()
}

/// Each process once; those of one name get numbers.
pub(crate) fn distinct(found: Vec<Process>) -> Vec<Process> {
    let mut pids = HashSet::new();
    let mut list: Vec<Process> = found
        .into_iter()
        .filter(|process| pids.insert(process.pid))
        .collect();
    for place in 0..list.len() {
        let name = list[place].name.clone();
        let same = |process: &&mut Process| process.name == name;
        let mut alike: Vec<_> = list.iter_mut().filter(same).collect();
        if alike.len() > 1 {
            for (number, process) in alike.iter_mut().enumerate() {
                process.name = format!("{name} {}", number + 1);
            }
        }
    }
    list
}

/// The processor time of this process.
pub(crate) fn own_cpu() -> Duration {
    let usage = Process::of("", i32::try_from(std::process::id()).unwrap_or(0));
    Duration::from_secs_f64(usage.map_or(0.0, |process| process.usage().cpu_s))
}

fn all() -> impl Iterator<Item = Process> {
    process::all_processes()
        .into_iter()
        .flatten()
        .flatten()
        .map(|inner| Process {
            name: String::new(),
            pid: inner.pid,
            inner,
        })
        .map(with_own_name)
}

fn with_own_name(mut process: Process) -> Process {
    let arguments = process.inner.cmdline().unwrap_or_default();
    let program = arguments.first().map(String::as_str).unwrap_or_default();
    // redis-server shows `redis-server 127.0.0.1:6379`.
    let program = program.split(' ').next().unwrap_or_default();
    let name = program.rsplit('/').next().unwrap_or_default();
    name.clone_into(&mut process.name);
    process
}

fn cut(name: &str) -> &str {
    &name[..name.len().min(COMM_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_and_uses_memory() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let found = listening_on(&[port]);
        assert_eq!(found.len(), 1);
        assert!(found[0].usage().rss > 0);
        assert_eq!(u32::try_from(found[0].pid), Ok(std::process::id()));
    }
}
