//! What a site's programs do to its webhooks.

use frontdesk_shared::{
    event::{HookAct, HookSpec},
    hooks::{self, HookTypes, HookUrl},
    ids::HookId,
    keys,
    protocol::Role,
    token::Secret,
};
use frontdesk_tests::{asking::Asker, lane_driver::words, redis_dump::Dump, redis_server::Options};
use frontdesk_worker::{desk::settings::DeskSettings, hooks::MAX_HOOKS_PER_SITE, library::Outcome};
use serde_json::Value;

use crate::{
    hooks::queued,
    requests::{asker, said},
    scene::{Change, Scene},
};

on_both![
    a_webhook_is_made_changed_and_removed,
    only_a_sites_own_programs_manage_webhooks,
    the_secret_of_the_first_time_is_told_again_and_no_other,
    a_dead_letter_has_no_secret,
    for_a_day_the_secret_before_counts_too,
    a_site_has_so_many_webhooks_and_no_more,
    with_a_webhook_goes_what_waits_for_it,
    what_waits_is_delivered_when_a_webhook_is_on_again,
];

const SECRET: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const OTHER: &str = "whsec_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA=";

fn secret(text: &str) -> Secret {
    hooks::secret(text).expect("well-formed")
}

fn spec(url: &str, letters: &str, enabled: bool) -> HookSpec {
    HookSpec {
        url: HookUrl::parse(url).expect("well-formed"),
        types: HookTypes::from_letters(letters).expect("known"),
        enabled,
    }
}

fn create(letters: &str) -> HookAct {
    HookAct::Create {
        spec: spec("https://a.example/x", letters, true),
        secret: secret(SECRET),
    }
}

/// A program of the site.
pub fn program(scene: &mut Scene) -> Asker {
    let mut asker = asker(scene, "robot");
    asker.role = Role::Service;
    asker
}

pub async fn does(scene: &mut Scene, key: &str, act: HookAct) -> Change {
    let kind = program(scene).hooks(key, act);
    scene.change("robot", kind).await
}

/// The only webhook of the site.
async fn the_hook(scene: &mut Scene) -> HookId {
    let dump = scene.driver.dump().await;
    let all = dump.hash(&keys::hooks(&scene.driver.site));
    assert_eq!(all.len(), 1);
    HookId::parse(all.keys().next().expect("one")).expect("well-formed")
}

/// A scene with a webhook.
pub async fn with_hook(options: Options, letters: &str) -> (Scene, HookId) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    does(&mut scene, "k0", create(letters)).await;
    let hook = the_hook(&mut scene).await;
    (scene, hook)
}

fn payload(change: &Change) -> Value {
    let Outcome::Said(said) = &change.outcome else {
        panic!("{:?}", change.outcome)
    };
    let frame: Value = serde_json::from_str(&said.frame).expect("JSON");
    frame["payload"].clone()
}

