//! One call of a client: its body is read, and it is sent until an answer is worth passing on or there is nothing left to do.

use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_LENGTH, RETRY_AFTER};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response, Version};
use tokio::time::{Instant, timeout_at};

use super::answer::{Own, is_allowed, seconds};
use super::asked::{Asked, is_encoded};
use super::body::NoMemory;
use super::exchange::{self, Answer, Times, exchange};
use super::framing;
use super::record::{Record, shown};
use super::session::Session;
use super::stream::Passing;
use super::subpath::stays_below;
use super::target::{Onward, Target};
use super::trace::{self, Attempt, Attempts};
use super::underway::{End, Underway};
use super::{Relay, count, headers};
use crate::attempt::{Ended, Lead, Limits, Plan, Stop, lead};
use crate::broker::Course;
use crate::handle::{Dispatch, Next};
use crate::outcome::{Breakage, Hint};
use crate::request::Patch;
use crate::router::RouterPath;
use crate::time::Now;
use crate::wire::missing::Naming;
use crate::wire::scan::{Cursor, Raw};
use crate::wire::{answer, hint, patch};

/// Who served an answer, how often the call was sent, why it was not sent once more, and what became of each attempt.
const ROUTER: &str = "x-broker-router";
const ATTEMPTS: &str = "x-broker-attempts";
const SESSION: &str = "x-broker-session";
const REASON: &str = "x-broker-reason";
const TRACE: &str = "x-broker-trace";

/// A call whose body is here.
struct Call<'a> {
    relay: &'a Relay,
    ingress: &'a RouterPath,
    head: &'a Parts,
    body: Bytes,
    /// The body as the last target that changes something in it is sent it.
    changed: Option<(Patch, Bytes)>,
    session: Session,
    came: Now,
    limits: Limits,
    plan: Plan,
    course: Course,
    /// The last answer that was not worth passing on, and whose it was.
    last: Option<(Answer, RouterPath)>,
    attempts: &'a mut Attempts,
}

/// An answer that is worth passing on.
struct Final {
    answer: Answer,
    /// Told already, or to be told at the answer's end.
    underway: Underway,
    end: End,
}

/// Serves one call.
pub(super) async fn serve(relay: &Relay, request: Request<Incoming>) -> Response<Passing> {
    let (head, body) = request.into_parts();
    if trace::is_guess(&head.headers, relay.token.as_ref())
        && let Err(fault) = relay.guesses.wrong("relay").await
    {
        return Own::TooManyGuesses(fault).response();
    }
    let mut attempts = Attempts::default();
    let mut response = respond(relay, &head, body, &mut attempts).await;
    if let Some(trace) = trace::asked(&head.headers, relay.token.as_ref(), &attempts) {
        response.headers_mut().insert(TRACE, trace);
    }
    response
}

async fn respond(relay: &Relay, head: &Parts, body: Incoming, attempts: &mut Attempts) -> Response<Passing> {
    if !is_allowed(&head.method) {
        return Own::Method.response();
    }
    if !framing::is_request_unambiguous(head) {
        return Own::AmbiguousLength.response();
    }
    let Some(ingress) = relay.handle.ingress_of(head.uri.path()) else { return Own::NoPool.response() };
    if !stays_below(rest(head, &ingress)) {
        return Own::OddPath.response();
    }
    let Ok(place) = relay.calls.clone().try_acquire_owned() else { return Own::Busy.response() };
    let now = relay.handle.now();
    let body = match read(relay, body).await {
        Ok(body) => body,
        Err(own) => return own.response(),
    };
    let limits = relay.rules().limits;
    let call = Call {
        relay,
        ingress: &ingress,
        head,
        body,
        changed: None,
        session: relay.sessions.begin(now),
        came: now,
        limits,
        plan: Plan::new(limits, now),
        course: Course::default(),
        last: None,
        attempts,
    };
    call.run().await.map(|passing| passing.keeping(place))
}

/// What follows the ingress in a path.
fn rest<'a>(head: &'a Parts, ingress: &RouterPath) -> &'a str {
    head.uri.path().get(ingress.as_str().len()..).unwrap_or_default()
}

