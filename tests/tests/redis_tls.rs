//! Redis over TLS: a conversation with the programs behind it, and one sentence for each way to
//! get it wrong.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "in a test a panic with a sentence is how a failure is reported"
)]

use std::{fs, path::PathBuf};

use frontdesk_tests::{
    child::Child,
    cluster::Cluster,
    ports::Port,
    process,
    redis_server::Options,
    redis_users::{GATEWAY, WORKER, password},
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

/// A CA, a server's certificate for the name `localhost` signed by it, and a CA that did not.
struct Pki {
    dir: TempDir,
}

impl Pki {
    fn new() -> Self {
        let pki = Self {
            dir: tempfile::tempdir().expect("the temporary directory is writable"),
        };
        let (_, stranger) = authority();
        pki.write("stranger.crt", &stranger);
        let (issuer, ca) = authority();
        pki.write("ca.crt", &ca);
        let key = KeyPair::generate().unwrap();
        let server = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let server = server.signed_by(&key, &issuer).unwrap();
        pki.write("redis.crt", &server.pem());
        pki.write("redis.key", &key.serialize_pem());
        pki
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("the temporary directory is writable");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn options(&self, port: &Port) -> Options {
        let path = |name| self.path(name).display().to_string();
        Options::default()
            .set("tls-port", &port.number().to_string())
            .set("tls-cert-file", &path("redis.crt"))
            .set("tls-key-file", &path("redis.key"))
            .set("tls-ca-cert-file", &path("ca.crt"))
            .set("tls-auth-clients", "no")
    }
}

fn authority() -> (Issuer<'static, KeyPair>, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap().pem();
    (Issuer::new(params, key), certificate)
}

fn url(scheme: &str, user: &str, host: &str, port: &Port) -> String {
    format!(
        "{scheme}://{user}:{}@{host}:{}/",
        password(user),
        port.number()
    )
}

#[tokio::test]
async fn a_conversation_over_tls() {
    let (pki, port) = (Pki::new(), Port::lease());
    let ca = pki.path("ca.crt").display().to_string();
    let mut cluster = Cluster::builder()
        .redis(pki.options(&port))
        .gateway_setting("redis-url", url("rediss", GATEWAY, "localhost", &port))
        .gateway_setting("redis-ca", &ca)
        .worker_setting("redis-url", url("rediss", WORKER, "localhost", &port))
        .worker_setting("redis-ca", &ca)
        .start()
        .await;
    let mut staff = cluster.connect(0, "uid=staff").await;
    staff.act("staffOnline").await;
    staff.expect("message", "on_duty").await;
    let mut customer = cluster.connect(1, "uid=customer").await;
    customer.act("customerConnect").await;
    customer.expect("message", "connected").await;
    staff.expect("message", "new_customer").await;
    customer.say_with_id("hello", "m1").await;
    customer.expect_ack("m1").await;
    staff.expect_words("customer", "hello").await;
    // Redis comes back, and so do they.
    cluster.redis.restart();
    assert_eq!(customer.expect_close().await, 4000);
    for gateway in &mut cluster.gateways {
        gateway.ready().await;
    }
    let clients: String = redis::cmd("CLIENT")
        .arg("LIST")
        .query(&mut cluster.redis.connection())
        .unwrap();
    let plain = format!("laddr={} ", cluster.redis.addr());
    for line in clients.lines().filter(|line| line.contains(&plain)) {
        assert!(line.contains("user=operator"), "without TLS: {line}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_tls_is_said_in_one_sentence() {
    let (pki, port) = (Pki::new(), Port::lease());
    let redis = pki.options(&port).start();
    let ca = pki.path("ca.crt").display().to_string();
    let stranger = pki.path("stranger.crt").display().to_string();
    let plain = redis.addr().port();
    let good = url("rediss", GATEWAY, "localhost", &port);
    for (url, ca, says) in [
        (good.clone(), Some(&stranger), "certificate"),
        // This machine's trust store knows no such CA.
        (good.clone(), None, "certificate"),
        (
            url("rediss", GATEWAY, "127.0.0.1", &port),
            Some(&ca),
            "certificate",
        ),
        // Plain to the TLS port, and TLS to the plain port.
        (url("redis", GATEWAY, "localhost", &port), None, "rediss://"),
        (
            good.replace(&port.number().to_string(), &plain.to_string()),
            Some(&ca),
            "FRONTDESK_REDIS_URL",
        ),
        (
            url("redis", GATEWAY, "localhost", &port),
            Some(&ca),
            "rediss://",
        ),
        (
            good.clone(),
            Some(&"/nowhere/ca.crt".to_owned()),
            "cannot be read",
        ),
    ] {
        for program in ["frontdesk-gateway", "frontdesk-worker"] {
            let mut args = vec!["--metrics-listen=off".to_owned()];
            if program == "frontdesk-gateway" {
                args.push("--open".to_owned());
            }
            args.push(format!("--redis-url={url}"));
            args.extend(ca.map(|ca| format!("--redis-ca={ca}")));
            let log = pki.path("refusal.log");
            let mut child = Child::start(program, &process::binary(program), &args, &[], &log);
            let code = child.wait_exit().await;
            let said = child.log();
            println!("{url} {ca:?}: {said}");
            assert_eq!(code, Ok(2), "{url} {ca:?}: {said}");
            assert_eq!(said.lines().count(), 1, "{said}");
            assert!(said.contains(says), "{url} {ca:?}: {said}");
            assert!(!said.contains(&password(GATEWAY)), "{said}");
        }
    }
}
