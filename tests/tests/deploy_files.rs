//! What can be held about the deploy files where no container engine runs.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "in a test a panic with a sentence is how a failure is reported"
)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use frontdesk_tests::{cluster::Cluster, process, redis_server::find_program};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The file without comments and empty lines.
fn lines(text: &str) -> Vec<&str> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with('#') && !line.trim().is_empty())
        .collect()
}

/// The text of each service of docker-compose.yml, merged blocks (`<<: *name`) put in.
fn services() -> BTreeMap<String, String> {
    let compose = read("docker-compose.yml");
    let mut blocks: BTreeMap<String, String> = BTreeMap::new();
    let mut services = BTreeMap::new();
    let (mut inside, mut current) = (false, None::<String>);
    for line in lines(&compose) {
        if !line.starts_with(' ') {
            inside = line == "services:";
            // x-name: &anchor
            current = line.split_once('&').map(|(_, anchor)| anchor.to_owned());
        } else if inside && line.starts_with("  ") && !line.starts_with("   ") {
            let name = line.trim().trim_end_matches(':').to_owned();
            services.insert(name.clone(), String::new());
            current = Some(name);
        } else if let Some(name) = &current {
            let merged = line
                .trim()
                .strip_prefix("<<: *")
                .and_then(|anchor| blocks.get(anchor));
            let text = merged.cloned().unwrap_or_else(|| format!("{line}\n"));
            let block = if inside { services.get_mut(name) } else { None };
            match block {
                Some(block) => block.push_str(&text),
                None => blocks.entry(name.clone()).or_default().push_str(&text),
            }
        }
    }
    services
}

#[test]
fn every_container_is_locked_down() {
    let services = services();
    let names: Vec<_> = services.keys().map(String::as_str).collect();
    assert_eq!(names, ["gateway", "haproxy", "redis", "worker"]);
    for (name, text) in &services {
        for wanted in [
            "read_only: true",
            "cap_drop: [ALL]",
            "no-new-privileges:true",
            "mem_limit:",
            "pids_limit:",
            "healthcheck:",
            "stop_grace_period:",
            "restart: unless-stopped",
        ] {
            assert!(text.contains(wanted), "{name} lacks {wanted}:\n{text}");
        }
        let user = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("user: "));
        let user = user.unwrap_or_else(|| panic!("{name} has no user"));
        let ids: Vec<u32> = user
            .trim_matches('"')
            .split(':')
            .map(|id| id.parse().expect("numbers"))
            .collect();
        assert!(ids.len() == 2 && !ids.contains(&0), "{name} runs as {user}");
        for forbidden in ["privileged: true", "network_mode", "/var/run/docker.sock"] {
            assert!(!text.contains(forbidden), "{name} has {forbidden}");
        }
    }
}

