//! Targets that are not sent a request: those that cannot be, and, while another one can serve, those that lack what it needs.

use llm::capability::MissingCapability;
use llm::json::{Cursor, RawJson};

use super::super::provider_target::NotSentReason;
use super::super::trace::FinishedAttempt;
use super::Call;
use super::send::Sending;
use crate::shared_broker::NextStep;
use balancer::broker::RouteKind;
use types::router::RouterId;

/// Whether targets are looked at before they are sent the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CapabilityCheck {
    /// None was passed over for what it lacks.
    On,
    /// Some were.
    PassedOver,
    /// All that are left were: they are sent the request.
    Off,
}

impl Call<'_> {
    /// What the target's model lacks that the request needs, as far as the price table knows. Who a target without a known
    /// provider is, and what its model can do, it knows best itself.
    pub(super) fn missing_capability(&self, to: &Sending<'_>) -> Option<MissingCapability> {
        let direct = to.direct.filter(|_| self.capability_check != CapabilityCheck::Off)?;
        let provider = direct.provider_name()?;
        let mut model = None;
        let read = Cursor::new(to.patched).fields(|name, value| {
            if name == b"model" {
                model = Some(value.raw()?);
            }
            Ok(())
        });
        let model = model.filter(|_| read.is_ok()).and_then(RawJson::text)?;
        self.needs.first_missing(self.relay.broker.prices().book().table().find(Some(provider), &model)?)
    }

    /// A target that is not sent the request, through no fault of its own: the attempt is left to another one. If none serves,
    /// the client gets the first reason.
    pub(super) fn pass_over(&mut self, attempt: FinishedAttempt, id: RouterId, reason: NotSentReason) {
        tracing::debug!(router = %attempt.router, "passed over: {reason}");
        self.running.note(FinishedAttempt { not_sent: Some(reason.to_string()), ..attempt });
        let may_serve = matches!(reason, NotSentReason::Incapable(_));
        self.history.note_passed_over(id, reason.words(), may_serve);
        if may_serve {
            self.capability_check = CapabilityCheck::PassedOver;
        }
        self.plan.pass_over();
        self.passed_over.get_or_insert(reason);
    }

    /// Where no target is left but those that were passed over for what they lack: offers these, without that check,
    /// instead of taking this step. True if so.
    pub(super) fn ends_capability_check(&mut self, step: &NextStep) -> bool {
        if self.capability_check != CapabilityCheck::PassedOver {
            return false;
        }
        match step {
            NextStep::Send(dispatch) => {
                let serves = matches!(dispatch.route.kind, RouteKind::Normal | RouteKind::Probe);
                // This one is counted already.
                if serves || self.plan.sent() > 1 {
                    return false;
                }
                self.relay.broker.abandon(&dispatch.route, false);
                self.plan.pass_over();
            }
            NextStep::Pause(_) | NextStep::AwaitTarget { .. } | NextStep::Stop(_) => {}
        }
        (self.capability_check, self.passed_over) = (CapabilityCheck::Off, None);
        self.history.offer_passed_over();
        true
    }
}
