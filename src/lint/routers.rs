//! The routers that the pools name, and those of the gateway (docs/gateway-protocol.md 4.3, 4.9).

use super::{Finding, Linter, Severity};
use crate::fault::nearest;
use gecholog_protocol::gl_config::{GlConfig, Router};
use types::router::{ECHO_PATH, RouterPath};

/// Whether the gateway has a path that a pool names.
pub(super) enum RouterLookup<'a> {
    Usable(&'a Router),
    /// It may have it: that depends on a variable that is unset here.
    Dropped(&'a Router),
    Missing,
    /// There may be one, whose path depends on such a variable.
    Unsure,
}

pub(super) fn find<'a>(config: &'a GlConfig, path: &RouterPath) -> RouterLookup<'a> {
    let named = |router: &&Router| router.path.is(path.as_str()) == Some(true);
    let mut dropped = None;
    for router in config.routers.iter().filter(named) {
        match router.is_kept() {
            Some(true) => return RouterLookup::Usable(router),
            Some(false) => dropped = dropped.or(Some(router)),
            None => dropped = Some(router),
        }
    }
    let undecided = config.routers_unsure || config.routers.iter().any(|router| router.path.value().is_none());
    match dropped {
        Some(router) => RouterLookup::Dropped(router),
        None if undecided => RouterLookup::Unsure,
        None => RouterLookup::Missing,
    }
}

/// Why the gateway drops a router, or may drop it.
fn dropped(rule: &'static str, router: &Router, effect: &str) -> Vec<Finding> {
    let perhaps = router.is_kept().is_none();
    let faults = router.broken.iter().filter(|fault| fault.sure || perhaps);
    faults.map(|fault| Finding::fault(rule, fault, effect, "follow the rule")).collect()
}

impl Linter<'_> {
    pub(super) fn routers(&mut self) {
        let pools: Vec<_> = self.needs.pools.iter().map(|(ingress, pool)| (*ingress, pool.routers.clone())).collect();
        for (ingress, routers) in &pools {
            self.ingress(ingress);
            self.below(ingress, &pools);
            for router in routers {
                self.router(ingress, router);
            }
        }
        self.dropped(&pools);
    }

    fn ingress(&mut self, ingress: &RouterPath) {
        let place = format!("pool {ingress}");
        let lost = "calls to it are answered by a router with a shorter path or with 404, and never balanced";
        let fix = format!("add a router with the path {ingress} to the gateway's routers, or name another ingress");
        let missing =
            Finding::error("ingress-missing", &place, format!("the gateway has no router {ingress}: {lost}"), fix);
        let effect = format!("the gateway silently drops the ingress {ingress}; {lost}");
        self.must_be_there(ingress, missing, "ingress-dropped", &effect);
        if ingress.as_str().starts_with(ECHO_PATH) {
            let reason = "the gateway itself answers every call below /echo/, whatever router is chosen";
            self.find([Finding::error(
                "ingress-echo",
                place,
                reason,
                "name an ingress that does not begin with /echo/",
            )]);
        }
    }

    fn router(&mut self, ingress: &RouterPath, path: &RouterPath) {
        let place = format!("pool {ingress}, router {path}");
        let lost = format!("the gateway answers what is sent there from {ingress} itself and reports no error");
        let near = self.near(path).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        let fix = format!("add it to the gateway's routers or take it out of the pool{near}");
        let missing = Finding::error("router-missing", &place, format!("the gateway has no such router: {lost}"), fix);
        let effect = format!("the gateway silently drops the router {path}; {lost}");
        self.must_be_there(path, missing, "router-dropped", &effect);
        if path.as_str().starts_with(ECHO_PATH) {
            let reason =
                "a call that is sent to an echo router goes to its URL; only calls that begin below /echo/ are echoed";
            self.find([Finding::warning(
                "router-echo",
                place,
                reason,
                "name a router that does not begin with /echo/",
            )]);
        }
    }

    /// Reports a router that the gateway does not have, or drops with this effect.
    fn must_be_there(&mut self, path: &RouterPath, missing: Finding, rule: &'static str, effect: &str) {
        match find(self.config, path) {
            RouterLookup::Usable(_) => {}
            RouterLookup::Missing => self.find([missing]),
            RouterLookup::Unsure => self.find([missing.undecided()]),
            RouterLookup::Dropped(router) => self.find(dropped(rule, router, effect)),
        }
    }

    /// Routers below an ingress that are in no pool get calls in its place: the longest prefix wins.
    fn below(&mut self, ingress: &RouterPath, pools: &[(&RouterPath, Vec<&RouterPath>)]) {
        for router in self.config.routers.iter().filter(|router| router.is_kept() == Some(true)) {
            let Some(path) = router.path.value() else { continue };
            let known = pools.iter().any(|(ingress, routers)| {
                ingress.as_str() == path || routers.iter().any(|router| router.as_str() == path)
            });
            if path.starts_with(ingress.as_str()) && !known {
                let reason = format!(
                    "{} is below the ingress {ingress} and in no pool: the longest path wins, so calls there pass the pool by",
                    router.path
                );
                let fix = format!(
                    "add it to a pool, or leave it if clients are to call it directly; {ingress} gets the rest"
                );
                self.findings.push(Finding::warning("ingress-shadowed", &router.place, reason, fix));
            }
        }
    }

    /// Routers that the gateway drops and no pool names, which nothing else reports.
    fn dropped(&mut self, pools: &[(&RouterPath, Vec<&RouterPath>)]) {
        for router in self.config.routers.iter().filter(|router| router.is_kept() == Some(false)) {
            let named = |path: &&RouterPath| router.path.is(path.as_str()) == Some(true);
            if pools.iter().any(|(ingress, routers)| named(ingress) || routers.iter().any(named)) {
                continue;
            }
            let findings =
                dropped("router-unused-dropped", router, "the gateway silently drops this router, which no pool names");
            self.find(findings.into_iter().map(|finding| Finding { severity: Severity::Warning, ..finding }));
        }
    }

    /// The router of the gateway that was probably meant; only one whose path has no variables.
    fn near(&self, path: &RouterPath) -> Option<String> {
        let plain =
            self.config.routers.iter().filter(|router| !router.path.has_variable() && router.is_kept() == Some(true));
        let paths: Vec<_> = plain.map(|router| router.path.to_string()).collect();
        nearest(path.as_str(), paths.iter().map(String::as_str)).map(|(_, near)| near.to_owned())
    }
}
