//! An attempt on its way: the request out and the beginning of its answer in, sent again at once where that is no other attempt.

use std::sync::Arc;

use bytes::Bytes;
use llm::Protocol;
use tokio::time::Instant;

use super::super::attempt_guard::AttemptGuard;
use super::super::client::Client;
use super::super::direct::DirectUpstream;
use super::super::exchange::{AttemptTimeouts, exchange};
use super::super::hold::{ExpectedAnswer, FailedAttempt, UpstreamAnswer};
use super::super::provider_target::NotSentReason;
use super::super::stream_usage;
use super::super::target::Target;
use super::super::upstream_request::UpstreamRequest;
use super::Call;
use crate::stamping::WrittenStamp;
use types::outcome::TransportFailure;
use types::request::{Patch, Request as _};
use types::router::RouterPath;

/// What is sent, and where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sending<'a> {
    pub(super) router: &'a RouterPath,
    pub(super) direct: Option<&'a DirectUpstream>,
    /// The body with the changes of the target's settings, and those changes.
    pub(super) patched: &'a Bytes,
    pub(super) patch: &'a Arc<Patch>,
    pub(super) stamp: &'a WrittenStamp,
    /// The target has a budget of tokens.
    pub(super) counts_tokens: bool,
}

/// What came of it.
pub(super) struct Exchanged<'a> {
    pub(super) target: Target<'a>,
    pub(super) sent: UpstreamRequest,
    pub(super) result: Result<UpstreamAnswer, FailedAttempt>,
}

impl<'c> Call<'c> {
    /// Sends the request to this target. It goes out a second time over a new connection where a kept one was closed, and
    /// without `stream_options` where the relay has added that and the target does not take it.
    ///
    /// # Errors
    /// It cannot be sent there, which is not the target's fault.
    pub(super) async fn send<'a>(
        &mut self,
        to: Sending<'a>,
        guard: &mut AttemptGuard,
    ) -> Result<Exchanged<'a>, NotSentReason>
    where
        'c: 'a,
    {
        let times = self.times(to.router);
        if times.deadline <= Instant::now() {
            return Err(NotSentReason::NoTime);
        }
        if let Some(lack) = self.missing_capability(&to) {
            return Err(NotSentReason::Incapable(lack));
        }
        let relay = self.relay;
        let mut target = relay.target(to.direct, to.router, self.session.before(self.number()));
        let mut asks_usage = self.needs_usage(&to);
        let mut sent = self.upstream_request(&target, to.patched, asks_usage).await?;
        self.keep_record(&to, &sent, guard);
        guard.set_key(target.key());
        let provider = to.direct.and_then(DirectUpstream::provider_name);
        self.running.sending(to.router, to.stamp, self.session.transaction(self.plan.sent()), provider);
        let mut client = &relay.clients.pooled;
        let mut named_usage = false;
        loop {
            guard.sends();
            let result = self.exchange(client, &target, &sent, &to, times).await;
            // Without the field it would have been refused just the same, had the client been at fault.
            if named_usage && result.as_ref().is_ok_and(|answer| answer.head.status.as_u16() < 400) {
                relay.usage_refusals.note(to.router);
            }
            if matches!(result, Err(FailedAttempt { failure: TransportFailure::Stale, .. })) && self.resend() {
                // The gateway may have seen the first one. No one else writes of it, and no number must be missing.
                self.unlogged += u32::from(to.direct.is_some());
                let transaction = self.session.transaction(self.number());
                self.running.resent(guard.time(), transaction.clone());
                guard.resent(TransportFailure::Stale.as_str(), transaction);
                target = relay.target(to.direct, to.router, self.session.before(self.number()));
                client = &relay.clients.unpooled;
            } else if sent.adds_usage && stream_usage::is_refused(&result) {
                (asks_usage, named_usage) = (false, true);
            } else {
                return Ok(Exchanged { target, sent, result });
            }
            // Signed anew, where it is signed.
            sent = self.upstream_request(&target, to.patched, asks_usage).await?;
            self.keep_record(&to, &sent, guard);
        }
    }

    /// Whether the target is to be asked for the usage of a stream whose client may not have asked.
    fn needs_usage(&self, to: &Sending<'_>) -> bool {
        let Some(direct) =
            to.direct.filter(|_| self.view.asks_for_stream() && !self.relay.usage_refusals.contains(to.router))
        else {
            return false;
        };
        stream_usage::is_needed(&self.relay.broker, to.router, direct, to.counts_tokens, to.patched)
    }

    fn keep_record(&self, to: &Sending<'_>, sent: &UpstreamRequest, guard: &mut AttemptGuard) {
        if let Some(direct) = to.direct.filter(|_| self.relay.entries.are_wanted()) {
            guard.record(self.record(to, direct, sent));
        }
    }

    async fn exchange(
        &self,
        client: &Client,
        target: &Target<'_>,
        sent: &UpstreamRequest,
        to: &Sending<'_>,
        times: AttemptTimeouts,
    ) -> Result<UpstreamAnswer, FailedAttempt> {
        let path = if sent.translation.is_some() { self.head.uri.path() } else { sent.head.uri.path() };
        let changed = (!to.patch.merge.is_empty()).then_some(&**to.patched);
        let expected = ExpectedAnswer {
            protocol: self.view.judged_as(Protocol::of_path(path), changed),
            grows: Protocol::is_growing_array(path),
            is_generation: self.view.is_generation(),
            is_download: path.ends_with("/content"),
            key: target.key(),
        };
        let result = exchange(client, sent, expected, times).await;
        if let Err(FailedAttempt { not_connected: Some(reason), .. }) = &result {
            self.relay.connect_log.failed(to.router, reason, self.relay.broker.now());
        }
        result
    }
}
