//! The `routers` of the configuration. One that breaks a rule is dropped, and that is no fault of the file.

use std::collections::BTreeMap;
use std::sync::Arc;

use gecholog_protocol::gl_config::{self, HeaderList};

use super::owned;
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

pub(super) fn build(read: &[gl_config::Router]) -> Routers {
    let mut routers = Routers::default();
    for read in read {
        let path = owned(&read.path);
        let target = Target::parse(&owned(&read.url), &owned(&read.endpoint));
        let Some(target) = target.filter(|_| read.broken.is_empty()) else {
            for fault in &read.broken {
                tracing::warn!(router = path, %fault, "dropped, as the gateway drops it");
            }
            routers.dropped.push(path);
            continue;
        };
        let crash = || read.crash.as_ref().map(ToString::to_string);
        routers.crash = routers.crash.or_else(crash);
        let (required_headers, static_headers) = (headers(&read.required_headers), headers(&read.headers));
        let router = Router { path: path.clone(), required_headers, static_headers, target };
        routers.kept.insert(path, Arc::new(router));
    }
    routers
}

fn headers(read: &HeaderList) -> Headers {
    Headers(read.iter().map(|(name, values)| (owned(name), values.iter().map(owned).collect())).collect())
}
