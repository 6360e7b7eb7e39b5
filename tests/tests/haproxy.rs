//! Debian's haproxy with the shipped deploy/haproxy.cfg in front of two gateways, which it finds by
//! DNS as it does in docker-compose.yml.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "in a test a panic with a sentence is how a failure is reported"
)]

use std::{
    collections::HashSet,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    http::StatusCode,
    routing::{get, post},
};
use frontdesk_tests::{
    child::Child,
    client::Client,
    cluster::Cluster,
    dns::Dns,
    http,
    peer::WEBSOCKETS,
    ports::Port,
    process::{Program, Settings},
    redis_server::find_program,
    wait,
};
use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};

const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/haproxy.cfg");
const FIRST: Ipv4Addr = Ipv4Addr::LOCALHOST;
const SECOND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Two gateways on one port of two addresses, and haproxy before them.
struct Site {
    proxy: SocketAddr,
    gateways: Vec<Program>,
    dns: Dns,
    _haproxy: Haproxy,
    cluster: Cluster,
}

/// A running haproxy.
struct Haproxy {
    addr: SocketAddr,
    _child: Child,
    _port: Port,
}

impl Haproxy {
    /// In front of all gateways that the name server knows, on this port of theirs.
    fn start(dns: &Dns, gateway_port: u16, dir: &Path) -> Self {
        Self::behind(dns, gateway_port, dir, "")
    }

    /// The same behind something that ends TLS and comes from there.
    fn behind(dns: &Dns, gateway_port: u16, dir: &Path, trusted: &str) -> Self {
        let port = Port::lease();
        let addr = SocketAddr::from((FIRST, port.number()));
        let env = [
            ("FRONTDESK_PROXY_BIND", addr.to_string()),
            (
                "FRONTDESK_PROXY_GATEWAYS",
                format!("gateway.test:{gateway_port}"),
            ),
            ("FRONTDESK_PROXY_DNS", dns.addr().to_string()),
            ("FRONTDESK_PROXY_TRUSTED", trusted.to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value));
        let args = ["-db", "-f", CONFIG].map(str::to_owned);
        let log = dir.join("haproxy.log");
        Self {
            addr,
            _child: Child::start("haproxy", &find_program("haproxy"), &args, &env, &log),
            _port: port,
        }
    }
}

impl Site {
    async fn start() -> Self {
        let cluster = Cluster::builder().gateways(0).start().await;
        let mut gateways = Vec::new();
        let port = Port::lease();
        let number = port.number();
        let mut lease = Some(port);
        for ip in [FIRST, SECOND] {
            let settings = Settings::default().set("listen", SocketAddr::from((ip, number)));
            // Both use the one leased port; the first holds the lease, a spare one fills the
            // second's place.
            let port = lease.take().unwrap_or_else(Port::lease);
            let name = format!("gateway-{ip}");
            let redis = cluster.redis.url_for("gateway");
            let mut gateway =
                Program::gateway_at(ip.into(), port, &name, &redis, &settings, cluster.logs());
            gateway.listen.set_port(number);
            gateway.ready().await;
            gateways.push(gateway);
        }
        let dns = Dns::start(&[FIRST, SECOND]);
        let haproxy = Haproxy::start(&dns, number, cluster.logs());
        let site = Self {
            proxy: haproxy.addr,
            gateways,
            dns,
            _haproxy: haproxy,
            cluster,
        };
        site.serves_from(2).await;
        site
    }

    /// Waits until a round of new connections reaches exactly this many gateways.
    async fn serves_from(&self, count: usize) {
        let what = format!("haproxy serves from {count} gateways");
        wait::until(&what, async || (self.boots().await? == count).then_some(())).await;
    }

    /// How many gateways a few new sockets, held at once, come to.
    async fn boots(&self) -> Option<usize> {
        let mut clients = Vec::new();
        for n in 0..6 {
            clients.push(
                Client::try_connect(self.proxy, &format!("uid=probe{n}"))
                    .await
                    .ok()?,
            );
        }
        let mut boots = HashSet::new();
        for client in &mut clients {
            let welcome = client.expect("welcome", "welcome").await;
            boots.insert(boot(&welcome));
        }
        Some(boots.len())
    }
}

/// The first half of a client_id names the gateway's start.
fn boot(welcome: &serde_json::Value) -> String {
    welcome["client_id"].as_str().expect("a client_id")[..22].to_owned()
}

