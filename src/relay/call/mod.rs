//! One call of a client: its body is read, and it is sent until an answer is worth passing on or there is nothing left to do.

mod acceptance;
mod capability;
mod give_up;
mod model;
mod outbound;
mod send;

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CONTENT_LENGTH, HeaderName};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response, Version};

use super::admission::{self, ClientBody, subpath};
use super::affinity::CallAffinity;
use super::attempt_guard::{AttemptEnd, AttemptGuard};
use super::direct::DirectUpstream;
use super::hold::UpstreamAnswer;
use super::judgement::{Judgement, judge_attempt};
use super::local_reply::{self, LocalReply};
use super::provider_target::NotSentReason;
use super::proxy_body::ProxyBody;
use super::relay_request::{RelayRequest, content_type};
use super::running_call::RunningCall;
use super::session::Session;
use super::trace::{self, FinishedAttempt};
use super::upstream_request::UpstreamRequest;
use super::{Relay, RelayRules, changed_body, client_config, cors, headers};
use crate::shared_broker::{NextStep, PlannedAttempt};
use crate::telemetry::TokenInterface;
use balancer::broker::{AttemptHistory, ClientTree};
use balancer::retry::{RetryDecision, RetryPlan, retry_decision};
use capability::CapabilityCheck;
use gecholog_protocol::missing::RequestNames;
use llm::capability::Needs;
use llm::multipart;
use send::{Exchanged, Sending};
use types::outcome::{PayloadDigest, RetryAfter};
use types::request::{Patch, Request as _};
use types::router::{RouterId, RouterPath};
use types::time::BrokerTime;

/// Who served an answer, how often the call was sent, why it was not sent once more, and what became of each attempt.
const ROUTER: HeaderName = HeaderName::from_static("x-broker-router");
const ATTEMPTS: HeaderName = HeaderName::from_static("x-broker-attempts");
const SESSION: HeaderName = HeaderName::from_static("x-broker-session");
const TRACE: HeaderName = HeaderName::from_static("x-broker-trace");
/// What of the request its target could not take.
const DROPPED: HeaderName = HeaderName::from_static("x-broker-dropped");

/// A call whose body is here.
struct Call<'a> {
    relay: &'a Relay,
    ingress: &'a RouterPath,
    head: &'a Parts,
    body: &'a Bytes,
    /// Head and body as choosing asks about them.
    view: RelayRequest<'a>,
    /// The body as the last target that changes something in it is sent it.
    changed: Option<(Patch, Bytes)>,
    /// The body with the model that the path names, for providers, whose paths are their own; `None` as long as none was asked,
    /// and where the body is right for them as it is.
    named: Option<Bytes>,
    session: Session,
    received_at: BrokerTime,
    rules: Arc<RelayRules>,
    affinity: &'a CallAffinity,
    /// Chosen over instead of the pool's.
    client_tree: Option<Arc<ClientTree>>,
    /// Resends that left no log entry, and take no number.
    unlogged: u32,
    /// What the request is recognised by.
    digest: PayloadDigest,
    plan: RetryPlan,
    history: AttemptHistory,
    /// The last answer that was not worth passing on, and whose it was.
    last: Option<(UpstreamAnswer, RouterPath)>,
    /// What the client's request needs of a model.
    needs: Needs,
    capability_check: CapabilityCheck,
    /// Why the first target that was passed over was not sent the request.
    passed_over: Option<NotSentReason>,
    running: &'a mut RunningCall,
    /// The process stops, and its time is shorter because of that.
    is_ending: bool,
}

/// An answer that is worth passing on.
struct AcceptedAnswer {
    answer: UpstreamAnswer,
    /// Reported already, or at the answer's end.
    guard: AttemptGuard,
    end: AttemptEnd,
}

/// Serves one call.
pub(super) async fn serve(relay: &Relay, request: Request<ClientBody>) -> Response<ProxyBody> {
    let (head, body) = request.into_parts();
    let origins = relay.cors.as_ref();
    let mut response = if cors::is_preflight(&head) {
        cors::preflight(origins, &head.headers)
    } else {
        let mut response = traced(relay, &head, body).await;
        cors::strip(response.headers_mut());
        response
    };
    if let Some(origins) = origins {
        origins.mark(&head.headers, response.headers_mut());
    }
    response
}

