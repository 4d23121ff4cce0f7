//! Watches a run from outside: it knows the truth about the upstreams, and sees of a policy only what it does.

use std::time::Duration;

use crate::call::{Call, PolicyChoice};
use crate::figures::Figures;
use crate::policy::{Policy, View};
use crate::upstream::Upstream;

/// How one replica treats one router.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Treats {
    view: View,
    /// It was out at some moment of this outage.
    found_out: bool,
    /// Cooldowns that ended in this outage.
    ended: u64,
    /// Calls sent in this outage after it was found out.
    sent: u64,
}

/// What is known of one router.
#[derive(Debug, Clone, PartialEq)]
struct Router {
    capacity: f64,
    treats: Vec<Treats>,
    /// The outage that is going on: from when to when.
    outage: Option<(Duration, Duration)>,
    /// A failure of this outage was answered.
    known: bool,
    detected: bool,
    /// Out since an outage that ended then.
    overdue: Option<Duration>,
}

/// The watcher.
#[derive(Debug)]
pub(crate) struct Watch {
    routers: Vec<Router>,
    last: Duration,
    figures: Figures,
}

impl Watch {
    pub(crate) fn new(routers: usize, replicas: usize) -> Self {
        let treats = vec![Treats { view: View::Serving(1.0), found_out: false, ended: 0, sent: 0 }; replicas];
        let router = Router { capacity: 1.0, treats, outage: None, known: false, detected: false, overdue: None };
        let figures = Figures { runs: 1, ..Figures::default() };
        Self { routers: vec![router; routers], last: Duration::ZERO, figures }
    }

    /// Time has passed in which nothing changed.
    pub(crate) fn advance(&mut self, now: Duration) {
        let span = (now - self.last).as_secs_f64();
        self.last = now;
        for router in &self.routers {
            self.figures.pool += span;
            self.figures.wasted += span * router.capacity * (1.0 - router.share());
        }
    }

    /// Something may have changed.
    pub(crate) fn look(&mut self, now: Duration, upstreams: &[Upstream], policy: &dyn Policy) {
        for (place, (router, upstream)) in self.routers.iter_mut().zip(upstreams).enumerate() {
            let outage = upstream.dead(now).map(|spell| (spell.from, spell.to));
            if outage != router.outage {
                router.end_outage(&mut self.figures);
                router.begin_outage(outage, &mut self.figures);
            }
            for (replica, treats) in router.treats.iter_mut().enumerate() {
                treats.turn(policy.view(replica, place), outage.is_some(), &mut self.figures);
            }
            router.capacity = upstream.capacity(now);
            router.mark(now, &mut self.figures);
        }
    }

    /// A call was sent.
    pub(crate) fn sent(&mut self, sent: PolicyChoice, now: Duration, upstreams: &[Upstream]) {
        let (place, replica) = match sent {
            PolicyChoice::To(choice) => (choice.router, Some(choice.replica)),
            PolicyChoice::Pass => (0, None),
            PolicyChoice::Refused => return,
        };
        if upstreams[place].dead(now).is_none() {
            return;
        }
        let router = &mut self.routers[place];
        self.figures.to_known_bad += u64::from(router.known);
        if let Some(treats) = replica.map(|replica| &mut router.treats[replica])
            && treats.found_out
            && treats.view != View::Panic
        {
            treats.sent += 1;
        }
    }

    /// A call was answered.
    pub(crate) fn answered(&mut self, call: &Call, upstreams: &[Upstream]) {
        if let Some(place) = call.upstream().filter(|_| call.answer.failed()) {
            let router = &mut self.routers[place];
            router.known |= router.outage.is_some() && upstreams[place].dead(call.stopped()).is_some();
        }
    }

    /// A request is over.
    pub(crate) fn settled(&mut self, failed: bool) {
        self.figures.requests += 1;
        self.figures.failed += u64::from(failed);
    }

    /// The run is over.
    pub(crate) fn finish(mut self, end: Duration) -> Figures {
        self.advance(end.max(self.last));
        for router in &mut self.routers {
            router.end_outage(&mut self.figures);
            if let Some(since) = router.overdue.take().filter(|since| *since < end) {
                self.figures.back.add_unended(end - since);
            }
        }
        self.figures
    }
}

impl Router {
    /// The part of its share that it gets, over all replicas.
    fn share(&self) -> f64 {
        let each = self.treats.iter().map(|treats| match treats.view {
            View::Serving(share) => share,
            View::Panic => 1.0,
            View::Probing | View::Ejected => 0.0,
        });
        each.sum::<f64>() / self.treats.len() as f64
    }

    fn begin_outage(&mut self, outage: Option<(Duration, Duration)>, figures: &mut Figures) {
        if let Some((from, _)) = outage
            && let Some(since) = self.overdue.take()
        {
            figures.back.add_unended(from - since);
        }
        (self.outage, self.known, self.detected) = (outage, false, false);
        for treats in &mut self.treats {
            (treats.found_out, treats.ended, treats.sent) = (treats.is_out(), 0, 0);
        }
    }

    fn end_outage(&mut self, figures: &mut Figures) {
        let Some((_, to)) = self.outage.take() else { return };
        figures.unnoticed += u32::from(!self.detected);
        figures.beyond += self.treats.iter().map(|treats| treats.sent.saturating_sub(treats.ended)).sum::<u64>();
        if self.treats.iter().any(|treats| !matches!(treats.view, View::Serving(_))) {
            self.overdue = Some(to);
        }
    }

    /// Notes the moments when an outage is noticed by all, and when all have the router back.
    fn mark(&mut self, now: Duration, figures: &mut Figures) {
        let out = self.treats.iter().all(|treats| treats.is_out());
        let serving = self.treats.iter().all(|treats| matches!(treats.view, View::Serving(_)));
        if let Some((from, _)) = self.outage.filter(|_| out && !self.detected) {
            self.detected = true;
            figures.detect.add(now - from);
        }
        if let Some(since) = self.overdue.take_if(|_| serving) {
            figures.back.add(now - since);
        }
    }
}

impl Treats {
    const fn is_out(&self) -> bool {
        matches!(self.view, View::Ejected | View::Panic)
    }

    fn turn(&mut self, view: View, outage: bool, figures: &mut Figures) {
        let was_out = self.is_out();
        self.view = view;
        let is_out = self.is_out();
        figures.trips += u64::from(is_out && !was_out);
        self.ended += u64::from(outage && was_out && !is_out);
        self.found_out |= outage && is_out;
    }
}