#[tokio::test]
async fn a_conversation_goes_through_the_proxy_and_survives_the_other_gateways_death() {
    let mut site = Site::start().await;
    // leastconn: the second socket comes to the other gateway.
    let mut staff = Client::connect(site.proxy, "uid=s1").await;
    let mut customer = Client::connect(site.proxy, "uid=c1").await;
    assert_ne!(boot(&staff.welcome), boot(&customer.welcome));
    staff.act("staffOnline").await;
    staff.expect("message", "on_duty").await;
    customer.act("customerConnect").await;
    customer.expect("message", "connected").await;
    staff.expect("message", "new_customer").await;
    customer.say("你好").await;
    staff.expect_words("customer", "你好").await;
    staff.say("您好").await;
    customer.expect_words("staff", "您好").await;
    customer.act("customerLeave").await;
    customer.expect("chat_close", "customer_left").await;
    staff.expect("chat_close", "customer_left").await;

    // One gateway dies: new sockets come to the other one, and who sat there notices nothing.
    site.gateways[0].child.kill9();
    site.serves_from(1).await;
    let survivor = Client::connect(site.proxy, "uid=c2").await;
    let (mut alive, mut dead) = (staff, customer);
    if boot(&alive.welcome) != boot(&survivor.welcome) {
        (alive, dead) = (dead, alive);
    }
    alive.ping().await;
    drop(dead);
    drop(survivor);
    assert!(site.cluster.redis.log().contains("Ready to accept"));
}

#[tokio::test]
async fn a_client_of_other_make_talks_through_the_proxy() {
    let site = Site::start().await;
    let logs = site.cluster.logs();
    WEBSOCKETS.converse(site.proxy, site.proxy, logs).await;
}

#[tokio::test]
async fn gateways_come_and_go_by_dns() {
    let site = Site::start().await;
    site.dns.set(&[SECOND]);
    site.serves_from(1).await;
    site.dns.set(&[FIRST, SECOND]);
    site.serves_from(2).await;
}

#[tokio::test]
async fn machines_pages_stay_behind_the_proxy() {
    let site = Site::start().await;
    for path in ["/readyz", "/livez", "/metrics"] {
        assert_eq!(
            http::get(site.proxy, path).await.expect("an answer").status,
            404,
            "{path}"
        );
    }
    assert_eq!(
        http::get(site.proxy, "/").await.expect("an answer").status,
        200
    );
}

#[tokio::test]
async fn a_handshake_that_drips_is_cut() {
    let site = Site::start().await;
    let mut stream = TcpStream::connect(site.proxy)
        .await
        .expect("haproxy accepts");
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n")
        .await
        .expect("written");
    let mut answer = Vec::new();
    timeout(wait::DEADLINE, stream.read_to_end(&mut answer))
        .await
        .expect("cut within timeout http-request")
        .expect("closed in order");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

/// What a gateway is sent when somebody claims to come from elsewhere, in small letters.
async fn head_of_a_claim(trusted: &str) -> String {
    let gateway = TcpListener::bind((FIRST, 0)).await.expect("a free port");
    let gateway_port = gateway.local_addr().expect("bound").port();
    let dns = Dns::start(&[FIRST]);
    let dir = tempfile::tempdir().expect("the temporary directory is writable");
    let haproxy = Haproxy::behind(&dns, gateway_port, dir.path(), trusted);
    let (heads, mut seen) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = gateway.accept().await.expect("accepted");
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => break,
                }
            }
            let _ = heads.send(String::from_utf8_lossy(&head).to_lowercase());
            let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = stream.write_all(ok).await;
        }
    });
    let claim = "GET /claimed HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 6.6.6.6\r\n\
                 Forwarded: for=6.6.6.6\r\nConnection: close\r\n\r\n";
    wait::until("haproxy has found the gateway", async || {
        let mut stream = TcpStream::connect(haproxy.addr).await.ok()?;
        stream.write_all(claim.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        answer.starts_with("HTTP/1.1 200").then_some(())
    })
    .await;
    loop {
        let head = seen.recv().await.expect("the gateway runs");
        if head.starts_with("get /claimed") {
            return head;
        }
        assert!(head.is_empty() || head.starts_with("get /readyz"), "{head}");
    }
}

/// A gateway sees the address that haproxy saw, and nothing that the client claims.
#[tokio::test]
async fn the_clients_address_is_passed_on_and_cannot_be_claimed() {
    for trusted in ["", "192.0.2.0/24 198.51.100.1"] {
        let head = head_of_a_claim(trusted).await;
        assert!(head.contains("x-forwarded-for: 127.0.0.1\r\n"), "{head}");
        assert!(!head.contains("6.6.6.6"), "{head}");
    }
}

