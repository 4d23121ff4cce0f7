//! `broker status`: the state of all replicas in one table, which shows where they differ.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::super::OutputError;
use super::table::Table;
use super::{clean, connect, run};
use crate::config::OperatorAccess;
use crate::nats::peers::{self, STATUS};
use balancer::broker::HISTOGRAM_STEPS;

/// Interval of `--watch`.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);
/// Clears a terminal.
const CLEAR: &str = "\x1b[H\x1b[2J";

#[derive(Debug, Clone, Args)]
pub struct StatusArgs {
    /// Print the replicas' documents as one JSON array
    #[arg(long)]
    pub json: bool,
    /// Repeat every second, until Ctrl-C
    #[arg(long)]
    pub watch: bool,
}

impl StatusArgs {
    /// Requests and prints the status.
    ///
    /// # Errors
    /// No replica answers.
    pub fn run(&self, operator: &OperatorAccess) -> anyhow::Result<()> {
        run(async {
            let client = connect(operator).await?;
            let before = if self.watch && !self.json && std::io::stdout().is_terminal() { CLEAR } else { "" };
            loop {
                let documents: Vec<Value> = peers::ask(&client, &operator.nats, STATUS, Vec::new()).await?;
                let text = if self.json { serde_json::to_string(&documents)? + "\n" } else { render(&documents) };
                {
                    let mut out = std::io::stdout().lock();
                    write!(out, "{before}{text}").and_then(|()| out.flush()).map_err(OutputError)?;
                }
                if !self.watch {
                    return Ok(());
                }
                tokio::time::sleep(REFRESH_INTERVAL).await;
            }
        })
    }
}

/// The documents as text.
fn render(documents: &[Value]) -> String {
    let mut text = String::new();
    let replicas: Vec<_> = documents.iter().map(replica).collect();
    // Writing into a String cannot fail.
    let _ = writeln!(text, "{} answering: {}", count(replicas.len(), "replica"), replicas.join(", "));
    let configs = documents.iter().filter_map(|document| document["config"].as_str());
    let _ = writeln!(text, "{}", disagreement(&configs.collect::<Vec<_>>()).unwrap_or_default());
    if let Some(first) = documents.first() {
        list(&first["pools"]).for_each(|pool| pool_status(&mut text, pool, documents));
    }
    let mut table = Table::default();
    table.row([
        "ROUTER",
        "STATE",
        "DRAINED",
        "REQUESTS",
        "FAILURES",
        "NOT BLAMED",
        "P50 ms",
        "P95 ms",
        "IN FLIGHT",
        "LAST FAILURE",
    ]);
    for (router, reports) in routers(documents) {
        table.row(row(&router, &reports).iter().map(String::as_str));
    }
    let _ = write!(text, "{table}");
    text
}

fn replica(document: &Value) -> String {
    let text = |name: &str| clean(document[name].as_str().unwrap_or("?"));
    format!("{} (version {}, mode {}, config {})", text("replica"), text("version"), text("mode"), text("config"))
}

/// A line if the fingerprints of the replicas' settings differ or cannot be compared. Only fingerprints with the same version,
/// which is before the dash, can be compared; those of the first release have none.
fn disagreement(configs: &[&str]) -> Option<&'static str> {
    let version = |config: &str| config.split_once('-').map(|(version, _)| version.to_owned());
    let same = |one: &[&str]| one[0] == one[1];
    if configs.windows(2).all(same) {
        None
    } else if configs.windows(2).all(|two| version(two[0]) == version(two[1])) {
        Some("their settings are not the same: config differs\n")
    } else {
        Some("whether their settings are the same is unknown: their versions compute config in different ways\n")
    }
}

