//! Rate limits of each router: requests and tokens per minute as configured, and the quota that its upstream reports.
//!
//! A decision reserves a request and its expected tokens; its log replaces the estimate. Calls of other replicas, and
//! of clients that name the router themselves, count when their logs arrive. A reported quota holds until its reset,
//! less what was sent since. This only answers whether a request is within the limits; the caller decides what
//! follows.

use std::fmt;

use super::rate_window::{RateWindow, Slot, Sum};
use crate::in_flight::InFlightCall;
use crate::table::Table;
use types::outcome::{QuotaRemaining, RateLimitHeaders};
use types::router::RouterId;
use types::time::BrokerTime;

/// The limits per minute that the user configured. With neither, only the quota that the upstream reports counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RateLimit {
    /// Requests per minute.
    pub rpm: Option<u32>,
    /// Tokens per minute, of prompts and completions.
    pub tpm: Option<u32>,
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.rpm, self.tpm) {
            (Some(rpm), Some(tpm)) => write!(f, "{rpm} requests and {tpm} tokens a minute"),
            (Some(rpm), None) => write!(f, "{rpm} requests a minute"),
            (None, Some(tpm)) => write!(f, "{tpm} tokens a minute"),
            (None, None) => f.write_str("what its upstream says is left"),
        }
    }
}

/// The limit that a request would exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LimitExceeded {
    /// The configured requests per minute.
    Rpm,
    /// The configured tokens per minute.
    Tpm,
    /// The remaining requests that the upstream reports.
    Requests,
    /// The remaining tokens that the upstream reports.
    Tokens,
    /// The upstream refuses the requested model for its rate: see [`super::model_limits`]. With the place of the limit among those of
    /// the router, as long as none of them changes.
    Model(u8),
}

impl fmt::Display for LimitExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rpm => "rpm",
            Self::Tpm => "tpm",
            Self::Requests => "remaining requests",
            Self::Tokens => "remaining tokens",
            Self::Model(_) => "rate limit of the model",
        })
    }
}

/// What a log reports about a call that reached a router.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Usage {
    /// The router.
    pub(crate) router: RouterId,
    /// This replica's call, as it was sent, if it was one and is not forgotten.
    pub(crate) sent: Option<InFlightCall>,
    /// Certainly not this replica's, so not counted yet.
    pub(crate) foreign: bool,
    /// Tokens of prompt and completion, if the upstream reports them.
    pub(crate) tokens: Option<u64>,
    /// The quota that the upstream reports.
    pub(crate) remaining: RateLimitHeaders,
}

/// What a call takes of its router's rate limits, until its log arrives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Reservation {
    tokens: u32,
    /// Everything that its router was sent, this one included.
    taken: Sum,
}

/// A quota as an upstream reported it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct ReportedQuota {
    amount: u64,
    /// What the router had been sent at that time.
    taken: u64,
    until: BrokerTime,
}

impl ReportedQuota {
    const fn left(&self, taken: u64) -> u64 {
        self.amount.saturating_sub(taken.saturating_sub(self.taken))
    }

    /// Whether less than `wanted` is left, while the report holds.
    fn falls_short(self, wanted: u64, taken: u64, now: BrokerTime) -> bool {
        now < self.until && self.left(taken) < wanted
    }
}

#[derive(Debug, Clone, PartialEq, Default)]
struct Account {
    rate_limit: RateLimit,
    minute: RateWindow,
    /// Everything that it was ever sent, by estimate.
    taken: Sum,
    requests: Option<ReportedQuota>,
    tokens: Option<ReportedQuota>,
}

/// The accounts of all routers with limits, about 600 bytes each.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RateLimiter {
    now: BrokerTime,
    accounts: Table<RouterId, Option<Box<Account>>>,
}

impl RateLimiter {
    /// Sets the limits, in the order of the routers' ids; a router that keeps limits keeps its account.
    pub fn configure(&mut self, limits: impl Iterator<Item = Option<RateLimit>>) {
        let mut before = std::mem::take(&mut self.accounts).into_iter();
        let accounts = limits.map(|rate_limit| {
            let before = before.next().flatten();
            rate_limit.map(|rate_limit| {
                Box::new(Account { rate_limit, ..before.map(|account| *account).unwrap_or_default() })
            })
        });
        self.accounts = accounts.collect();
    }

    /// Advances the clock, so that the next choice sees expired quotas as expired.
    pub const fn advance_clock(&mut self, now: BrokerTime) {
        self.now = now;
    }

    /// The limit that a request of this many tokens would exceed; `None` within the limits, and for a router without
    /// any.
    pub fn exceeded(&self, router: RouterId, tokens: u32) -> Option<LimitExceeded> {
        self.account(router)?.exceeded(tokens, self.now)
    }

