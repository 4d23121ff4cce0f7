//! Where a router leads: scheme, host and path of its `outbound.url`, and its `outbound.endpoint`.
//!
//! A request that was rewritten to this router takes [`Target::address`] only; the two queries count for requests that came
//! in by it. User info and fragment are lost, as the gateway loses them.

use crate::path;
use crate::query::Query;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    /// Scheme, host and port.
    origin: String,
    path: String,
    pub(crate) query: Query,
    endpoint: String,
    pub(crate) endpoint_query: Query,
}

impl Target {
    pub(crate) fn parse(url: &str, endpoint: &str) -> Option<Target> {
        let (scheme, rest) = url.split_once("://")?;
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let scheme = scheme.to_ascii_lowercase();
        if !["http", "https"].contains(&scheme.as_str()) || !is_host(host) {
            return None;
        }
        let (endpoint, endpoint_query) = endpoint.split_once('?').unwrap_or((endpoint, ""));
        Some(Target {
            origin: format!("{scheme}://{host}"),
            path: path::decode(path)?,
            query: Query::parse(query),
            endpoint: endpoint.to_owned(),
            endpoint_query: Query::parse(endpoint_query).last_values(),
        })
    }

    /// What stands in place of the subpath, if anything does.
    pub(crate) fn endpoint(&self) -> Option<&str> {
        Some(self.endpoint.as_str()).filter(|endpoint| !["", "/"].contains(endpoint))
    }

    /// The URL of what is `behind` the router's own path, without a query.
    pub(crate) fn address(&self, behind: &str) -> String {
        let path = path::encode(&path::join(&self.path, behind));
        let slash = if path.is_empty() || path.starts_with('/') { "" } else { "/" };
        format!("{}{slash}{path}", self.origin)
    }
}

/// Host and port as leniently as Go takes them; a port above 65535 fails when dialling.
fn is_host(text: &str) -> bool {
    let is_forbidden = |c: char| c.is_whitespace() || c.is_control() || "<>\"^`{}|\\%".contains(c);
    let port_at = text.rfind(':').filter(|at| !text[*at..].contains(']'));
    let (host, port) = text.split_at(port_at.unwrap_or(text.len()));
    !host.is_empty() && !host.contains(is_forbidden) && port.bytes().skip(1).all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str, endpoint: &str, subpath: &str) -> String {
        let target = Target::parse(url, endpoint).unwrap();
        target.address(target.endpoint().unwrap_or(subpath))
    }

    #[test]
    fn the_endpoint_hides_the_subpath() {
        assert_eq!(address("http://h:1", "a/b?v=1", "x"), "http://h:1/a/b");
        assert_eq!(address("http://h:1/v1", "/", "x/y"), "http://h:1/v1/x/y");
    }

    #[test]
    fn an_empty_path_stays_empty_and_a_final_slash_is_doubled() {
        assert_eq!(address("https://dud.host.ere", "", ""), "https://dud.host.ere");
        assert_eq!(address("http://h/", "", ""), "http://h//");
        assert_eq!(address("http://h", "", "x"), "http://h/x");
        assert_eq!(address("http://h", "", "../x"), "http://h/../x");
        assert_eq!(address("http://user:secret@h/v1#part", "", "x"), "http://h/v1/x");
    }

    #[test]
    fn ports_and_ipv6_hosts_are_taken_as_they_are() {
        assert_eq!(address("http://h:99999", "", ""), "http://h:99999");
        assert_eq!(address("http://[::1]:80/", "x", ""), "http://[::1]:80/x");
    }

    #[test]
    fn only_http_with_a_host_is_a_target() {
        for bad in ["", "h:80", "ftp://h", "http://", "http:///p", "http://a b", "http://h:x", "http://:80", "{x}"] {
            assert_eq!(Target::parse(bad, ""), None, "{bad}");
        }
    }
}