/// The routers of all documents, in the order in which they first occur, each with the reports of the replicas.
fn routers(documents: &[Value]) -> Vec<(String, Vec<&Value>)> {
    let mut order = Vec::new();
    let mut reports: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for router in documents.iter().flat_map(|document| list(&document["routers"])) {
        let Some(path) = router["router"].as_str() else { continue };
        if !reports.contains_key(path) {
            order.push(path.to_owned());
        }
        reports.entry(path.to_owned()).or_default().push(router);
    }
    order.into_iter().filter_map(|path| reports.remove(&path).map(|reports| (path, reports))).collect()
}

fn pool_status(text: &mut String, pool: &Value, documents: &[Value]) {
    let ingress = clean(pool["ingress"].as_str().unwrap_or("?"));
    let state = match (pool["serves"].as_bool(), pool["last_resort"].as_bool()) {
        (Some(false), _) if pool["relayed"] == true => {
            "  all targets are down or drained: calls wait for one, or get 503"
        }
        (Some(false), _) => "  all targets are down or drained: the gateway uses this ingress's own endpoint",
        (_, Some(true)) => "  nothing serves but what is on probation",
        _ => "",
    };
    let _ = writeln!(text, "{ingress}{state}");
    show_target(text, &pool["tree"], 1);
    weights(text, &pool["ingress"], documents);
    text.push('\n');
}

/// Weights that operators have set, on any replica.
fn weights(text: &mut String, ingress: &Value, documents: &[Value]) {
    let mut found: Vec<(String, usize)> = Vec::new();
    let pools = documents.iter().flat_map(|document| list(&document["pools"]));
    for weight in pools.filter(|pool| pool["ingress"] == *ingress).flat_map(|pool| list(&pool["weights"])) {
        let said = |name: &str| weight[name].as_str().filter(|text| !text.is_empty()).map(clean);
        let until = said("until").map(|until| format!(" until {until}")).unwrap_or_default();
        let reason = said("reason").map(|reason| format!(": {reason}")).unwrap_or_default();
        let (router, by) = (said("router").unwrap_or_default(), said("by").unwrap_or_default());
        let line =
            format!("{router} has weight {} instead of the file's{until}, set by {by}{reason}", weight["weight"]);
        match found.iter_mut().find(|(other, _)| *other == line) {
            Some((_, replicas)) => *replicas += 1,
            None => found.push((line, 1)),
        }
    }
    for (line, replicas) in found {
        let of = documents.len();
        let on = if replicas == of { String::new() } else { format!(" (on {replicas} of {of})") };
        let _ = writeln!(text, "{:>10}  {line}{on}", "weight");
    }
}

fn show_target(text: &mut String, target: &Value, depth: usize) {
    let share = match (target["probation"].as_bool(), target["share"].as_f64()) {
        (Some(true), _) => "probes".to_owned(),
        (_, Some(share)) => format!("{:.1} %", share * 100.0),
        _ => "by request".to_owned(),
    };
    let name = target["name"].as_str().map(|name| format!("{} ", clean(name))).unwrap_or_default();
    let what = match (target["router"].as_str(), target["mode"].as_str()) {
        (Some(router), _) => clean(router),
        (None, mode) => format!("({})", clean(mode.unwrap_or("?"))),
    };
    let _ = writeln!(text, "{:>10}  {}{name}{what}", share, "  ".repeat(depth - 1));
    list(&target["targets"]).for_each(|inner| show_target(text, inner, depth + 1));
}

fn row(router: &str, reports: &[&Value]) -> [String; 10] {
    let sum = |name: &str| reports.iter().filter_map(|one| one[name].as_u64()).sum::<u64>();
    // Every replica learns of every call, so these are the same except for the replicas' starting times.
    let most = |name: &str| reports.iter().filter_map(|one| one[name].as_u64()).max().unwrap_or(0);
    let longest = reports.iter().max_by_key(|one| one["latency"]["count"].as_u64());
    let millis = |name: &str| longest.and_then(|one| one["latency"][name].as_f64()).map_or("-".to_owned(), latency);
    let in_flight = reports.iter().any(|one| one["in_flight"].is_u64());
    [
        clean(router),
        agreed(reports, state),
        agreed(reports, drained),
        sum("requests").to_string(),
        most("failures").to_string(),
        most("neutral").to_string(),
        millis("p50_ms"),
        millis("p95_ms"),
        if in_flight { sum("in_flight").to_string() } else { "?".to_owned() },
        reports.iter().map(|one| last_failure(one)).max().unwrap_or_default(),
    ]
}

