//! Whether every route does what `openapi.json` says, by schemathesis, which makes requests of the description: good
//! ones, and such as break it in every way. No 500, no answer that is not described, nothing done for who is nobody.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use frontdesk_tests::tokens::token;
use serde_json::json;

use crate::{asking::signed, scene::Scene};

/// Requests of a route in one way.
const EXAMPLES: &str = "10";

/// Where `tests/schemathesis/install.sh` puts it.
fn program() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
    let program = target
        .expect("a directory of cargo's")
        .join("schemathesis/bin/schemathesis");
    assert!(
        program.exists(),
        "{} is missing: run make install",
        program.display()
    );
    program
}

#[tokio::test]
async fn every_answer_is_as_described() {
    let scene = Scene::start(signed()).await;
    let alice = scene.asker("alice", "customer");
    for text in ["one", "two"] {
        let words = json!({"message": text});
        let said = alice.post(&scene.path("messages"), &words).await;
        assert_eq!(said.status, 201, "{said:?}");
    }
    let addr = scene.cluster.addr(0);
    let settings = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/schemathesis/schemathesis.toml"
    );
    for (uid, role) in [("alice", "customer"), ("robot", "service")] {
        let bearer = format!("Authorization: Bearer {}", token(uid, role));
        let place = tempfile::tempdir().expect("a place for what it writes");
        let mut run = Command::new(program());
        run.args(["--config-file", settings, "--no-color", "run"])
            .arg(format!("http://{addr}/api/v1/openapi.json"))
            .args(["--header", &bearer, "--max-examples", EXAMPLES])
            .args(["--generation-deterministic", "--continue-on-failure"])
            .args(["--checks", "all", "--request-timeout", "30"])
            .current_dir(place.path())
            .stdin(Stdio::null());
        let ran = tokio::task::spawn_blocking(move || run.output());
        let ran = ran.await.expect("no panic").expect("it runs");
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success(), "as {role}:\n{said}");
        assert!(said.contains("Tested: 24"), "as {role}:\n{said}");
    }
    for program in scene.cluster.gateways.iter().chain(&scene.cluster.workers) {
        let log = program.child.log();
        assert!(!log.contains("panicked"), "{log}");
    }
    assert_eq!(scene.cluster.dead_letters().await, 0);
}
