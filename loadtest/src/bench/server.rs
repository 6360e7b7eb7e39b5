//! One server process: started, waited for, killed, started again.

use std::{
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::sleep,
};

/// How long a program may take to be ready.
pub(super) const START_WITHIN: Duration = Duration::from_secs(30);

/// A running server process.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) name: String,
    pub(super) process: Child,
    program: PathBuf,
    args: Vec<String>,
    pub(super) log: PathBuf,
    pub(super) ready: SocketAddr,
}

impl Server {
    /// Starts it; [`Self::ready`] waits.
    pub(super) fn start(
        name: &str,
        program: &Path,
        args: Vec<String>,
        dir: &Path,
        ready: SocketAddr,
    ) -> Result<Self> {
        let log = dir.join(format!("{name}.log"));
        Ok(Self {
            process: spawn(program, &args, &log)?,
            name: name.to_owned(),
            program: program.to_owned(),
            args,
            log,
            ready,
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Ends it without asking.
    pub(super) fn kill(&mut self) {
        // An error means that it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Starts it again after [`Self::kill`].
    pub(super) async fn restart(&mut self) -> Result<()> {
        self.process = spawn(&self.program, &self.args, &self.log)?;
        self.ready().await
    }

    /// Waits until it serves.
    pub(super) async fn ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_WITHIN;
        while Instant::now() < deadline {
            if let Some(status) = self.process.try_wait()? {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                bail!("{} has ended ({status}):\n{log}", self.name);
            }
            if is_ready(self.ready).await {
                return Ok(());
            }
            sleep(Duration::from_millis(50)).await;
        }
        bail!(
            "{} is not ready after 30 s; its log: {}",
            self.name,
            self.log.display()
        )
    }
}

fn spawn(program: &Path, args: &[String], log: &Path) -> Result<Child> {
    let out = File::options().create(true).append(true).open(log)?;
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]);
    command.arg(program).args(args);
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("FRONTDESK_") {
            command.env_remove(variable);
        }
    }
    command
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(out);
    command
        .spawn()
        .with_context(|| format!("{} cannot be started", program.display()))
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn is_ready(at: SocketAddr) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(at).await.ok()?;
        let request = format!("GET /readyz HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.ok()?;
        Some(answer.ends_with(b"200"))
    };
    let answer = tokio::time::timeout(Duration::from_secs(2), ask).await;
    answer.ok().flatten() == Some(true)
}