/// The value of all replicas; or the first one that differs, and how many have it.
fn agreed(reports: &[&Value], say: impl Fn(&Value) -> (String, String)) -> String {
    let said: Vec<_> = reports.iter().map(|one| say(one)).collect();
    let Some((word, more)) = said.iter().max() else { return String::new() };
    let same = said.iter().filter(|(other, _)| other == word).count();
    let of = if same == said.len() { String::new() } else { format!(" (on {same} of {})", said.len()) };
    format!("{word}{more}{of}")
}

fn state(router: &Value) -> (String, String) {
    // Replicas before 0.1 call it `standing`.
    let word = clean(router["state"].as_str().or_else(|| router["standing"].as_str()).unwrap_or("?"));
    let left = router["seconds_left"].as_f64().map(|left| format!(" for {}", span(left))).unwrap_or_default();
    let why = router["why"].as_str().map(|why| format!(", {}", clean(why))).unwrap_or_default();
    let limited = router["rests_for"].as_array().into_iter().flatten().map(|limited| {
        let left = limited["seconds_left"].as_f64().map(|left| format!(" {}", span(left))).unwrap_or_default();
        format!(", rests{left} for model {}", clean(limited["model"].as_str().unwrap_or("?")))
    });
    (word, left + &why + &limited.collect::<String>())
}

fn drained(router: &Value) -> (String, String) {
    let terms = &router["drained"];
    if terms.is_null() {
        return ("-".to_owned(), String::new());
    }
    let until = terms["until"].as_str().map(|until| format!(" until {}", clean(until))).unwrap_or_default();
    let reason = terms["reason"].as_str().filter(|reason| !reason.is_empty());
    let reason = reason.map(|reason| format!(": {}", clean(reason))).unwrap_or_default();
    ("yes".to_owned(), until + &reason)
}

fn last_failure(router: &Value) -> String {
    let last = &router["last_failure"];
    match (last["at"].as_str(), last["cause"].as_str()) {
        (Some(at), Some(cause)) => format!("{} {}", clean(at), clean(cause)),
        _ => "-".to_owned(),
    }
}

/// A percentile in milliseconds. Within the first bucket of the histogram it is not known more precisely.
fn latency(millis: f64) -> String {
    let [first, ..] = HISTOGRAM_STEPS;
    if millis <= first as f64 { format!("<={first}") } else { format!("{millis:.0}") }
}

/// Seconds in a readable form.
fn span(seconds: f64) -> String {
    let whole = seconds.max(0.0).ceil() as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3_600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3_600, whole % 3_600 / 60),
    }
}

pub(super) fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

