//! `status` against what was started.

use frontdesk_shared::{
    event::{Event, Kind},
    ids::{BootId, ClientId, EventId, Lane, Shard, Site, StreamId, Uid},
    keys,
};
use frontdesk_tests::{
    client::Client,
    cluster::{Cluster, DEFAULT_SITE, PAIRS},
    redis_server::RedisServer,
    redis_users::{self, OPERATOR, VIEWER, WORKER},
    wait,
};
use serde_json::{Value, json as object};

use super::{PATIENT, by, json, run};

/// The gateway of a connection.
fn boot(client: &Client) -> String {
    let id = client.welcome["client_id"].as_str().expect("an id");
    ClientId::parse(id).expect("well-formed").boot().to_owned()
}

/// One on duty with a customer, two who wait, one on duty in another site.
async fn people(cluster: &Cluster) -> Vec<Client> {
    let mut staff = cluster.connect(0, "uid=sam").await;
    staff.act("staffOnline").await;
    staff.expect("message", "on_duty").await;
    let mut people = vec![staff];
    for (uid, told) in [("ann", "connected"), ("ben", "queued"), ("cat", "queued")] {
        let mut customer = cluster.connect(1, &format!("uid={uid}")).await;
        customer.act("customerConnect").await;
        customer.expect("message", told).await;
        people.push(customer);
    }
    let mut elsewhere = cluster.connect(0, "uid=sue&site=elsewhere").await;
    elsewhere.act("staffOnline").await;
    elsewhere.expect("message", "on_duty").await;
    people.push(elsewhere);
    people
}

#[tokio::test]
async fn a_live_cluster_is_shown_as_it_was_started() {
    let cluster = Cluster::start().await;
    redis_users::let_in(&cluster.redis.client()).unwrap();
    let people = people(&cluster).await;
    let args = [&["status"], &PATIENT[..]].concat();
    let status = json(&cluster.redis, VIEWER, &args, 0).await;

    let gateways = status["gateways"].as_array().unwrap();
    assert_eq!(gateways.len(), 2);
    for (client, connections) in [(&people[0], 2), (&people[1], 3)] {
        let gateway = by(&status["gateways"], "boot", boot(client));
        assert_eq!(gateway["state"], "alive");
        assert_eq!(gateway["connections"], connections);
        assert_eq!(gateway["dead_since"], Value::Null);
    }
    let shares = cluster.shares().await;
    assert_eq!(status["workers"].as_array().unwrap().len(), shares.len());
    for (name, lanes) in &shares {
        let worker = by(&status["workers"], "id", name.as_str());
        assert_eq!(
            *worker,
            object!({"id": name, "state": "alive", "lanes": lanes})
        );
    }
    let lanes = status["lanes"].as_array().unwrap();
    assert_eq!(lanes.len(), PAIRS);
    let leases = cluster.leases().await;
    for lane in lanes {
        let number = |name: &str| u8::try_from(lane[name].as_u64().unwrap()).unwrap();
        let owner = lane["owner"].as_str().expect("owned");
        let token = &leases[&(number("shard"), number("lane"))];
        assert!(token.starts_with(&format!("{owner}.")), "{owner} {token}");
        assert_eq!(
            (&lane["backlog"], &lane["oldest_ms"]),
            (&object!(0), &Value::Null)
        );
    }
    let sites = &status["sites"];
    assert_eq!(sites.as_array().unwrap().len(), 2);
    for (site, counts) in [(DEFAULT_SITE, [1, 0, 2, 0]), ("elsewhere", [1, 1, 0, 0])] {
        let shard = Shard::of(&Site::parse(site).unwrap()).number();
        let [duty, free, waiting, away] = counts;
        let expected = object!({"site": site, "shard": shard, "staff_on_duty": duty,
            "staff_free": free, "customers_waiting": waiting, "customers_away": away});
        assert_eq!(*by(sites, "site", site), expected);
    }
    assert_eq!(status["redis"]["role"], "master");
    assert_eq!(status["redis"]["appendonly"], true);
    assert_eq!(status["redis"]["memory_max_bytes"], 1024 * 1024 * 1024);
    assert_eq!(status["dead_letters"], 0);
    assert_eq!(status["problems"], object!([]));

    for user in [WORKER, OPERATOR] {
        let args = [&["status", "--check"], &PATIENT[..]].concat();
        assert_eq!(
            json(&cluster.redis, user, &args, 0).await["problems"],
            object!([])
        );
    }
    let args = [&["status", "--table"], &PATIENT[..]].concat();
    let table = run(&cluster.redis, VIEWER, &args).await;
    let table = String::from_utf8(table.stdout).unwrap();
    let names = shares
        .keys()
        .cloned()
        .chain([boot(&people[0]), "elsewhere".into()]);
    for name in names {
        let line = table.lines().find(|line| line.contains(&name));
        assert!(line.is_some(), "{name} is not in\n{table}");
    }
}

