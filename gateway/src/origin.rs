//! Which web pages may open sockets here. A browser sends a page's origin along and lets any page
//! try, so the answer is ours (cross-site WebSocket hijacking). Other programs send none.

use std::net::IpAddr;

use axum::http::{HeaderMap, header};

/// A page's origin, in the one form in which two are compared: lower case, without default port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    scheme: String,
    /// Host, and port unless it is the scheme's own.
    authority: String,
}

impl Origin {
    /// Reads `scheme://host[:port]`, nothing else.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let rule =
            || "must be an origin such as https://www.example.com, without a path".to_owned();
        let (scheme, authority) = text.split_once("://").ok_or_else(rule)?;
        let bad = |c: char| c.is_whitespace() || c.is_control() || "/?#@\\,*".contains(c);
        if scheme.is_empty()
            || authority.is_empty()
            || text.contains(|c| c != '/' && bad(c))
            || authority.contains(bad)
        {
            return Err(rule());
        }
        let scheme = scheme.to_ascii_lowercase();
        Ok(Self {
            authority: without_default_port(authority, &scheme),
            scheme,
        })
    }

    fn is_loopback(&self) -> bool {
        let authority = &self.authority;
        let host = match authority.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or(rest),
            None => authority.split(':').next().unwrap_or(authority),
        };
        host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
    }
}

fn without_default_port(authority: &str, scheme: &str) -> String {
    let default = match scheme {
        "http" | "ws" => ":80",
        "https" | "wss" => ":443",
        _ => "",
    };
    let authority = authority.to_ascii_lowercase();
    match authority.strip_suffix(default) {
        Some(host) if !default.is_empty() => host.to_owned(),
        _ => authority,
    }
}

/// Whether this request's page may come in. Without a list: a page of the host that it asks for, or
/// if `loopback` says so (open mode on this machine alone), any page of this machine and no other.
pub(crate) fn may_enter(headers: &HeaderMap, list: &[Origin], loopback: bool) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let Some(first) = origins.next() else {
        return true; // not a browser
    };
    let text = first.to_str().unwrap_or_default();
    let Ok(origin) = Origin::parse(text) else {
        return false; // also `null`: a page that hides where it is from
    };
    if origins.next().is_some() {
        return false;
    }
    if !list.is_empty() {
        return list.contains(&origin);
    }
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let same =
        host.is_some_and(|host| without_default_port(host, &origin.scheme) == origin.authority);
    if loopback {
        // A name that leads here is no proof: whoever owns it may have it lead to 127.0.0.1 (DNS rebinding).
        return origin.is_loopback();
    }
    same
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn enters(origin: &'static str, host: &'static str, list: &[&str], loopback: bool) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
        headers.insert(header::HOST, HeaderValue::from_static(host));
        let list: Vec<Origin> = list
            .iter()
            .map(|o| Origin::parse(o).expect("good"))
            .collect();
        may_enter(&headers, &list, loopback)
    }

    #[test]
    fn only_a_listed_origin_enters() {
        let list = ["https://www.example.com", "http://shop.example:8080"];
        let enters = |origin| enters(origin, "www.example.com", &list, true);
        assert!(enters("https://www.example.com") && enters("https://WWW.example.com:443"));
        assert!(enters("http://shop.example:8080"));
        for other in [
            "null",
            "",
            "http://www.example.com",
            "https://www.example.com:8443",
            "https://www.example.com.evil.example",
            "https://evil-www.example.com",
            "https://www.example.co",
            "https://example.com",
            "http://shop.example",
            "https://www.example.com/",
            "https://evil@www.example.com",
            "http://localhost",
            "https://www.example.com, https://evil.example",
        ] {
            assert!(!enters(other), "{other}");
        }
    }

    #[test]
    fn without_a_list_the_same_host_enters() {
        assert!(enters("https://chat.example", "chat.example", &[], false));
        assert!(enters(
            "http://chat.example:9502",
            "chat.example:9502",
            &[],
            false
        ));
        assert!(enters(
            "https://chat.example",
            "chat.example:443",
            &[],
            false
        ));
        assert!(!enters(
            "https://chat.example",
            "chat.example:9502",
            &[],
            false
        ));
        assert!(!enters("https://evil.example", "chat.example", &[], false));
        assert!(!enters("null", "null", &[], true));
    }

    #[test]
    fn pages_of_this_machine_enter_only_where_that_is_meant() {
        for page in [
            "http://localhost:3000",
            "http://127.0.0.1:1",
            "http://[::1]:80",
        ] {
            assert!(enters(page, "gateway:9502", &[], true), "{page}");
            assert!(!enters(page, "gateway:9502", &[], false), "{page}");
        }
        for page in [
            "http://localhost.evil.example",
            "http://127.0.0.1.evil.example",
            "http://gateway:9502", // a name may be made to lead here
        ] {
            assert!(!enters(page, "gateway:9502", &[], true), "{page}");
        }
    }

    #[test]
    fn who_sends_none_is_no_browser_and_two_are_refused() {
        let mut headers = HeaderMap::new();
        assert!(may_enter(&headers, &[], false));
        headers.append(header::HOST, HeaderValue::from_static("a"));
        headers.append(header::ORIGIN, HeaderValue::from_static("http://a"));
        assert!(may_enter(&headers, &[], false));
        headers.append(header::ORIGIN, HeaderValue::from_static("http://a"));
        assert!(!may_enter(&headers, &[], false));
    }
}
