//! The text of `broker why` about one call.

use std::fmt::Write as _;

use super::cost::dollars;
use super::{AttemptFailure, CallAttempt, CallClass, CallRecord, Via};
use llm::Usage;

/// The call as lines of text. It is safe for terminals: records contain no control characters.
pub fn describe(record: &CallRecord) -> String {
    let mut text = String::new();
    // Writing into a String cannot fail.
    let _ = writeln!(text, "{}", head(record));
    let _ = writeln!(text, "  asked for    {}", models(record));
    if !record.session.is_empty() && record.session != record.id {
        let _ = writeln!(text, "  session      {}", record.session);
    }
    if !record.trace_ids.is_empty() {
        let _ = writeln!(text, "  trace ids    {}", record.trace_ids.join(", "));
    }
    if record.attempts_left_out > 0 {
        let _ = writeln!(text, "  attempts     {} before these, which are not kept", record.attempts_left_out);
    }
    for (number, attempt) in record.numbered_attempts() {
        let _ = match number {
            Some(number) => writeln!(text, "  attempt {number:<4} {}", attempted(attempt)),
            None => writeln!(text, "  passed over  {}", attempt.router),
        };
        let _ = writeln!(text, "               chosen: {}", chosen(attempt));
    }
    let _ = writeln!(text, "  answered     {}", answered(record));
    let _ = writeln!(text, "  tokens       {}", record.usage.as_ref().map_or("unknown".to_owned(), tokens));
    let _ = writeln!(text, "  cost         {}", cost(record));
    let _ = writeln!(text, "  cache        {}", record.cache);
    text
}

fn head(record: &CallRecord) -> String {
    let via = match record.via {
        Via::Relay => "the relay",
        Via::Gateway => "the gateway",
    };
    let replica = record.replica.as_ref().map(|replica| format!(", replica {replica}")).unwrap_or_default();
    format!("call {} to {} through {via}{replica}, ended {}", record.id, record.pool, record.at)
}

fn models(record: &CallRecord) -> String {
    let mut text = record.model.clone().unwrap_or("no model".to_owned());
    if let Some(sent) = &record.sent_model {
        let _ = write!(text, ", sent as {sent}");
    }
    if let Some(served) = record.served_model.as_ref().filter(|served| Some(*served) != record.model.as_ref()) {
        let _ = write!(text, ", answered by {served}");
    }
    if record.stream {
        text.push_str(", as a stream");
    }
    text
}

fn attempted(attempt: &CallAttempt) -> String {
    let mut text = attempt.router.clone();
    match (attempt.status, attempt.failure.as_ref().map(AttemptFailure::name)) {
        (Some(status), None) => drop(write!(text, "  {status}")),
        (Some(status), Some(failure)) => drop(write!(text, "  {status}, {failure}")),
        (None, Some(failure)) => drop(write!(text, "  {failure}")),
        (None, None) => {}
    }
    if attempt.class != CallClass::Success {
        let _ = write!(text, " ({})", attempt.class);
    }
    if let Some(reason) = &attempt.reason {
        let _ = write!(text, ": {reason}");
    }
    if let Some(ms) = attempt.ms.filter(|ms| *ms > 0) {
        text.push_str(if attempt.reason.is_some() { "," } else { "" });
        let _ = write!(text, " after {ms} ms");
    }
    if let Some(ms) = attempt.first_byte_ms {
        let _ = write!(text, ", first byte after {ms} ms");
    }
    if attempt.tries > 1 {
        let _ = write!(text, ", sent {} times", attempt.tries);
    }
    text
}

fn chosen(attempt: &CallAttempt) -> String {
    let mut text = attempt.why.clone().unwrap_or("reason unknown: there is no stamp".to_owned());
    if let Some(p) = attempt.p {
        let _ = write!(text, ", with probability {p}");
    }
    if attempt.probe {
        text.push_str(", to find out whether it works again");
    }
    if let Some(decision) = &attempt.decision {
        let _ = write!(text, " (decision {decision})");
    }
    text
}

fn answered(record: &CallRecord) -> String {
    let status = record.status.map_or("no status".to_owned(), |status| status.to_string());
    let by = record.router.as_ref().map_or("the relay itself".to_owned(), Clone::clone);
    let mut text = format!("{status} by {by}, {}", record.class);
    if let Some(ms) = record.first_byte_ms {
        let _ = write!(text, ", first byte after {ms} ms");
    }
    if let Some(ms) = record.ms {
        let _ = write!(text, ", {ms} ms in all");
    }
    text
}

/// The tokens by kind: `12 in (4 from the cache, 0 written to it), 5 out (2 reasoning)`.
pub fn tokens(usage: &Usage) -> String {
    let mut text = format!("{} in", usage.input());
    let cached = usage.cache_read + usage.cache_write > 0;
    if cached {
        let _ = write!(text, " ({} from the vendor's cache, {} written to it)", usage.cache_read, usage.cache_write);
    }
    let _ = write!(text, ", {} out", usage.output);
    if usage.reasoning > 0 {
        let _ = write!(text, " ({} reasoning)", usage.reasoning);
    }
    if usage.audio_input + usage.audio_output > 0 {
        let _ = write!(text, ", of these audio {} in and {} out", usage.audio_input, usage.audio_output);
    }
    if usage.estimated {
        text.push_str(", estimated from bytes");
    }
    if !usage.service_tier.is_standard() {
        let _ = write!(text, ", at the tier {}", usage.service_tier.name());
    }
    text
}