/// The fields of the JSON are a promise: others may come, none of these may go.
#[tokio::test]
async fn the_fields_of_the_json_stay() {
    let cluster = Cluster::builder().gateways(1).workers(1).start().await;
    let args = [&["status", "--json"], &PATIENT[..]].concat();
    let status = json(&cluster.redis, WORKER, &args, 0).await;
    let has = |value: &Value, fields: &[&str]| {
        for field in fields {
            assert!(value.get(field).is_some(), "no {field} in {value}");
        }
    };
    has(
        &status,
        &[
            "time",
            "redis",
            "gateways",
            "workers",
            "lanes",
            "sites",
            "more_sites",
            "dead_letters",
            "problems",
        ],
    );
    has(
        &status["redis"],
        &[
            "version",
            "role",
            "replicas",
            "uptime_s",
            "memory_used_bytes",
            "memory_max_bytes",
            "appendonly",
            "appendonly_ok",
        ],
    );
    has(
        &status["gateways"][0],
        &["boot", "state", "dead_since", "connections"],
    );
    has(&status["workers"][0], &["id", "state", "lanes"]);
    let lane = [
        "shard",
        "lane",
        "owner",
        "backlog",
        "more_backlog",
        "oldest_ms",
    ];
    has(&status["lanes"][0], &lane);
}

/// Appends what changes nothing: the end of a socket that nobody has. Returns the events.
async fn append(redis: &RedisServer, uid: &str, count: usize) -> Vec<EventId> {
    let (site, uid) = (Site::parse(DEFAULT_SITE).unwrap(), Uid::parse(uid).unwrap());
    let (shard, lane) = (Shard::of(&site), Lane::of(&uid));
    let client = ClientId::random(&BootId::random());
    let clean = true;
    let kind = Kind::Close { client, clean };
    let event = Event { site, uid, kind };
    let mut pipeline = redis::pipe();
    for _ in 0..count {
        let append = pipeline.cmd("XADD").arg(keys::events(shard, lane)).arg("*");
        event.write(|name, value| {
            append.arg(name).arg(value);
        });
    }
    let ids: Vec<String> = pipeline
        .query_async(&mut redis.connect().await)
        .await
        .unwrap();
    let stream = |id: &String| StreamId::parse(id).unwrap();
    let event = |stream| EventId {
        shard,
        lane,
        stream,
    };
    ids.iter().map(stream).map(event).collect()
}

#[tokio::test]
async fn what_waits_for_a_stopped_worker_is_counted_and_ages() {
    // Nobody takes over meanwhile.
    let cluster = Cluster::builder().worker_setting("lease-ms", 60_000);
    let cluster = cluster.start().await;
    let uid = cluster.uid_at("u", 0).await;
    let stopped = cluster.workers[0].child.name().to_owned();
    cluster.workers[0].child.pause();
    let event = append(&cluster.redis, &uid, 3).await[0];
    let args = ["status", "--observe-ms", "3000"];
    let look = async || {
        let status = json(&cluster.redis, WORKER, &args, 0).await;
        let lanes = status["lanes"].as_array().unwrap().iter();
        let mut lane = lanes.filter(|lane| {
            lane["shard"] == event.shard.number() && lane["lane"] == event.lane.number()
        });
        (lane.next().expect("every lane is there").clone(), status)
    };
    let (first, status) = look().await;
    assert_eq!(
        by(&status["workers"], "id", stopped.as_str())["state"],
        "silent"
    );
    assert_eq!(first["owner"], stopped);
    assert_eq!(
        (&first["backlog"], &first["more_backlog"]),
        (&object!(3), &object!(false))
    );
    let problems = status["problems"].to_string();
    assert!(
        problems.contains(&format!("worker {stopped} is silent")),
        "{problems}"
    );

    append(&cluster.redis, &uid, 120).await;
    let (second, later) = look().await;
    assert_eq!(
        (&second["backlog"], &second["more_backlog"]),
        (&object!(100), &object!(true))
    );
    let age = |lane: &Value| lane["oldest_ms"].as_u64().expect("something waits");
    let passed = later["time"].as_u64().unwrap() - status["time"].as_u64().unwrap();
    assert_eq!(age(&second) - age(&first), passed, "by Redis's clock");
    assert_eq!(
        age(&second),
        later["time"].as_u64().unwrap() - event.stream.ms
    );

    cluster.workers[0].child.unpause();
    wait::until("nothing waits any more", async || {
        let (lane, _) = look().await;
        (lane["backlog"] == 0 && lane["oldest_ms"].is_null()).then_some(())
    })
    .await;
}

/// A gateway that has gone is dead, one that was killed is silent, and a worker that was killed is gone or silent.
#[tokio::test]
async fn who_has_gone_is_not_shown_as_alive() {
    let mut cluster = Cluster::start().await;
    let clients = [
        cluster.connect(0, "uid=a").await,
        cluster.connect(1, "uid=b").await,
    ];
    cluster.gateways[0].child.term();
    assert_eq!(cluster.gateways[0].child.wait_exit().await, Ok(0));
    cluster.gateways[1].child.kill9();
    let args = ["status", "--observe-ms", "2000"];
    let status = json(&cluster.redis, WORKER, &args, 0).await;
    let stopped = by(&status["gateways"], "boot", boot(&clients[0]));
    assert_eq!(stopped["state"], "dead");
    assert!(stopped["dead_since"].as_u64() <= status["time"].as_u64());
    let killed = by(&status["gateways"], "boot", boot(&clients[1]));
    assert_eq!(
        (&killed["state"], &killed["connections"]),
        (&object!("silent"), &object!(1))
    );
    let problems = status["problems"].as_array().unwrap();
    assert!(
        problems.contains(&object!("no gateway runs")),
        "{problems:?}"
    );
    let check = [&args[..], &["--check"]].concat();
    json(&cluster.redis, WORKER, &check, 1).await;
}