#[test]
fn only_the_proxy_is_published_and_only_on_loopback() {
    for (name, text) in services() {
        let published = text.contains("ports:");
        assert_eq!(published, name == "haproxy", "{name}");
    }
    let compose = read("docker-compose.yml");
    let mut lines = lines(&compose)
        .into_iter()
        .skip_while(|line| line.trim() != "ports:")
        .skip(1);
    let port = lines.next().expect("a port").trim();
    assert!(port.starts_with(r#"- "127.0.0.1:"#), "{port}");
    assert!(
        !lines.next().expect("more").trim().starts_with('-'),
        "one port only"
    );
}

#[test]
fn gateways_and_workers_can_be_scaled() {
    let services = services();
    for name in ["gateway", "worker"] {
        for forbidden in ["container_name:", "ports:", "hostname:", "ipv4_address"] {
            assert!(
                !services[name].contains(forbidden),
                "{name} has {forbidden}"
            );
        }
    }
}

#[test]
fn there_are_no_passwords_but_those_in_env() {
    let (compose, example) = (read("docker-compose.yml"), read(".env.example"));
    for user in ["OPERATOR", "GATEWAY", "WORKER"] {
        let name = format!("FRONTDESK_REDIS_{user}_PASSWORD");
        let required = format!("${{{name}:?");
        let uses = compose.matches(&format!("${{{name}")).count();
        assert!(
            uses > 0 && uses == compose.matches(&required).count(),
            "{name} has a default"
        );
        let empty = format!("{name}=");
        assert!(example.lines().any(|line| line == empty), "{example}");
    }
    // Each program knows its own, and nobody else's.
    for (name, text) in services() {
        let known = text.matches("_PASSWORD:?").count();
        let expected = match &*name {
            "redis" => 3,
            "gateway" | "worker" => 1,
            _ => 0,
        };
        assert_eq!(known, expected, "{name}");
        if expected == 1 {
            let own = format!("redis://{name}:${{FRONTDESK_REDIS_{}", name.to_uppercase());
            assert!(text.contains(&own), "{name} logs in as itself:\n{text}");
        }
    }
    // The secret is the gateways' alone, and nobody is in open mode.
    for (name, text) in services() {
        let has = text.contains(r#"FRONTDESK_SECRET: "${FRONTDESK_SECRET:?"#);
        assert_eq!(has, name == "gateway", "{name}");
        assert!(!text.contains("FRONTDESK_OPEN"), "{name} is open");
    }
    assert_eq!(compose.matches("FRONTDESK_SECRET:").count(), 2);
    assert!(example.lines().any(|line| line == "FRONTDESK_SECRET="));
    let dockerfile = read("deploy/Dockerfile");
    for line in lines(&dockerfile) {
        let secret = ["PASSWORD", "SECRET", "TOKEN"]
            .iter()
            .any(|word| line.contains(word));
        assert!(!secret && !line.starts_with("ARG "), "{line}");
    }
    // The builder sees what is named, and nothing else.
    let ignored = read(".dockerignore");
    let ignored = lines(&ignored);
    assert_eq!(ignored[0], "*");
    assert!(
        ignored[1..]
            .iter()
            .all(|line| line.starts_with('!') && !line.contains(".env"))
    );
    assert!(
        read(".gitignore")
            .lines()
            .any(|line| line == ".env" || line == "/.env")
    );
}

/// What the builder sees is a whole workspace.
#[test]
fn the_builder_is_given_every_member_of_the_workspace() {
    let dir = tempfile::tempdir().expect("the temporary directory is writable");
    let ignored = read(".dockerignore");
    for path in lines(&ignored)[1..].iter().map(|line| &line[1..]) {
        let to = dir.path().join(path);
        fs::create_dir_all(to.parent().expect("has one")).expect("made");
        let mut copy = Command::new("cp");
        copy.arg("-r").arg(root().join(path)).arg(to);
        assert!(copy.status().expect("cp runs").success(), "{path}");
    }
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--offline", "--format-version=1"])
        .current_dir(dir.path())
        .output()
        .expect("cargo runs");
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{why}");
}

/// The line in .env.example that makes an .env does so, and the gateway takes its secret.
#[test]
fn the_example_makes_an_env_that_works() {
    let example = read(".env.example");
    let line = example.lines().find(|line| line.starts_with("#   awk "));
    let line = line.expect("a command").trim_start_matches('#').trim();
    let dir = tempfile::tempdir().expect("the temporary directory is writable");
    fs::copy(root().join(".env.example"), dir.path().join(".env.example")).expect("copied");
    let status = Command::new("bash")
        .args(["-c", line])
        .current_dir(dir.path())
        .status();
    assert!(status.expect("bash runs").success());
    let env = fs::read_to_string(dir.path().join(".env")).expect("made");
    let values: BTreeMap<&str, &str> = env
        .lines()
        .filter_map(|line| line.split_once('='))
        .collect();
    let made: Vec<_> = values
        .iter()
        .filter(|(name, _)| name.ends_with("_PASSWORD") || name.ends_with("_SECRET"))
        .collect();
    assert_eq!(made.len(), 4, "{env}");
    assert!(made.iter().all(|(_, value)| value.len() == 64), "{env}");
    let output = Command::new(process::binary("frontdesk-gateway"))
        .args(["token", "--uid", "sam", "--role", "staff"])
        .env("FRONTDESK_SECRET", values["FRONTDESK_SECRET"])
        .output()
        .expect("the program runs");
    assert!(output.status.success(), "{output:?}");
}

/// A query may hold a ticket, so the proxy's log has paths alone.
#[test]
fn the_proxy_logs_no_queries() {
    let proxy = read("deploy/haproxy.cfg");
    let lines = lines(&proxy);
    let formats: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("log-format"))
        .collect();
    assert_eq!(formats.len(), 1);
    let parts = formats[0].split(|c: char| !c.is_ascii_alphanumeric() && c != '%');
    for part in parts {
        assert!(
            !["%r", "%HU", "%HQ", "%hr", "%hs"].contains(&part),
            "{part}"
        );
    }
    assert!(
        !lines
            .iter()
            .any(|line| line.contains("httplog") || line.contains("capture"))
    );
}

#[test]
fn the_image_runs_as_nobody_special() {
    let dockerfile = read("deploy/Dockerfile");
    let stage = dockerfile.rsplit("\nFROM ").next().expect("a last stage");
    let user = lines(stage)
        .into_iter()
        .find_map(|line| line.strip_prefix("USER "));
    assert_eq!(user, Some("10001:10001"));
    for program in ["frontdesk-gateway", "frontdesk-worker"] {
        assert!(
            dockerfile.contains(&format!("target/release/{program}")),
            "{program}"
        );
    }
    assert!(dockerfile.contains("--locked"));
}

/// A container must not be killed before its program has had the time it is promised.
#[test]
fn containers_get_the_time_to_stop() {
    for (name, text) in services() {
        let grace = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("stop_grace_period: "));
        let seconds = grace.and_then(|grace| grace.strip_suffix('s')?.parse::<u32>().ok());
        // gateway: --drain-timeout-s 8; haproxy: hard-stop-after 30s
        let least = if name == "haproxy" { 31 } else { 10 };
        assert!(
            seconds.is_some_and(|seconds| seconds >= least),
            "{name}: {grace:?}"
        );
    }
}

/// The health checks of gateway and worker, run against both and then against nobody.
#[tokio::test]
async fn health_checks_tell_the_living_from_the_dead() {
    let mut cluster = Cluster::builder().gateways(1).workers(1).start().await;
    let checks = [
        ("gateway", "/9502;", cluster.gateways[0].listen.port()),
        ("worker", "/9591;", cluster.workers[0].listen.port()),
    ]
    .map(|(name, port, real)| {
        let text = &services()[name];
        let line = text
            .lines()
            .find(|line| line.contains("/dev/tcp/") && line.contains(port));
        let line = line.unwrap_or_else(|| panic!("{name} has no check on {port}:\n{text}"));
        let script = line.split('\'').nth(1).expect("in single quotes");
        let script = script.replace("$$", "$");
        assert!(
            script.contains("/livez"),
            "a restart mends nothing that Redis lacks: {script}"
        );
        script.replace(port, &format!("/{real};"))
    });
    let healthy = |script: &str| {
        let status = Command::new("bash").args(["-ec", script]).status();
        status.expect("bash runs").success()
    };
    for check in &checks {
        assert!(healthy(check), "{check}");
    }
    cluster.gateways[0].child.kill9();
    cluster.workers[0].child.kill9();
    for check in &checks {
        assert!(!healthy(check), "{check}");
    }
}

#[test]
fn the_proxys_configuration_is_valid() {
    let output = Command::new(find_program("haproxy"))
        .arg("-c")
        .arg("-f")
        .arg(root().join("deploy/haproxy.cfg"))
        .output()
        .expect("haproxy runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("WARNING"), "{said}");
}

#[test]
fn scripts_are_executable_and_parse() {
    use std::os::unix::fs::PermissionsExt as _;
    for script in [
        "deploy/run.sh",
        "deploy/install.sh",
        "tests/conformance/run.sh",
        "deploy/deny.sh",
        ".ci/run",
    ] {
        let path = root().join(script);
        let mode = fs::metadata(&path).expect("it exists").permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{script} is not executable");
        let status = Command::new("bash")
            .arg("-n")
            .arg(&path)
            .status()
            .expect("bash runs");
        assert!(status.success(), "{script}");
        assert!(read(script).contains("set -euo pipefail"), "{script}");
    }
}
