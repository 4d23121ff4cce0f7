//! An attempt under way. However it ends, it is told once: as an outcome, or as one that nobody is to blame for.
//!
//! The last is what happens when it is dropped, which is how a call ends whose client went away: so no path through this room
//! can forget a router that is being found out about.

use std::time::Duration;

use bytes::Bytes;
use hyper::HeaderMap;

use super::count;
use super::record::{Answered, Ending, Record};
use crate::broker::{Route, Sent};
use crate::handle::Handle;
use crate::outcome::{Breakage, Hint, NamedBy, Report, Source};
use crate::router::RouterPath;
use crate::time::Now;

/// An attempt that has not ended.
#[derive(Debug)]
pub(super) struct Underway {
    handle: Handle,
    route: Route,
    router: RouterPath,
    transaction: String,
    began: Now,
    /// What its log entry is made of, if nobody else writes one.
    record: Option<Box<Record>>,
    /// Why it says nothing about its router; without a reason, the client went away.
    neutral: Option<&'static str>,
    told: bool,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub(super) status: u16,
    pub(super) broken: Option<Breakage>,
    pub(super) made_by_gateway: bool,
    pub(super) missing: Option<NamedBy>,
    pub(super) hint: Option<Hint>,
    pub(super) html: bool,
}

impl End {
    /// With this status, and nothing to add.
    pub(super) const fn with(status: u16) -> Self {
        Self { status, broken: None, made_by_gateway: false, missing: None, hint: None, html: false }
    }

    /// Without a good answer. What the client would have been told is what gateways say then.
    pub(super) const fn broken(breakage: Breakage) -> Self {
        let status = match breakage {
            Breakage::ConnectTimeout | Breakage::Silent => 504,
            _ => 502,
        };
        Self { broken: Some(breakage), ..Self::with(status) }
    }
}

impl Underway {
    pub(super) fn begin(handle: Handle, route: Route, router: RouterPath, transaction: String) -> Self {
        let began = handle.now();
        Self { handle, route, router, transaction, began, record: None, neutral: None, told: false }
    }

    /// Keeps a record from now on.
    pub(super) fn record(&mut self, record: Record) {
        self.record = Some(Box::new(record));
    }

    /// An answer began so.
    pub(super) fn answered(&mut self, headers: &HeaderMap, held: &[Bytes]) {
        if let Some(record) = &mut self.record {
            let mut answered = Answered::new(headers);
            held.iter().for_each(|part| answered.add(part));
            record.answer = Some(answered);
        }
    }

    /// A part of its body came.
    pub(super) fn add(&mut self, part: &[u8]) {
        if let Some(answer) = self.record.as_mut().and_then(|record| record.answer.as_mut()) {
            answer.add(part);
        }
    }

    /// It has ended in a way that says nothing about its router. `reason`: as metrics spell it.
    pub(super) fn end_neutrally(&mut self, reason: &'static str) {
        self.neutral = Some(reason);
    }

    /// It ended in a way that says nothing about its router, and is sent to the same once more as this transaction.
    pub(super) fn resent(&mut self, reason: &'static str, transaction: String) {
        count::neutral_attempt(&self.handle, Some(reason));
        self.transaction = transaction;
        self.began = self.handle.now();
    }

    /// How long it has taken so far.
    pub(super) fn time(&self) -> Duration {
        self.handle.now().since(self.began)
    }

    /// It has ended so.
    pub(super) fn tell(&mut self, mut end: End) {
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        count::attempt(&self.handle, end.broken.map_or(Ok(end.status), Err));
        let record = self.record.take();
        if let (Some(_), Some(breakage)) = (&record, end.broken) {
            // Its entry says so too, as the gateway's would.
            end.status = End::broken(breakage).status;
        }
        let router = Some(self.router.as_str());
        self.handle.learn(&Report {
            served: router,
            stamped: router,
            // A disabled one that is tried because there is nothing else finds out too.
            probe: matches!(self.route.sent, Sent::ToProve | Sent::WhileDisabled),
            decision: Some(self.route.number),
            status: Some(end.status),
            made_by_gateway: end.made_by_gateway,
            hint: end.hint,
            html: end.html,
            latency: Some(self.time()),
            missing: end.missing,
            broken: end.broken,
            began: Some(self.began),
            transaction: Some(&self.transaction),
            ..Report::empty(Source::Attempt)
        });
        if let Some(record) = record {
            record.publish(Ending {
                router: self.router.as_str(),
                transaction: &self.transaction,
                status: end.status,
                broken: end.broken,
                sent: self.began,
                over: self.handle.now(),
            });
        }
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        if !self.told {
            count::neutral_attempt(&self.handle, self.neutral);
            self.handle.abandon(&self.route);
        }
    }
}
