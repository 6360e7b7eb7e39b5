//! One request to a receiver: signed, bounded in time, and only to where it may go.
//!
//! A host that is a name is looked up here for each connection, and only addresses that are permitted are
//! given to the client: whatever the name meant when somebody looked before does not count. A host that is an
//! address is judged as the URL parser has read it, which knows all the ways to write one. No redirect is
//! followed and no proxy is asked, so nothing else is ever connected to.

use std::{
    error::Error,
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use reqwest::{
    Client, Response,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{CONTENT_TYPE, RETRY_AFTER},
    redirect, retry,
};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use serde_json::Value;
use tokio::time::timeout;
use tracing::warn;
use url::{Host, Url};

use super::{address::Allowed, names::Names, settings::Settings, signature::Keys};

pub use super::names::Lookup;

/// How much of an answer's body is read, and for how long, so that its connection can be used again.
const MAX_BODY: usize = 16 * 1024;
const MAX_BODY_TIME: Duration = Duration::from_secs(1);
/// Most headers of an answer.
const MAX_HEADERS: usize = 64;

/// Where a hook's deliveries go, and how they are signed.
#[derive(Debug, Clone)]
pub struct Receiver {
    url: Url,
    keys: Keys,
}

/// Why a delivery has failed. Says nothing of the URL or of what was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// An answer that is not 2xx; perhaps with how long we are asked to wait.
    #[error("status {0}")]
    Status(u16, Option<Duration>),
    /// No answer in time.
    #[error("timeout")]
    Timeout,
    /// Its address is not public, and not allowed.
    #[error("address not allowed")]
    Address,
    /// It has no address, or does not accept connections, or its certificate is not trusted.
    #[error("no connection")]
    Connect,
    /// The connection ended, or what came was no answer.
    #[error("no answer")]
    Broken,
    /// The hook has no URL or no secret that can be used.
    #[error("not configured")]
    Unusable,
}

/// An address that may not be called.
#[derive(Debug, thiserror::Error)]
#[error("the address is not allowed")]
struct Refused;

impl Receiver {
    /// Reads a hook as it is kept: its JSON and its secrets.
    pub fn parse(config: &str, secrets: &str) -> Option<Self> {
        let config: Value = serde_json::from_str(config).ok()?;
        let url = Url::parse(config["url"].as_str()?).ok()?;
        let http = matches!(url.scheme(), "http" | "https");
        let keys = Keys::parse(secrets, unix_time().as_millis().try_into().ok()?)?;
        http.then_some(Self { url, keys })
    }
}

/// Sends requests.
#[derive(Debug, Clone)]
pub struct Sender {
    client: Client,
    allowed: Arc<Allowed>,
    timeout: Duration,
}

impl Sender {
    /// A sender by the settings.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        let allowed = Arc::new(settings.allowed.clone());
        let guard = Guard {
            allowed: Arc::clone(&allowed),
            names: Names::new(settings.lookup.clone().unwrap_or(Arc::new(of_system))),
        };
        let client = Client::builder()
            .tls_backend_preconfigured(tls()?)
            .dns_resolver(Arc::new(guard))
            .no_proxy()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .http1_only()
            .http1_max_headers(MAX_HEADERS)
            .pool_max_idle_per_host(2)
            .pool_idle_timeout(Duration::from_secs(30))
            .user_agent(concat!("Frontdesk/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self {
            client,
            allowed,
            timeout: settings.timeout,
        })
    }

    /// Sends a delivery once.
    pub async fn send(&self, to: &Receiver, id: &str, body: String) -> Result<(), Failure> {
        let asking = timeout(self.timeout, self.ask(to, id, body));
        let response = asking.await.map_err(|_| Failure::Timeout)??;
        let status = response.status();
        let wait = response.headers().get(RETRY_AFTER);
        let wait = wait.and_then(|value| value.to_str().ok()?.parse().ok());
        let _ = timeout(MAX_BODY_TIME, drain(response)).await;
        if status.is_success() {
            Ok(())
        } else {
            Err(Failure::Status(
                status.as_u16(),
                wait.map(Duration::from_secs),
            ))
        }
    }

    async fn ask(&self, to: &Receiver, id: &str, body: String) -> Result<Response, Failure> {
        let literal = match to.url.host() {
            Some(Host::Ipv4(v4)) => Some(v4.into()),
            Some(Host::Ipv6(v6)) => Some(v6.into()),
            Some(Host::Domain(_)) => None,
            None => return Err(Failure::Unusable),
        };
        if literal.is_some_and(|address| !self.allowed.permits(address)) {
            return Err(Failure::Address);
        }
        let timestamp = unix_time().as_secs();
        let request = self
            .client
            .post(to.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", to.keys.sign(id, timestamp, &body))
            .body(body);
        request.send().await.map_err(|error| failure_of(&error))
    }
}

/// Reads a little of a body and forgets it: of an answer only the status counts.
async fn drain(mut response: Response) {
    let mut left = MAX_BODY;
    while let Ok(Some(chunk)) = response.chunk().await {
        left = left.saturating_sub(chunk.len());
        if left == 0 {
            return;
        }
    }
}

/// The client's error has the URL in it, so it is shown to nobody.
fn failure_of(error: &reqwest::Error) -> Failure {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<Refused>() {
            return Failure::Address;
        }
        cause = error.source();
    }
    if error.is_timeout() {
        Failure::Timeout
    } else if error.is_connect() {
        Failure::Connect
    } else if error.is_builder() {
        Failure::Unusable
    } else {
        Failure::Broken
    }
}

fn unix_time() -> Duration {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default()
}

/// TLS on ring, as everything here, with the certificates that this machine trusts.
fn tls() -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        warn!("this machine trusts no certificates, so webhooks cannot be sent by https");
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

/// Looks names up and gives out only addresses that may be called.
struct Guard {
    allowed: Arc<Allowed>,
    names: Names,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let (allowed, names) = (Arc::clone(&self.allowed), self.names.clone());
        Box::pin(async move {
            let found = names.find(name.as_str()).await?;
            let some = !found.is_empty();
            let may = found
                .into_iter()
                .filter(|address| allowed.permits(*address));
            // The port is that of the URL.
            let may: Vec<SocketAddr> = may.map(|address| (address, 0).into()).collect();
            if some && may.is_empty() {
                return Err(Refused.into());
            }
            Ok(Box::new(may.into_iter()) as Addrs)
        })
    }
}

/// The system's own way, with its files and name servers.
fn of_system(name: &str) -> io::Result<Vec<IpAddr>> {
    let found = (name, 0).to_socket_addrs()?;
    Ok(found.map(|address| address.ip()).collect())
}
