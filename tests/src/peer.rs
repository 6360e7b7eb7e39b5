//! WebSocket clients of other make: each is a script in `tests/peers` on a library that shares no
//! code with ours or with the others.
//!
//! All do the same: staff go on duty, a customer connects; words with an `id` and an ack, the longest
//! words back; `PING` whole and in two fragments; a ping with a payload; a close with code and reason
//! that is echoed; staff are told and send too much (1009); a binary message (1003). No extension and
//! no subprotocol is agreed on. What each frame says is looked at; the script ends with 0 if all of it
//! was right.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{child::Child, redis_server::find_program};

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers");
/// Where Debian keeps the libraries of Node. A Node of another make does not look there.
pub const NODE_PATH: (&str, &str) = ("NODE_PATH", "/usr/share/nodejs");

/// A client of other make.
#[derive(Debug)]
pub struct Peer {
    /// Its library.
    pub name: &'static str,
    /// The Debian package that brings it.
    package: &'static str,
    /// What may run it, the first that has the library.
    programs: &'static [&'static str],
    /// Arguments that succeed where the library is there.
    probe: [&'static str; 2],
    script: &'static str,
}

/// Node's `ws`.
pub const WS: Peer = Peer {
    name: "ws",
    package: "node-ws",
    programs: &["node"],
    probe: ["--eval", "require('ws')"],
    script: "ws.js",
};

/// Python's `websockets`. A Python beside Debian's does not know Debian's libraries.
pub const WEBSOCKETS: Peer = Peer {
    name: "websockets",
    package: "python3-websockets",
    programs: &["python3", "/usr/bin/python3"],
    probe: ["-c", "import websockets"],
    script: "websockets.py",
};

/// Perl's `Mojo::UserAgent`.
pub const MOJO: Peer = Peer {
    name: "mojo",
    package: "libmojolicious-perl",
    programs: &["perl", "/usr/bin/perl"],
    probe: ["-MMojo::UserAgent", "-e1"],
    script: "mojo.pl",
};

impl Peer {
    /// Holds the conversation between two gateways, in a site of its own.
    pub async fn converse(&self, staff: SocketAddr, customer: SocketAddr, logs: &Path) {
        let site = self.name;
        let args = [
            format!("{SCRIPTS}/{}", self.script),
            format!("ws://{staff}/ws?uid=s1&site={site}&lang=en"),
            format!("ws://{customer}/ws?uid=c1&site={site}&lang=en"),
        ];
        let (name, value) = NODE_PATH;
        let env = [(name.to_owned(), value.to_owned())];
        let log = logs.join(format!("{}.log", self.name));
        let mut child = Child::start(self.name, &self.program(), &args, &env, &log);
        assert_eq!(
            child.wait_exit().await,
            Ok(0),
            "{}: {}",
            self.name,
            child.log()
        );
    }

    /// What runs it. A client that is not installed is a failure, never left out in silence.
    fn program(&self) -> PathBuf {
        let programs = self
            .programs
            .iter()
            .map(|name| match name.strip_prefix('/') {
                Some(_) => PathBuf::from(name),
                None => find_program(name),
            });
        let mut with_library = programs.filter(|program| {
            let mut probe = Command::new(program);
            probe.args(self.probe).env(NODE_PATH.0, NODE_PATH.1);
            let status = probe.stdout(Stdio::null()).stderr(Stdio::null()).status();
            status.is_ok_and(|status| status.success())
        });
        with_library.next().unwrap_or_else(|| {
            panic!("the WebSocket library {} is not installed: run `make install`, or install the package {}", self.name, self.package)
        })
    }
}