    /// A call was sent. `None` for a router without limits.
    pub(crate) fn reserve(&mut self, router: RouterId, tokens: u32, now: BrokerTime) -> Option<Reservation> {
        self.now = now;
        let account = self.account_mut(router)?;
        account.take(tokens, now);
        Some(Reservation { tokens, taken: account.taken })
    }

    /// A call was not made, or went elsewhere: its router's minute is without it.
    pub(crate) fn release(&mut self, call: &InFlightCall) {
        let Some(Reservation { tokens, .. }) = call.reservation else { return };
        let Some(account) = self.account_mut(call.router) else { return };
        account.minute.change(second(call.started), |slot| {
            slot.requests = slot.requests.saturating_sub(1);
            slot.tokens = slot.tokens.saturating_sub(tokens);
        });
    }

    /// A log has arrived.
    pub(crate) fn learn(&mut self, usage: &Usage, now: BrokerTime) {
        self.now = now;
        let sent = usage.sent.filter(|call| call.reservation.is_some());
        let strayed = sent.filter(|call| call.router != usage.router);
        if let Some(call) = &strayed {
            self.release(call);
        }
        let Some(account) = self.account_mut(usage.router) else { return };
        let used = usage.tokens.map(|tokens| u32::try_from(tokens).unwrap_or(u32::MAX));
        let ours = sent.filter(|_| strayed.is_none());
        let reserved = ours.and_then(|call| call.reservation);
        match (ours.zip(reserved), used) {
            (Some((call, reserved)), Some(used)) => account.minute.change(second(call.started), |slot| {
                slot.tokens = slot.tokens.saturating_sub(reserved.tokens).saturating_add(used);
            }),
            (None, used) if usage.foreign || strayed.is_some() => account.take(used.unwrap_or(0), now),
            _ => {}
        }
        account.reconcile(usage.remaining, reserved.map(|reserved| reserved.taken), now);
    }

    /// Whether every account adds up.
    pub(crate) fn is_consistent(&self) -> bool {
        self.accounts.values().flatten().all(|account| account.minute.is_consistent())
    }

    fn account(&self, router: RouterId) -> Option<&Account> {
        self.accounts.get(router)?.as_deref()
    }

    fn account_mut(&mut self, router: RouterId) -> Option<&mut Account> {
        self.accounts.get_mut(router)?.as_deref_mut()
    }
}

impl Account {
    fn exceeded(&self, tokens: u32, now: BrokerTime) -> Option<LimitExceeded> {
        // Who does not say how many needs one at least.
        let tokens = u64::from(tokens.max(1));
        let used = self.minute.used(second(now));
        let over = |limit: Option<u32>, sum: u64| limit.is_some_and(|limit| sum > u64::from(limit));
        let falls_short = |quota: Option<ReportedQuota>, wanted, taken| {
            quota.is_some_and(|quota| quota.falls_short(wanted, taken, now))
        };
        if over(self.rate_limit.rpm, used.requests + 1) {
            Some(LimitExceeded::Rpm)
        } else if over(self.rate_limit.tpm, used.tokens.saturating_add(tokens)) {
            Some(LimitExceeded::Tpm)
        } else if falls_short(self.requests, 1, self.taken.requests) {
            Some(LimitExceeded::Requests)
        } else {
            falls_short(self.tokens, tokens, self.taken.tokens).then_some(LimitExceeded::Tokens)
        }
    }

    fn take(&mut self, tokens: u32, now: BrokerTime) {
        self.taken = self.taken.plus(Slot { requests: 1, tokens });
        self.minute.change(second(now), |slot| {
            slot.requests = slot.requests.saturating_add(1);
            slot.tokens = slot.tokens.saturating_add(tokens);
        });
    }

    /// Logs arrive in any order: of this replica's calls the report on the latest one counts. Others can only lower
    /// the quota.
    fn reconcile(&mut self, reported: RateLimitHeaders, then: Option<Sum>, now: BrokerTime) {
        let taken = self.taken;
        reconcile(&mut self.requests, reported.requests, then.map(|then| then.requests), taken.requests, now);
        reconcile(&mut self.tokens, reported.tokens, then.map(|then| then.tokens), taken.tokens, now);
    }
}

/// Logs come in any order: of words on calls of ours the one on the latest call counts. Others only ever leave less.
fn reconcile(
    quota: &mut Option<ReportedQuota>,
    reported: Option<QuotaRemaining>,
    then: Option<u64>,
    taken: u64,
    now: BrokerTime,
) {
    let Some(QuotaRemaining { amount, reset }) = reported else { return };
    let new = ReportedQuota { amount, taken: then.unwrap_or(taken), until: now.after(reset) };
    let better = |old: &ReportedQuota| match then {
        Some(then) => old.taken > then,
        None => old.left(taken) <= amount,
    };
    if !quota.as_ref().is_some_and(|old| now < old.until && better(old)) {
        *quota = Some(new);
    }
}

const fn second(now: BrokerTime) -> u64 {
    now.as_nanos() / 1_000_000_000
}

#[cfg(test)]
mod tests;
