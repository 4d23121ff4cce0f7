//! What a target is sent of a call, and how long it may take.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::super::Relay;
use super::super::TimeLimits;
use super::super::admission::subpath;
use super::super::body::NoMemory;
use super::super::changed_body;
use super::super::direct::DirectUpstream;
use super::super::exchange::AttemptTimeouts;
use super::super::log_entry::{LogEntryDraft, LoggedBody};
use super::super::provider_target::NotSentReason;
use super::super::target::{ForwardedRequest, Target};
use super::super::upstream_request::{ProviderResources, RequestDraft, UpstreamRequest};
use super::Call;
use super::capability::CapabilityCheck;
use super::send::Sending;
use types::request::Patch;
use types::router::RouterPath;
use types::time::BrokerTime;

impl Call<'_> {
    /// The request as this target is sent it. `asks_usage`: a stream is to say what it used.
    pub(super) async fn upstream_request(
        &self,
        target: &Target<'_>,
        body: &Bytes,
        asks_usage: bool,
    ) -> Result<UpstreamRequest, NotSentReason> {
        let query = self.head.uri.query();
        let onward = ForwardedRequest { subpath: subpath(self.head, self.ingress), query, headers: &self.head.headers };
        let Relay { broker, bodies, keys, .. } = self.relay;
        let means = ProviderResources { broker, memory: bodies, keys, session: self.session.id() };
        let keeps_content = self.capability_check != CapabilityCheck::Off;
        let draft = RequestDraft { method: &self.head.method, onward, body, asks_usage, keeps_content };
        UpstreamRequest::new(target, draft, means).await
    }

    /// The bodies that show who named a model: the one that came, and the one with the changes of the target's settings. A
    /// provider's address is made of the model, so it shows nothing; and what a client's own strategy changes is the client's.
    pub(super) fn bodies_for_names<'b>(
        &'b self,
        is_provider: bool,
        patched: &'b Bytes,
        sent: &'b Bytes,
    ) -> (&'b Bytes, &'b Bytes) {
        let received = self.named.as_ref().filter(|_| is_provider).unwrap_or(self.body);
        let received = if self.client_tree.is_some() { patched } else { received };
        (received, if is_provider { patched } else { sent })
    }

    /// What the log entry of a call that does not pass the gateway is made of.
    pub(super) fn record(&self, to: &Sending<'_>, direct: &DirectUpstream, sent: &UpstreamRequest) -> LogEntryDraft {
        LogEntryDraft {
            entries: self.relay.entries.clone(),
            session: self.session.clone(),
            ingress: self.ingress.clone(),
            stamp: to.stamp.bytes.clone(),
            subpath: subpath(self.head, self.ingress).to_owned(),
            sent: Arc::clone(&sent.head),
            ingress_payload: LoggedBody::new(self.body),
            outbound_payload: LoggedBody::new(&sent.body),
            models: self.running.models(to.patch),
            patch: to.patch.clone(),
            priced_by: direct.host_provider(),
            traces: self.running.traces(),
            received_at: self.received_at,
            answer: None,
        }
    }

    /// The body with what the target changes in it; one that is no object, or encoded, goes as it is. Attempts with the same
    /// changes share one copy.
    pub(super) fn body_for(&mut self, patch: &Patch, router: &RouterPath) -> Result<Bytes, NoMemory> {
        let direct = self.relay.direct(router);
        if let Some(model) = self.model_of_body(direct.as_deref(), patch) {
            return self.named_body_for(patch, model);
        }
        if patch.is_empty() {
            return Ok(self.body.clone());
        }
        if let Some((_, body)) = self.changed.as_ref().filter(|(known, _)| known == patch) {
            return Ok(body.clone());
        }
        // Its memory is free before the next copy takes some.
        self.changed = None;
        let changed = changed_body::apply(&self.relay.bodies, &self.head.headers, self.body, patch)?;
        let body = changed.unwrap_or_else(|| self.body.clone());
        self.changed = Some((patch.clone(), body.clone()));
        Ok(body)
    }

    /// The body with this model, and with what the target changes in that.
    fn named_body_for(&mut self, patch: &Patch, model: String) -> Result<Bytes, NoMemory> {
        let body = match &self.named {
            Some(body) => body.clone(),
            None => {
                let name = [("model".to_owned(), model.into())].into_iter().collect();
                let patch = Patch { merge: name, ..Patch::default() };
                let named = changed_body::apply(&self.relay.bodies, &self.head.headers, self.body, &patch)?;
                self.named.insert(named.unwrap_or_else(|| self.body.clone())).clone()
            }
        };
        let changed = changed_body::apply(&self.relay.bodies, &self.head.headers, &body, patch)?;
        Ok(changed.unwrap_or(body))
    }

    pub(super) fn times(&self, router: &RouterPath) -> AttemptTimeouts {
        let times = self.rules.times_of(self.ingress, router);
        let deadline = self.deadline_of(&times);
        AttemptTimeouts {
            connect: times.connect,
            first_byte: times.first_byte_of(self.view.asks_for_stream()),
            idle: times.idle,
            hold: times.hold,
            deadline: Instant::now() + deadline.since(self.relay.broker.now()),
        }
    }

    /// When a call may no longer be at a target with these limits.
    fn deadline_of(&self, times: &TimeLimits) -> BrokerTime {
        self.received_at.after(times.timeout).min(self.plan.deadline())
    }

    /// Whether a target may have the request again after such a wait: it may have less time than the call.
    pub(super) fn has_time_after(&self, wait: Duration, router: &RouterPath) -> bool {
        let deadline = self.deadline_of(&self.rules.times_of(self.ingress, router));
        deadline == self.plan.deadline() || self.relay.broker.now().after(wait) < deadline
    }
}
