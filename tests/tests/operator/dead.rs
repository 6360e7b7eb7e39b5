//! `dead`: what could not be applied is listed, replayed, dropped.

use frontdesk_shared::{
    event::{Event, Kind},
    ids::{BootId, ClientId, Lane, Shard, Site, Uid},
    keys,
    protocol::frame::Verb,
};
use frontdesk_tests::{
    cluster::{Cluster, DEFAULT_SITE},
    process,
    pty::Terminal,
    redis_server::RedisServer,
    redis_users::{self, OPERATOR, VIEWER, WORKER},
    wait,
};
use serde_json::{Value, json as object};

use super::{WORKER_PROGRAM, by, json, refusal, run};

fn site() -> Site {
    Site::parse(DEFAULT_SITE).unwrap()
}

fn uid(text: &str) -> Uid {
    Uid::parse(text).unwrap()
}

/// Appends an entry and waits until it is a dead letter. Returns its event's id.
async fn fails(cluster: &Cluster, of: &str, fields: &[(&str, &str)]) -> String {
    let (shard, lane) = (Shard::of(&site()), Lane::of(&uid(of)));
    let before = cluster.dead_letters().await;
    let mut append = redis::cmd("XADD");
    append.arg(keys::events(shard, lane)).arg("*").arg(fields);
    let mut redis = cluster.redis.connect().await;
    let id: String = append.query_async(&mut redis).await.unwrap();
    wait::until("it is a dead letter", async || {
        (cluster.dead_letters().await > before).then_some(())
    })
    .await;
    format!("{}.{}.{id}", shard.number(), lane.number())
}

/// An entry that nobody understands.
async fn poison(cluster: &Cluster, of: &str) -> String {
    let fields = [
        ("v", "1"),
        ("site", DEFAULT_SITE),
        ("uid", of),
        ("kind", "dance"),
        ("body", "secret words"),
    ];
    fails(cluster, of, &fields).await
}

/// Makes every event of a user fail: their key is not what it should be.
async fn damage(redis: &RedisServer, of: &str) {
    let mut set = redis::cmd("SET");
    set.arg(keys::user(&site(), &uid(of))).arg("damaged");
    let () = set.query_async(&mut redis.connect().await).await.unwrap();
}

async fn mend(redis: &RedisServer, of: &str) {
    let mut del = redis::cmd("DEL");
    del.arg(keys::user(&site(), &uid(of)));
    let () = del.query_async(&mut redis.connect().await).await.unwrap();
}

async fn fails_as(cluster: &Cluster, of: &str, kind: Kind) -> String {
    damage(&cluster.redis, of).await;
    let event = Event {
        site: site(),
        uid: uid(of),
        kind,
    };
    let fields = event.encode();
    let fields: Vec<(&str, &str)> = fields
        .iter()
        .map(|(name, value)| (*name, &**value))
        .collect();
    fails(cluster, of, &fields).await
}

async fn list(cluster: &Cluster) -> Value {
    json(&cluster.redis, WORKER, &["dead", "list"], 0).await
}

/// The ids of the events that are listed, in order.
async fn events(cluster: &Cluster) -> Vec<String> {
    let list = list(cluster).await;
    let letters = list["dead_letters"].as_array().unwrap();
    let events = letters
        .iter()
        .map(|letter| letter["event"].as_str().unwrap().to_owned());
    events.collect()
}

async fn start() -> Cluster {
    Cluster::builder().gateways(1).workers(1).start().await
}

