//! One call of a client, from its arrival to its answer. Plain values: who decides and who answers stands elsewhere.

use std::time::Duration;

/// What is in a call, as far as it matters to the upstream that answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any working upstream answers it.
    Good,
    /// The caller's own fault: every working upstream answers 400.
    Bad,
    /// Every working upstream breaks on it and answers 500.
    Poison,
}

/// What a client wants: the first call, and those again after failures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Request {
    pub(crate) at: Duration,
    pub(crate) kind: Kind,
    /// How often the client tries again after a failure.
    pub(crate) retries: u32,
}

/// A router, as one replica of a policy named it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) replica: usize,
    pub(crate) router: usize,
    /// The replica's own number for this decision.
    pub(crate) number: u64,
    /// It was sent to find out whether the router works again.
    pub(crate) probe: bool,
}

/// What a policy says to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PolicyChoice {
    To(Choice),
    /// An empty answer: the gateway serves it by the ingress's own endpoint, which is router 1's upstream.
    Pass,
    /// The client gets an error at once: nothing can serve it.
    Refused,
}

/// What came back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// How long that took.
    pub(crate) after: Duration,
    /// How long the upstream asks to be left alone.
    pub(crate) retry_after: Option<Duration>,
    /// The upstream was never reached.
    pub(crate) gateway_generated: bool,
}

impl Answer {
    /// Whether the client has nothing of it, through no fault of its own.
    pub(crate) const fn failed(&self) -> bool {
        matches!(self.status, 408 | 429 | 500..)
    }
}

/// One try of a request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    pub(crate) request: usize,
    pub(crate) attempt: u32,
    pub(crate) kind: Kind,
    /// What the client sent; the same in each of its tries.
    pub(crate) payload: String,
    /// The gateway's id for it.
    pub(crate) transaction: String,
    pub(crate) started: Duration,
    pub(crate) sent: PolicyChoice,
    pub(crate) answer: Answer,
}

impl Call {
    /// The router that a policy sent it to.
    pub(crate) const fn choice(&self) -> Option<Choice> {
        match self.sent {
            PolicyChoice::To(choice) => Some(choice),
            PolicyChoice::Pass | PolicyChoice::Refused => None,
        }
    }

    /// Whose upstream it was sent to.
    pub(crate) const fn upstream(&self) -> Option<usize> {
        match self.sent {
            PolicyChoice::To(choice) => Some(choice.router),
            PolicyChoice::Pass => Some(0),
            PolicyChoice::Refused => None,
        }
    }

    pub(crate) fn stopped(&self) -> Duration {
        self.started + self.answer.after
    }
}
