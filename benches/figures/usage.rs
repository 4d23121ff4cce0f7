//! What a finished call costs: its tokens, its price, its record.

use std::hint::black_box;
use std::sync::Arc;

use anyhow::{Context, Result};
use gecholog_broker::calls::content::CallContent;
use gecholog_broker::calls::{CallQuery, CallSettings, CallSink, Calls, FinishedCall, from_log};
use gecholog_broker::prices::PriceBook;
use gecholog_protocol::log_entry;
use llm::Protocol;
use llm::stream::StreamState;
use llm::usage;
use serde_json::json;
use types::time::BrokerTime;

use crate::Effort;
use crate::entries;
use crate::stats::nanos;
use crate::table::{Figure, Row, Target};

/// A chunk of a streamed chat, as OpenAI sends it.
pub(crate) const EVENT: &[u8] = b"data: {\"id\":\"chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG\",\"object\":\"chat.completion.chunk\",\"created\":1796000000,\"model\":\"gpt-4o-2024-08-06\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_44709d6fcb\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" dough\"},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n";

/// More calls than the memory of recent ones holds.
const MOST_KEPT: u64 = 40_000;

/// All rows of usage and records.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Row>> {
    let whole = whole_answer();
    usage::of_answer(&whole)?.context("the answer has no usage")?;
    let took = nanos(effort, || usage::of_answer(black_box(&whole)));
    let row = Row::new(format!("usage of an answer of {} bytes", whole.len()), Figure::Time(took));
    let mut rows = vec![row.target(Target::AtMost(Figure::Time(2_000.0)))];
    let mut stream = StreamState::new(Protocol::OpenAiChat);
    let took = nanos(effort, || stream.push(black_box(EVENT)));
    let row = Row::new(format!("one event of a stream, {} bytes", EVENT.len()), Figure::Time(took));
    rows.push(row.target(Target::AtMost(Figure::Time(300.0))));
    let entry = serde_json::to_vec(&entries::captured()?)?;
    let logged = log_entry::read_call(&entry)?;
    let (calls, book) = (calls()?, PriceBook::default());
    let took = nanos(effort, || {
        let record = from_log::any_record(black_box(&logged), "x-trace-id", Some(&book), BrokerTime::from_nanos(1));
        calls.finished(record, None, true);
    });
    let row = Row::new("a call's record with its cost, counted, kept, and its line", Figure::Time(took));
    rows.push(row.target(Target::AtMost(Figure::Time(3_000.0))));
    for number in 0..MOST_KEPT {
        let at = BrokerTime::from_nanos(number);
        calls.finished(from_log::any_record(&logged, "x-trace-id", Some(&book), at), None, true);
    }
    let kept = calls.recent(|recent| recent.newest(0, usize::MAX).1.len());
    let query = CallQuery { id: Some("of-no-call".to_owned()), ..CallQuery::default() };
    let took = nanos(effort, || calls.page("r", black_box(query.clone())).map(|page| page.calls.len()));
    rows.push(Row::new(format!("a search of {kept} recent calls (16 MB) that finds none"), Figure::Time(took)));
    Ok(rows)
}

/// Finished calls whose lines are written, but for the disk.
pub(crate) fn calls() -> Result<Calls> {
    #[derive(Debug)]
    struct Lines;
    impl CallSink for Lines {
        fn finished(&self, call: &FinishedCall, _: Option<&Arc<CallContent>>) {
            black_box([call.kept.json(), b"\n"].concat());
        }

        fn close(&self) {}
    }
    let calls = Calls::default();
    calls.begin(&CallSettings::default(), vec![Arc::new(Lines)])?;
    Ok(calls)
}

/// A chat completion of 4 KB.
pub(crate) fn whole_answer() -> Vec<u8> {
    let said = "Let the dough rest for an hour; it should double. He said \"come in\" without looking up.\n".repeat(36);
    let answer = json!({
        "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT", "object": "chat.completion", "created": 1_796_000_000,
        "model": "gpt-4o-2024-08-06",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": said, "refusal": null, "annotations": []},
            "logprobs": null, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1_117, "completion_tokens": 846, "total_tokens": 1_963,
            "prompt_tokens_details": {"cached_tokens": 1_024, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0}},
        "service_tier": "default", "system_fingerprint": "fp_fc9f1d7035",
    });
    answer.to_string().into_bytes()
}
