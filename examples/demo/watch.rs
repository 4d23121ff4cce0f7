//! What can be seen from outside: the gateway's log entries and the broker's log lines, as events in the order of time.
//!
//! The two come over different ways, so a call's entry often arrives after the line about what it caused. Every event
//! carries its own time, and is held for a moment so that events are printed in their order.

use std::collections::BTreeMap;
use std::time::Duration;

use gecholog_broker::calls::cost::dollars;
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

/// How long an event is held.
const HOLD: Duration = Duration::from_millis(60);

/// One thing that happened.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// A call passed through the gateway.
    Call(Call),
    /// The broker changed a router's state.
    Change(Change),
    /// Something else that the broker logged and people should read.
    Remark(Timestamp, String),
    /// A scripted fault begins or ends.
    Scripted(Timestamp, String),
}

/// One call, as the gateway's log has it.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// When the gateway received it.
    pub(crate) began: Timestamp,
    /// When all request processors had answered: what the broker decided, it decided before.
    pub(crate) decided: Timestamp,
    /// When the gateway had the upstream's answer.
    pub(crate) answered: Timestamp,
    /// When the client had its answer.
    pub(crate) ended: Timestamp,
    /// The gateway's id of it, which its client gets too.
    pub(crate) transaction: String,
    /// The router that the client called.
    pub(crate) ingress: String,
    /// The router that served it.
    pub(crate) router: String,
    /// The router that the broker's stamp names.
    pub(crate) stamped: Option<String>,
    /// The status that the client got.
    pub(crate) status: Option<u16>,
    /// The upstream's `Retry-After`, if it is whole seconds.
    pub(crate) retry_after: Option<Duration>,
    /// Why this router, in the words of the stamp, if there is one.
    pub(crate) why: Option<String>,
    /// The tokens that it used and what they cost, as the relay wrote.
    pub(crate) used: Option<String>,
}

/// A router disabled or enabled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) at: Timestamp,
    pub(crate) router: String,
    pub(crate) to: RouterState,
}

/// A router's state from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RouterState {
    /// May be chosen.
    Enabled,
    /// One request at a time finds out whether it works again.
    OnProbation,
    /// Left out until then, for this reason.
    Disabled { until: Timestamp, cause: String },
}

impl Event {
    /// When it happened; for a call, when it began.
    pub(crate) const fn at(&self) -> Timestamp {
        match self {
            Self::Call(call) => call.began,
            Self::Change(change) => change.at,
            Self::Remark(at, _) | Self::Scripted(at, _) => *at,
        }
    }

    /// Reads an entry of the gateway's log.
    pub(crate) fn of_log(entry: &[u8]) -> Option<Self> {
        let entry: Value = serde_json::from_str(&String::from_utf8_lossy(entry)).ok()?;
        let (request, response, timer) = (&entry["request"], &entry["response"], &entry["ingress_egress_timer"]);
        let began = moment(&timer["start"])?;
        let asked = text(&request["original_gl_path"]).or_else(|| text(&request["gl_path"]));
        let stamp = &request["broker"];
        let decided = moment(&request["ingress_outbound_timer"]["stop"]).unwrap_or(began);
        let answered = moment(&response["outbound_inbound_timer"]["stop"]);
        Some(Self::Call(Call {
            began,
            decided,
            // Never reached is the year 1.
            answered: answered.filter(|at| *at >= decided).unwrap_or(decided),
            ended: moment(&timer["stop"]).unwrap_or(began),
            transaction: text(&entry["transaction_id"])?,
            ingress: asked.unwrap_or_default(),
            router: text(&response["gl_path"]).unwrap_or_default(),
            stamped: text(&stamp["router"]),
            status: response["egress_status_code"].as_u64().and_then(|status| u16::try_from(status).ok()),
            retry_after: retry_after(&response["inbound_headers"]),
            why: why(stamp),
            used: used(&request["broker_call"]),
        }))
    }

    /// Reads a log line of the broker; most are not for people who watch a demo.
    pub(crate) fn of_line(line: &Value) -> Option<Self> {
        let at = moment(&line["timestamp"])?;
        let (message, router) = (text(&line["message"])?, text(&line["router"]));
        let to = match (message.as_str(), moment(&line["until"])) {
            ("router enabled", _) => RouterState::Enabled,
            (message, _) if message.starts_with("router on probation") => RouterState::OnProbation,
            ("router disabled", Some(until)) => {
                RouterState::Disabled { until, cause: text(&line["cause"]).unwrap_or_default() }
            }
            _ => return remark(at, message, line),
        };
        Some(Self::Change(Change { at, router: router?, to }))
    }
}

