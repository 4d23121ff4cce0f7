//! Whether the broker learns the outcome of calls: its response processor and the gateway's log (docs/gateway-protocol.md 1.2,
//! 3.4).

use super::chain::{ProcessorPlacement, asked};
use super::{Finding, Linter, not};
use gecholog_protocol::gl_config::{Filter, Processor};
use types::outcome::{FailureRule, JudgedAnswer};
use types::router::RouterPath;

/// A field that learning needs, the effect if it is missing, and whether then nothing can be learnt.
type Field = (&'static str, &'static str, bool);

const OUTCOME: [Field; 4] = [
    ("gl_path", "the answer has no router", true),
    ("inbound_status_code", "the upstream's status is not known", true),
    ("inbound_headers", "an upstream that cannot be reached looks like one that answered", false),
    ("egress_headers", "a message and its log entry cannot be matched", false),
];

const LOG_REQUEST: [Field; 4] = [
    ("gl_path", "a router that the gateway does not have is not noticed", false),
    ("original_gl_path", "a call's ingress is not known", false),
    ("broker", "an answer that was not applied is not noticed", false),
    ("control", "an answer that a processor gave looks like the upstream's", false),
];

const LOG_RESPONSE: [Field; 6] = [
    ("gl_path", "nothing can be learnt from the log", true),
    ("inbound_status_code", "nothing can be learnt from the log", true),
    ("egress_status_code", "the status that the client got is not known", false),
    ("inbound_headers", "an upstream that cannot be reached looks like one that answered", false),
    ("inbound_payload", "missing deployments and the usage of tokens are not noticed", false),
    ("outbound_inbound_timer", "latency is not known", false),
];

