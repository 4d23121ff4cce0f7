//! The `routers` of the configuration. Each is validated alone: one that breaks a rule is dropped, and that is no fault of
//! the file.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::place::{ConfigNode, Faults};
use super::rules;
use crate::headers::Headers;
use crate::target::Target;

/// One rule of routing.
#[derive(Debug)]
pub(crate) struct Router {
    pub(crate) path: String,
    /// Headers that a client must send.
    pub(crate) required_headers: Headers,
    /// Headers that are sent upstream with every request.
    pub(crate) static_headers: Headers,
    pub(crate) target: Target,
}

#[derive(Debug, Default)]
pub(super) struct Routers {
    pub(super) kept: BTreeMap<String, Arc<Router>>,
    pub(super) dropped: Vec<String>,
    /// Why the gateway would crash on these routers, if it would.
    pub(super) crash: Option<String>,
}

pub(super) fn read(list: &ConfigNode<'_>) -> Routers {
    let mut routers = Routers::default();
    for place in list.list() {
        let rules_broken = Faults::default();
        let router = read_one(&place, &rules_broken);
        let path = router.path.clone();
        if !rules_broken.borrow().is_empty() {
            for fault in rules_broken.into_inner() {
                tracing::warn!(router = path, %fault, "dropped, as the gateway drops it");
            }
            routers.dropped.push(path);
            continue;
        }
        routers.crash = routers.crash.or_else(|| crash(&place, &router));
        if routers.kept.insert(path, Arc::new(router)).is_some() {
            place.field("path").fault("is used by another router too");
        }
    }
    list.require(!routers.kept.is_empty(), "must hold at least one router that breaks no rule");
    routers
}

fn read_one(place: &ConfigNode<'_>, broken: &Faults) -> Router {
    let (path, outbound) = (place.field("path"), place.field("outbound"));
    let good = rules::is_router_path(path.text());
    path.reporting_to(broken).require(good, "must be letters, digits and slashes between two slashes");
    let (url, endpoint) = (outbound.field("url"), outbound.field("endpoint"));
    let target = Target::parse(url.text(), endpoint.text());
    url.reporting_to(broken).require(target.is_some(), "must be an http or https URL with a host");
    endpoint.reporting_to(broken).require(rules::is_endpoint(endpoint.text()), "must be a plain path and query");
    Router {
        path: path.text().to_owned(),
        required_headers: read_headers(&place.field("ingress").field("headers"), broken),
        static_headers: read_headers(&outbound.field("headers"), broken),
        target: target.unwrap_or_default(),
    }
}

fn read_headers(place: &ConfigNode<'_>, broken: &Faults) -> Headers {
    let mut headers = Headers::default();
    for (name, values) in place.entries() {
        let texts = values.texts();
        let rule = values.reporting_to(broken);
        rule.require(rules::is_header_name(name), "must be a header name");
        let good = !texts.is_empty() && texts.iter().all(|text| rules::is_header_value(text));
        rule.require(good, "must hold values, each ASCII and not empty");
        headers.0.insert(name.to_owned(), texts);
    }
    headers
}

/// Two things that are valid and still make the gateway crash at start.
fn crash(place: &ConfigNode<'_>, router: &Router) -> Option<String> {
    if router.path == "/" {
        return Some(format!("{}: the gateway panics on the path /", place.path()));
    }
    let headers = [place.field("ingress").field("headers"), place.field("outbound").field("headers")];
    let absent = headers.iter().find(|headers| headers.is_absent())?;
    Some(format!("{}: the gateway crashes when this is absent; write {{}}", absent.path()))
}