fn remark(at: Timestamp, message: String, line: &Value) -> Option<Event> {
    let urgent = line["level"].as_str().is_some_and(|level| matches!(level, "WARN" | "ERROR"));
    let news = message.starts_with("routers available again");
    let subject = ["router", "error"].into_iter().filter_map(|name| text(&line[name]));
    let words: Vec<_> = subject.chain([message]).collect();
    let details = ["mode", "by", "reason", "connection"];
    let details = details.into_iter().filter_map(|name| Some(format!(" {name}={}", text(&line[name])?)));
    (urgent || news).then(|| Event::Remark(at, words.join(": ") + &details.collect::<String>()))
}

fn why(stamp: &Value) -> Option<String> {
    let words = text(&stamp["why"])?;
    Some(match text(&stamp["would"]) {
        Some(would) => format!("observed only: would be {would} ({words})"),
        None => words,
    })
}

fn retry_after(headers: &Value) -> Option<Duration> {
    let header = headers.as_object()?.iter().find(|(name, _)| name.eq_ignore_ascii_case("retry-after"));
    let (_, values) = header?;
    values[0].as_str()?.parse().ok().map(Duration::from_secs)
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn moment(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

/// A moment that never comes while the demo runs.
pub(crate) fn far() -> Instant {
    Instant::now() + Duration::from_secs(86_400)
}

/// Events on their way to the screen, earliest first.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    held: BTreeMap<(Timestamp, u64), (Instant, Event)>,
    count: u64,
}

impl Queue {
    pub(crate) fn push(&mut self, event: Event) {
        self.count += 1;
        self.held.insert((event.at(), self.count), (Instant::now() + HOLD, event));
    }

    /// When the first event has been held long enough.
    pub(crate) fn due(&self) -> Instant {
        self.held.first_key_value().map_or_else(far, |(_, (due, _))| *due)
    }

    /// Takes the first event.
    pub(crate) fn pop(&mut self) -> Option<Event> {
        self.held.pop_first().map(|(_, (_, event))| event)
    }
}

/// `12+5 tokens, $0.000035`, of what the relay wrote beside the stamp.
fn used(call: &Value) -> Option<String> {
    let count = |name: &str| call["usage"][name].as_u64();
    let (input, output) = (count("input_uncached")?, count("output")?);
    let cached = count("cache_read").unwrap_or(0) + count("cache_write").unwrap_or(0);
    let cost = call["cost"]["nano_usd"].as_u64().map(|nano| format!(", {}", dollars(nano))).unwrap_or_default();
    let about = if call["usage"]["estimated"] == true { "~" } else { "" };
    Some(format!("{about}{}+{output} tokens{cost}", input + cached))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = r#"{"transaction_id":"BROKER01_1_2_0",
        "ingress_egress_timer":{"start":"2026-11-22T05:21:37.1Z","stop":"2026-11-22T05:21:37.102Z","duration":2},
        "request":{"gl_path":"/azure/dud/","original_gl_path":"/azure/","broker":{"router":"/azure/dud/","why":"random"},
            "ingress_outbound_timer":{"stop":"2026-11-22T05:21:37.101Z"}},
        "response":{"gl_path":"/azure/dud/","egress_status_code":502,"inbound_headers":{"Retry-After":["7"]},
            "outbound_inbound_timer":{"stop":"2026-11-22T05:21:37.1015Z"}}}"#;

    #[test]
    fn a_log_entry_describes_a_call() {
        let Some(Event::Call(call)) = Event::of_log(ENTRY.as_bytes()) else { panic!("not a call") };
        assert_eq!((call.ingress.as_str(), call.router.as_str(), call.status), ("/azure/", "/azure/dud/", Some(502)));
        assert_eq!((call.stamped.as_deref(), call.why.as_deref()), (Some("/azure/dud/"), Some("random")));
        assert!(call.began < call.decided && call.decided < call.answered && call.answered < call.ended);
        assert_eq!(call.retry_after, Some(Duration::from_secs(7)));
    }

    #[test]
    fn what_happened_first_is_shown_first() {
        let mut queue = Queue::default();
        let line = serde_json::json!({"timestamp": "2026-11-22T05:21:37.102Z", "message": "router disabled",
            "router": "/azure/dud/", "until": "2026-11-22T05:21:52.102Z", "cause": "answered 500"});
        queue.push(Event::of_line(&line).unwrap());
        queue.push(Event::of_log(ENTRY.as_bytes()).unwrap());
        assert!(matches!(queue.pop(), Some(Event::Call(_))));
        assert!(matches!(queue.pop(), Some(Event::Change(_))));
        assert!(queue.pop().is_none());
    }

    #[test]
    fn only_what_people_should_read_is_a_remark() {
        let line = |level, message| serde_json::json!({"timestamp": "2026-11-22T05:21:37Z", "level": level, "message": message});
        assert!(Event::of_line(&line("INFO", "broker starts")).is_none());
        assert!(matches!(Event::of_line(&line("WARN", "no HTTP")), Some(Event::Remark(_, text)) if text == "no HTTP"));
    }
}