/// The answer, with the trace of the call for those who may see it.
async fn traced(relay: &Relay, head: &Parts, body: ClientBody) -> Response<ProxyBody> {
    if trace::has_wrong_token(&head.headers, relay.token.as_ref())
        && let Err(fault) = relay.wrong_tokens.delay(TokenInterface::Relay).await
    {
        return LocalReply::TooManyWrongTokens(fault).response(head);
    }
    let mut running = RunningCall::new(relay.broker.clone());
    let mut response = respond(relay, head, body, &mut running).await;
    if let Some(trace) = trace::requested(&head.headers, relay.token.as_ref(), &running.attempts) {
        response.headers_mut().insert(TRACE, trace);
    }
    running.head(response.status().as_u16(), response.headers_mut());
    response.map(|passing| passing.recorded_by(running))
}

async fn respond(relay: &Relay, head: &Parts, body: ClientBody, running: &mut RunningCall) -> Response<ProxyBody> {
    let ingress = match admission::admit(relay, head, body.lines) {
        Ok(ingress) => ingress,
        Err(response) => return *response,
    };
    let now = relay.broker.now();
    let session = relay.sessions.begin(now);
    running.begin(&ingress, session.id(), &head.headers, now);
    let client_tree = match client_config::of_call(relay, &ingress, &head.headers) {
        Ok(tree) => tree,
        Err(reply) => return reply.response(head),
    };
    let Ok(place) = relay.calls.clone().try_acquire_owned() else { return LocalReply::Busy.response(head) };
    let within = relay.rules().limits_of(&ingress).timeout;
    let body = match admission::read(relay, body, within).await {
        Ok(body) => body,
        Err(own) => return own.response(head),
    };
    let rules = relay.rules();
    let own_head = client_tree.as_ref().map(|_| client_config::without_headers(head));
    let forwarded = own_head.as_ref().unwrap_or(head);
    let view = RelayRequest::new(&ingress, &forwarded.method, forwarded.uri.path(), &forwarded.headers, &body);
    running.request(&view, head.uri.path(), &body);
    // A client's own tree may set the model itself.
    let refused = if client_tree.is_none() { model::refused(relay, &ingress, forwarded, &view) } else { None };
    if let Some(reply) = refused {
        return reply.response(head);
    }
    let learnt = || CallAffinity::for_request(&relay.affinity, &ingress, head, &view, &body);
    let affinity = if rules.has_affinity(&ingress) { learnt() } else { CallAffinity::default() };
    let mut limits = rules.limits_of(&ingress);
    if let Some(tree) = &client_tree {
        limits.attempts = limits.attempts.min(tree.attempts);
    }
    let digest = digest(forwarded, &ingress, &body);
    let mut call = Call {
        relay,
        ingress: &ingress,
        head: forwarded,
        body: &body,
        changed: None,
        named: None,
        session,
        received_at: now,
        affinity: &affinity,
        client_tree,
        unlogged: 0,
        digest,
        plan: RetryPlan::new(limits, now),
        rules,
        history: AttemptHistory::of_request(digest),
        last: None,
        needs: view.needs(),
        view: view.preferring(affinity.preferred()),
        capability_check: CapabilityCheck::On,
        passed_over: None,
        running,
        is_ending: false,
    };
    call.run().await.map(|passing| passing.with_permits(place))
}

/// What a request is recognised by when it comes again: method, path and body. A form's boundary is another one each time, and the
/// query may have a key.
fn digest(head: &Parts, ingress: &RouterPath, body: &Bytes) -> PayloadDigest {
    let pieces = multipart::without_boundary(content_type(&head.headers).unwrap_or_default(), body);
    PayloadDigest::from_request(head.method.as_str(), subpath(head, ingress), pieces)
}