fn cost(record: &CallRecord) -> String {
    let Some(cost) = &record.cost else {
        let why = if record.usage.is_some() { "no price for this model and usage" } else { "no tokens were reported" };
        return format!("unknown: {why}");
    };
    let table = [&cost.table, &cost.priced].into_iter().flatten().map(|name| &**name).collect::<Vec<_>>().join(", ");
    let table = if table.is_empty() { table } else { format!(" ({table})") };
    format!("{} by the price of {}{table}", dollars(cost.nano_usd), cost.price)
}

#[cfg(test)]
mod tests {
    use super::super::cost::Cost;
    use super::*;
    use types::outcome::ErrorClass;

    #[test]
    fn why_an_answer_is_broken() {
        let attempt = CallAttempt {
            router: "/llm/a/".to_owned(),
            failure: Some(AttemptFailure::Broken("broken_answer".into())),
            reason: Some("its frames cannot be read".to_owned()),
            class: CallClass::Error(ErrorClass::BrokenAnswer),
            ms: Some(7),
            ..CallAttempt::default()
        };
        let expected = "/llm/a/  broken_answer (broken_answer): its frames cannot be read, after 7 ms";
        assert_eq!(attempted(&attempt), expected);
    }

    #[test]
    fn attempts_that_were_made_are_numbered_and_those_passed_over_are_named() {
        let attempt = |router: &str, failure: Option<AttemptFailure>| CallAttempt {
            router: router.to_owned(),
            failure,
            class: CallClass::Broker,
            ms: Some(0),
            tries: 1,
            ..CallAttempt::default()
        };
        let attempts = vec![
            attempt("/a/", Some(AttemptFailure::PassedOver)),
            attempt("/b/", Some(AttemptFailure::Broken("refused".into()))),
            attempt("/c/", Some(AttemptFailure::PassedOver)),
            attempt("/d/", None),
        ];
        let lines = |left_out| -> Vec<String> {
            let record =
                CallRecord { attempts: attempts.clone(), attempts_left_out: left_out, ..CallRecord::default() };
            let tried = |line: &&str| line.starts_with("  attempt ") || line.starts_with("  passed over");
            describe(&record).lines().filter(tried).map(str::to_owned).collect()
        };
        let expected = [
            "  passed over  /a/",
            "  attempt 1    /b/  refused (broker)",
            "  passed over  /c/",
            "  attempt 2    /d/ (broker)",
        ];
        assert_eq!(lines(0), expected);
        assert_eq!(lines(20)[1], "  attempt 21   /b/  refused (broker)");
    }

    #[test]
    fn a_call_is_described_from_the_choice_to_the_cost() {
        let failed = CallAttempt {
            router: "/llm/a/".to_owned(),
            decision: Some("r-1".to_owned()),
            p: Some(0.5),
            why: Some("random, 2 of 2 serve".to_owned()),
            status: Some(503),
            class: CallClass::Error(ErrorClass::Overloaded),
            ms: Some(12),
            tries: 1,
            ..CallAttempt::default()
        };
        let answered = CallAttempt {
            router: "/llm/b/".to_owned(),
            status: Some(200),
            class: CallClass::Success,
            first_byte_ms: Some(200),
            ms: Some(640),
            tries: 2,
            why: None,
            ..failed.clone()
        };
        let record = CallRecord {
            id: "R_1_0_0".to_owned(),
            replica: Some("r".to_owned()),
            pool: "/llm/".to_owned(),
            session: "R_1_0_0".to_owned(),
            trace_ids: vec!["t-1".to_owned()],
            model: Some("gpt-4o".to_owned()),
            served_model: Some("gpt-4o-2024-08-06".to_owned()),
            router: Some("/llm/b/".to_owned()),
            status: Some(200),
            stream: true,
            ms: Some(652),
            attempts: vec![failed, answered],
            usage: Some(Usage { input_uncached: 8, cache_read: 4, output: 5, reasoning: 2, ..Usage::default() }),
            cost: Some(Cost {
                nano_usd: 125_000,
                price: "openai/gpt-4o".into(),
                table: Some("shipped".into()),
                priced: Some("2026-11-20".into()),
            }),
            ..CallRecord::default()
        };
        assert_eq!(
            describe(&record),
            "call R_1_0_0 to /llm/ through the relay, replica r, ended 1970-01-01T00:00:00Z
  asked for    gpt-4o, answered by gpt-4o-2024-08-06, as a stream
  trace ids    t-1
  attempt 1    /llm/a/  503 (overloaded) after 12 ms
               chosen: random, 2 of 2 serve, with probability 0.5 (decision r-1)
  attempt 2    /llm/b/  200 after 640 ms, first byte after 200 ms, sent 2 times
               chosen: reason unknown: there is no stamp, with probability 0.5 (decision r-1)
  answered     200 by /llm/b/, success, 652 ms in all
  tokens       12 in (4 from the vendor's cache, 0 written to it), 5 out (2 reasoning)
  cost         $0.000125 by the price of openai/gpt-4o (shipped, 2026-11-20)
  cache        none
"
        );
        let unknown = describe(&CallRecord { usage: None, cost: None, ..record });
        assert!(unknown.contains("tokens       unknown") && unknown.contains("cost         unknown"), "{unknown}");
    }
}
