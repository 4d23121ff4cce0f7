//! What a target is sent of a call, and how long it may take.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use tokio::time::Instant;

use super::super::Relay;
use super::super::admission::subpath;
use super::super::body::NoMemory;
use super::super::changed_body;
use super::super::exchange::AttemptTimeouts;
use super::super::outgoing::{Draft, Means, Outgoing};
use super::super::provider_target::NotSent;
use super::super::record::{Record, logged_headers};
use super::super::target::{ForwardedRequest, Target};
use super::Call;
use types::request::Patch;
use types::router::RouterPath;

impl Call<'_> {
    /// The request as this target is sent it. `asks_usage`: a stream is to say what it used.
    pub(super) async fn outgoing(
        &self,
        target: &Target<'_>,
        body: &Bytes,
        asks_usage: bool,
    ) -> Result<Outgoing, NotSent> {
        let query = self.head.uri.query();
        let onward = ForwardedRequest { rest: subpath(self.head, self.ingress), query, headers: &self.head.headers };
        let session = self.session.id();
        let Relay { handle, bodies, keys, .. } = self.relay;
        let means = Means { handle, memory: bodies, keys, session: &session };
        Outgoing::new(target, Draft { method: &self.head.method, onward, body, asks_usage }, means).await
    }

    /// What the log entry of a call that does not pass the gateway is made of.
    pub(super) fn record(
        &self,
        stamp: Bytes,
        request: &Request<Full<Bytes>>,
        body: Bytes,
        patch: Arc<Patch>,
    ) -> Record {
        let uri = request.uri();
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        Record {
            entries: self.relay.entries.clone(),
            session: self.session.id(),
            ingress: self.ingress.to_string(),
            stamp,
            rest: subpath(self.head, self.ingress).to_owned(),
            url: format!("{}://{authority}{}", uri.scheme_str().unwrap_or_default(), uri.path()),
            asked: logged_headers(request.headers()),
            ingress_payload: self.body.clone(),
            outbound_payload: body,
            models: self.running.models(&patch),
            patch,
            traces: self.running.traces(),
            came: self.came,
            answer: None,
        }
    }

    /// The body with what the target changes in it; one that is no object, or encoded, goes as it is. Attempts with the same
    /// changes share one copy.
    pub(super) fn body_for(&mut self, patch: &Patch) -> Result<Bytes, NoMemory> {
        if patch.is_empty() {
            return Ok(self.body.clone());
        }
        if let Some((_, body)) = self.changed.as_ref().filter(|(known, _)| known == patch) {
            return Ok(body.clone());
        }
        // Its memory is free before the next copy takes some.
        self.changed = None;
        let changed = changed_body::apply(&self.relay.bodies, &self.head.headers, &self.body, patch)?;
        let body = changed.unwrap_or_else(|| self.body.clone());
        self.changed = Some((patch.clone(), body.clone()));
        Ok(body)
    }

    pub(super) fn times(&self, router: &RouterPath) -> AttemptTimeouts {
        let times = self.rules.times_of(self.ingress, router);
        let deadline = self.came.after(times.timeout).min(self.plan.deadline());
        AttemptTimeouts {
            connect: times.connect,
            first_byte: times.first_byte_of(self.stream),
            idle: times.idle,
            hold: times.hold,
            deadline: Instant::now() + deadline.since(self.relay.handle.now()),
        }
    }
}