impl Call<'_> {
    async fn run(&mut self) -> Response<ProxyBody> {
        loop {
            let step = self.next();
            if self.ends_capability_check(&step) {
                continue;
            }
            match step {
                NextStep::Pause(pause) => self.wait(tokio::time::sleep(pause)).await,
                NextStep::AwaitTarget { at_most, spread, seen } => {
                    let (relay, ingress) = (self.relay, self.ingress);
                    let back = async {
                        tokio::select! {
                            () = tokio::time::sleep(at_most) => {}
                            () = relay.broker.target_back(ingress, seen) => {}
                        }
                        tokio::time::sleep(spread).await;
                    };
                    self.wait(back).await;
                }
                NextStep::Stop(stop) => return self.give_up(stop),
                NextStep::Send(dispatch) => {
                    let router = dispatch.router.clone();
                    let Ok(body) = self.body_for(&dispatch.patch, &router) else {
                        self.relay.broker.abandon(&dispatch.route, false);
                        return LocalReply::Busy.response(self.head);
                    };
                    if let Some(AcceptedAnswer { answer, guard, end }) = self.attempt(*dispatch, body).await {
                        return self.pass_on(answer, &router, Some(guard), end);
                    }
                }
            }
        }
    }

    /// Waits. Where the process stops, a wait that is longer than half of the grace ends the call with what is known: it would be cut
    /// without an answer.
    async fn wait(&mut self, pause: impl Future<Output = ()>) {
        tokio::select! {
            () = pause => {}
            () = self.relay.stopped(), if !self.is_ending => {
                self.is_ending = true;
                self.plan.end_by(self.relay.broker.now().after(self.relay.limits.grace / 2));
            }
        }
    }

    fn next(&mut self) -> NextStep {
        let plan = &mut self.plan;
        plan.reserve(&mut self.relay.budget(), self.relay.broker.now());
        let step = self.relay.broker.next(&self.view, &mut self.history, self.client_tree.as_ref(), plan);
        if !matches!(step, NextStep::Send(_)) {
            plan.refund(&mut self.relay.budget());
        }
        step
    }

    /// One attempt. `None`: another one may do better.
    async fn attempt(&mut self, dispatch: PlannedAttempt, patched: Bytes) -> Option<AcceptedAnswer> {
        let PlannedAttempt { route, router, patch, retry_on, counts_tokens, stamp } = dispatch;
        let id = route.router();
        let transaction = self.session.transaction(self.number());
        let mut guard = AttemptGuard::begin(
            self.relay.broker.clone(),
            route,
            router.clone(),
            transaction,
            self.view.is_generation(),
        );
        let direct = self.relay.direct(&router);
        let to = Sending {
            router: &router,
            direct: direct.as_deref(),
            patched: &patched,
            patch: &patch,
            stamp: &stamp,
            counts_tokens,
        };
        let Exchanged { target, sent, result } = match self.send(to, &mut guard).await {
            Ok(exchanged) => exchanged,
            Err(reason) => {
                self.pass_over(FinishedAttempt::new(router, None, guard.time(), stamp), id, reason);
                return None;
            }
        };
        let UpstreamRequest { head, body, translation, hides_usage, .. } = sent;
        let path = head.uri.path();
        let time = guard.time();
        let first_byte = result.as_ref().ok().map(|answer| time.saturating_sub(answer.first_byte.elapsed()));
        guard.digest = Some(self.digest);
        let result = self.keep_preamble(result, &router);
        let reason = result.as_ref().err().and_then(|failed| failed.reason);
        // Looked at only where it matters: a body may be long.
        let (received, sent) = (OnceCell::new(), OnceCell::new());
        let headers = &self.head.headers;
        let (asked, compared) = self.bodies_for_names(translation.is_some(), &patched, &body);
        let names = || RequestNames {
            path: Some(if translation.is_some() { "" } else { path }).filter(|_| direct.is_some()),
            subpath: Some(subpath(self.head, self.ingress)).filter(|_| translation.is_none()),
            received: changed_body::for_names(headers, asked, &received),
            sent: changed_body::for_names(headers, compared, &sent),
            patch: Some(&*patch).filter(|_| self.client_tree.is_none()),
        };
        let client = self.client_choices(direct.as_deref(), &patch);
        let Judgement { result: ended, retry_after, answer } =
            judge_attempt(&target, client, result, names, &mut guard);
        self.running.note(FinishedAttempt {
            first_byte,
            reason,
            ..FinishedAttempt::new(router.clone(), Some(ended), time, stamp.clone())
        });
        let decision = retry_decision(ended, target.key(), retry_on.as_deref());
        self.note_target(id, &router, decision, retry_after.and_then(RetryAfter::wait));
        let (mut answer, mut end) = answer?;
        (answer.translation, answer.hides_usage) = (translation, hides_usage);
        end.usage = self.running.answered(&answer, &patch, direct.as_deref().and_then(DirectUpstream::host_provider));
        self.accept(AcceptedAnswer { answer, guard, end }, decision, router)
    }

    /// Notes whether and when a target may have the request again.
    fn note_target(&mut self, id: RouterId, router: &RouterPath, decision: RetryDecision, wait: Option<Duration>) {
        let again = decision == RetryDecision::AnyTarget && self.has_time_after(wait.unwrap_or_default(), router);
        self.history.note(id, again);
        self.plan.note_retry_after(id, wait, self.relay.broker.now());
    }

    /// The number of the attempt in its session.
    fn number(&self) -> u32 {
        self.plan.sent().saturating_sub(self.unlogged)
    }

    /// Counts one more attempt at the same target, if another one may be made.
    fn resend(&mut self) -> bool {
        self.plan.resend(&mut self.relay.budget(), self.relay.broker.now())
    }

    /// Passes an answer on.
    fn pass_on(
        &mut self,
        answer: UpstreamAnswer,
        router: &RouterPath,
        guard: Option<AttemptGuard>,
        end: AttemptEnd,
    ) -> Response<ProxyBody> {
        let is_cut_error = answer.is_cut_error();
        let (idle, first_event_by) = (self.rules.times_of(self.ingress, router).idle, answer.first_event_by);
        let UpstreamAnswer { mut head, mut held, rest, stream, translation, hides_usage, broken, .. } = answer;
        headers::strip(&mut head.headers);
        if let Some(direct) = self.relay.direct(router) {
            direct.strip_answer(&mut head.headers);
        }
        if self.head.method != Method::HEAD {
            // The length that goes out is that of the body as it was read.
            head.headers.remove(CONTENT_LENGTH);
        }
        // The version is the hop's: a target that speaks HTTP/1.0 must not take chunks, and with them a visible end, from the
        // client.
        head.version = Version::HTTP_11;
        self.set_own_headers(&mut head.headers, Some(router));
        self.running.served_by = Some(router.clone());
        if let Some(dropped) = translation.as_ref().and_then(|it| it.dropped()) {
            head.headers.insert(DROPPED, dropped);
        }
        if is_cut_error {
            held = vec![local_reply::incomplete_error(self.head, &mut head)];
        } else if !head.status.is_success()
            && let Some(error) = translation.and_then(|it| it.error(&mut head, &held.concat()))
        {
            held = vec![error];
        }
        let is_event_stream = stream.as_ref().is_some_and(|stream| stream.is_event_stream());
        let passing = match (rest, broken) {
            (_, Some(failure)) => ProxyBody::broken(held, stream.as_deref(), failure),
            (None, None) => ProxyBody::buffered(held),
            (Some(body), None) => ProxyBody::streaming(held, body, idle, first_event_by, stream, guard, end),
        };
        Response::from_parts(head, if is_event_stream && hides_usage { passing.without_usage() } else { passing })
    }

    /// Says who served, and how.
    fn set_own_headers(&self, headers: &mut HeaderMap, router: Option<&RouterPath>) {
        if let Some(router) = router {
            headers.insert(ROUTER, headers::value(router.as_str()));
        }
        headers.insert(ATTEMPTS, self.plan.sent().into());
        headers.insert(SESSION, headers::value(self.session.id()));
    }
}
