//! Where webhooks may go: not to this machine or its network, however that is written, and whatever a name
//! meant a moment ago.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use frontdesk_tests::{dns::Dns, wait};
use frontdesk_worker::hooks::{
    address::Allowed,
    schedule::Schedule,
    sender::{Failure, Receiver as To, Sender},
    settings::Settings,
};

use crate::{
    receiver::{Behaviour, Receiver},
    site::{builder, customer, hook, kept, say, staff},
};

const SECRETS: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

fn settings(allowed: &[&str]) -> Settings {
    let allowed = allowed.iter().map(|net| net.parse().expect("a network"));
    Settings {
        allowed: Allowed::new(allowed.collect()),
        timeout: Duration::from_secs(10),
        schedule: Schedule::new(Vec::new()),
        keep: Duration::from_secs(60),
        at_once: 4,
        lookup: None,
    }
}

fn to(url: &str) -> To {
    let config = serde_json::json!({"url": url}).to_string();
    To::parse(&config, SECRETS).unwrap_or_else(|| panic!("{url}"))
}

async fn send(sender: &Sender, url: &str) -> Result<(), Failure> {
    sender.send(&to(url), "6.1.1-0.1", "{}".into()).await
}

/// Asks the test's name server for the A records of any name.
fn asks(dns: &Dns) -> Settings {
    let server = dns.addr();
    Settings {
        lookup: Some(Arc::new(move |_: &str| look_up(server))),
        ..settings(&["127.0.0.2/32"])
    }
}

fn look_up(server: SocketAddr) -> std::io::Result<Vec<IpAddr>> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let question = [
        &[0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..],
        b"\x01a\x04test\0\0\x01\0\x01",
    ]
    .concat();
    socket.set_read_timeout(Some(wait::DEADLINE))?;
    socket.send_to(&question, server)?;
    let mut answer = [0; 1500];
    let length = socket.recv(&mut answer)?;
    // Each record is its name's place, type, class, time, length: 12 bytes, and an address.
    let records = answer[question.len()..length].chunks_exact(16);
    Ok(records
        .map(|record| Ipv4Addr::new(record[12], record[13], record[14], record[15]).into())
        .collect())
}

#[tokio::test]
async fn this_machine_is_not_called_however_it_is_written() {
    let receiver = Receiver::at("0.0.0.0:0").await;
    let port = receiver.addr.port();
    let sender = Sender::new(&settings(&[])).expect("a client");
    for host in [
        "127.0.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "017700000001",
        "127.1",
        "127.0.1",
        "127.0.0.1.",
        "0.0.0.0",
        "0",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "１２７.0.0.1",
        "127。0。0。1",
        "localhost",
        "LOCALHOST",
        "169.254.169.254",
        "10.0.0.1",
        "[fe80::1]",
        "[fd00:ec2::254]",
    ] {
        let sent = send(&sender, &format!("http://{host}:{port}/")).await;
        assert_eq!(sent, Err(Failure::Address), "{host}");
    }
    // Some systems do not know this name.
    let sent = send(&sender, &format!("http://localhost.:{port}/")).await;
    assert!(matches!(sent, Err(Failure::Address | Failure::Connect)));
    assert_eq!(receiver.connections(), 0);
    // What is allowed is called, in any of these ways.
    let sender = Sender::new(&settings(&["127.0.0.0/8"])).expect("a client");
    for host in [
        "127.0.0.1",
        "2130706433",
        "0177.0.0.1",
        "[::ffff:127.0.0.1]",
        "localhost",
    ] {
        let sent = send(&sender, &format!("http://{host}:{port}/")).await;
        assert_eq!(sent, Ok(()), "{host}");
    }
}

#[tokio::test]
async fn a_name_is_looked_up_for_each_connection_and_only_what_is_allowed_is_called() {
    let (good, bad) = (Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3));
    let allowed = Receiver::at("127.0.0.2:0").await;
    let port = allowed.addr.port();
    let private = Receiver::at(&format!("127.0.0.3:{port}")).await;
    // So that each delivery has a connection of its own.
    allowed.always(Behaviour::CloseInBody);
    let dns = Dns::start(&[good]);
    let sender = Sender::new(&asks(&dns)).expect("a client");
    let url = format!("http://a.test:{port}/");
    assert_eq!(send(&sender, &url).await, Ok(()));
    // The name means something else now.
    dns.set(&[bad]);
    assert_eq!(send(&sender, &url).await, Err(Failure::Address));
    // Of several the one that may be called is.
    dns.set(&[bad, good]);
    assert_eq!(send(&sender, &url).await, Ok(()));
    dns.set(&[]);
    assert_eq!(send(&sender, &url).await, Err(Failure::Connect));
    assert_eq!((allowed.got().len(), private.connections()), (2, 0));
}

#[tokio::test]
async fn a_redirect_leads_nowhere() {
    let (allowed, private) = (Receiver::at("127.0.0.2:0").await, Receiver::start().await);
    let sender = Sender::new(&settings(&["127.0.0.2/32"])).expect("a client");
    for elsewhere in [private.url(), allowed.url() + "/other"] {
        allowed.first([Behaviour::Redirect(elsewhere)]);
        let sent = send(&sender, &allowed.url()).await;
        assert_eq!(sent, Err(Failure::Status(307, None)));
    }
    assert_eq!((allowed.got().len(), private.connections()), (2, 0));
}

/// No setting of the environment leads a delivery past that.
#[tokio::test]
async fn by_default_a_worker_calls_nobody_beside_it() {
    let receiver = Receiver::start().await;
    let proxy = Receiver::start().await;
    let proxies = ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"];
    let proxies = proxies.map(|name| (name.to_owned(), proxy.url()));
    let mut cluster = builder()
        .worker_setting("hook-allow", "10.255.0.0/16")
        .workers(1)
        .start()
        .await;
    cluster.replace_worker_with(0, proxies.to_vec());
    cluster.workers[0].ready().await;
    let hook = hook(&cluster, &receiver.url(), &["message.created"]).await;
    let mut sam = staff(&cluster, "sam").await;
    let (mut alice, _) = customer(&cluster, &mut sam, "alice").await;
    say(&mut alice, &mut sam, "hello").await;
    wait::until("it is parked", async || {
        let parked = kept(&cluster, "XLEN", &hook, "parked").await;
        (parked == 1).then_some(())
    })
    .await;
    assert_eq!((receiver.connections(), proxy.connections()), (0, 0));
    assert!(
        cluster.workers[0]
            .child
            .log()
            .contains("address not allowed")
    );
}
