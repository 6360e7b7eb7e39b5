//! The functions that docs/WEBHOOKS.md shows to those who receive, as they stand there, on what is really sent.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use frontdesk_tests::redis_server::find_program;
use serde_json::json;

use crate::{
    receiver::{Got, Receiver},
    site::{builder, customer, hook, say, staff},
};

const DOCS: &str = include_str!("../../../docs/WEBHOOKS.md");
const OTHER: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

fn shown(language: &str) -> &'static str {
    let (_, rest) = DOCS.split_once(&format!("```{language}\n")).expect("shown");
    rest.split_once("```").expect("it ends").0
}

/// What a program answers to a text.
fn run(program: &str, args: &[&str], input: &str) -> bool {
    let mut command = Command::new(find_program(program));
    let child = command.args(args).stdin(Stdio::piped()).spawn();
    let mut child = child.expect("it starts");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    child.wait().expect("it ends").success()
}

fn python(secret: &str, got: &Got) -> bool {
    let code = shown("python").to_owned()
        + "\nimport json, sys\nit = json.load(sys.stdin)\nsys.exit(0 if verify(it['secret'], it['headers'], it['body'].encode()) else 1)\n";
    run("python3", &["-c", &code], &packed(secret, got))
}

fn node(secret: &str, got: &Got) -> bool {
    let code = shown("js").to_owned()
        + "\nconst it = JSON.parse(require('node:fs').readFileSync(0));\nprocess.exit(verify(it.secret, it.headers, Buffer.from(it.body)) ? 0 : 1);\n";
    run("node", &["-e", &code], &packed(secret, got))
}

fn shell(secret: &str, got: &Got) -> bool {
    let code = shown("sh").to_owned() + "\nverify \"$@\"\n";
    let header = |name: &str| got.header(name).to_owned();
    let (id, time) = (header("webhook-id"), header("webhook-timestamp"));
    let signature = header("webhook-signature");
    let args = ["-c", &code, "sh", secret, &id, &time, &signature];
    run("sh", &args, &got.body)
}

fn packed(secret: &str, got: &Got) -> String {
    let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let headers = names.map(|name| (name.to_owned(), json!(got.header(name))));
    let headers = serde_json::Map::from_iter(headers);
    json!({"secret": secret, "headers": headers, "body": got.body}).to_string()
}

#[tokio::test]
async fn what_is_sent_passes_the_functions_in_the_documentation() {
    let cluster = builder().start().await;
    let receiver = Receiver::start().await;
    let hook = hook(&cluster, &receiver.url(), &["message.created"]).await;
    let mut sam = staff(&cluster, "sam").await;
    let (mut alice, _) = customer(&cluster, &mut sam, "alice").await;
    say(&mut alice, &mut sam, "客服 \"%s\" \\n 'x'").await;
    let good = receiver.wait(1).await.remove(0);
    let mut changed = good.clone();
    changed.body = changed.body.replace("alice", "carol");
    for (name, verify) in [
        ("python", python as fn(&str, &Got) -> bool),
        ("node", node),
        ("sh", shell),
    ] {
        assert!(verify(&hook.secret, &good), "{name}");
        assert!(!verify(OTHER, &good), "{name}");
        assert!(!verify(&hook.secret, &changed), "{name}");
    }
}

/// The types, and the numbers that are promised.
#[test]
fn the_documentation_says_what_there_is() {
    use frontdesk_shared::hooks::HookType;
    use frontdesk_worker::hooks;

    for kind in HookType::ALL {
        assert!(DOCS.contains(&format!("| `{}` |", kind.name())), "{kind:?}");
    }
    assert!(DOCS.contains(&format!("at most {}.", hooks::MAX_HOOKS_PER_SITE)));
    assert_eq!(
        (hooks::MAX_HOOK_QUEUE, hooks::MAX_HOOK_PARKED),
        (10_000, 1000)
    );
    assert!(DOCS.contains("At most 10,000 deliveries") && DOCS.contains("The last 1000 parked"));
}
