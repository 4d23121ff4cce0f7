//! One call of a client: its body is read, and it is sent until an answer is worth passing on or there is nothing left to do.

use std::cell::OnceCell;
use std::sync::{Arc, OnceLock, PoisonError};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, RETRY_AFTER};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response, Version};
use tokio::time::Instant;

use super::admission::{self, subpath};
use super::attempt_guard::{AttemptEnd, AttemptGuard};
use super::body::NoMemory;
use super::exchange::{AttemptTimeouts, exchange};
use super::hold::UpstreamResponse;
use super::judgement::judge;
use super::local_reply::{LocalReply, seconds};
use super::proxy_body::ProxyBody;
use super::record::{Record, logged_headers};
use super::request_view::RequestView;
use super::session::Session;
use super::target::{ForwardedRequest, Target};
use super::trace::{self, Attempt, Attempts};
use super::{Relay, RelayRules, changed_body, cors, headers, metrics};
use crate::shared_broker::{Dispatch, NextStep};
use balancer::broker::AttemptHistory;
use balancer::retry::{AttemptResult, GiveUp, RetryDecision, RetryPlan, retry_decision};
use gecholog_protocol::missing::Naming;
use llm::request_view::is_generation;
use types::outcome::{PayloadDigest, RetryAfter, TransportFailure};
use types::request::Patch;
use types::router::RouterPath;
use types::time::BrokerTime;

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
    came: BrokerTime,
    rules: Arc<RelayRules>,
    /// The client asks for a stream.
    stream: bool,
    /// Of the whole body, once an attempt has ended.
    digest: OnceLock<PayloadDigest>,
    plan: RetryPlan,
    course: AttemptHistory,
    /// The last answer that was not worth passing on, and whose it was.
    last: Option<(UpstreamResponse, RouterPath)>,
    attempts: &'a mut Attempts,
}

/// An answer that is worth passing on.
struct AcceptedResponse {
    answer: UpstreamResponse,
    /// Told already, or to be told at the answer's end.
    underway: AttemptGuard,
    end: AttemptEnd,
}

/// Serves one call.
pub(super) async fn serve(relay: &Relay, request: Request<Incoming>) -> Response<ProxyBody> {
    let (head, body) = request.into_parts();
    let mut response = match &relay.cors {
        Some(origins) if cors::is_preflight(&head) => origins.preflight(&head.headers),
        _ => traced(relay, &head, body).await,
    };
    if let Some(origins) = &relay.cors {
        origins.mark(&head.headers, response.headers_mut());
    }
    response
}

/// The answer, with the trace of the call for those who may see it.
async fn traced(relay: &Relay, head: &Parts, body: Incoming) -> Response<ProxyBody> {
    if trace::is_guess(&head.headers, relay.token.as_ref())
        && let Err(fault) = relay.guesses.wrong("relay").await
    {
        return LocalReply::TooManyGuesses(fault).response();
    }
    let mut attempts = Attempts::default();
    let mut response = respond(relay, head, body, &mut attempts).await;
    if let Some(trace) = trace::requested(&head.headers, relay.token.as_ref(), &attempts) {
        response.headers_mut().insert(TRACE, trace);
    }
    response
}

async fn respond(relay: &Relay, head: &Parts, body: Incoming, attempts: &mut Attempts) -> Response<ProxyBody> {
    let ingress = match admission::admit(relay, head) {
        Ok(ingress) => ingress,
        Err(response) => return *response,
    };
    let Ok(place) = relay.calls.clone().try_acquire_owned() else { return LocalReply::Busy.response() };
    let now = relay.handle.now();
    let body = match admission::read(relay, body).await {
        Ok(body) => body,
        Err(own) => return own.response(),
    };
    let rules = relay.rules();
    let stream = RequestView::new(&ingress, (&head.method, head.uri.path()), &head.headers, &body).asks_for_stream();
    let call = Call {
        relay,
        ingress: &ingress,
        head,
        body,
        changed: None,
        session: relay.sessions.begin(now),
        came: now,
        stream,
        digest: OnceLock::new(),
        plan: RetryPlan::new(rules.limits_of(&ingress), now),
        rules,
        course: AttemptHistory::default(),
        last: None,
        attempts,
    };
    call.run().await.map(|passing| passing.with_permits(place))
}

