//! The parts of a router that a balanced call does not get (docs/gateway-protocol.md 1.4, 2.4, 4.4, 4.5): only scheme, host and
//! path are those of the chosen router. Query parameters and static headers stay those of the ingress router, and a masked
//! static header is never sent.

use super::routers::{RouterLookup, find};
use super::{Finding, Linter};
use gecholog_protocol::gl_config::{Router, Text};
use types::router::RouterPath;

/// Headers and parameters that upstreams ignore if they do not expect them.
const HARMLESS: [&str; 3] = ["content-type", "accept", "api-version"];

impl Linter<'_> {
    pub(super) fn rewrites(&mut self) {
        let config = self.config;
        let mut masked = Vec::new();
        let pools: Vec<_> = self.needs.pools.iter().map(|(ingress, pool)| (*ingress, pool.routers.clone())).collect();
        for (ingress, targets) in pools {
            let kept = |path: &RouterPath| match find(config, path) {
                RouterLookup::Usable(router) => Some(router),
                // A router that may be dropped is checked as if it were not.
                RouterLookup::Dropped(router) if router.is_kept().is_none() => Some(router),
                _ => None,
            };
            let Some(from) = kept(ingress) else { continue };
            for (path, to) in targets.iter().filter_map(|path| kept(path).map(|router| (path, router))) {
                self.query(ingress, path, from, to);
                self.headers(ingress, path, from, to);
                masked.push(to);
            }
            masked.push(from);
        }
        masked.sort_by(|one, other| one.place.cmp(&other.place));
        masked.dedup_by(|one, other| one.place == other.place);
        masked.into_iter().for_each(|router| self.masked_headers(router));
    }

    fn query(&mut self, ingress: &RouterPath, path: &RouterPath, from: &Router, to: &Router) {
        let (from_query, to_query) = (from.query(), to.query());
        if from_query.iter().zip(&to_query).all(|(one, other)| same(one, other) == Some(true)) {
            return;
        }
        let (has, wants) = (parameters(&from_query), parameters(&to_query));
        let lost = wants.iter().any(|wanted| !has.contains(wanted));
        let extra = has.iter().any(|(name, _)| !harmless(name) && !wants.iter().any(|(other, _)| other == name));
        let sure = from_query.iter().chain(&to_query).all(|text| text.value().is_some());
        if lost || extra || !sure {
            let reason = format!(
                "a call that is sent there keeps the query of {ingress} ({}) and does not take its own ({})",
                shown(&from_query),
                shown(&to_query)
            );
            let fix = "give both routers the same query, or leave it to the client to send it";
            let finding = Finding::warning("query-kept", place(to, path), reason, fix);
            self.find(finding.when(sure.then_some(true)));
        }
    }

    fn headers(&mut self, ingress: &RouterPath, path: &RouterPath, from: &Router, to: &Router) {
        let masked = |name: &Text| name.value().is_some_and(|name| self.config.masked.has(name) == Some(true));
        let mut sure = false;
        let mut differ = |one: &Router, other: &Router, extra: bool| {
            let mut names = Vec::new();
            for (name, values) in one.headers.iter().filter(|(name, _)| !masked(name)) {
                let there = other.headers.iter().find(|(there, _)| there == name);
                let equal = match there {
                    Some(_) if extra => Some(true),
                    None if extra => Some(harmless(&name.to_string()) && !name.has_variable()),
                    None => Some(false),
                    Some((_, others)) => all_same(values, others),
                };
                if equal != Some(true) {
                    names.push(name.to_string());
                    sure |= equal == Some(false);
                }
            }
            names.join(", ")
        };
        let (lost, extra) = (differ(to, from, false), differ(from, to, true));
        let parts = [(lost, "does not take its own"), (extra, "carries, though it has none,")];
        let parts: Vec<_> = parts
            .iter()
            .filter(|(names, _)| !names.is_empty())
            .map(|(names, does)| format!("{does} {names}"))
            .collect();
        if !parts.is_empty() {
            let reason =
                format!("a call that is sent there keeps the static headers of {ingress}: it {}", parts.join(" and "));
            let fix = "give both routers the same static headers, or let the client send them";
            let finding = Finding::warning("headers-kept", place(to, path), reason, fix);
            self.find(finding.when(sure.then_some(true)));
        }
    }

    /// Static headers that are never sent.
    fn masked_headers(&mut self, router: &Router) {
        for (name, _) in &router.headers {
            let masked = name.value().map_or(Some(false), |name| self.config.masked.has(name));
            let reason = format!(
                "its static header {name} is in masked_headers: the gateway drops it and sends the client's own"
            );
            let fix = format!("take {name} out of masked_headers, or let clients send it and take it out here");
            self.find(Finding::warning("masked-static", &router.place, reason, fix).when(masked));
        }
    }
}

fn place(router: &Router, path: &RouterPath) -> String {
    format!("{} ({path})", router.place)
}

fn harmless(name: &str) -> bool {
    HARMLESS.iter().any(|harmless| harmless.eq_ignore_ascii_case(name))
}

/// Whether two texts are the same; equal texts are, whatever the values of their variables.
fn same(one: &Text, other: &Text) -> Option<bool> {
    if one.to_string() == other.to_string() { Some(true) } else { Some(one.value()? == other.value()?) }
}

fn all_same(some: &[Text], others: &[Text]) -> Option<bool> {
    if some.len() != others.len() {
        return Some(false);
    }
    let each: Option<Vec<bool>> = some.iter().zip(others).map(|(one, other)| same(one, other)).collect();
    each.map(|each| each.into_iter().all(|same| same))
}

/// The parameters of a query, those of the endpoint over those of the URL.
fn parameters(query: &[Text; 2]) -> Vec<(&str, &str)> {
    let mut parameters: Vec<(&str, &str)> = Vec::new();
    for pair in query.iter().filter_map(Text::value).flat_map(|text| text.split('&')).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        parameters.retain(|(other, _)| *other != name);
        parameters.push((name, value));
    }
    parameters
}

/// A query as written, without the values of parameters that may be keys.
fn shown(query: &[Text; 2]) -> String {
    let pair = |pair: &str| match pair.split_once('=') {
        Some((name, value)) if !harmless(name) && !value.starts_with('$') => format!("{name}=…"),
        _ => pair.to_owned(),
    };
    let part = |part: &Text| part.to_string().split('&').map(pair).collect::<Vec<_>>().join("&");
    let parts: Vec<_> = query.iter().map(part).filter(|part| !part.is_empty()).collect();
    if parts.is_empty() { "none".to_owned() } else { parts.join(" ") }
}