/// What ends TLS in front of haproxy says where the client is; haproxy adds whom it saw.
#[tokio::test]
async fn who_ends_tls_in_front_says_where_a_client_is() {
    let head = head_of_a_claim("192.0.2.0/24 127.0.0.1").await;
    let lines = head
        .lines()
        .filter(|line| line.starts_with("x-forwarded-for"));
    let lines: Vec<_> = lines.collect();
    assert_eq!(
        lines,
        ["x-forwarded-for: 6.6.6.6", "x-forwarded-for: 127.0.0.1"]
    );
    assert!(!head.contains("forwarded: for"), "{head}");
}

/// What a gateway has perhaps done before it died is not done by another one as well, unless a key makes them one.
#[tokio::test]
async fn what_may_be_done_is_not_asked_for_again() {
    let gateway = TcpListener::bind((FIRST, 0)).await.expect("a free port");
    let gateway_port = gateway.local_addr().expect("bound").port();
    let dns = Dns::start(&[FIRST]);
    let dir = tempfile::tempdir().expect("the temporary directory is writable");
    let haproxy = Haproxy::start(&dns, gateway_port, dir.path());
    let posts = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&posts);
    let app = Router::new()
        .route("/readyz", get(async || StatusCode::OK))
        .route(
            "/api/v1/messages",
            post(async move || {
                seen.fetch_add(1, Ordering::SeqCst);
                StatusCode::SERVICE_UNAVAILABLE
            }),
        );
    tokio::spawn(async move { axum::serve(gateway, app).await.expect("it goes on") });
    wait::until("haproxy has found the gateway", async || {
        let answer = http::get(haproxy.addr, "/").await.ok()?;
        (answer.status == 404).then_some(())
    })
    .await;
    for (key, times) in [("", 1), ("Idempotency-Key: k1\r\n", 4)] {
        let before = posts.load(Ordering::SeqCst);
        let mut stream = TcpStream::connect(haproxy.addr).await.expect("it listens");
        let request = format!(
            "POST /api/v1/messages HTTP/1.1\r\nHost: x\r\n{key}Content-Length: 2\r\nConnection: close\r\n\r\n{{}}"
        );
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert_eq!(posts.load(Ordering::SeqCst) - before, times, "{key}");
    }
}

/// What a gateway of another version serves of the JavaScript client, and 404 for all else.
async fn another_version(address: SocketAddr) {
    let listener = TcpListener::bind(address).await.expect("a free port");
    let router = Router::new()
        .route("/readyz", get(async || StatusCode::OK))
        .route(
            "/client.js",
            get(async || "import './client/0123456789abcdef01234567/only.js';"),
        )
        .route(
            "/client/0123456789abcdef01234567/only.js",
            get(async || "export {};"),
        );
    tokio::spawn(async move { axum::serve(listener, router).await.expect("it goes on") });
}

/// Each gateway has only the modules of its own version, and a page gets those that it asks for.
#[tokio::test]
async fn in_a_rolling_upgrade_modules_come_from_a_gateway_that_has_them() {
    let cluster = Cluster::builder().gateways(1).workers(1).start().await;
    let port = cluster.addr(0).port();
    let others = (2..=6).map(|n| Ipv4Addr::new(127, 0, 0, n));
    let addresses: Vec<_> = std::iter::once(FIRST).chain(others).collect();
    for other in &addresses[1..] {
        another_version(SocketAddr::from((*other, port))).await;
    }
    let dns = Dns::start(&addresses);
    let haproxy = Haproxy::start(&dns, port, cluster.logs());
    let page = async |path: &str| http::get(haproxy.addr, path).await.ok();
    let mut entries = HashSet::new();
    wait::until("both versions are met", async || {
        let entry = page("/client.js")
            .await
            .filter(|entry| entry.status == 200)?;
        entries.insert(entry.body);
        (entries.len() == 2).then_some(())
    })
    .await;
    let modules = entries.iter().flat_map(|entry| entry.split("'./").skip(1));
    let modules: Vec<_> = modules.filter_map(|text| text.split('\'').next()).collect();
    assert!(modules.len() > 3, "{modules:?}");
    wait::until("the modules' backend knows them", async || {
        for module in &modules {
            page(&format!("/{module}"))
                .await
                .filter(|answer| answer.status == 200)?;
        }
        Some(())
    })
    .await;
    // Whichever gateway's turn it is, with requests that take each other's.
    for _ in 0..4 {
        let asked = modules.iter().map(|module| async move {
            let answer = page(&format!("/{module}")).await.expect("an answer");
            assert_eq!(answer.status, 200, "{module}: {answer:?}");
        });
        join_all(asked).await;
    }
    let nobodys = page("/client/76543210fedcba9876543210/only.js")
        .await
        .expect("an answer");
    assert_eq!(nobodys.status, 404);
}
