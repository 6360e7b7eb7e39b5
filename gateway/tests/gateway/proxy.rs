//! A TCP proxy in front of Redis that can stall, freeze and cut what goes through it.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// What the proxy does now. Connections are numbered from 1 as they come.
#[derive(Debug, Clone, Copy, Default)]
struct Rule {
    /// Bytes of connections up to this one no longer flow to Redis; nobody is told.
    frozen_up: u64,
    /// The same from Redis.
    frozen_down: u64,
    /// Connections up to this one are ended.
    cut: u64,
    /// The number of the newest connection.
    newest: u64,
}

/// A proxy; dropping it ends its connections.
pub struct Proxy {
    pub address: SocketAddr,
    rule: watch::Sender<Rule>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let rule = watch::Sender::new(Rule::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, target, rule.clone()));
        Self {
            address,
            rule,
            _tasks: tasks,
        }
    }

    /// Ends the present connections; new ones work.
    pub fn cut(&self) {
        self.rule.send_modify(|rule| rule.cut = rule.newest);
    }

    /// The present connections stay open and carry nothing any more; new ones work.
    pub fn freeze(&self) {
        self.freeze_up();
        self.freeze_down();
    }

    /// As [`Self::freeze`], only towards Redis.
    pub fn freeze_up(&self) {
        self.rule.send_modify(|rule| rule.frozen_up = rule.newest);
    }

    /// As [`Self::freeze`], only from Redis.
    pub fn freeze_down(&self) {
        self.rule.send_modify(|rule| rule.frozen_down = rule.newest);
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, rule: watch::Sender<Rule>) {
    let mut connections = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        let Ok(far) = TcpStream::connect(target).await else {
            continue;
        };
        let mut number = 0;
        rule.send_modify(|rule| {
            rule.newest += 1;
            number = rule.newest;
        });
        let rule = rule.subscribe();
        connections.spawn(async move {
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            let frozen_up = move |rule: &Rule| number <= rule.frozen_up;
            let frozen_down = move |rule: &Rule| number <= rule.frozen_down;
            let mut cut = rule.clone();
            tokio::select! {
                _ = cut.wait_for(|rule| number <= rule.cut) => {}
                () = pump(near_in, far_out, rule.clone(), frozen_up) => {}
                () = pump(far_in, near_out, rule, frozen_down) => {}
            }
        });
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut rule: watch::Receiver<Rule>,
    frozen: impl Fn(&Rule) -> bool,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if rule.wait_for(|rule| !frozen(rule)).await.is_err()
            || to.write_all(&buffer[..length]).await.is_err()
        {
            return;
        }
    }
    // An end is not passed on through a frozen direction either.
    let _ = rule.wait_for(|rule| !frozen(rule)).await;
}
