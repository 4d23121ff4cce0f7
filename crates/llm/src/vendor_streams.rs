//! Events of streams in forms of their own: what is content, and which event is the last.

use crate::json::RawJson;
use crate::stream::StreamSummary;

/// Takes an event of no other form.
pub(crate) fn take(seen: &mut StreamSummary, event: &[u8]) {
    seen.content(event.len());
    let Some(is_last) = RawJson::parse(event).ok().and_then(is_last) else { return };
    seen.shows_form();
    if is_last {
        seen.ends(true);
    }
}

/// Whether an event that has a usage has nothing else to say. Baidu, DashScope and Cloudflare have one in events with content.
pub(crate) fn is_usage_alone(event: &[u8]) -> bool {
    let mut alone = true;
    let Ok(event) = RawJson::parse(event) else { return alone };
    // What Gemini says is in `candidates`, and beside its usage stand `modelVersion`, `createTime` and the like.
    if event.field("usageMetadata").is_some() {
        return alone;
    }
    event.for_each_field(|name, value| {
        let is_said = matches!(value.bytes().first(), Some(b'"' | b'[' | b'{')) && !value.is_blank();
        alone &= !is_said || is_about_answer(name) || holds_usage(name, value);
    });
    alone
}

/// Whether a field says something about an answer, and not what it is.
fn is_about_answer(name: &[u8]) -> bool {
    const FIELDS: [&[u8]; 9] = [
        b"id",
        b"model",
        b"object",
        b"provider",
        b"request_id",
        b"service_tier",
        b"system_fingerprint",
        b"usage",
        b"x_groq",
    ];
    FIELDS.contains(&name)
}

fn holds_usage(name: &[u8], value: RawJson<'_>) -> bool {
    matches!(name, b"message" | b"response") && value.field("usage").is_some()
}

/// Whether an event is the last one, if its form is known.
fn is_last(event: RawJson<'_>) -> Option<bool> {
    let [token, text, details, output, results, result, is_end] =
        event.pick(["token", "generated_text", "details", "output", "results", "result", "is_end"]);
    // Text Generation Inference (`StreamResponse` of its API): the last token has the whole text.
    if let (Some(token), Some(text), Some(_)) = (token, text, details)
        && token.is_object()
    {
        return Some(!text.is_null());
    }
    // DashScope (help.aliyun.com, Model Studio): the text `null` until the end.
    if let Some(output) = output {
        let in_choice = || output.field("choices")?.first()?.field("finish_reason");
        let reason = output.field("finish_reason").or_else(in_choice)?;
        return Some(!reason.is_blank() && !reason.is_text("null"));
    }
    // watsonx (IBM's SDK, `TextGenResult`).
    if let Some(first) = results.and_then(RawJson::first) {
        let [text, reason] = first.pick(["generated_text", "stop_reason"]);
        return text.and(reason?.plain()).map(|reason| !reason.eq_ignore_ascii_case("not_finished"));
    }
    // Baidu's own (cloud.baidu.com, Qianfan).
    result.and(is_end).map(RawJson::is_true)
}
