//! The request processors: whether the broker's reply changes the router (docs/gateway-protocol.md 1.3 to 1.5).
//!
//! Either one modifier writes `gl_path` itself, or an annotator writes the stamp and a modifier in a later row applies it. In
//! observe mode nothing is applied, so the annotator alone suffices.

use super::{Finding, Linter, either, not};
use gecholog_protocol::gl_config::{Processor, Rows};
use types::mode::OperatingMode;

/// The least timeout in milliseconds: with a shorter one a pause of the machine makes the reply too late.
const MIN_TIMEOUT_MS: i64 = 5;

/// A processor and the index of its row.
pub(super) type Member<'a> = (usize, &'a Processor);

/// The search result for sync processors on a subject.
pub(super) enum ProcessorPlacement<'a> {
    Sync(Vec<Member<'a>>),
    OnlyAsync(&'a Processor),
    Missing {
        /// There may be one: a variable is unset here.
        undecided: bool,
    },
}

pub(super) fn asked<'a>(rows: &'a Rows, subject: &str) -> ProcessorPlacement<'a> {
    let all: Vec<Member<'a>> = rows.all().filter(|(_, one)| one.subject.is(subject) == Some(true)).collect();
    let sync: Vec<_> = all.iter().copied().filter(|(_, one)| one.is_async != Some(true)).collect();
    match all.first() {
        _ if !sync.is_empty() => ProcessorPlacement::Sync(sync),
        Some((_, one)) => ProcessorPlacement::OnlyAsync(one),
        None => ProcessorPlacement::Missing {
            undecided: rows.undecided || rows.all().any(|(_, one)| one.subject.value().is_none()),
        },
    }
}

impl<'a> Linter<'a> {
    pub(super) fn chain(&mut self) {
        let subject = self.plan.subject;
        let config = self.config;
        let effect = if self.observes() { "nothing shows what would be chosen" } else { "no call is balanced" };
        let Some(sync) = self.find_processor("chain-missing", subject, effect) else { return };
        let Some(&(row, first)) = sync.first() else { return };
        for (_, twice) in sync.iter().skip(1) {
            let reason = format!("a second sync processor on {subject}: every request would be decided twice");
            self.find([Finding::warning("chain-twice", &twice.place, reason, "take one of them out")]);
        }
        self.member(first);
        self.inputs(first);
        match first.modifier {
            Some(true) if self.observes() => self.unseen(first),
            Some(false) if self.observes() => {
                self.output(first, "broker", "the stamp is thrown away, and nothing shows what would be chosen");
            }
            Some(true) => self.one_row(first),
            Some(false) => self.two_rows(row, first),
            None => {
                let reason = "whether it is a modifier decides what it can write";
                let finding = Finding::error("chain-unsure", &first.place, reason, "write true or false");
                self.find([finding.undecided()]);
            }
        }
        for rows in [&config.request, &config.response] {
            for (_, one) in rows.all().filter(|(_, one)| self.is_ours(one)).collect::<Vec<_>>() {
                self.timing(one, std::ptr::eq(rows, &config.request));
            }
        }
    }

