//! Which answers are passed on, and which are kept in case nothing better comes.

use super::super::hold::{FailedAttempt, UpstreamAnswer};
use super::{AcceptedAnswer, Call};
use balancer::retry::RetryDecision;
use types::router::RouterPath;

impl Call<'_> {
    /// An answer to pass on; another one is kept, in case nothing better comes.
    pub(super) fn accept(
        &mut self,
        mut response: AcceptedAnswer,
        decision: RetryDecision,
        router: RouterPath,
    ) -> Option<AcceptedAnswer> {
        let AcceptedAnswer { answer, guard, end } = &mut response;
        // What is still to come can still break off.
        if decision != RetryDecision::DoNotRetry || end.status >= 400 || answer.rest.is_none() {
            guard.finish(*end);
        }
        if decision == RetryDecision::DoNotRetry {
            guard.teach(self.affinity, answer);
            return Some(response);
        }
        self.last = Some((response.answer, router));
        None
    }

    /// A stream that broke off before its content is a failure; if nothing better comes, the client is sent what there is of it.
    pub(super) fn keep_preamble(
        &mut self,
        result: Result<UpstreamAnswer, FailedAttempt>,
        router: &RouterPath,
    ) -> Result<UpstreamAnswer, FailedAttempt> {
        let answer = result?;
        let Some(failure) = answer.broken else { return Ok(answer) };
        let reason = answer.reason;
        self.last.get_or_insert_with(|| (answer, router.clone()));
        Err(FailedAttempt { reason, ..failure.into() })
    }
}
