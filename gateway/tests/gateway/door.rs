//! Who is let in: by origin, by address, by number.

use tokio_tungstenite::{
    connect_async,
    tungstenite::{Error as WsError, client::IntoClientRequest as _, http::HeaderValue},
};

use crate::harness::{Bench, Client, eventually};

/// A handshake with these headers: the client, or the status that refused it.
async fn knock(bench: &Bench, headers: &[(&'static str, &str)]) -> Result<Client, u16> {
    let url = format!("ws://{}/ws", bench.address);
    let mut request = url.into_client_request().expect("an address");
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).expect("a header");
        request.headers_mut().insert(*name, value);
    }
    match connect_async(request).await {
        Ok((socket, _)) => Ok(Client { socket }),
        Err(WsError::Http(answer)) => Err(answer.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn pages_of_other_origins_are_refused() {
    let settings = ["--allow-origin=https://a.example,https://b.example:8443"];
    let bench = Bench::start_with(&settings).await;
    let page = async |origin: &str| knock(&bench, &[("origin", origin)]).await.err();
    assert_eq!(page("https://a.example").await, None);
    assert_eq!(page("https://b.example:8443").await, None);
    let same = format!("http://{}", bench.address);
    for other in [
        "null",
        "https://a.example.evil",
        "http://a.example",
        "https://b.example",
        &same,
    ] {
        assert_eq!(page(other).await, Some(403), "{other}");
    }
    assert!(knock(&bench, &[]).await.is_ok(), "no browser");
}

#[tokio::test]
async fn without_a_list_pages_of_this_machine_are_let_in_and_others_not() {
    let bench = Bench::start().await;
    let page = async |origin: &str| knock(&bench, &[("origin", origin)]).await.err();
    assert_eq!(page(&format!("http://{}", bench.address)).await, None);
    assert_eq!(
        page("http://localhost:3000").await,
        None,
        "open mode on loopback"
    );
    assert_eq!(page("https://evil.example").await, Some(403));
    assert_eq!(page("null").await, Some(403));
}

#[tokio::test]
async fn a_trusted_proxy_tells_addresses_apart() {
    let settings = ["--trusted-proxies=127.0.0.1", "--max-connections-per-ip=1"];
    let bench = Bench::start_with(&settings).await;
    let from = async |address: &str| knock(&bench, &[("x-forwarded-for", address)]).await;
    let first = from("192.0.2.1").await.expect("let in");
    assert_eq!(from("192.0.2.1").await.err(), Some(429));
    assert_eq!(
        from("127.0.0.1, 192.0.2.1").await.err(),
        Some(429),
        "what was sent to the proxy"
    );
    assert!(from("192.0.2.2").await.is_ok());
    drop(first);
    // The bucket has one token for one place, and 20 per second come in.
    eventually("the place is free again", async || {
        from("192.0.2.1").await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn nobody_else_may_say_where_a_client_is() {
    let bench = Bench::start_with(&["--max-connections-per-ip=1"]).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let client = knock(&bench, &[("x-forwarded-for", "192.0.2.1")]).await;
        clients.push(client.expect("loopback in open mode has no limit"));
    }
}

#[tokio::test]
async fn an_address_that_comes_too_fast_is_told_to_wait() {
    let settings = [
        "--trusted-proxies=127.0.0.0/8",
        "--max-connections-per-ip=3",
        "--connection-rate-per-ip=1",
    ];
    let bench = Bench::start_with(&settings).await;
    let mut refused = None;
    for _ in 0..10 {
        let knocked = knock(&bench, &[("x-forwarded-for", "2001:db8::1")]).await;
        refused = knocked.err(); // a client that was let in leaves at once
        if refused.is_some() {
            break;
        }
    }
    assert_eq!(refused, Some(429));
    let neighbour = knock(&bench, &[("x-forwarded-for", "2001:db8::2")]).await;
    assert_eq!(neighbour.err(), Some(429), "the same network");
    assert!(
        knock(&bench, &[("x-forwarded-for", "2001:db8:1::1")])
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn ipv6_is_served() {
    let mut bench = Bench::start_with(&["--listen=[::1]:0"]).await;
    assert!(bench.address.is_ipv6());
    let (mut client, _) = bench.opened("alice").await;
    client.send("PING").await;
    assert_eq!(client.text().await, "PONG");
}
