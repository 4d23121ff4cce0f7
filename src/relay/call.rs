//! One call of a client: its body is read, and it is sent until an answer is worth passing on or there is nothing left to do.

use std::sync::PoisonError;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::header::RETRY_AFTER;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Request, Response};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::answer::{Own, seconds};
use super::asked::Asked;
use super::exchange::{self, Answer, Times, exchange};
use super::record::{Record, shown};
use super::session::Session;
use super::stream::Passing;
use super::target::{Onward, Target, stays_below};
use super::trace::{self, Attempt, Attempts};
use super::underway::{End, Underway};
use super::{PIECE, Relay, count, headers};
use crate::attempt::{Ended, Lead, Limits, Plan, Stop, lead};
use crate::broker::Course;
use crate::handle::{Dispatch, Next};
use crate::outcome::{Breakage, Hint};
use crate::request::Patch;
use crate::router::RouterPath;
use crate::time::Now;
use crate::wire::scan::Cursor;
use crate::wire::{answer, hint, patch};

/// Who served an answer, how often the call was sent, why it was not sent once more, and what became of each attempt.
const ROUTER: &str = "x-broker-router";
const ATTEMPTS: &str = "x-broker-attempts";
const SESSION: &str = "x-broker-session";
const REASON: &str = "x-broker-reason";
const TRACE: &str = "x-broker-trace";

/// A body, and its place among the bytes of all bodies.
struct Whole {
    bytes: Bytes,
    places: Vec<OwnedSemaphorePermit>,
}

/// A call whose body is here.
struct Call<'a> {
    relay: &'a Relay,
    ingress: &'a RouterPath,
    head: &'a Parts,
    body: Bytes,
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
    let Some(ingress) = relay.handle.ingress_of(head.uri.path()) else { return Own::NoPool.response() };
    if !stays_below(rest(head, &ingress)) {
        return Own::OddPath.response();
    }
    let Ok(place) = relay.calls.clone().try_acquire_owned() else { return Own::Busy.response() };
    let now = relay.handle.now();
    let Whole { bytes, mut places } = match read(relay, body).await {
        Ok(whole) => whole,
        Err(own) => return own.response(),
    };
    let limits = relay.rules().limits;
    let call = Call {
        relay,
        ingress: &ingress,
        head,
        body: bytes,
        session: relay.sessions.begin(now),
        came: now,
        limits,
        plan: Plan::new(limits, now),
        course: Course::default(),
        last: None,
        attempts,
    };
    places.push(place);
    call.run().await.map(|passing| passing.keeping(places))
}

/// What follows the ingress in a path.
fn rest<'a>(head: &'a Parts, ingress: &RouterPath) -> &'a str {
    head.uri.path().get(ingress.as_str().len()..).unwrap_or_default()
}

/// The whole body: every attempt needs it.
async fn read(relay: &Relay, mut body: Incoming) -> Result<Whole, Own> {
    let most = relay.room.body;
    if body.size_hint().lower() > most as u64 {
        return Err(Own::TooLarge(most));
    }
    let by = Instant::now() + relay.room.patience;
    let mut bytes = BytesMut::new();
    let mut places = Vec::new();
    let mut paid = 0;
    while !body.is_end_stream() {
        let frame = match timeout_at(by, body.frame()).await {
            Err(_) => return Err(Own::TooSlow),
            Ok(Some(Err(_))) => return Err(Own::Incomplete),
            Ok(None) => break,
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > most {
            return Err(Own::TooLarge(most));
        }
        bytes.extend_from_slice(&data);
        let pieces = bytes.len().div_ceil(PIECE);
        if pieces > paid {
            let more = u32::try_from(pieces - paid).unwrap_or(u32::MAX);
            places.push(relay.bodies.clone().try_acquire_many_owned(more).map_err(|_| Own::Busy)?);
            paid = pieces;
        }
    }
    Ok(Whole { bytes: bytes.freeze(), places })
}

impl Call<'_> {
    async fn run(mut self) -> Response<Passing> {
        loop {
            match self.next() {
                Next::Pause(pause) => tokio::time::sleep(pause).await,
                Next::Stop(stop, words) => return self.give_up(stop, words),
                Next::Send(dispatch) => {
                    let router = dispatch.router.clone();
                    if let Some(Final { answer, underway, end }) = self.attempt(*dispatch).await {
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
    async fn attempt(&mut self, dispatch: Dispatch) -> Option<Final> {
        let Dispatch { route, router, by, patch, leads, stamp } = dispatch;
        let stamp = Bytes::from(stamp);
        let (number, id) = (self.plan.sent(), route.router());
        let transaction = self.session.transaction(number);
        let mut underway = Underway::begin(self.relay.handle.clone(), route, router.clone(), transaction);
        let direct = self.relay.direct(&router);
        let target = match &direct {
            Some(direct) => Target::Direct(direct),
            None => {
                Target::Router { gateway: &self.relay.gateway, router: &router, session: self.session.before(number) }
            }
        };
        let body = self.patched(&patch);
        let Some(request) = self.request(&target, body.clone()) else {
            // Only a path that no URL can have comes to this; no target would take it.
            self.attempts.note(Attempt { router, ended: None, time: underway.time(), stamp });
            self.course.note(id, false);
            return None;
        };
        if direct.is_some() {
            underway.record(self.record(stamp.clone(), &request, body));
        }
        let came = exchange(&self.relay.client, request, self.times(by)).await;
        let time = underway.time();
        let (ended, came) = judge(&target, came, &mut underway);
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
    fn record(&self, stamp: Bytes, request: &Request<Full<Bytes>>, body: Bytes) -> Record {
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
            came: self.came,
            answer: None,
        }
    }

    /// The body with what the target changes in it; one that is no object goes as it is.
    fn patched(&self, patch: &Patch) -> Bytes {
        if patch.is_empty() {
            return self.body.clone();
        }
        let raw = Cursor::new(&self.body).raw().ok();
        raw.and_then(|raw| patch::apply(patch, raw)).map_or_else(|| self.body.clone(), Bytes::from)
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
fn judge(
    target: &Target<'_>,
    came: Result<Answer, Breakage>,
    underway: &mut Underway,
) -> (Ended, Option<(Answer, End)>) {
    match came {
        Ok(answer) => {
            let (end, ended) = ending(&answer, target);
            underway.answered(&answer.head.headers, &answer.held);
            (ended, Some((answer, end)))
        }
        Err(breakage) => {
            if breakage == Breakage::Exhausted {
                underway.exhausted();
                return (Ended::Broken(breakage), None);
            }
            let unreached = matches!(breakage, Breakage::Connect | Breakage::ConnectTimeout);
            // Behind the gateway it is the gateway that could not be reached, and no router is to blame.
            if unreached && target.is_behind_gateway() {
                underway.unreached();
            } else {
                underway.tell(End::broken(breakage));
            }
            (Ended::Broken(breakage), None)
        }
    }
}

/// What an answer says, to health and to the plan.
fn ending(answer: &Answer, target: &Target<'_>) -> (End, Ended) {
    let status = answer.head.status.as_u16();
    let fields = answer.head.headers.iter();
    let said = hint::of(fields.filter_map(|(name, value)| Some((name.as_str().as_bytes(), value.to_str().ok()?))));
    let mut end = End { hint: said.hint, html: said.html, ..End::with(status) };
    if status >= 400 {
        let body = answer.start();
        end.deployment_missing = answer::deployment_missing(&body);
        end.made_by_gateway = target.is_behind_gateway() && answer::made_by_gateway(&body);
    }
    (end, Ended::Answered { status, deployment_missing: end.deployment_missing })
}
