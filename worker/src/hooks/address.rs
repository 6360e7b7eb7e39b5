//! Which addresses a webhook may be sent to. A receiver is named by somebody of a site, and this machine
//! reaches more than they do: what is not an address of the public Internet is refused unless the
//! settings allow it, and what the settings deny is refused whatever else they say. Looked at is what is connected to, not what the URL says: each address that a name
//! has at that moment ([`super::sender`]).

use std::{net::IpAddr, sync::LazyLock};

use ipnet::IpNet;

/// What is no address of the public Internet (IANA's registries of special-purpose addresses), and what clouds
/// answer on for their own machines.
const REFUSED: [&str; 23] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10", // carriers' own, and metadata of one cloud
    "127.0.0.0/8",
    "168.63.129.16/32", // a cloud's own services, on a public address
    "169.254.0.0/16",   // link-local, and metadata of most clouds
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.31.196.0/24",
    "192.52.193.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4", // multicast
    "240.0.0.0/4", // reserved, broadcast
    "2001::/23",   // protocols, Teredo
    "2001:db8::/32",
    "2002::/16", // 6to4: an IPv4 address that would not be looked at
    "2620:4f:8000::/48",
    "3fff::/20",
];
/// All of IPv6 that is given out; what is beside it is local, multicast or nothing.
const GIVEN_OUT: &str = "2000::/3";
/// Behind this prefix a network's own translator has all of IPv4 (RFC 6052).
const TRANSLATED: &str = "64:ff9b::/96";

/// Bits of ::ffff:0:0/96, in which IPv6 shows IPv4 addresses.
const MAPPED_BITS: u8 = 96;

static REFUSED_NETS: LazyLock<Vec<IpNet>> = LazyLock::new(|| REFUSED.map(network).to_vec());
static GIVEN_OUT_NET: LazyLock<IpNet> = LazyLock::new(|| network(GIVEN_OUT));
static TRANSLATED_NET: LazyLock<IpNet> = LazyLock::new(|| network(TRANSLATED));

#[allow(
    clippy::expect_used,
    reason = "the literals above, each used by a test"
)]
fn network(text: &str) -> IpNet {
    text.parse().expect("a network")
}

/// What may be called: networks that are allowed although they are not public, and networks that are denied although they
/// are public or allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed {
    networks: Vec<IpNet>,
    denied: Vec<IpNet>,
}

impl Allowed {
    /// These, and all that is public.
    pub fn new(networks: Vec<IpNet>) -> Self {
        let networks = networks.into_iter().map(plain_net).collect();
        let denied = Vec::new();
        Self { networks, denied }
    }

    /// The same but for these.
    #[must_use]
    pub fn but(mut self, denied: Vec<IpNet>) -> Self {
        self.denied.extend(denied.into_iter().map(plain_net));
        self
    }

    /// Whether a webhook may be sent to this address.
    pub fn permits(&self, address: IpAddr) -> bool {
        let within =
            |networks: &[IpNet], address| networks.iter().any(|net| net.contains(&address));
        let real = plain(address);
        // A network may be denied in the same clothes.
        let denied = within(&self.denied, real) || within(&self.denied, address);
        !denied && (is_public(real) || within(&self.networks, real))
    }
}

/// The address that is really called: an IPv4 address in the clothes of IPv6 is one.
fn plain(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    if let Some(v4) = v6.to_ipv4_mapped() {
        return v4.into();
    }
    if TRANSLATED_NET.contains(&address) {
        let [.., a, b, c, d] = v6.octets();
        return IpAddr::from([a, b, c, d]);
    }
    address
}

/// The network that is meant: one of IPv4 addresses in the clothes of IPv6 is theirs.
pub(super) fn plain_net(net: IpNet) -> IpNet {
    let v4 = match net.addr() {
        IpAddr::V6(v6) => v6.to_ipv4_mapped(),
        IpAddr::V4(_) => None,
    };
    let length = net.prefix_len().checked_sub(MAPPED_BITS);
    let meant = v4
        .zip(length)
        .map(|(v4, length)| IpNet::new(v4.into(), length));
    meant.and_then(Result::ok).unwrap_or(net)
}

fn is_public(address: IpAddr) -> bool {
    let refused = REFUSED_NETS.iter().any(|net| net.contains(&address));
    let given_out = address.is_ipv4() || GIVEN_OUT_NET.contains(&address);
    given_out && !refused
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn what_is_not_public_is_refused_in_any_clothes() {
        let nothing = Allowed::default();
        for refused in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "172.31.255.255",
            "192.0.0.192",
            "192.168.1.1",
            "198.19.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::a00:1",
            "2001:0:1::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "100::1",
            "4000::1",
        ] {
            assert!(!nothing.permits(ip(refused)), "{refused}");
        }
        for public in [
            "1.1.1.1",
            "100.128.0.1",
            "172.32.0.1",
            "192.169.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
        ] {
            assert!(nothing.permits(ip(public)), "{public}");
        }
    }

    #[test]
    fn what_is_allowed_may_be_called_and_no_more() {
        let networks = ["10.1.0.0/16", "::1/128"].map(|net| net.parse().expect("a network"));
        let some = Allowed::new(networks.to_vec());
        for allowed in ["10.1.2.3", "::ffff:10.1.2.3", "::1", "1.1.1.1"] {
            assert!(some.permits(ip(allowed)), "{allowed}");
        }
        for refused in ["10.2.0.1", "127.0.0.1", "::2"] {
            assert!(!some.permits(ip(refused)), "{refused}");
        }
    }

    #[test]
    fn what_is_denied_is_not_called_whatever_is_allowed() {
        let nets = |texts: &[&str]| {
            let nets = texts.iter().map(|net| net.parse().expect("a network"));
            nets.collect::<Vec<IpNet>>()
        };
        let denied = nets(&[
            "1.1.1.0/24",
            "10.1.2.0/24",
            "2606:4700::/32",
            "::ffff:9.9.9.9/128",
            "64:ff9b::/96",
        ]);
        let some = Allowed::new(nets(&["10.1.0.0/16"])).but(denied);
        for denied in [
            "1.1.1.1",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
            "64:ff9b::8.8.8.8",
            "10.1.2.3",
            "2606:4700::1111",
            "::ffff:9.9.9.9",
            "9.9.9.9",
        ] {
            assert!(!some.permits(ip(denied)), "{denied}");
        }
        for others in ["1.1.2.1", "10.1.3.3", "2a00:1450::1", "::ffff:8.8.8.8"] {
            assert!(some.permits(ip(others)), "{others}");
        }
    }
}