    /// The sync request processors on a subject; reports if there are none.
    fn find_processor(&mut self, rule: &'static str, subject: &str, effect: &str) -> Option<Vec<Member<'a>>> {
        let rows = &self.config.request;
        let fix = format!(
            "add a sync processor with service_bus_topic {subject:?} to request.processors, as in the gl_config.json of the broker"
        );
        match asked(rows, subject) {
            ProcessorPlacement::Sync(sync) => return Some(sync),
            ProcessorPlacement::OnlyAsync(one) => {
                let reason = format!("is async: it is asked after the call has been answered, so {effect}");
                self.find([Finding::error(rule, &one.place, reason, "write \"async\": false")]);
            }
            ProcessorPlacement::Missing { undecided } => {
                let reason = format!("no request processor sends requests to {subject}: {effect}");
                let finding = Finding::error(rule, &rows.place, reason, fix);
                self.find([if undecided { finding.undecided() } else { finding }]);
            }
        }
        None
    }

    /// The checks for both processors of the chain.
    fn member(&mut self, one: &Processor) {
        if one.is_async.is_none() {
            let finding = Finding::error("chain-unsure", &one.place, "is async", "write \"async\": false");
            self.find([finding.undecided()]);
        }
    }

    fn observes(&self) -> bool {
        self.plan.mode == OperatingMode::Observe
    }

    /// The one-row configuration in observe mode, which has no effect.
    fn unseen(&mut self, one: &Processor) {
        let reason = "is a modifier, which never adds a field: in observe mode nothing shows what would be chosen";
        let fix = "write \"modifier\": false and name \"broker\" in its output_fields_write";
        self.find([Finding::warning("observe-unseen", &one.place, reason, fix)]);
    }

    fn one_row(&mut self, one: &Processor) {
        let more = if one.output.has("broker") == Some(true) {
            "; a modifier never adds a field, so \"broker\" is not written either: for two rows write \"modifier\": false"
        } else {
            ""
        };
        self.output(one, "gl_path", &format!("the chosen router is thrown away{more}"));
        if self.needs.patches() {
            self.output(one, "outbound_payload", "override_params and model_map are thrown away");
        }
    }

    fn two_rows(&mut self, row: usize, first: &'a Processor) {
        let subject = format!("{}.apply", self.plan.subject);
        self.output(first, "broker", "the stamp is thrown away, and there is nothing to apply");
        let patches = self.needs.patches();
        if patches {
            self.output(first, "broker_patch", "override_params and model_map do not reach the row that applies them");
        }
        let effect = "the chosen router is only stamped: an annotator cannot replace gl_path";
        let Some(sync) = self.find_processor("apply-missing", &subject, effect) else { return };
        let later = sync.iter().find(|(other, _)| *other > row);
        let Some((other, apply)) = later.or(sync.first()).copied() else { return };
        if other <= row {
            let place = if other == row { "in the same row as" } else { "in an earlier row than" };
            let reason = format!("is {place} the processor on {}, so it does not see the stamp", self.plan.subject);
            let fix = "put it into a row of its own behind that one";
            self.find([Finding::error("apply-row", &apply.place, reason, fix)]);
        }
        self.member(apply);
        let reason = "is an annotator, which only adds fields; gl_path exists already and is not replaced";
        let finding = Finding::error("apply-annotator", &apply.place, reason, "write \"modifier\": true");
        self.find(finding.when(not(apply.modifier)));
        self.input(apply, "broker", "it does not see what was chosen");
        self.output(apply, "gl_path", "the chosen router is thrown away");
        if patches {
            self.input(apply, "broker_patch", "it does not see what the target changes");
            self.body(apply, "it has nothing to change");
            self.output(apply, "outbound_payload", "override_params and model_map are thrown away");
        }
    }

    /// The fields that the deciding processor needs.
    fn inputs(&mut self, one: &Processor) {
        self.input(one, "gl_path", "without it the ingress of a request is not known");
        if let Some(field) = self.needs.param() {
            self.body(one, &format!("a strategy reads {field} and finds nothing"));
        }
        if let Some((_, router)) = self.needs.tokens() {
            self.body(one, &format!("the budget of {router} counts only the tokens that the log reports"));
        }
        if self.needs.patches() && one.modifier == Some(true) && !self.observes() {
            self.body(one, "override_params and model_map have nothing to change");
        }
        if let Some(field) = self.needs.header() {
            let visible = either(one.input.passes("outbound_headers"), one.input.passes("ingress_headers"));
            self.missing_field(one, visible, "ingress_headers", &format!("a strategy reads {field} and finds nothing"));
        }
    }

    fn body(&mut self, one: &Processor, effect: &str) {
        let visible = either(one.input.passes("outbound_payload"), one.input.passes("ingress_payload"));
        self.missing_field(one, visible, "outbound_payload", effect);
    }

    fn input(&mut self, one: &Processor, field: &str, effect: &str) {
        self.missing_field(one, one.input.passes(field), field, effect);
    }

    fn missing_field(&mut self, one: &Processor, visible: Option<bool>, field: &str, effect: &str) {
        let reason = format!("does not see {field}: {effect}");
        let fix = format!("name \"{field}\" in its input_fields_include, and not in its input_fields_exclude");
        // Two needs of the same field have one fix.
        if !self.findings.iter().any(|finding| finding.place == one.place && finding.fix == fix) {
            self.find(Finding::error("input-field", &one.place, reason, fix).when(not(visible)));
        }
    }

    fn output(&mut self, one: &Processor, field: &str, effect: &str) {
        let reason = format!("may not write {field}: {effect}");
        let fix = format!("name \"{field}\" in its output_fields_write");
        self.find(Finding::error("output-field", &one.place, reason, fix).when(not(one.output.has(field))));
    }

    fn timing(&mut self, one: &Processor, is_request: bool) {
        let reason =
            format!("a timeout below {MIN_TIMEOUT_MS} ms: a short pause of the machine, and the answer comes too late");
        let finding = Finding::warning(
            "timeout-short",
            &one.place,
            reason,
            "write a timeout of 50 (ms); it costs nothing while the broker answers",
        );
        self.find(finding.when(one.timeout.map(|timeout| timeout < MIN_TIMEOUT_MS)));
        let fix = "write \"required\": false: without the broker calls go to the ingress router, and none is lost";
        let finding = if is_request {
            let reason = "is required: every call for which the broker has no router, direct calls too, ends with 500";
            Finding::error("required", &one.place, reason, fix)
        } else {
            let reason = "is required: the broker answers nothing here, so every log entry carries an error";
            Finding::warning("required", &one.place, reason, fix)
        };
        self.find(finding.when(one.required));
    }

    /// Whether it is on a subject of ours, in the context that this subject is for.
    pub(super) fn is_ours(&self, one: &Processor) -> bool {
        let subject = self.plan.subject;
        one.subject
            .value()
            .and_then(|value| value.strip_prefix(subject))
            .is_some_and(|rest| matches!(rest, "" | ".apply" | ".outcome"))
    }
}
