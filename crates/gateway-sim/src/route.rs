//! Which router serves a path: the longest prefix that ends on a slash.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::Router;
use crate::path;

/// What the gateway does with a path.
#[derive(Debug)]
pub(crate) enum Route {
    To {
        router: Arc<Router>,
        subpath: String,
    },
    /// A router's path without its final slash.
    WithoutSlash,
    Nowhere,
    /// The path is not clean; the client is sent to this one.
    Elsewhere(String),
}

/// `path` is decoded.
pub(crate) fn find(routers: &BTreeMap<String, Arc<Router>>, path: &str) -> Route {
    let clean = path::clean(path);
    if clean != path {
        return Route::Elsewhere(clean);
    }
    if routers.contains_key(&format!("{path}/")) {
        return Route::WithoutSlash;
    }
    let ends = path.bytes().enumerate().filter(|(_, byte)| *byte == b'/').map(|(at, _)| at + 1);
    let longest = ends.rev().find_map(|end| Some((routers.get(&path[..end])?, &path[end..])));
    match longest {
        Some((router, subpath)) => Route::To { router: Arc::clone(router), subpath: subpath.to_owned() },
        None => Route::Nowhere,
    }
}