impl Linter<'_> {
    pub(super) fn learning(&mut self) {
        let config = self.config;
        let reported = self.outcome();
        self.filter("log-request", &config.log_request, &LOG_REQUEST);
        self.filter("log-response", &config.log_response, &LOG_RESPONSE);
        let subject = self.plan.logger_subject;
        let reason =
            format!("the gateway publishes its log on {}, and the broker listens on {subject}", config.bus.logger);
        let fix = "write the same subject in service_bus.topic_exact_logger and BROKER_LOGGER_SUBJECT";
        let finding = Finding::error("log-subject", &config.name, reason, fix);
        self.find(finding.when(not(config.bus.logger.is(subject))));
        self.unauthorized(reported);
        self.stamps();
    }

    /// The processor that reports outcomes before the client gets the answer. Returns whether there is one.
    fn outcome(&mut self) -> bool {
        let subject = format!("{}.outcome", self.plan.subject);
        let rows = &self.config.response;
        let late = "failures are learnt from the log only, after some more calls went to the same router";
        let fix = format!(
            "add a sync response processor with service_bus_topic {subject:?}, as in the gl_config.json of the broker"
        );
        match asked(rows, &subject) {
            ProcessorPlacement::Sync(sync) => {
                sync.iter().for_each(|(_, one)| self.outcome_fields(one));
                return sync.iter().any(|(_, one)| one.is_async == Some(false));
            }
            ProcessorPlacement::OnlyAsync(one) => {
                let reason = format!("is async, so {late}");
                self.find([Finding::warning("outcome-missing", &one.place, reason, "write \"async\": false")]);
                self.outcome_fields(one);
            }
            ProcessorPlacement::Missing { undecided } => {
                let reason = format!("no response processor reports outcomes to {subject}: {late}");
                let finding = Finding::warning("outcome-missing", &rows.place, reason, fix);
                self.find([if undecided { finding.undecided() } else { finding }]);
            }
        }
        for (_, one) in
            rows.all().filter(|(_, one)| one.subject.is(self.plan.subject) == Some(true)).collect::<Vec<_>>()
        {
            let reason =
                "sends to the subject of requests without egress_status_code, so its messages look like requests";
            let fix = "name \"egress_status_code\" in its input_fields_include";
            let finding = Finding::error("response-unmarked", &one.place, reason, fix);
            self.find(finding.when(not(one.input.passes("egress_status_code"))));
        }
        false
    }

    fn outcome_fields(&mut self, one: &Processor) {
        self.hidden("outcome-fields", &one.place, &one.input, &OUTCOME, "input_fields_include", false);
    }

    fn filter(&mut self, rule: &'static str, filter: &Filter, fields: &[Field]) {
        self.hidden(rule, &filter.place, filter, fields, "fields_include", true);
    }

    /// One finding for all fields that a filter removes.
    fn hidden(&mut self, rule: &'static str, place: &str, filter: &Filter, fields: &[Field], list: &str, fatal: bool) {
        let hidden: Vec<_> = fields.iter().filter(|(field, _, _)| filter.passes(field) != Some(true)).collect();
        if hidden.is_empty() {
            return;
        }
        let lost: Vec<_> = hidden.iter().map(|(field, lost, _)| format!("{field} ({lost})")).collect();
        let names: Vec<_> = hidden.iter().map(|(field, _, _)| format!("\"{field}\"")).collect();
        let reason = format!("hides {}", lost.join(", "));
        let fix = format!(
            "let it pass {}: name them in {list} or leave that empty, and do not exclude them",
            names.join(", ")
        );
        let fix = if fatal { fix } else { format!("name {} in its {list}, and not in its exclude", names.join(", ")) };
        let all = fatal && hidden.iter().any(|(_, _, all)| *all);
        let finding =
            if all { Finding::error(rule, place, reason, fix) } else { Finding::warning(rule, place, reason, fix) };
        let sure = hidden.iter().any(|(field, _, _)| filter.passes(field) == Some(false));
        self.find(finding.when(sure.then_some(true)));
    }

    /// Log entries are matched to decisions by their stamps, so the log must show those.
    fn stamps(&mut self) {
        let (config, rule) = (self.config, "stamps-unseen");
        let effect = match (self.needs.learns(), self.needs.tokens()) {
            (Some(ingress), _) => {
                format!("fastest and least_busy of {ingress} do not know the calls in flight")
            }
            (None, Some((_, router))) => {
                format!("the budget of {router} counts the tokens that calls may use and not those they did")
            }
            (None, None) => return,
        };
        if let ProcessorPlacement::Sync(sync) = asked(&config.request, self.plan.subject)
            && let Some((_, one)) = sync.first()
        {
            let reason = format!("is a modifier, which never adds a field: the log has no stamp, and {effect}");
            let fix = "use two rows, as in the gl_config.json of the broker";
            self.find(Finding::warning(rule, &one.place, reason, fix).when(one.modifier.or(Some(false))));
        }
        let filter = &config.log_request;
        let reason = format!("hides broker, which is the stamp: {effect}");
        let fix = "let it pass \"broker\"";
        self.find(Finding::warning(rule, &filter.place, reason, fix).when(not(filter.passes("broker"))));
    }

    /// A 401 is logged only with `log_unauthorized`; a sync processor gets an upstream's in any case.
    fn unauthorized(&mut self, reported: bool) {
        let pools = &self.needs.pools;
        let strict = |router: &&RouterPath| self.plan.settings.for_router(router).failures.disables(401);
        let Some(router) = pools.iter().flat_map(|(_, pool)| pool.routers.iter().copied()).find(strict) else { return };
        let reason = format!("a 401 is to disable {router} (failure_status), but the gateway logs none");
        let fix = "write \"log_unauthorized\": true";
        let finding = if reported {
            Finding::warning(
                "log-unauthorized",
                &self.config.name,
                format!("{reason}: only the response processor reports it"),
                fix,
            )
        } else {
            Finding::error("log-unauthorized", &self.config.name, format!("{reason}: it never does"), fix)
        };
        self.find(finding.when(not(self.config.log_unauthorized)));
    }
}

trait Disables {
    fn disables(&self, status: u16) -> bool;
}

impl Disables for FailureRule {
    fn disables(&self, status: u16) -> bool {
        self.classify(JudgedAnswer::of_status(status)).is_failure()
    }
}
