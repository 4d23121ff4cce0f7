//! One request, from ingress to log, in the gateway's documented order.
//!
//! [`Transaction::serve`] is what the client waits for; [`Transaction::finish`] is the post path, run once the client has
//! its answer. The steps that merge headers and parameters are in `outbound`, those that make the answer in `egress`.

use std::sync::Arc;

use bytes::Bytes;
use hyper::Method;

use crate::bus::Bus;
use crate::clock::{Clock, Moment};
use crate::config::{Config, Router};
use crate::egress::Answer;
use crate::headers::{Headers, canonical};
use crate::log;
use crate::processors::{Caller, RequiredFailed};
use crate::query::Query;
use crate::serve::CloseConnection;
use crate::session::{Session, Sessions};
use crate::side::{Phase, Side};
use crate::upstream::{Inbound, Upstream, UpstreamRequest};

/// Requests that came in by such a router are mirrored, wherever they were rewritten to.
const ECHO: &str = "/echo/";

/// What all transactions share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) bus: Arc<Bus>,
    pub(crate) upstream: Upstream,
    pub(crate) sessions: Sessions,
    pub(crate) clock: Clock,
}

/// What the client sent.
#[derive(Debug)]
pub(crate) struct Ingress {
    pub(crate) method: Method,
    pub(crate) router: Arc<Router>,
    pub(crate) subpath: String,
    pub(crate) query: Query,
    pub(crate) headers: Headers,
}

/// The moments at which a transaction passed from one leg to the next; `None` if it never did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timestamps {
    pub(crate) ingress: Moment,
    pub(crate) outbound: Option<Moment>,
    pub(crate) inbound: Option<Moment>,
    pub(crate) egress: Option<Moment>,
}

#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) shared: Arc<Shared>,
    pub(crate) ingress: Ingress,
    pub(crate) session: Session,
    pub(crate) timestamps: Timestamps,
    pub(crate) request: Side,
    pub(crate) response: Side,
    /// The full upstream URL; empty if it never came to that.
    pub(crate) url: String,
    /// The outbound headers as sent, for the log.
    pub(crate) sent: Headers,
    /// The headers that came back, unmasked, and the session header.
    pub(crate) received: Headers,
}

/// Why a request goes no further than the gateway.
#[derive(Debug)]
pub(crate) enum Rejection {
    /// The ingress headers are not those that the router demands; the client gets the reason.
    Unauthorized(String),
    /// A required request processor was not completed.
    Required,
}

impl From<RequiredFailed> for Rejection {
    fn from(_: RequiredFailed) -> Rejection {
        Rejection::Required
    }
}

impl Transaction {
    pub(crate) fn new(shared: Arc<Shared>, ingress: Ingress, now: Moment) -> Transaction {
        let from_client = ingress.headers.first(&canonical(&shared.config.session_header));
        let session = shared.sessions.open(from_client, now);
        Transaction {
            shared,
            ingress,
            session,
            timestamps: Timestamps { ingress: now, outbound: None, inbound: None, egress: None },
            request: Side::default(),
            response: Side::default(),
            url: String::new(),
            sent: Headers::default(),
            received: Headers::default(),
        }
    }

    /// The sync path. An error means that the gateway panics: the client gets nothing, and there is no log.
    pub(crate) async fn serve(&mut self, body: Bytes) -> Result<Answer, CloseConnection> {
        let answer = match self.reach_upstream(body).await {
            Ok(inbound) => {
                let payload = inbound.is_some();
                self.store_inbound(inbound);
                let shared = Arc::clone(&self.shared);
                self.caller(&shared, Phase::Sync).run_all(&shared.config.response.sync, &mut self.response).await;
                self.answer(payload)?
            }
            Err(rejection) => self.reject(rejection),
        };
        self.timestamps.egress = Some(self.shared.clock.now());
        Ok(answer)
    }

