//! What a target is sent of a call, and how long it may take.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use tokio::time::Instant;

use super::super::admission::subpath;
use super::super::body::NoMemory;
use super::super::changed_body;
use super::super::exchange::AttemptTimeouts;
use super::super::target::{ForwardedRequest, Target};
use super::Call;
use types::request::Patch;
use types::router::RouterPath;

impl Call<'_> {
    /// The request as this target is sent it.
    pub(super) fn request(&self, target: &Target<'_>, body: Bytes) -> Option<Request<Full<Bytes>>> {
        let query = self.head.uri.query();
        let onward = ForwardedRequest { rest: subpath(self.head, self.ingress), query, headers: &self.head.headers };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = self.head.method.clone();
        *request.uri_mut() = target.uri(onward)?;
        *request.headers_mut() = target.headers(onward);
        Some(request)
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
