//! What calls used, in every vendor's shape.

use llm::prices::ServiceTier;
use llm::stream::StreamState;
use llm::translate::{AnswerId, ChatContext, anthropic, converse};
use llm::usage::{InvalidUsage, MAX_TOKENS, MAX_UNSTATED_OUTPUT, of_answer, of_object};
use llm::{Protocol, Usage};
use proptest::prelude::*;
use serde_json::{Value, json};

const NONE: Usage = Usage {
    input_uncached: 0,
    cache_read: 0,
    cache_write: 0,
    cache_write_1h: 0,
    output: 0,
    reasoning: 0,
    audio_input: 0,
    audio_output: 0,
    estimated: false,
    service_tier: ServiceTier::Standard,
};

fn of(answer: &Value) -> Result<Option<Usage>, InvalidUsage> {
    of_answer(answer.to_string().as_bytes())
}

#[test]
fn every_vendors_shape() {
    let plain = |input_uncached, output| Usage { input_uncached, output, ..NONE };
    for (name, answer, usage) in [
        (
            "OpenAI chat",
            json!({"usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}}),
            plain(10, 5),
        ),
        (
            "OpenAI chat, details",
            json!({"usage": {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150, "prompt_tokens_details": {"cached_tokens": 60, "audio_tokens": 7}, "completion_tokens_details": {"reasoning_tokens": 30, "audio_tokens": 4}}}),
            Usage {
                input_uncached: 40,
                cache_read: 60,
                output: 50,
                reasoning: 30,
                audio_input: 7,
                audio_output: 4,
                ..NONE
            },
        ),
        (
            "Titan at Bedrock",
            json!({"inputTextTokenCount": 5, "results": [{"tokenCount": 8, "outputText": "hi", "completionReason": "FINISH"}]}),
            plain(5, 8),
        ),
        ("Titan's embeddings", json!({"embedding": [0.5], "inputTextTokenCount": 5}), plain(5, 0)),
        (
            "Llama at Bedrock",
            json!({"generation": "hi", "prompt_token_count": 5, "generation_token_count": 8, "stop_reason": "stop"}),
            plain(5, 8),
        ),
        (
            "Nova at Bedrock",
            json!({"output": {"message": {"role": "assistant", "content": [{"text": "hi"}]}}, "stopReason": "end_turn",
                "usage": {"inputTokens": 5, "outputTokens": 8, "totalTokens": 13, "cacheReadInputTokenCount": 100, "cacheWriteInputTokenCount": 20}}),
            Usage { cache_read: 100, cache_write: 20, ..plain(5, 8) },
        ),
        (
            "Ollama",
            json!({"model": "llama3.2", "message": {"role": "assistant", "content": "hi"}, "done": true, "prompt_eval_count": 5, "eval_count": 8}),
            plain(5, 8),
        ),
        (
            "Cohere's chat, version 1",
            json!({"text": "hi", "meta": {"billed_units": {"input_tokens": 3, "output_tokens": 8}, "tokens": {"input_tokens": 5, "output_tokens": 8}}}),
            plain(5, 8),
        ),
        (
            "Cohere's embeddings",
            json!({"embeddings": [[0.5]], "meta": {"billed_units": {"input_tokens": 5}}}),
            plain(5, 0),
        ),
        ("embeddings", json!({"object": "list", "usage": {"prompt_tokens": 8, "total_tokens": 8}}), plain(8, 0)),
        ("a total and no output", json!({"usage": {"prompt_tokens": 8, "total_tokens": 11}}), plain(8, 3)),
        ("a total alone", json!({"usage": {"total_tokens": 8}}), plain(8, 0)),
        (
            "Responses",
            json!({"object": "response", "usage": {"input_tokens": 36, "input_tokens_details": {"cached_tokens": 6}, "output_tokens": 87, "output_tokens_details": {"reasoning_tokens": 9}, "total_tokens": 123}}),
            Usage { input_uncached: 30, cache_read: 6, output: 87, reasoning: 9, ..NONE },
        ),
        (
            "Anthropic: input without the cached",
            json!({"type": "message", "usage": {"input_tokens": 10, "cache_read_input_tokens": 200, "cache_creation_input_tokens": 30, "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20}, "output_tokens": 7}}),
            Usage { input_uncached: 10, cache_read: 200, cache_write: 30, cache_write_1h: 20, output: 7, ..NONE },
        ),
        (
            "Anthropic, nulls",
            json!({"usage": {"input_tokens": 10, "cache_read_input_tokens": null, "output_tokens": 7}}),
            plain(10, 7),
        ),
        (
            "Gemini: thoughts beside candidates",
            json!({"usageMetadata": {"promptTokenCount": 20, "cachedContentTokenCount": 5, "candidatesTokenCount": 10, "thoughtsTokenCount": 100, "toolUsePromptTokenCount": 3, "totalTokenCount": 133, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 12}, {"modality": "AUDIO", "tokenCount": 8}]}}),
            Usage { input_uncached: 18, cache_read: 5, output: 110, reasoning: 100, audio_input: 8, ..NONE },
        ),
        (
            "Gemini, only thoughts",
            json!({"usageMetadata": {"promptTokenCount": 20, "thoughtsTokenCount": 100, "totalTokenCount": 120}}),
            Usage { input_uncached: 20, output: 100, reasoning: 100, ..NONE },
        ),
        (
            "Gemini's stream as an array: the last one counts",
            json!([{"usageMetadata": {"promptTokenCount": 4, "candidatesTokenCount": 1}}, {"usageMetadata": {"promptTokenCount": 4, "candidatesTokenCount": 6}}]),
            plain(4, 6),
        ),
        (
            "Bedrock",
            json!({"output": {}, "usage": {"inputTokens": 30, "outputTokens": 628, "totalTokens": 658, "cacheReadInputTokens": 9, "cacheWriteInputTokens": 2}}),
            Usage { input_uncached: 30, cache_read: 9, cache_write: 2, output: 628, ..NONE },
        ),
        (
            "the gateway",
            json!({"token_count": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}}),
            plain(3, 4),
        ),
        (
            "DeepSeek",
            json!({"usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "prompt_cache_hit_tokens": 4, "prompt_cache_miss_tokens": 6}}),
            Usage { input_uncached: 6, cache_read: 4, output: 5, ..NONE },
        ),
        (
            "xAI: reasoning beside the completion",
            json!({"usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 115, "completion_tokens_details": {"reasoning_tokens": 100}}}),
            Usage { input_uncached: 10, output: 105, reasoning: 100, ..NONE },
        ),
        (
            "Gemini's OpenAI endpoint: thoughts only in the total",
            json!({"usage": {"prompt_tokens": 8, "completion_tokens": 10, "total_tokens": 218}}),
            Usage { input_uncached: 8, output: 210, reasoning: 200, ..NONE },
        ),
        (
            "a total with more than the reasoning that is stated",
            json!({"usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 90_000, "completion_tokens_details": {"reasoning_tokens": 100}}}),
            Usage { input_uncached: 10, output: 105, reasoning: 100, ..NONE },
        ),
        (
            "as much reasoning as the vendor states",
            json!({"usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 200_015, "completion_tokens_details": {"reasoning_tokens": 200_000}}}),
            Usage { input_uncached: 10, output: 200_005, reasoning: 200_000, ..NONE },
        ),
        (
            "a proxy that leaves the cached out",
            json!({"usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 75, "prompt_tokens_details": {"cached_tokens": 60}}}),
            Usage { input_uncached: 10, cache_read: 60, output: 5, ..NONE },
        ),
        (
            "a proxy that repeats Anthropic's names",
            json!({"usage": {"prompt_tokens": 240, "completion_tokens": 5, "total_tokens": 245, "cache_read_input_tokens": 200, "cache_creation_input_tokens": 30}}),
            Usage { input_uncached: 10, cache_read: 200, cache_write: 30, output: 5, ..NONE },
        ),
        (
            "OpenRouter",
            json!({"usage": {"prompt_tokens": 50, "completion_tokens": 5, "total_tokens": 55, "prompt_tokens_details": {"cached_tokens": 10, "cache_write_tokens": 20}, "cost": 0.1}}),
            Usage { input_uncached: 20, cache_read: 10, cache_write: 20, output: 5, ..NONE },
        ),
        ("Groq", json!({"x_groq": {"usage": {"prompt_tokens": 2, "completion_tokens": 3}}}), plain(2, 3)),
        (
            "Cohere",
            json!({"usage": {"billed_units": {"input_tokens": 1}, "tokens": {"input_tokens": 70, "output_tokens": 3}}}),
            plain(70, 3),
        ),
        ("Ollama", json!({"model": "m", "response": "x", "prompt_eval_count": 26, "eval_count": 298}), plain(26, 298)),
        (
            "transcription",
            json!({"text": "a", "usage": {"type": "tokens", "input_tokens": 14, "input_token_details": {"audio_tokens": 14}, "output_tokens": 45, "total_tokens": 59}}),
            Usage { input_uncached: 14, audio_input: 14, output: 45, ..NONE },
        ),
        (
            "whole numbers with a point",
            json!({"usage": {"prompt_tokens": 10.0, "completion_tokens": 5.0}}),
            plain(10, 5),
        ),
    ] {
        assert_eq!(of(&answer), Ok(Some(usage)), "{name}");
    }
}

#[test]
fn what_says_nothing() {
    for answer in [
        json!({}),
        json!({"usage": null}),
        json!([]),
        json!("usage"),
        json!({"choices": [{"usage": {"prompt_tokens": 5}}]}),
        json!({"usage": {"type": "duration", "seconds": 3}}),
        json!({"message": "usage", "response": "x"}),
    ] {
        assert_eq!(of(&answer), Ok(None), "{answer}");
    }
    assert_eq!(of_answer(b"\xff{\"usage\""), Ok(None));
}

#[test]
fn hostile_usage_is_unknown() {
    for bad in [
        json!(-1),
        json!(1.5),
        json!("12"),
        json!(1e30),
        json!(MAX_TOKENS + 1),
        json!(u64::MAX),
        json!([1]),
        json!({}),
        json!(true),
    ] {
        for answer in [
            json!({"usage": {"prompt_tokens": bad, "completion_tokens": 5}}),
            json!({"usage": {"prompt_tokens": 5, "completion_tokens": bad}}),
            json!({"usage": {"prompt_tokens": 5, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": bad}}}),
            json!({"usage": {"input_tokens": 5, "output_tokens": bad}}),
            json!({"usageMetadata": {"promptTokenCount": 5, "thoughtsTokenCount": bad}}),
            json!({"usage": {"inputTokens": bad, "outputTokens": 5}}),
        ] {
            assert_eq!(of(&answer), Err(InvalidUsage::Implausible), "{answer}");
        }
    }
    for usage in
        [json!({}), json!("12"), json!(5), json!([]), json!({"completion_tokens": 5}), json!({"prompt_tokens": null})]
    {
        assert_eq!(of(&json!({"usage": usage})), Err(InvalidUsage::Missing), "{usage}");
    }
    for total in [MAX_UNSTATED_OUTPUT + 7, 900_000_000] {
        for usage in [
            json!({"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": total}),
            json!({"prompt_tokens": 5, "total_tokens": total}),
            json!({"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": total,
                "completion_tokens_details": {"reasoning_tokens": 3}}),
            json!({"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": total,
                "prompt_tokens_details": {"cached_tokens": 4}}),
        ] {
            assert_eq!(of(&json!({"usage": usage})), Err(InvalidUsage::Implausible), "{usage}");
        }
    }
}

#[test]
fn the_object_alone() {
    assert_eq!(
        of_object(br#"{"prompt_tokens": 3, "completion_tokens": 4}"#),
        Ok(Some(Usage { input_uncached: 3, output: 4, ..NONE }))
    );
    assert_eq!(of_object(b"null"), Ok(None));
    assert_eq!(of_object(b""), Ok(None));
}

proptest! {
    #[test]
    fn parts_are_never_more_than_the_whole(prompt in 0_u64..1000, completion in 0_u64..1000, total in prop::option::of(0_u64..3000), cached in 0_u64..1000, write in 0_u64..1000, reasoning in 0_u64..2000, audio in 0_u64..2000) {
        let answer = json!({"usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total, "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": write, "audio_tokens": audio}, "completion_tokens_details": {"reasoning_tokens": reasoning, "audio_tokens": audio}}});
        let usage = of(&answer).unwrap().unwrap();
        prop_assert!(usage.reasoning <= usage.output && usage.audio_output <= usage.output && usage.audio_input <= usage.input());
        prop_assert!(usage.input() >= prompt && usage.output >= completion && usage.cache_read == cached);
    }

    #[test]
    fn any_bytes_can_be_asked(bytes: Vec<u8>) {
        let _ = (of_answer(&bytes), of_object(&bytes));
    }
}

#[test]
fn every_vendors_word_for_a_tier() {
    let chat = json!({"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2});
    let claude =
        |tier, speed| json!({"usage": {"input_tokens": 1, "output_tokens": 1, "service_tier": tier, "speed": speed}});
    let gemini =
        |field: &str, tier| json!({"usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, field: tier}});
    let bedrock =
        |tier| json!({"usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}, "serviceTier": {"type": tier}});
    for (answer, tier) in [
        (json!({"usage": chat}), ServiceTier::Standard),
        (json!({"usage": chat, "service_tier": null}), ServiceTier::Standard),
        (json!({"usage": chat, "service_tier": "default"}), ServiceTier::Standard),
        (json!({"service_tier": "flex", "usage": chat}), ServiceTier::Flex),
        (json!({"usage": chat, "service_tier": "priority"}), ServiceTier::Priority),
        (json!({"usage": chat, "service_tier": "fast"}), ServiceTier::Priority),
        (json!({"usage": chat, "service_tier": "scale"}), ServiceTier::Other),
        (json!({"usage": chat, "service_tier": 7}), ServiceTier::Other),
        (claude("standard", "standard"), ServiceTier::Standard),
        (claude("batch", "standard"), ServiceTier::Batch),
        (claude("priority", "standard"), ServiceTier::Priority),
        (claude("standard", "fast"), ServiceTier::Other),
        (gemini("trafficType", "ON_DEMAND"), ServiceTier::Standard),
        (gemini("trafficType", "TRAFFIC_TYPE_UNSPECIFIED"), ServiceTier::Standard),
        (gemini("trafficType", "ON_DEMAND_FLEX"), ServiceTier::Flex),
        (gemini("trafficType", "PROVISIONED_THROUGHPUT"), ServiceTier::Other),
        (gemini("serviceTier", "priority"), ServiceTier::Priority),
        (bedrock("default"), ServiceTier::Standard),
        (bedrock("flex"), ServiceTier::Flex),
        (bedrock("reserved"), ServiceTier::Other),
    ] {
        assert_eq!(of(&answer).unwrap().unwrap().service_tier, tier, "{answer}");
    }
    let tiers =
        [ServiceTier::Standard, ServiceTier::Batch, ServiceTier::Flex, ServiceTier::Priority, ServiceTier::Other];
    tiers.iter().for_each(|tier| assert_eq!(ServiceTier::of_answer(tier.name()), *tier));
}

#[test]
fn a_stream_says_its_tier_in_any_event_and_the_last_one_counts() {
    let of = |events: &[Value]| {
        let mut stream = StreamState::new(Protocol::Generic);
        for event in events {
            stream.push(format!("data: {event}\n\n").as_bytes());
        }
        stream.usage().unwrap().unwrap_or_else(|| stream.estimated_usage(8)).service_tier
    };
    let content = json!({"choices": [{"delta": {"content": "a"}}], "service_tier": "flex"});
    let usage = json!({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}});
    assert_eq!(of(&[content.clone(), usage]), ServiceTier::Flex);
    assert_eq!(of(&[content]), ServiceTier::Flex, "also where the tokens are estimated");
    let response = |kind, tier, usage| json!({"type": kind, "response": {"service_tier": tier, "usage": usage}});
    let counted = json!({"input_tokens": 1, "output_tokens": 1});
    let responses =
        [response("response.created", "auto", json!(null)), response("response.completed", "priority", counted)];
    assert_eq!(of(&responses), ServiceTier::Priority);
    let claude = [
        json!({"type": "message_start", "message": {"usage": {"input_tokens": 1, "output_tokens": 1, "service_tier": "priority"}}}),
        json!({"type": "message_delta", "delta": {}, "usage": {"output_tokens": 7}}),
    ];
    assert_eq!(of(&claude), ServiceTier::Priority);
    let gemini =
        [json!({"candidates": [], "usageMetadata": {"promptTokenCount": 1, "trafficType": "ON_DEMAND_PRIORITY"}})];
    assert_eq!(of(&gemini), ServiceTier::Priority);
}

#[test]
fn translated_answers_keep_the_tier() {
    let bedrock = json!({"output": {"message": {"role": "assistant", "content": [{"text": "a"}]}}, "stopReason": "end_turn",
        "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}, "serviceTier": {"type": "flex"}});
    let id = AnswerId { id: "1".to_owned(), created: 0 };
    let answer = converse::answer(bedrock.to_string().as_bytes(), &ChatContext::default(), &id);
    assert_eq!(of_answer(&answer.unwrap()).unwrap().unwrap().service_tier, ServiceTier::Flex);
    let claude = json!({"id": "1", "type": "message", "role": "assistant", "content": [{"type": "text", "text": "a"}],
        "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1, "service_tier": "priority"}});
    let answer = anthropic::answer(claude.to_string().as_bytes(), &ChatContext::default(), 0).unwrap();
    assert_eq!(of_answer(&answer).unwrap().unwrap().service_tier, ServiceTier::Priority);
}
