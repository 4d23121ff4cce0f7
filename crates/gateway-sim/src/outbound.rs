//! The way out: which router serves the request in the end, and what is sent there.
//!
//! A rewrite takes only the address from the router it names. Parameters and static headers stay those of the router by
//! which the request came in.

use std::sync::Arc;

use crate::config::Router;
use crate::headers::{Headers, Names, names_json};
use crate::object;
use crate::query::Query;
use crate::transaction::Transaction;
use crate::upstream::UpstreamRequest;

impl Transaction {
    /// The router that `gl_path` names, or the ingress router if it names none.
    pub(crate) fn choose_router(&mut self) -> Arc<Router> {
        let ingress = &self.ingress.router;
        let asked = self.request.read("gl_path", object::read_text);
        if asked != ingress.path {
            self.request.object.set_text("original_gl_path", &ingress.path);
        }
        let router = self.shared.config.routers.get(&asked).unwrap_or(ingress);
        self.response.object.set_text("gl_path", &router.path);
        Arc::clone(router)
    }

    /// Merges all that is sent, and notes it; `None` if there is no payload to send.
    pub(crate) fn outgoing(&mut self, router: &Router) -> Option<UpstreamRequest> {
        let address = match router.target.endpoint() {
            Some(endpoint) => router.target.address(endpoint),
            None => router.target.address(&self.request.read("outbound_subpath", object::read_text)),
        };
        self.request.object.set_text("url_path", &address);
        let query = self.merge_query().encode();
        self.url = if query.is_empty() { address } else { format!("{address}?{query}") };
        let headers = self.merge_headers();
        let Some(body) = self.request.object.get("outbound_payload").cloned() else {
            self.response.error("outbound_payload", "gechologobject->GetField: key outbound_payload does not exist");
            return None;
        };
        Some(UpstreamRequest { method: self.ingress.method.clone(), url: self.url.clone(), headers, body })
    }

    fn merge_query(&mut self) -> Query {
        let mut query = self.request.read("outbound_query_parameters", Query::from_array);
        let target = &self.ingress.router.target;
        let mut overwritten = Query::default();
        query.overwrite_with(&target.query, &mut overwritten);
        query.overwrite_with(&target.endpoint_query, &mut overwritten);
        let discarded = self.ingress.query.names_not_in(&query);
        let object = &mut self.request.object;
        object.set("outbound_query_parameters", query.to_object());
        for (field, parameters) in
            [("outbound_query_parameters_overwritten", overwritten), ("outbound_query_parameters_discarded", discarded)]
        {
            if !parameters.0.is_empty() {
                object.set(field, parameters.to_object());
            }
        }
        query
    }

    /// Static headers win over those of the object; masked names are always the client's own. The merged set is for the log only:
    /// async processors still see the unmerged one.
    fn merge_headers(&mut self) -> Headers {
        let shared = Arc::clone(&self.shared);
        let masked = &shared.config.masked;
        let mut headers = self.request.read("outbound_headers", Headers::from_json);
        headers.0.extend(self.ingress.router.static_headers.0.clone());
        let removed = headers.remove(&shared.config.removed);
        let discarded = self.request.read("ingress_headers", Headers::from_json).names_not_in(&headers, &removed);
        let object = &mut self.request.object;
        set_names(|json| object.set("outbound_headers_removed", json), &removed, masked);
        set_names(|json| object.set("outbound_headers_discarded", json), &discarded, masked);
        let headers = headers.to_send(masked, &self.ingress.headers);
        self.sent = headers.masked(masked);
        headers
    }
}

/// Lists of names are written only if they hold some.
pub(crate) fn set_names(set: impl FnOnce(bytes::Bytes), names: &Names, masked: &Names) {
    if !names.is_empty() {
        set(names_json(names, masked));
    }
}