    /// The post path: async processors, then the log; nothing at all after a 401 that is not to be logged.
    pub(crate) async fn finish(mut self, status: u16) {
        let shared = Arc::clone(&self.shared);
        if status == 401 && !shared.config.log_unauthorized {
            return;
        }
        let caller = self.caller(&shared, Phase::Post);
        let completed = caller.run_until_failure(&shared.config.request.post, &mut self.request).await;
        if completed.is_ok() {
            caller.run_all(&shared.config.response.post, &mut self.response).await;
        }
        log::publish(self).await;
    }

    /// The client closed the connection inside its body. There is a log all the same.
    pub(crate) async fn client_aborted(mut self) {
        self.timestamps.egress = Some(self.shared.clock.now());
        self.finish(500).await;
    }

    fn caller<'a>(&self, shared: &'a Shared, phase: Phase) -> Caller<'a> {
        Caller { bus: &shared.bus, clock: shared.clock, phase }
    }

    /// `Ok(None)`: the request has no payload that could be sent.
    async fn reach_upstream(&mut self, body: Bytes) -> Result<Option<Inbound>, Rejection> {
        self.request.store_payload(["ingress_payload", "outbound_payload"], "Payload not a valid json", body);
        self.store_path();
        self.check_headers()?;
        self.store_headers_and_query();
        let shared = Arc::clone(&self.shared);
        let caller = self.caller(&shared, Phase::Sync);
        caller.run_until_failure(&shared.config.request.sync, &mut self.request).await?;
        let router = self.choose_router();
        let Some(outgoing) = self.outgoing(&router) else {
            return Ok(None);
        };
        self.timestamps.outbound = Some(shared.clock.now());
        let inbound = self.call(outgoing).await;
        self.timestamps.inbound = Some(shared.clock.now());
        Ok(Some(inbound))
    }

    fn store_path(&mut self) {
        let object = &mut self.request.object;
        object.set_text("gl_path", &self.ingress.router.path);
        object.set_text("ingress_subpath", &self.ingress.subpath);
        object.set_text("outbound_subpath", &self.ingress.subpath);
        object.set("ingress_headers", self.ingress.headers.masked(&self.shared.config.masked).to_json());
    }

    /// Each demanded header must be there with exactly the demanded lines in order; `regex:.+` demands one line that is
    /// not empty, among any others.
    fn check_headers(&mut self) -> Result<(), Rejection> {
        let fault = self.ingress.router.required_headers.0.iter().find_map(|(name, demanded)| {
            let fault = match (self.ingress.headers.0.get(name), demanded.as_slice()) {
                (None, _) => "missing",
                (Some(sent), [any]) if any == "regex:.+" => {
                    if sent.iter().any(|line| !line.is_empty()) {
                        return None;
                    }
                    "values missing"
                }
                (Some(sent), _) if sent == demanded => return None,
                (Some(_), _) => "values invalid",
            };
            Some(format!("header:'{name}' {fault}"))
        });
        let Some(fault) = fault else { return Ok(()) };
        self.request.error("ingress_headers", &format!("Unauthorized:{fault}"));
        Err(Rejection::Unauthorized(fault))
    }

    fn store_headers_and_query(&mut self) {
        let object = &mut self.request.object;
        object.set("outbound_headers", self.ingress.headers.masked(&self.shared.config.masked).to_json());
        if !self.ingress.query.0.is_empty() {
            let array = self.ingress.query.to_array();
            object.set("ingress_query_parameters", array.clone());
            object.set("outbound_query_parameters", array);
        }
    }

    async fn call(&self, outgoing: UpstreamRequest) -> Inbound {
        if let Some(control) = self.request.object.get("control") {
            return Inbound { status: 200, headers: Headers::default(), body: control.clone() };
        }
        if self.ingress.router.path.starts_with(ECHO) {
            return Inbound { status: 200, headers: outgoing.headers, body: outgoing.body };
        }
        self.shared.upstream.call(outgoing).await
    }
}