impl Call<'_> {
    async fn run(mut self) -> Response<ProxyBody> {
        loop {
            match self.next() {
                NextStep::Pause(pause) => tokio::time::sleep(pause).await,
                NextStep::Stop(stop, words) => return self.give_up(stop, words),
                NextStep::Send(dispatch) => {
                    let router = dispatch.router.clone();
                    let Ok(body) = self.body_for(&dispatch.patch) else {
                        self.relay.handle.abandon(&dispatch.route);
                        return LocalReply::Busy.response();
                    };
                    if let Some(AcceptedResponse { answer, underway, end }) = self.attempt(*dispatch, body).await {
                        return self.pass_on(answer, &router, Some(underway), end);
                    }
                }
            }
        }
    }

    fn next(&mut self) -> NextStep {
        let asked =
            RequestView::new(self.ingress, (&self.head.method, self.head.uri.path()), &self.head.headers, &self.body);
        let (plan, budget) = (&mut self.plan, &self.relay.budget);
        self.relay.handle.next(&asked, &mut self.course, |offer, now, rng| {
            plan.next(offer, &mut budget.lock().unwrap_or_else(PoisonError::into_inner), now, rng)
        })
    }

    /// One attempt. `None`: another one may do better.
    async fn attempt(&mut self, dispatch: Dispatch, body: Bytes) -> Option<AcceptedResponse> {
        let Dispatch { route, router, patch, leads, stamp, why } = dispatch;
        let id = route.router();
        let transaction = self.session.transaction(self.plan.sent());
        let is_generation = is_generation(self.head.method.as_str(), self.head.uri.path());
        let mut underway =
            AttemptGuard::begin(self.relay.handle.clone(), route, router.clone(), transaction, is_generation);
        let direct = self.relay.direct(&router);
        let relay = self.relay;
        let target = relay.target(direct.as_deref(), &router, self.session.before(self.plan.sent()));
        let Some(request) = self.request(&target, body.clone()) else {
            // Only a path that no URL can have comes to this; no target would take it.
            self.attempts.note(Attempt { router, ended: None, time: underway.time(), why });
            self.course.note(id, false);
            return None;
        };
        if direct.is_some() {
            underway.record(self.record(stamp, &request, body.clone(), patch.clone()));
        }
        underway.set_key(target.key());
        let path = request.uri().path().to_owned();
        let times = self.times(&router);
        let mut came = exchange(&relay.clients.pooled, request, target.key(), times).await;
        if matches!(came, Err(TransportFailure::Stale)) && self.resend() {
            let ended = Some(AttemptResult::Broken(TransportFailure::Stale));
            self.attempts.note(Attempt { router: router.clone(), ended, time: underway.time(), why: why.clone() });
            underway.resent(TransportFailure::Stale.as_str(), self.session.transaction(self.plan.sent()));
            let target = relay.target(direct.as_deref(), &router, self.session.before(self.plan.sent()));
            let request = self.request(&target, body.clone())?;
            came = exchange(&relay.clients.unpooled, request, target.key(), times).await;
        }
        let time = underway.time();
        underway.digest = self.digest();
        let came = self.keep_preamble(came, &router);
        // Looked at only where it matters: a body may be long.
        let (received, sent) = (OnceCell::new(), OnceCell::new());
        let headers = &self.head.headers;
        let naming = || Naming {
            path: Some(path.as_str()).filter(|_| direct.is_some()),
            subpath: Some(subpath(self.head, self.ingress)),
            received: changed_body::for_naming(headers, &self.body, &received),
            sent: changed_body::for_naming(headers, &body, &sent),
            patch: Some(&patch),
        };
        let (ended, came) = judge(&target, came, naming, &mut underway);
        self.attempts.note(Attempt { router: router.clone(), ended: Some(ended), time, why });
        let lead = retry_decision(ended, target.key(), leads.as_deref());
        self.course.note(id, lead == RetryDecision::AnyTarget);
        let (answer, end) = came?;
        self.plan.note_retry_after(id, end.hint.and_then(RetryAfter::wait), self.relay.handle.now());
        // What is still to come can still break off.
        if lead != RetryDecision::DoNotRetry || end.status >= 400 || answer.rest.is_none() {
            underway.finish(end);
        }
        if lead == RetryDecision::DoNotRetry {
            return Some(AcceptedResponse { answer, underway, end });
        }
        self.last = Some((answer, router));
        None
    }

    /// A stream that broke off before its content is a failure; if nothing better comes, the client is sent what there is of it.
    fn keep_preamble(
        &mut self,
        came: Result<UpstreamResponse, TransportFailure>,
        router: &RouterPath,
    ) -> Result<UpstreamResponse, TransportFailure> {
        let answer = came?;
        let Some(failure) = answer.broken else { return Ok(answer) };
        self.last.get_or_insert_with(|| (answer, router.clone()));
        Err(failure)
    }

    /// Counts one more attempt at the same target, if another one may be made.
    fn resend(&mut self) -> bool {
        let mut budget = self.relay.budget.lock().unwrap_or_else(PoisonError::into_inner);
        self.plan.resend(&mut budget, self.relay.handle.now())
    }

    /// The request as this target is sent it.
    fn request(&self, target: &Target<'_>, body: Bytes) -> Option<Request<Full<Bytes>>> {
        let query = self.head.uri.query();
        let onward = ForwardedRequest { rest: subpath(self.head, self.ingress), query, headers: &self.head.headers };
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
            rest: subpath(self.head, self.ingress).to_owned(),
            url: format!("{}://{authority}{}", uri.scheme_str().unwrap_or_default(), uri.path()),
            asked: logged_headers(request.headers()),
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
        let changed = changed_body::apply(&self.relay.bodies, &self.head.headers, &self.body, patch)?;
        let body = changed.unwrap_or_else(|| self.body.clone());
        self.changed = Some((patch.clone(), body.clone()));
        Ok(body)
    }

    fn times(&self, router: &RouterPath) -> AttemptTimeouts {
        let times = self.rules.times_of(self.ingress, router);
        let deadline = self.came.after(times.timeout).min(self.plan.deadline());
        AttemptTimeouts {
            connect: times.connect,
            first_byte: times.first_byte_of(self.stream),
            idle: times.idle,
            hold: self.rules.limits.hold,
            deadline: Instant::now() + deadline.since(self.relay.handle.now()),
        }
    }

    /// What the request is recognised by; an empty one by nothing.
    fn digest(&self) -> Option<PayloadDigest> {
        (!self.body.is_empty()).then(|| *self.digest.get_or_init(|| PayloadDigest::from_bytes(&self.body)))
    }

    /// Passes an answer on.
    fn pass_on(
        self,
        answer: UpstreamResponse,
        router: &RouterPath,
        underway: Option<AttemptGuard>,
        end: AttemptEnd,
    ) -> Response<ProxyBody> {
        let UpstreamResponse { mut head, held, rest, stream, error_class: _, broken } = answer;
        headers::strip(&mut head.headers);
        if self.head.method != Method::HEAD {
            // The length that goes out is that of the body as it was read.
            head.headers.remove(CONTENT_LENGTH);
        }
        // The version is the hop's: a target that speaks HTTP/1.0 must not take chunks, and with them a visible end, from the client.
        head.version = Version::HTTP_11;
        self.set_own_headers(&mut head.headers, Some(router));
        let passing = match (rest, broken) {
            (_, Some(failure)) => ProxyBody::broken(held, stream.as_deref(), failure),
            (None, None) => ProxyBody::buffered(held),
            (Some(body), None) => {
                ProxyBody::streaming(held, body, self.rules.times_of(self.ingress, router).idle, stream, underway, end)
            }
        };
        Response::from_parts(head, passing)
    }

    /// There is nothing left to do: the last answer as it was, or one of our own.
    fn give_up(mut self, stop: GiveUp, words: Option<String>) -> Response<ProxyBody> {
        let wait = match stop {
            GiveUp::NoTarget(until) => until.map(|until| until.since(self.relay.handle.now())),
            GiveUp::Attempts | GiveUp::Time | GiveUp::Budget => None,
        };
        metrics::count_local_reply(&self.relay.handle, stop);
        tracing::debug!(ingress = %self.ingress, attempts = %self.attempts, "a call is given up: {stop}");
        let mut response = match self.last.take() {
            Some((answer, router)) => {
                let end = AttemptEnd::with(answer.head.status.as_u16());
                self.pass_on(answer, &router, None, end)
            }
            None if self.attempts.ended_exhausted() => {
                if let Some(total) = self.relay.handle.counts().exhausted("relay_connect", self.relay.handle.now()) {
                    tracing::warn!(total, "the relay has no descriptors, memory or ports left to call targets with");
                }
                let mut response = LocalReply::Exhausted.response();
                self.set_own_headers(response.headers_mut(), None);
                response
            }
            None => {
                let words = words.filter(|_| self.attempts.is_empty());
                let story = words.unwrap_or_else(|| format!("{} ({stop})", self.attempts));
                let mut response = LocalReply::NobodyLeft(story, wait).response();
                self.set_own_headers(response.headers_mut(), None);
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
    fn set_own_headers(&self, headers: &mut HeaderMap, router: Option<&RouterPath>) {
        if let Some(router) = router {
            headers.insert(ROUTER, headers::value(router.as_str()));
        }
        headers.insert(ATTEMPTS, self.plan.sent().into());
        headers.insert(SESSION, headers::value(&self.session.id()));
    }
}
