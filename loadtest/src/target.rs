//! Where the load goes: gateways by address, sites by shard, users by number.

use std::{
    fmt,
    net::{SocketAddr, ToSocketAddrs as _},
};

use anyhow::{Context as _, Result, bail};
use frontdesk_shared::ids::{SHARDS, Shard, Site};
use serde::{Deserialize, Serialize};

/// One gateway, or a proxy before several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gateway {
    /// `host:port` as the user named it.
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) addr: SocketAddr,
}

impl Gateway {
    /// Takes `ws://host:port/path` apart and looks the host up, once.
    pub(crate) fn parse(url: &str) -> Result<Self> {
        let Some(rest) = url.strip_prefix("ws://") else {
            bail!(
                "--gateway {url}: only ws:// is spoken; for wss:// name the gateways behind the proxy"
            );
        };
        let (host, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, "/"),
        };
        let host = if has_port(host) {
            host.to_owned()
        } else {
            format!("{host}:80")
        };
        let addr = host
            .to_socket_addrs()
            .with_context(|| format!("--gateway {url} cannot be looked up"))?
            .next()
            .with_context(|| format!("--gateway {url} has no address"))?;
        Ok(Self {
            path: path.split('?').next().unwrap_or("/").to_owned(),
            host,
            addr,
        })
    }
}

fn has_port(host: &str) -> bool {
    host.rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok())
}

impl fmt::Display for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ws://{}{}", self.host, self.path)
    }
}

/// The names of the sites of a run. They go round the shards, so that 16 sites are one for each:
/// left to chance, some shards would get several and others none.
pub(crate) fn sites(run: &str, count: u32) -> Vec<String> {
    (0..count)
        .map(|index| {
            let shard = u8::try_from(index % u32::from(SHARDS)).unwrap_or(0);
            site_on(&format!("{run}.{index}"), shard)
        })
        .collect()
}

/// A site for the quiet pair, on the shard of the first site: it waits behind the same load.
pub(crate) fn probe_site(run: &str) -> String {
    site_on(&format!("{run}.probe"), 0)
}

fn site_on(name: &str, shard: u8) -> String {
    let here =
        |name: &String| Site::parse(name).is_ok_and(|site| Shard::of(&site).number() == shard);
    let mut names = (0..1000).map(|n| format!("{name}.{n}"));
    names.find(here).unwrap_or_else(|| name.to_owned())
}

/// One side of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Customer,
    Staff,
}

impl Side {
    /// The letter in uids and in the text of messages.
    pub(crate) fn letter(self) -> char {
        match self {
            Self::Customer => 'c',
            Self::Staff => 's',
        }
    }

    /// The role parameter of the handshake.
    pub(crate) fn role(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Staff => "staff",
        }
    }

    /// Who hears it.
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Customer => Self::Staff,
            Self::Staff => Self::Customer,
        }
    }

    /// Customers begin at gateway 0 and staff at 1, so that the two of a pair are on different ones.
    pub(crate) fn gateway(self, index: u64, gateways: usize) -> usize {
        let offset = u64::from(self == Self::Staff);
        let count = u64::try_from(gateways.max(1)).unwrap_or(1);
        usize::try_from((index + offset) % count).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_sites_are_on_sixteen_shards() {
        let mut shards: Vec<_> = sites("load-x", 16)
            .iter()
            .map(|name| Shard::of(&Site::parse(name).expect("well-formed")).number())
            .collect();
        shards.sort_unstable();
        shards.dedup();
        assert_eq!(shards.len(), 16);
    }

    #[test]
    fn the_sides_of_a_pair_meet_different_gateways() {
        for index in 0..10 {
            assert_ne!(
                Side::Customer.gateway(index, 3),
                Side::Staff.gateway(index, 3)
            );
        }
    }

    #[test]
    fn addresses_are_taken_apart() {
        let gateway = Gateway::parse("ws://127.0.0.1:9502").expect("an address");
        assert_eq!((gateway.path.as_str(), gateway.addr.port()), ("/", 9502));
        let gateway = Gateway::parse("ws://127.0.0.1/ws?x=1").expect("an address");
        assert_eq!((gateway.path.as_str(), gateway.addr.port()), ("/ws", 80));
        assert!(Gateway::parse("wss://127.0.0.1/").is_err());
    }
}