async fn a_webhook_is_made_changed_and_removed(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let change = does(&mut scene, "k1", create("em")).await;
    change.is(r#"
        + hook_secrets default|e1.1=whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
        + hooks default=e1.1 em;
        + hooks e1.1={"created":T,"changed":T,"enabled":true,"types":["conversation.ended","message.created"],"url":"https://a.example/x"}
        + req:robot:0 #=T 0
        + req:robot:0 TTL 90000000
        + req:robot:0 k1=D {"action":"webhook","payload":{"id":"e1.1","created":T,"changed":T,"enabled":true,"types":["conversation.ended","message.created"],"url":"https://a.example/x"}}
    "#);
    let made = payload(&change);
    assert_eq!(made["secret"], SECRET);
    let hook = the_hook(&mut scene).await;
    assert_eq!(made["id"], hook.as_str());
    let spec = spec("http://b.example/", "q", false);
    let act = HookAct::Change {
        hook: hook.clone(),
        spec,
    };
    let change = does(&mut scene, "k2", act).await;
    assert_eq!(payload(&change)["created"], made["created"]);
    assert_eq!(payload(&change)["secret"], Value::Null);
    let changes: Vec<_> = change
        .lines
        .iter()
        .filter(|it| it.contains("hook"))
        .collect();
    assert_eq!(
        changes,
        [
            "+ hooks default=e1.1 -;",
            r#"+ hooks e1.1={"created":T,"changed":T,"enabled":false,"types":["conversation.queued"],"url":"http://b.example/"}"#,
            r#"+ req:robot:0 k2=D {"action":"webhook","payload":{"id":"e1.1","created":T,"changed":T,"enabled":false,"types":["conversation.queued"],"url":"http://b.example/"}}"#,
            "- hooks default=e1.1 em;",
            r#"- hooks e1.1={"created":T,"changed":T,"enabled":true,"types":["conversation.ended","message.created"],"url":"https://a.example/x"}"#,
        ]
    );
    let delete = HookAct::Delete { hook };
    let change = does(&mut scene, "k3", delete.clone()).await;
    assert_eq!(said(&scene, &change), "webhook_deleted id=e1.1");
    let dump = scene.driver.dump().await;
    assert!(!dump.0.keys().any(|key| key.contains("hook")), "{dump}");
    // Again: as before. Under another key it is not there.
    let change = does(&mut scene, "k3", delete.clone()).await;
    assert_eq!(said(&scene, &change), "webhook_deleted id=e1.1");
    let change = does(&mut scene, "k4", delete).await;
    assert_eq!(said(&scene, &change), "error code=no_webhook");
}

async fn only_a_sites_own_programs_manage_webhooks(options: Options) {
    let (mut scene, hook) = with_hook(options, "m").await;
    let before = scene.driver.dump().await;
    for (n, role) in Role::ALL.into_iter().enumerate() {
        if role == Role::Service {
            continue;
        }
        for (m, act) in [
            create("m"),
            HookAct::Change {
                hook: hook.clone(),
                spec: spec("http://b.example/", "m", true),
            },
            HookAct::Rotate {
                hook: hook.clone(),
                secret: secret(OTHER),
            },
            HookAct::Delete { hook: hook.clone() },
            HookAct::Redeliver {
                hook: hook.clone(),
                delivery: None,
            },
            HookAct::Park {
                hook: hook.clone(),
                delivery: None,
            },
        ]
        .into_iter()
        .enumerate()
        {
            let mut asker = asker(&mut scene, "eve");
            asker.role = role;
            let kind = asker.hooks(&format!("k{n}{m}"), act);
            let change = scene.change("eve", kind).await;
            assert_eq!(said(&scene, &change), "error code=wrong_role");
        }
    }
    let after = scene.driver.dump().await;
    let about_hooks = |dump: &Dump| {
        let mut dump = dump.clone();
        dump.0.retain(|key, _| key.contains("hook"));
        dump
    };
    assert_eq!(about_hooks(&after), about_hooks(&before));
}

async fn the_secret_of_the_first_time_is_told_again_and_no_other(options: Options) {
    let (mut scene, hook) = with_hook(options, "m").await;
    // Whoever asks again is given another secret by their gateway, which counts for nothing.
    let HookAct::Create { spec, .. } = create("m") else {
        unreachable!("it is made")
    };
    let again = HookAct::Create {
        spec: spec.clone(),
        secret: secret(OTHER),
    };
    let change = does(&mut scene, "k0", again).await;
    change.is("");
    assert_eq!(payload(&change)["secret"], SECRET);
    let other = HookAct::Change {
        hook: hook.clone(),
        spec,
    };
    let change = does(&mut scene, "k0", other).await;
    assert_eq!(said(&scene, &change), "error code=key_reused");
    // It is told as it is now, and not at all of a webhook that is not there any more.
    let rotate = HookAct::Rotate {
        hook: hook.clone(),
        secret: secret(OTHER),
    };
    does(&mut scene, "k1", rotate).await;
    let change = does(&mut scene, "k0", create("m")).await;
    assert_eq!(payload(&change)["secret"], OTHER);
    let dump = scene.driver.dump().await;
    let kept = dump.hash(&scene.driver.key("req:robot:0"));
    assert!(kept.len() > 2 && !format!("{kept:?}").contains("whsec_"));
    does(&mut scene, "k2", HookAct::Delete { hook }).await;
    let change = does(&mut scene, "k0", create("m")).await;
    assert_eq!(payload(&change)["secret"], Value::Null);
}

async fn a_dead_letter_has_no_secret(options: Options) {
    let mut scene = Scene::new(options, DeskSettings::default()).await;
    let mut spoil = redis::cmd("SET");
    spoil.arg(keys::hooks(&scene.driver.site)).arg("no hash");
    let connection = &mut scene.driver.connection;
    spoil.exec_async(connection).await.expect("written");
    let kind = program(&mut scene).hooks("k1", create("m"));
    scene.driver.append("robot", kind).await;
    let settled = scene.driver.drain().await;
    assert!(matches!(&settled[0].outcome, Outcome::Dead(_)));
    let dump = scene.driver.dump().await;
    let letters = dump.stream(&keys::dead(scene.driver.shard));
    let [(_, fields)] = &letters[..] else {
        panic!("one letter: {letters:?}")
    };
    assert!(fields.contains(&("secret".into(), "-".into())));
    assert!(!format!("{letters:?}").contains("whsec_"));
}

async fn for_a_day_the_secret_before_counts_too(options: Options) {
    let (mut scene, hook) = with_hook(options, "m").await;
    let rotate = |text: &str| HookAct::Rotate {
        hook: hook.clone(),
        secret: secret(text),
    };
    let change = does(&mut scene, "k1", rotate(OTHER)).await;
    assert_eq!(payload(&change)["secret"], OTHER);
    let kept = async |scene: &mut Scene| {
        let dump = scene.driver.dump().await;
        let mut all = dump.hash(&format!(
            "{}hook_secrets",
            keys::shard_prefix(scene.driver.shard)
        ));
        all.pop_first().expect("one").1
    };
    let text = kept(&mut scene).await;
    let (secrets, until) = text.rsplit_once(' ').expect("three words");
    assert_eq!(secrets, format!("{OTHER} {SECRET}"));
    let until: u64 = until.parse().expect("a time");
    let now = scene.driver.time_ms().await;
    assert!(until <= now + hooks::OLD_SECRET_MS && until > now + hooks::OLD_SECRET_MS - 600_000);
    // Never more than two.
    does(&mut scene, "k2", rotate(SECRET)).await;
    assert!(
        kept(&mut scene)
            .await
            .starts_with(&format!("{SECRET} {OTHER} "))
    );
}

async fn a_site_has_so_many_webhooks_and_no_more(options: Options) {
    let (mut scene, hook) = with_hook(options, "m").await;
    for n in 1..MAX_HOOKS_PER_SITE {
        does(&mut scene, &format!("k{n}"), create("m")).await;
    }
    let change = does(&mut scene, "more", create("m")).await;
    assert_eq!(said(&scene, &change), "error code=too_many_webhooks");
    does(&mut scene, "less", HookAct::Delete { hook }).await;
    let change = does(&mut scene, "again", create("m")).await;
    assert!(said(&scene, &change).starts_with("webhook "));
}

async fn with_a_webhook_goes_what_waits_for_it(options: Options) {
    let (mut scene, hook) = with_hook(options, "m").await;
    scene.staff("sam", 1).await;
    let mut alice = scene.customer("alice").await;
    scene.send(&mut alice, words("hello")).await;
    let key = |rest: &str| keys::hook(&scene.driver.site, &hook) + rest;
    let mut fill = redis::pipe();
    fill.zadd(key("retry"), "1||||{}", 1).ignore();
    fill.xadd(key("parked"), "*", &[("d", "||{}")]).ignore();
    fill.hset(key("counts"), "delivered", 1).ignore();
    let connection = &mut scene.driver.connection;
    fill.exec_async(connection).await.expect("written");
    does(&mut scene, "k1", HookAct::Delete { hook: hook.clone() }).await;
    scene.send(&mut alice, words("hello?")).await;
    let dump = scene.driver.dump().await;
    assert!(!dump.0.keys().any(|key| key.contains("hook")), "{dump}");
}

async fn what_waits_is_delivered_when_a_webhook_is_on_again(options: Options) {
    let (mut scene, hook) = with_hook(options, "m").await;
    scene.staff("sam", 1).await;
    let mut alice = scene.customer("alice").await;
    scene.send(&mut alice, words("before")).await;
    let turn = |on| HookAct::Change {
        hook: hook.clone(),
        spec: spec("https://a.example/x", "m", on),
    };
    does(&mut scene, "k1", turn(false)).await;
    scene.send(&mut alice, words("meanwhile")).await;
    let hooked = keys::hooked(scene.driver.shard);
    // Whoever looks finds it off.
    let mut remove = redis::cmd("DEL");
    remove.arg(&hooked);
    let connection = &mut scene.driver.connection;
    remove.exec_async(connection).await.expect("written");
    does(&mut scene, "k2", turn(true)).await;
    let waiting = queued(&mut scene, hook.as_str()).await;
    assert_eq!(waiting.len(), 1, "{waiting:?}");
}