/// The whole body: every attempt needs it.
async fn read(relay: &Relay, mut body: Incoming) -> Result<Bytes, Own> {
    let most = relay.room.body;
    if body.size_hint().lower() > most as u64 {
        return Err(Own::TooLarge(most));
    }
    let announced = body.size_hint().exact().and_then(|length| usize::try_from(length).ok());
    let by = Instant::now() + relay.room.patience;
    let mut buffer = relay.bodies.buffer(announced.unwrap_or(most));
    while !body.is_end_stream() {
        let frame = match timeout_at(by, body.frame()).await {
            Err(_) => return Err(Own::TooSlow),
            Ok(Some(Err(_))) => return Err(Own::Incomplete),
            Ok(None) => break,
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        if buffer.len() + data.len() > most {
            return Err(Own::TooLarge(most));
        }
        buffer.push(&data).map_err(|NoMemory| Own::Busy)?;
    }
    Ok(buffer.freeze())
}

impl Call<'_> {
    async fn run(mut self) -> Response<Passing> {
        loop {
            match self.next() {
                Next::Pause(pause) => tokio::time::sleep(pause).await,
                Next::Stop(stop, words) => return self.give_up(stop, words),
                Next::Send(dispatch) => {
                    let router = dispatch.router.clone();
                    let Ok(body) = self.body_for(&dispatch.patch) else {
                        self.relay.handle.abandon(&dispatch.route);
                        return Own::Busy.response();
                    };
                    if let Some(Final { answer, underway, end }) = self.attempt(*dispatch, body).await {
                        return self.pass_on(answer, &router, Some(underway), end);
                    }
                }
            }
        }
    }

    fn next(&mut self) -> Next {
        let asked = Asked::new(self.ingress, &self.head.headers, &self.body);
        let (plan, budget) = (&mut self.plan, &self.relay.budget);
        self.relay.handle.next(&asked, &mut self.course, |offer, now, rng| {
            plan.next(offer, &mut budget.lock().unwrap_or_else(PoisonError::into_inner), now, rng)
        })
    }

    /// One attempt. `None`: another one may do better.
    async fn attempt(&mut self, dispatch: Dispatch, body: Bytes) -> Option<Final> {
        let Dispatch { route, router, by, patch, leads, stamp } = dispatch;
        let stamp = Bytes::from(stamp);
        let id = route.router();
        let transaction = self.session.transaction(self.plan.sent());
        let mut underway = Underway::begin(self.relay.handle.clone(), route, router.clone(), transaction);
        let direct = self.relay.direct(&router);
        let relay = self.relay;
        let target = relay.target(direct.as_deref(), &router, self.session.before(self.plan.sent()));
        let Some(request) = self.request(&target, body.clone()) else {
            // Only a path that no URL can have comes to this; no target would take it.
            self.attempts.note(Attempt { router, ended: None, time: underway.time(), stamp });
            self.course.note(id, false);
            return None;
        };
        if direct.is_some() {
            underway.record(self.record(stamp.clone(), &request, body.clone(), patch.clone()));
        }
        let path = request.uri().path().to_owned();
        let mut came = exchange(&relay.clients.pooled, request, self.times(by)).await;
        if matches!(came, Err(Breakage::Stale))
            && let Some(by) = self.resend()
        {
            let ended = Some(Ended::Broken(Breakage::Stale));
            self.attempts.note(Attempt { router: router.clone(), ended, time: underway.time(), stamp: stamp.clone() });
            underway.resent(Breakage::Stale.word(), self.session.transaction(self.plan.sent()));
            let target = relay.target(direct.as_deref(), &router, self.session.before(self.plan.sent()));
            let request = self.request(&target, body.clone())?;
            came = exchange(&relay.clients.unpooled, request, self.times(by)).await;
        }
        let time = underway.time();
        // Looked at only where it matters: a body may be long.
        let naming = || Naming {
            path: Some(path.as_str()).filter(|_| direct.is_some()),
            subpath: Some(rest(self.head, self.ingress)),
            received: self.readable(&self.body),
            sent: self.readable(&body),
            patch: Some(&patch),
        };
        let (ended, came) = judge(&target, came, naming, &mut underway);
        self.attempts.note(Attempt { router: router.clone(), ended: Some(ended), time, stamp });
        let lead = lead(ended, target.has_own_key(), leads.as_deref());
        self.course.note(id, lead == Lead::Anywhere);
        let (answer, end) = came?;
        self.plan.heed(id, end.hint.and_then(Hint::wait), self.relay.handle.now());
        // What is still to come can still break off.
        if lead != Lead::Final || end.status >= 400 || answer.rest.is_none() {
            underway.tell(end);
        }
        if lead == Lead::Final {
            return Some(Final { answer, underway, end });
        }
        self.last = Some((answer, router));
        None
    }

    /// Counts one more attempt at the same target, if another one may be made. With the moment when the first byte of an answer
    /// must be here.
    fn resend(&mut self) -> Option<Now> {
        let mut budget = self.relay.budget.lock().unwrap_or_else(PoisonError::into_inner);
        self.plan.resend(&mut budget, self.relay.handle.now())
    }

    /// The request as this target is sent it.
    fn request(&self, target: &Target<'_>, body: Bytes) -> Option<Request<Full<Bytes>>> {
        let query = self.head.uri.query();
        let onward = Onward { rest: rest(self.head, self.ingress), query, headers: &self.head.headers };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = self.head.method.clone();
        *request.uri_mut() = target.uri(onward)?;
        *request.headers_mut() = target.headers(onward);
        Some(request)
    }

    /// What the log entry of a call that does not pass the gateway is made of.
    fn record(&self, stamp: Bytes, request: &Request<Full<Bytes>>, body: Bytes, patch: Arc<Patch>) -> Record {
        let uri = request.uri();
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        Record {
            entries: self.relay.entries.clone(),
            session: self.session.id(),
            ingress: self.ingress.to_string(),
            stamp,
            rest: rest(self.head, self.ingress).to_owned(),
            url: format!("{}://{authority}{}", uri.scheme_str().unwrap_or_default(), uri.path()),
            asked: shown(request.headers()),
            ingress_payload: self.body.clone(),
            outbound_payload: body,
            patch,
            came: self.came,
            answer: None,
        }
    }

    /// The body with what the target changes in it; one that is no object, or encoded, goes as it is. Attempts with the same
    /// changes share one copy.
    fn body_for(&mut self, patch: &Patch) -> Result<Bytes, NoMemory> {
        if patch.is_empty() {
            return Ok(self.body.clone());
        }
        if let Some((_, body)) = self.changed.as_ref().filter(|(known, _)| known == patch) {
            return Ok(body.clone());
        }
        // Its memory is free before the next copy takes some.
        self.changed = None;
        let Some(raw) = self.readable(&self.body) else { return Ok(self.body.clone()) };
        let reserved = self.relay.bodies.reserve(self.body.len() + patch::growth(patch))?;
        let Some(bytes) = patch::apply(patch, raw) else { return Ok(self.body.clone()) };
        let body = reserved.hold(bytes)?;
        self.changed = Some((patch.clone(), body.clone()));
        Ok(body)
    }

    /// A body as JSON; `None` if it is encoded, or breaks off.
    fn readable<'b>(&self, body: &'b Bytes) -> Option<Raw<'b>> {
        if is_encoded(&self.head.headers) { None } else { Cursor::new(body).raw().ok() }
    }

    fn times(&self, by: Now) -> Times {
        let now = self.relay.handle.now();
        let at = |moment: Now| Instant::now() + moment.since(now);
        Times { first_byte: at(by), end: at(self.plan.deadline()), idle: self.limits.idle }
    }

    /// Passes an answer on.
    fn pass_on(self, answer: Answer, router: &RouterPath, underway: Option<Underway>, end: End) -> Response<Passing> {
        let Answer { mut head, held, rest } = answer;
        headers::strip(&mut head.headers);
        if self.head.method != Method::HEAD {
            // The length that goes out is that of the body as it was read.
            head.headers.remove(CONTENT_LENGTH);
        }
        // The version is the hop's: a target that speaks HTTP/1.0 must not take chunks, and with them a visible end, from the client.
        head.version = Version::HTTP_11;
        self.sign(&mut head.headers, Some(router));
        let events = exchange::is_event_stream(&head.headers);
        let passing = match rest {
            None => Passing::whole(held),
            Some(body) => Passing::to_come(held, body, self.limits.idle, events, underway, end),
        };
        Response::from_parts(head, passing)
    }

    /// There is nothing left to do: the last answer as it was, or one of our own.
    fn give_up(mut self, stop: Stop, words: Option<String>) -> Response<Passing> {
        let wait = match stop {
            Stop::Nobody(until) => until.map(|until| until.since(self.relay.handle.now())),
            Stop::Attempts | Stop::Time | Stop::Budget => None,
        };
        count::given_up(&self.relay.handle, stop);
        tracing::debug!(ingress = %self.ingress, attempts = %self.attempts, "a call is given up: {stop}");
        let mut response = match self.last.take() {
            Some((answer, router)) => {
                let end = End::with(answer.head.status.as_u16());
                self.pass_on(answer, &router, None, end)
            }
            None if self.attempts.ended_exhausted() => {
                if let Some(total) = self.relay.handle.counts().exhausted("relay_connect", self.relay.handle.now()) {
                    tracing::warn!(total, "the relay has no descriptors, memory or ports left to call targets with");
                }
                let mut response = Own::Exhausted.response();
                self.sign(response.headers_mut(), None);
                response
            }
            None => {
                let words = words.filter(|_| self.attempts.is_empty());
                let story = words.unwrap_or_else(|| format!("{} ({stop})", self.attempts));
                let mut response = Own::NobodyLeft(story, wait).response();
                self.sign(response.headers_mut(), None);
                response
            }
        };
        let headers = response.headers_mut();
        headers.insert(REASON, headers::value(&stop.to_string()));
        if let Some(wait) = wait {
            headers.insert(RETRY_AFTER, seconds(wait));
        }
        response
    }

    /// Says who served, and how.
    fn sign(&self, headers: &mut HeaderMap, router: Option<&RouterPath>) {
        if let Some(router) = router {
            headers.insert(ROUTER, headers::value(router.as_str()));
        }
        headers.insert(ATTEMPTS, self.plan.sent().into());
        headers.insert(SESSION, headers::value(&self.session.id()));
    }
}