pub(super) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document(replica: &str, state: &str, requests: u64) -> Value {
        json!({
            "replica": replica, "version": "0.1.0", "mode": "balance", "config": "abcd",
            "pools": [{"ingress": "/in/", "serves": true, "last_resort": false, "tree": {
                "mode": "loadbalance", "share": 1.0, "targets": [
                    {"router": "/a/", "share": 1.0},
                    {"name": "backup", "mode": "conditional", "share": 0.0, "targets": [{"router": "/b/", "share": null}]},
                ]}}],
            "routers": [{
                "router": "/a/", "state": state, "seconds_left": 61.2, "why": "answered 500\u{1b}[2J",
                "drained": {"until": null, "reason": "new keys"}, "requests": requests, "failures": 4, "neutral": 21, "in_flight": 1,
                "latency": {"count": 7, "p50_ms": 12.4, "p95_ms": 99.6},
                "last_failure": {"at": "2026-01-01T00:00:00Z", "cause": "answered 500"},
            }],
        })
    }

    #[test]
    fn a_weight_of_an_operator_a_probation_and_a_time_below_the_first_step_are_shown_as_such() {
        let mut document = document("one", "probation", 1);
        document["pools"][0]["tree"]["targets"][0] = json!({"router": "/a/", "share": null, "probation": true});
        let weight = json!({"pool": "/in/", "router": "/a/", "weight": 0.5, "since": "s", "until": null, "by": "me", "reason": "slow"});
        document["pools"][0]["weights"] = json!([weight]);
        document["routers"][0]["latency"]["p50_ms"] = json!(2.5);
        let mut other = document.clone();
        other["pools"][0]["weights"][0]["weight"] = json!(0);
        let text = render(&[document, other]);
        for words in [
            "probes    /a/",
            "weight  /a/ has weight 0.5 instead of the file's, set by me: slow (on 1 of 2)",
            "weight  /a/ has weight 0 instead of the file's, set by me: slow (on 1 of 2)",
            " <=5 ",
        ] {
            assert!(text.contains(words), "{words:?} in\n{text}");
        }
    }

    #[test]
    fn the_models_that_a_router_rests_for_are_shown() {
        let mut document = document("one", "enabled", 1);
        (document["routers"][0]["seconds_left"], document["routers"][0]["why"]) = (Value::Null, Value::Null);
        document["routers"][0]["rests_for"] = json!([
            {"model": "gpt\u{1b}-4o", "until": "u", "seconds_left": 11.3}, {"model": "b", "until": "u", "seconds_left": 2.0}
        ]);
        let text = render(&[document]);
        let expected = "enabled, rests 12 s for model gpt\u{fffd}-4o, rests 2 s for model b ";
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn what_becomes_of_calls_without_a_target_depends_on_who_serves_them() {
        for (relayed, words) in [
            (json!(true), "calls wait for one, or get 503"),
            (json!(false), "the gateway uses this ingress's own endpoint"),
            // Replicas before 0.1 do not say it.
            (Value::Null, "the gateway uses this ingress's own endpoint"),
        ] {
            let mut document = document("one", "disabled", 1);
            (document["pools"][0]["serves"], document["pools"][0]["relayed"]) = (json!(false), relayed);
            let text = render(&[document]);
            assert!(text.contains(&format!("/in/  all targets are down or drained: {words}\n")), "{text}");
        }
    }

    #[test]
    fn only_fingerprints_of_one_version_disagree() {
        for (configs, words) in [
            (&["1-aaaaaaaa"][..], None),
            (&["1-aaaaaaaa", "1-aaaaaaaa"], None),
            (&["1-aaaaaaaa", "1-aaaaaaaa", "1-bbbbbbbb"], Some("not the same")),
            (&["1-aaaaaaaa", "2-bbbbbbbb"], Some("is unknown")),
            (&["1-aaaaaaaa", "1-bbbbbbbb", "2-bbbbbbbb"], Some("is unknown")),
            (&["aaaaaaaa", "1-aaaaaaaa"], Some("is unknown")),
        ] {
            let said = disagreement(configs);
            assert!(words.map_or(said.is_none(), |words| said.unwrap().contains(words)), "{configs:?}: {said:?}");
        }
    }

    #[test]
    fn replicas_are_added_up_and_disagreement_is_said() {
        let text = render(&[document("one", "disabled", 10), document("two", "enabled", 5)]);
        for words in [
            "2 replicas answering: one (version 0.1.0, mode balance, config abcd), two",
            "100.0 %    /a/",
            "by request      /b/",
            "backup (conditional)",
            "enabled for 1 min 2 s, answered 500\u{fffd}[2J (on 1 of 2)",
            "yes: new keys",
            "15        4         21          12      100     2          2026-01-01T00:00:00Z answered 500",
        ] {
            assert!(text.contains(words), "{words:?} in\n{text}");
        }
        assert!(!text.contains('\u{1b}'), "nothing steers the terminal");
    }
}