#[tokio::test]
async fn a_poison_event_is_listed_replayed_and_dropped() {
    let cluster = start().await;
    redis_users::let_in(&cluster.redis.client()).unwrap();
    let redis = &cluster.redis;
    assert_eq!(
        list(&cluster).await,
        object!({"total": 0, "dead_letters": []})
    );
    let event = poison(&cluster, "alice").await;
    let listed = json(redis, VIEWER, &["dead", "list", "--json"], 0).await;
    assert_eq!(listed["total"], 1);
    let letter = by(&listed["dead_letters"], "event", event.as_str());
    for (field, value) in [("site", DEFAULT_SITE), ("uid", "alice"), ("kind", "dance")] {
        assert_eq!(letter[field], value);
    }
    assert_eq!(letter["error"], "undecodable");
    assert_eq!(letter["not_replayable"], Value::Null);
    assert!(
        letter["time"].as_u64() > Some(1_500_000_000_000),
        "{letter}"
    );
    assert!(
        !listed.to_string().contains("secret words"),
        "only if asked for"
    );
    let all = json(redis, VIEWER, &["dead", "list", "--fields"], 0).await;
    assert_eq!(all["dead_letters"][0]["fields"]["body"], "secret words");
    let table = run(redis, VIEWER, &["dead", "list", "--table", "--fields"]).await;
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(
        table.contains(&event) && table.contains("body = secret words"),
        "{table}"
    );

    // Nobody understands it now either.
    let replayed = json(redis, WORKER, &["dead", "replay", &event, "--yes"], 1).await;
    let replayed = &replayed["replayed"][0];
    assert_eq!(
        (&replayed["event"], &replayed["outcome"]),
        (&object!(event), &object!("dead"))
    );
    let again = replayed["as"].as_str().expect("a new event").to_owned();
    assert_eq!(
        events(&cluster).await,
        [again.as_str()],
        "a letter of the new event instead"
    );
    let said = refusal(redis, WORKER, &["dead", "replay", &event, "--yes"]).await;
    assert!(said.contains(&event), "{said}");

    let dropped = json(redis, WORKER, &["dead", "drop", &again, "--yes"], 0).await;
    assert_eq!(dropped, object!({"dropped": [again]}));
    assert_eq!(list(&cluster).await["total"], 0);
}

#[tokio::test]
async fn what_failed_is_applied_once_its_cause_is_mended() {
    let cluster = start().await;
    let redis = &cluster.redis;
    let event = fails_as(&cluster, "bob", Kind::Revoke { keep_s: 600 }).await;
    let replayed = json(redis, WORKER, &["dead", "replay", &event, "--yes"], 1).await;
    let again = replayed["replayed"][0]["as"].as_str().unwrap().to_owned();
    mend(redis, "bob").await;
    let mut forget = redis::cmd("DEL");
    forget.arg(keys::revoked(&site(), &uid("bob")));
    let mut connection = redis.connect().await;
    let () = forget.query_async(&mut connection).await.unwrap();
    let replayed = json(redis, WORKER, &["dead", "replay", &again, "--yes"], 0).await;
    assert_eq!(replayed["replayed"][0]["outcome"], "applied");
    assert_eq!(replayed["replayed"][0]["error"], Value::Null);
    assert_eq!(list(&cluster).await["total"], 0);
    let mut get = redis::cmd("GET");
    let get = get.arg(keys::revoked(&site(), &uid("bob")));
    let revoked: Option<u64> = get.query_async(&mut redis.connect().await).await.unwrap();
    assert!(revoked.is_some(), "the event took effect");
}

