//! The `routers` of the configuration. The gateway silently drops a router that breaks a rule and keeps the others.

use super::decode::{Fault, Node, Text};
use super::rules;

/// Headers, names with their values.
pub type HeaderList = Vec<(Text, Vec<Text>)>;

/// One rule of routing, kept or dropped.
#[derive(Debug, Clone)]
pub struct Router {
    /// Its place in the file.
    pub place: String,
    /// Its path prefix.
    pub path: Text,
    /// The URL of the upstream.
    pub url: Text,
    /// The path and query after the URL.
    pub endpoint: Text,
    /// Headers that a client must send.
    pub required_headers: HeaderList,
    /// Static headers, which are sent with every request.
    pub headers: HeaderList,
    /// Why the gateway drops it, if it does.
    pub broken: Vec<Fault>,
    /// Why the gateway exits at its start because of it, if it does.
    pub crash: Option<Fault>,
}

impl Router {
    /// Whether the gateway keeps it; absent if unknown.
    pub fn is_kept(&self) -> Option<bool> {
        if self.broken.iter().any(|fault| fault.sure) { Some(false) } else { self.broken.is_empty().then_some(true) }
    }

    /// The query parameters of its URL and its endpoint, as the gateway joins them: the part behind the `?` of each.
    pub fn query(&self) -> [Text; 2] {
        [self.url.after_last('?'), self.endpoint.after_last('?')]
    }
}

pub(super) fn read(list: &Node<'_>) -> Vec<Router> {
    let routers: Vec<Router> = list.list().iter().map(router).collect();
    let mut paths: Vec<&str> = Vec::new();
    for (router, place) in routers.iter().zip(list.list()) {
        let path = router.path.raw();
        if router.is_kept() == Some(true) {
            place.field("path").require(!paths.contains(&path), "is the path of another router too");
            paths.push(path);
        }
    }
    let some = routers.iter().any(|router| router.is_kept() != Some(false));
    list.require(some, "must hold at least one router that breaks no rule");
    routers
}

fn router(place: &Node<'_>) -> Router {
    let (path, outbound) = (place.field("path"), place.field("outbound"));
    let (url, endpoint) = (outbound.field("url"), outbound.field("endpoint"));
    let lists = [place.field("ingress").field("headers"), outbound.field("headers")];
    let mut broken = Vec::new();
    let text = path.text();
    broken.extend(path.rule(rules::is_path(text.raw()), "must be letters, digits and slashes between two slashes"));
    broken.extend(url.rule(rules::is_url(url.text().raw()), "must be an http or https URL with a host"));
    let plain = rules::is_endpoint(endpoint.text().raw());
    broken.extend(endpoint.rule(plain, "must be a plain path with at most one query parameter"));
    let [required_headers, headers] = lists.each_ref().map(|list| headers(list, &mut broken));
    let absent = lists.iter().find(|list| list.is_absent());
    let crash = match absent {
        _ if text.raw() == "/" => path.rule(false, "ends the gateway at its start; write a name between two slashes"),
        Some(list) => list.rule(false, "is missing, which ends the gateway at its start; write {}"),
        None => None,
    };
    let (place, url, endpoint) = (place.location(), url.text(), endpoint.text());
    Router { place, path: text, url, endpoint, required_headers, headers, broken, crash }
}

fn headers(list: &Node<'_>, broken: &mut Vec<Fault>) -> HeaderList {
    let mut headers = Vec::new();
    for (name, values) in list.entries() {
        let fault = values.rule(rules::is_header(name.raw()), "must be named like a header");
        broken.extend(fault.map(|fault| Fault { sure: fault.sure && name.value().is_some(), ..fault }));
        let items = values.list();
        broken.extend(values.rule(!items.is_empty(), "must hold at least one value"));
        for item in &items {
            broken.extend(item.rule(rules::is_ascii_text(item.text().raw()), "must be plain ASCII and not empty"));
        }
        headers.push((name, values.texts()));
    }
    headers
}