/// What an attempt came to, in the words of the plan and of health. One that came to nothing is told.
fn judge<'n>(
    target: &Target<'_>,
    came: Result<Answer, Breakage>,
    naming: impl FnOnce() -> Naming<'n>,
    underway: &mut Underway,
) -> (Ended, Option<(Answer, End)>) {
    match came {
        Ok(answer) => {
            let (end, ended) = ending(&answer, target, naming);
            underway.answered(&answer.head.headers, &answer.held);
            (ended, Some((answer, end)))
        }
        Err(breakage) => {
            if breakage == Breakage::Exhausted {
                underway.end_neutrally(Breakage::Exhausted.word());
                return (Ended::Broken(breakage), None);
            }
            let unreached = matches!(breakage, Breakage::Connect | Breakage::ConnectTimeout);
            // Behind the gateway it is the gateway that could not be reached, and no router is to blame.
            if unreached && target.is_behind_gateway() {
                underway.end_neutrally(count::GATEWAY_AWAY);
            } else if breakage == Breakage::Stale {
                underway.end_neutrally(breakage.word());
            } else {
                underway.tell(End::broken(breakage));
            }
            (Ended::Broken(breakage), None)
        }
    }
}

/// What an answer says, to health and to the plan.
fn ending<'n>(answer: &Answer, target: &Target<'_>, naming: impl FnOnce() -> Naming<'n>) -> (End, Ended) {
    let status = answer.head.status.as_u16();
    let fields = answer.head.headers.iter();
    let said = hint::of(fields.filter_map(|(name, value)| Some((name.as_str().as_bytes(), value.to_str().ok()?))));
    let mut end = End { hint: said.hint, html: said.html, ..End::with(status) };
    if status >= 400 {
        let body = answer.start();
        end.missing = answer::missing(status, &body).map(|missing| naming().of(missing));
        end.made_by_gateway = target.is_behind_gateway() && answer::made_by_gateway(&body);
    }
    (end, Ended::Answered { status, missing: end.missing })
}