/// Of several all that can be are replayed, each once; the frames of sockets are kept, for who wants to read them.
#[tokio::test]
async fn all_are_replayed_or_dropped_at_once() {
    let cluster = start().await;
    let redis = &cluster.redis;
    let client = ClientId::random(&BootId::random());
    let frame = Kind::Verb {
        client,
        n: 1,
        verb: Verb::CustomerConnect,
    };
    let frame = fails_as(&cluster, "carl", frame).await;
    mend(redis, "carl").await;
    let poisoned = poison(&cluster, "alice").await;
    let mended = fails_as(&cluster, "bob", Kind::Revoke { keep_s: 600 }).await;
    mend(redis, "bob").await;
    assert_eq!(
        events(&cluster).await,
        [&*mended, &*poisoned, &*frame],
        "the newest first"
    );

    let said = refusal(redis, WORKER, &["dead", "replay", "--all"]).await;
    assert!(said.contains("--yes"), "{said}");
    let replayed = json(redis, OPERATOR, &["dead", "replay", "--all", "--yes"], 1).await;
    for (event, outcome) in [
        (&frame, "refused"),
        (&poisoned, "dead"),
        (&mended, "applied"),
    ] {
        let one = by(&replayed["replayed"], "event", event.as_str());
        assert_eq!(one["outcome"], outcome);
    }
    let left = list(&cluster).await;
    assert_eq!(left["total"], 2, "{left}");
    let kept = by(&left["dead_letters"], "event", frame.as_str());
    assert!(
        kept["not_replayable"].as_str().unwrap().contains("frame"),
        "{kept}"
    );

    // More than are read at once.
    let fields = [
        ("v", "1"),
        ("site", DEFAULT_SITE),
        ("uid", "alice"),
        ("kind", "dance"),
    ];
    let (shard, lane) = (Shard::of(&site()), Lane::of(&uid("alice")));
    let mut pipeline = redis::pipe();
    for _ in 0..250 {
        let append = pipeline.cmd("XADD").arg(keys::events(shard, lane));
        append.arg("*").arg(&fields).ignore();
    }
    let () = pipeline
        .query_async(&mut redis.connect().await)
        .await
        .unwrap();
    wait::until("all are dead letters", async || {
        (cluster.dead_letters().await == 252).then_some(())
    })
    .await;
    let some = json(redis, WORKER, &["dead", "list", "--limit", "120"], 0).await;
    assert_eq!(some["total"], 252);
    assert_eq!(some["dead_letters"].as_array().unwrap().len(), 120);
    let dropped = json(redis, WORKER, &["dead", "drop", "--all", "--yes"], 0).await;
    assert_eq!(dropped["dropped"].as_array().unwrap().len(), 252);
    assert_eq!(list(&cluster).await["total"], 0);
    assert_eq!(
        json(redis, WORKER, &["dead", "replay", "--all", "--yes"], 0).await,
        object!({"replayed": []})
    );
}

/// Whoever asks first replays it; without a worker it waits, and the command says so.
#[tokio::test]
async fn a_letter_is_replayed_once_however_many_ask() {
    let mut cluster = start().await;
    let event = fails_as(&cluster, "bob", Kind::Revoke { keep_s: 600 }).await;
    mend(&cluster.redis, "bob").await;
    cluster.workers[0].child.term();
    assert_eq!(cluster.workers[0].child.wait_exit().await, Ok(0));
    let length = async || {
        let mut xlen = redis::cmd("XLEN");
        let xlen = xlen.arg(keys::events(Shard::of(&site()), Lane::of(&uid("bob"))));
        let length: usize = xlen
            .query_async(&mut cluster.redis.connect().await)
            .await
            .unwrap();
        length
    };
    let before = length().await;
    let args = ["dead", "replay", &event, "--yes"];
    let (one, other) = tokio::join!(
        run(&cluster.redis, WORKER, &args),
        run(&cluster.redis, WORKER, &args)
    );
    assert_eq!(length().await, before + 1);
    let said = [one, other].map(|output| {
        assert_ne!(output.status.code(), Some(0));
        String::from_utf8(output.stdout).unwrap()
    });
    assert_eq!(
        said.iter().filter(|said| said.contains("waiting")).count(),
        1,
        "{said:?}"
    );
}

/// On a terminal it asks, and nothing but a yes is one.
#[tokio::test]
async fn on_a_terminal_it_asks() {
    let cluster = start().await;
    let event = poison(&cluster, "alice\u{40}home").await;
    let url = cluster.redis.url_for(WORKER);
    let env = [("FRONTDESK_REDIS_URL", url.as_str())];
    let program = process::binary(WORKER_PROGRAM);
    for (answer, code, left) in [("n\n", 1, 1), ("\n", 1, 1), ("\u{4}", 1, 1), ("y\n", 0, 0)] {
        let mut terminal = Terminal::start(&program, &["dead", "drop", &event], &env);
        terminal.shows("[y/N]", 1).await;
        assert!(terminal.written().contains(&event), "says what is meant");
        terminal.press(answer);
        assert_eq!(terminal.ended().await, Some(code), "{answer:?}");
        assert_eq!(cluster.dead_letters().await, left, "{answer:?}");
    }
    let mut terminal = Terminal::start(&program, &["dead", "list"], &env);
    assert_eq!(terminal.ended().await, Some(0));
    terminal.shows("no dead letters", 1).await;
}
