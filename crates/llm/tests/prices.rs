//! Prices of models: the shipped table, tables of users, and what calls cost by them.

#![expect(clippy::unwrap_used, reason = "helpers of tests are no tests to the lint")]

use std::sync::LazyLock;

use llm::prices::{Capabilities, PriceRow, PriceTable, Prices, SHIPPED, ServiceTier, TableSource, target_price};
use llm::{Cost, Usage};
use proptest::prelude::*;

/// Rows of LiteLLM's table, with what `script/prices` uses of them.
const LITELLM: &[u8] = include_bytes!("fixtures/litellm_prices.json");

static TABLE: LazyLock<PriceTable> = LazyLock::new(|| PriceTable::parse("shipped", SHIPPED).unwrap());

fn usage(input_uncached: u64, output: u64) -> Usage {
    Usage { input_uncached, output, ..Usage::default() }
}

fn nano(cost: Option<Cost>) -> Option<u64> {
    cost.map(|cost| cost.nano_dollars)
}

/// In nano-dollars.
fn cost_in(table: &PriceTable, provider: Option<&str>, model: &str, usage: &Usage) -> Option<u64> {
    nano(table.quote(provider, model, usage).map(|(cost, _)| cost))
}

fn ours(models: &str) -> PriceTable {
    PriceTable::parse("mine", format!("{{\"models\": {models}}}").as_bytes()).unwrap()
}

fn found(table: &PriceTable, provider: Option<&str>, model: &str) -> Option<String> {
    table.find(provider, model).map(|row| row.name.to_string())
}

/// List prices, written by hand; the page that publishes each stands in its row.
#[test]
fn known_prices_of_vendors() {
    let million = 1_000_000;
    for (provider, model, page, input, output, cached) in [
        // (…, dollars per million tokens of input, output and input from the cache, in nano-dollars)
        (
            "openai",
            "gpt-4o",
            "developers.openai.com/api/docs/pricing",
            2_500_000_000_u64,
            10_000_000_000_u64,
            1_250_000_000,
        ),
        ("openai", "gpt-4o-mini", "developers.openai.com/api/docs/pricing", 150_000_000, 600_000_000, 75_000_000),
        (
            "anthropic",
            "claude-sonnet-4-5",
            "platform.claude.com/docs/en/about-claude/pricing",
            3_000_000_000,
            15_000_000_000,
            300_000_000,
        ),
        (
            "anthropic",
            "claude-haiku-4-5",
            "platform.claude.com/docs/en/about-claude/pricing",
            1_000_000_000,
            5_000_000_000,
            100_000_000,
        ),
        ("gemini", "gemini-2.5-flash", "ai.google.dev/gemini-api/docs/pricing", 300_000_000, 2_500_000_000, 30_000_000),
        (
            "azure",
            "gpt-4o",
            "azure.microsoft.com/pricing/details/cognitive-services/openai-service",
            2_500_000_000,
            10_000_000_000,
            1_250_000_000,
        ),
        ("bedrock", "amazon.nova-lite-v1:0", "aws.amazon.com/bedrock/pricing", 60_000_000, 240_000_000, 15_000_000),
        (
            "deepseek",
            "deepseek-chat",
            "api-docs.deepseek.com/quick_start/pricing",
            280_000_000,
            420_000_000,
            28_000_000,
        ),
        ("mistral", "mistral-large-latest", "mistral.ai/pricing", 500_000_000, 1_500_000_000, 50_000_000),
        ("groq", "openai/gpt-oss-120b", "groq.com/pricing", 150_000_000, 600_000_000, 75_000_000),
        ("cohere", "command-a-03-2025", "cohere.com/pricing", 2_500_000_000, 10_000_000_000, 2_500_000_000),
        ("voyage", "voyage-4-lite", "docs.voyageai.com/docs/pricing", 20_000_000, 0, 20_000_000),
    ] {
        let cost = |usage: Usage| cost_in(&TABLE, Some(provider), model, &usage);
        // In parts below each threshold of longer contexts.
        let of_input = (0..10).map(|_| cost(usage(million / 10, 0)).unwrap()).sum::<u64>();
        let of_cache =
            (0..10).map(|_| cost(Usage { cache_read: million / 10, ..Usage::default() }).unwrap()).sum::<u64>();
        assert_eq!((of_input, cost(usage(0, million)), of_cache), (input, Some(output), cached), "{model} {page}");
    }
}

#[test]
fn prices_below_a_nano_dollar_are_rounded_once_per_call() {
    // 37.5 nano-dollars a token of a batch from the cache.
    let table = ours(r#"{"openai/m": {"input": 0.0375, "output": 0.0004}}"#);
    for (input, output, cost) in
        [(1, 0, 38), (2, 0, 75), (3, 0, 113), (0, 1, 0), (0, 2, 1), (1, 1, 38), (1_000_000, 0, 37_500_000)]
    {
        assert_eq!(cost_in(&table, None, "m", &usage(input, output)), Some(cost), "{input} {output}");
    }
    // The shipped table has such prices.
    let cached = Usage { cache_write: 1, service_tier: ServiceTier::Batch, ..Usage::default() };
    assert_eq!(cost_in(&TABLE, Some("openai"), "gpt-6-luna", &cached), Some(63), "62.5");
}

#[test]
fn each_kind_of_token_has_its_price() {
    let prices = r#"{"input": 1, "output": 10, "cache_read": 0.1, "cache_write": 1.25, "cache_write_1h": 2, "reasoning": 20,
        "audio_input": 4, "audio_output": 40, "above": {"200000": {"input": 2, "output": 15}, "400000": {"input": 3}},
        "batch": {"input": 0.5, "output": 5}, "priority": {"input": 2, "above": {"200000": {"input": 4}}}}"#;
    let prices = target_price(prices.as_bytes()).unwrap();
    let of = |usage: Usage, service_tier| nano(prices.cost(&Usage { service_tier, ..usage }));
    let standard = |usage| of(usage, ServiceTier::Standard);
    let zero = Usage::default();
    for (name, usage, cost) in [
        ("nothing", zero, 0),
        ("input", usage(1, 0), 1_000),
        ("output", usage(0, 1), 10_000),
        ("cache read", Usage { cache_read: 1, ..zero }, 100),
        ("cache write", Usage { cache_write: 1, ..zero }, 1_250),
        ("cache write for an hour", Usage { cache_write: 3, cache_write_1h: 2, ..zero }, 1_250 + 4_000),
        ("reasoning", Usage { output: 3, reasoning: 2, ..zero }, 10_000 + 40_000),
        ("audio", Usage { input_uncached: 2, audio_input: 1, output: 2, audio_output: 1, ..zero }, 5_000 + 50_000),
        ("audio from the cache", Usage { cache_read: 2, audio_input: 2, ..zero }, 200),
        ("at the threshold", usage(200_000, 0), 200_000_000),
        ("above it", usage(200_001, 1), 400_002_000 + 15_000),
        (
            "cached input counts for the threshold",
            Usage { input_uncached: 1, cache_read: 200_000, ..zero },
            2_000 + 20_000_000,
        ),
        ("above the second", usage(400_001, 1), 1_200_003_000 + 15_000),
        ("reasoning that is more than the output", Usage { output: 1, reasoning: 5, ..zero }, 20_000),
    ] {
        assert_eq!(standard(usage), Some(cost), "{name}");
    }
    assert_eq!(of(usage(2, 2), ServiceTier::Batch), Some(11_000));
    assert_eq!(of(Usage { cache_read: 1, ..zero }, ServiceTier::Batch), Some(500), "no price of its own: as input");
    assert_eq!(of(usage(200_001, 0), ServiceTier::Batch), None, "longer contexts have no price there");
    assert_eq!(of(usage(200_001, 0), ServiceTier::Priority), Some(800_004_000));
    assert_eq!(of(usage(1, 1), ServiceTier::Priority), None, "output has no price there");
    assert_eq!(of(usage(1, 1), ServiceTier::Flex), None);
    assert_eq!(of(usage(1, 1), ServiceTier::Other), None);
}

#[test]
fn what_is_unknown_costs_nothing_that_is_known() {
    let table = ours(r#"{"a/free": {"input": 0, "output": 0}, "a/limits": {"context": 8}, "a/input": {"input": 1}}"#);
    let cost = |model, usage| cost_in(&table, Some("a"), model, &usage);
    assert_eq!(cost("free", usage(5, 5)), Some(0), "a price that was written down");
    assert_eq!(cost("limits", usage(5, 5)), None);
    assert_eq!(cost("limits", Usage::default()), None);
    assert_eq!(cost("input", usage(5, 0)), Some(5_000));
    assert_eq!(cost("input", usage(5, 1)), None);
    assert_eq!(cost("other", usage(5, 1)), None);
    let litellm =
        PriceTable::parse("x", br#"{"m": {"input_cost_per_token": 0, "output_cost_per_token": 0.0}}"#).unwrap();
    assert_eq!(cost_in(&litellm, None, "m", &usage(1, 1)), None, "LiteLLM writes 0 for what it does not know");
}

#[test]
fn the_names_of_one_model() {
    for (provider, model, row) in [
        (Some("openai"), "gpt-4o", "openai/gpt-4o"),
        (Some("OpenAI"), " GPT-4o ", "openai/gpt-4o"),
        (None, "gpt-4o", "openai/gpt-4o"),
        (None, "openai/gpt-4o", "openai/gpt-4o"),
        (Some("openai"), "openai/gpt-4o", "openai/gpt-4o"),
        (Some("openai"), "gpt-4o-2024-05-13", "openai/gpt-4o-2024-05-13"),
        (Some("openai"), "gpt-4o-2031-01-01", "openai/gpt-4o"),
        (Some("azure"), "gpt-4o", "azure/gpt-4o"),
        (Some("azure.ai.openai"), "gpt-4o", "azure/gpt-4o"),
        (None, "azure/gpt-4o", "azure/gpt-4o"),
        (None, "azure/eu/gpt-4o-2024-08-06", "azure/eu/gpt-4o-2024-08-06"),
        (None, "azure/global-standard/gpt-4o", "azure/global-standard/gpt-4o-2024-11-20"),
        (None, "azure/global-standard/gpt-6-luna", "azure/gpt-6-luna"),
        (Some("gemini"), "models/gemini-2.5-pro", "gemini/gemini-2.5-pro"),
        (Some("gcp.gemini"), "gemini-2.5-pro-001", "gemini/gemini-2.5-pro"),
        (Some("vertex_ai"), "google/gemini-2.5-pro", "vertex_ai/gemini-2.5-pro"),
        (
            Some("vertex_ai"),
            "projects/p/locations/l/publishers/google/models/gemini-2.5-pro",
            "vertex_ai/gemini-2.5-pro",
        ),
        (None, "google/gemini-2.5-pro", "gemini/gemini-2.5-pro"),
        (Some("vertex_ai"), "claude-haiku-4-5@20251001", "vertex_ai/claude-haiku-4-5@20251001"),
        (Some("anthropic"), "claude-sonnet-4-5-latest", "anthropic/claude-sonnet-4-5"),
        (Some("anthropic"), "claude-haiku-4-5-20251001", "anthropic/claude-haiku-4-5-20251001"),
        (
            Some("bedrock"),
            "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            "bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        ),
        (
            Some("aws.bedrock"),
            "arn:aws:bedrock:eu-central-1:123456789012:inference-profile/ca.amazon.nova-lite-v1:0",
            "bedrock/amazon.nova-lite-v1:0",
        ),
        (None, "bedrock/amazon.nova-lite-v1:0", "bedrock/amazon.nova-lite-v1:0"),
        (None, "bedrock/eu-north-1/amazon.nova-lite-v1:0", "bedrock/amazon.nova-lite-v1:0"),
        (None, "amazon.nova-lite-v1:0", "bedrock/amazon.nova-lite-v1:0"),
        (Some("groq"), "openai/gpt-oss-120b", "groq/openai/gpt-oss-120b"),
        (None, "ft:gpt-4o-2024-08-06:me::1", "openai/ft:gpt-4o-2024-08-06"),
    ] {
        assert_eq!(found(&TABLE, provider, model).as_deref(), Some(row), "{provider:?} {model}");
    }
    for (provider, model) in [
        (Some("mine"), "gpt-4o"),
        (Some("openai"), "azure/gpt-4o"),
        (None, "gpt-4o-but-another"),
        (None, "ft:claude-haiku-4-5-20251001:me::1"),
        (None, ""),
        (Some(""), "/"),
    ] {
        assert_eq!(found(&TABLE, provider, model), None, "{provider:?} {model}");
    }
}

#[test]
fn names_without_a_provider() {
    let table = ours(
        r#"{"b/same": {"input": 1}, "a/same": {"input": 1}, "a/differs": {"input": 1}, "b/differs": {"input": 2},
            "zai/made": {"input": 1}, "bedrock/made": {"input": 2}, "a/made": {"input": 3}, "every": {"input": 9}, "a/every": {"input": 1},
            "azure/gpt-3.5-turbo": {"input": 1}, "a/dated-2025-01-02": {"input": 1}, "a/dated-2025-02-01": {"input": 2}}"#,
    );
    for (provider, model, row) in [
        (None, "same", Some("a/same")),
        (None, "differs", None),
        (Some("b"), "differs", Some("b/differs")),
        (None, "made", Some("zai/made")),
        (None, "every", Some("every")),
        (Some("a"), "every", Some("a/every")),
        (Some("c"), "every", Some("every")),
        (Some("azure"), "gpt-35-turbo", Some("azure/gpt-3.5-turbo")),
        (Some("a"), "dated", Some("a/dated-2025-02-01")),
        (None, "dated", Some("a/dated-2025-02-01")),
        (None, "dated-2025-01-02", Some("a/dated-2025-01-02")),
        (None, "dated-2029-01-01", Some("a/dated-2025-02-01")),
    ] {
        assert_eq!(found(&table, provider, model).as_deref(), row, "{provider:?} {model}");
    }
}

#[test]
fn the_users_file_stands_over_the_shipped_table() {
    let mine = br#"{"date": "2026-11-29", "models": {"openai/gpt-4o": {"input": 1, "output": 1}}}"#;
    let table = PriceTable::parse("prices.json", mine).unwrap().over(&TABLE);
    let quote = |model| {
        let (cost, row) = table.quote(Some("openai"), model, &usage(1, 0)).unwrap();
        let day = row.source.day.as_deref().unwrap();
        (cost.nano_dollars, format!("{} ({}, {day})", row.name, row.source.name))
    };
    assert_eq!(quote("gpt-4o"), (1_000, "openai/gpt-4o (prices.json, 2026-11-29)".to_owned()));
    assert_eq!(quote("gpt-4o-2024-05-13").0, 1_000, "a name without its date means all dates");
    assert_eq!(quote("gpt-4o-mini"), (150, format!("openai/gpt-4o-mini (shipped, {})", TABLE.date().unwrap())));
}

#[test]
fn a_row_has_more_than_prices() {
    let row = TABLE.find(None, "gpt-4o").unwrap();
    assert_eq!((row.limits.context, row.limits.max_output), (Some(128_000), Some(16_384)));
    let known =
        Capabilities { tools: Some(true), vision: Some(true), response_schema: Some(true), ..Capabilities::default() };
    assert_eq!(row.capabilities, known);
    assert_eq!(row.retires, Some("2027-01-14".parse().unwrap()));
    let lacks = ours(r#"{"a/m": {"lacks": ["sampling_params"], "supports": ["reasoning"]}}"#);
    let row = lacks.find(None, "m").unwrap();
    assert_eq!(
        (row.capabilities.sampling_params, row.capabilities.reasoning, row.capabilities.tools),
        (Some(false), Some(true), None)
    );
}

#[test]
fn the_shipped_table_is_what_its_source_says() {
    assert!(TABLE.len() > 1_500, "{}", TABLE.len());
    assert!(TABLE.date().is_some());
    let litellm = PriceTable::parse("shipped", LITELLM).unwrap();
    let bare = |row: &PriceRow| PriceRow { source: TableSource::default().into(), ..row.clone() };
    let mut compared = 0;
    for row in litellm.rows().filter(|row| !row.prices.is_empty()) {
        if let Some(shipped) = TABLE.rows().find(|shipped| shipped.name == row.name) {
            assert_eq!(bare(shipped), bare(row), "{}", row.name);
            compared += 1;
        }
    }
    assert!(compared > 30, "{compared}");
}

#[test]
fn a_price_of_a_target_is_said_to_be_missing_only_where_there_is_none() {
    for (price, faults) in [
        (r#"{}"#, &["needs prices such as"][..]),
        (r#"{"above": {}}"#, &["needs prices such as"]),
        (r#"{"input": 4e-10}"#, &["at most nine decimal places"]),
        (r#"{"output": 1e300, "inputs": 1}"#, &["more than a dollar per token", "no such key"]),
        ("5", &["must be an object"]),
    ] {
        let found = target_price(price.as_bytes()).unwrap_err();
        assert_eq!(found.len(), faults.len(), "{price}: {found:?}");
        for (found, words) in found.iter().zip(faults) {
            assert!(found.problem.contains(words), "{price}: {found}");
        }
    }
}

#[test]
fn all_faults_are_reported_at_once_and_where() {
    let text = r#"{"date": "soon", "modles": {}, "models": {
  "openai/a": {"input": -1, "output": "free", "tokens": 3, "context": 1.5, "supports": ["flying"], "retires": "2026-13-01"},
  "openai/b": 7,
  "b/": {"above": {"much": {}, "200000": {"inputs": 1}}, "batch": {"above": 3, "x": 1}, "flex": 1, "input": 1000001},
  "x/c": {}, "X/C": {}}}"#;
    let faults = PriceTable::parse("mine", text.as_bytes()).unwrap_err();
    let shown: Vec<_> = faults.iter().map(ToString::to_string).collect();
    for (place, says) in [
        ("1:10: date", "must be a date such as"),
        ("1:28: modles", "no such key; there are models"),
        (r#"2:25: models["openai/a"].input"#, "not negative"),
        (r#"models["openai/a"].output"#, "must be a number of dollars"),
        (r#"models["openai/a"].tokens"#, "no such key; there are input, output"),
        (r#"models["openai/a"].context"#, "whole number of tokens"),
        (r#"models["openai/a"].supports"#, "must be one of tools"),
        (r#"models["openai/a"].retires"#, "must be a date"),
        (r#"3:15: models["openai/b"]"#, "must be an object"),
        (r#"models["b/"]"#, "must be named provider/model"),
        (r#"models["b/"].above.much"#, "a number of input tokens"),
        (r#"models["b/"].above.200000.inputs"#, "no such price"),
        (r#"models["b/"].batch.above"#, "must be an object"),
        (r#"models["b/"].batch.x"#, "no such key"),
        (r#"models["b/"].flex"#, "must be an object"),
        (r#"models["b/"].input"#, "more than a dollar per token"),
        (r#"models["X/C"]"#, "is here a second time"),
    ] {
        assert!(shown.iter().any(|fault| fault.contains(place) && fault.contains(says)), "{place} {says}: {shown:#?}");
    }
    assert_eq!(shown.len(), 17, "{shown:#?}");
}

#[test]
fn files_that_are_no_tables() {
    for (text, says) in [
        ("", "is no JSON"),
        ("{\"models\": {", "is no JSON"),
        ("[]", "must be an object"),
        ("7", "must be an object"),
        ("{}", "needs \"models\""),
        ("{\"models\": []}", "must be an object"),
        ("{\"gpt-4o\": 5}", "must be an object such as {\"litellm_provider\""),
        ("{\"gpt-4o\": {\"input_cost_per_token\": \"1\"}}", "prices are dollars per token"),
        ("{\"gpt-4o\": {\"alias_of\": \"nothing\"}}", "must be the name of another row"),
        ("{\"gpt-4o\": {\"deprecation_date\": \"soon\"}}", "must be a date"),
    ] {
        let faults = PriceTable::parse("x", text.as_bytes()).unwrap_err();
        assert!(faults.iter().any(|fault| fault.to_string().contains(says)), "{text}: {faults:?}");
    }
    let many = (0..1_000).map(|n| format!("\"a/{n}\": 1")).collect::<Vec<_>>().join(",");
    let faults = PriceTable::parse("x", format!("{{\"models\": {{{many}}}}}").as_bytes()).unwrap_err();
    assert_eq!(faults.len(), 101);
    assert!(faults.last().unwrap().problem.contains("900 faults more"));
}

fn any_usage() -> impl Strategy<Value = Usage> {
    let number = || prop_oneof![0..5_000_u64, 0..=1_000_000_000_u64, any::<u64>()];
    let numbers = (number(), number(), number(), number(), number(), number(), number(), number());
    numbers.prop_map(
        |(input_uncached, cache_read, cache_write, cache_write_1h, output, reasoning, audio_input, audio_output)| {
            Usage {
                input_uncached,
                cache_read,
                cache_write,
                cache_write_1h,
                output,
                reasoning,
                audio_input,
                audio_output,
                estimated: false,
                service_tier: ServiceTier::Standard,
            }
        },
    )
}

fn any_prices() -> impl Strategy<Value = Prices> {
    let amount = || prop_oneof![Just(1_000_000.0), 0.0..100.0_f64];
    (amount(), amount(), amount(), amount()).prop_map(|(input, output, cache_read, reasoning)| {
        let text = format!(
            r#"{{"input": {input:.9}, "output": {output:.9}, "cache_read": {cache_read:.9}, "reasoning": {reasoning:.9}, "above": {{"1000": {{"input": {output:.9}}}}}}}"#
        );
        target_price(text.as_bytes()).unwrap()
    })
}

proptest! {
    #[test]
    fn no_usage_overflows_and_more_tokens_never_cost_less(usage in any_usage(), prices in any_prices(), more: u64) {
        let cost = prices.cost(&usage).unwrap();
        let longer = Usage { output: usage.output.saturating_add(more), ..usage };
        // Only output that is neither reasoning nor audio is added.
        prop_assume!(usage.reasoning.saturating_add(usage.audio_output) <= usage.output);
        prop_assert!(prices.cost(&longer).unwrap() >= cost);
    }

    #[test]
    fn what_a_call_costs_is_the_sum_of_its_tokens(input in 0..1_000_u64, cached in 0..1_000_000_u64, output in 0..1_000_000_u64, femto: [u32; 3]) {
        let [a, b, c] = femto.map(u64::from);
        let million = |femto: u64| format!("{}.{:09}", femto / 1_000_000_000, femto % 1_000_000_000);
        let text = format!(r#"{{"input": {}, "output": {}, "cache_read": {}}}"#, million(a), million(b), million(c));
        let prices = target_price(text.as_bytes()).unwrap();
        let usage = Usage { input_uncached: input, cache_read: cached, output, ..Usage::default() };
        let exact = u128::from(a) * u128::from(input) + u128::from(b) * u128::from(output) + u128::from(c) * u128::from(cached);
        let nano = prices.cost(&usage).unwrap().nano_dollars;
        prop_assert!(exact.abs_diff(u128::from(nano) * 1_000_000) <= 500_000);
    }

    #[test]
    fn no_file_and_no_name_panics(bytes: Vec<u8>, model: String, provider: String) {
        let _ = PriceTable::parse("x", &bytes);
        let _ = target_price(&bytes);
        let _ = TABLE.find(Some(&provider), &model);
        let _ = TABLE.find(None, &model);
    }

    #[test]
    fn no_table_panics(
        text in "\\{(\"(models|date|openai/gpt|a)\": ?(\\{|\"|7|\\[)){0,3}(\"(input|above|batch|alias_of|tiered_pricing|input_cost_per_token|supports)\": ?(1|\\{|\\[|\"a\"|null),?){0,4}[\\}\\]\"]{0,6}",
    ) {
        let _ = PriceTable::parse("x", text.as_bytes());
    }

    #[test]
    fn the_row_of_a_name_is_found_by_that_name(place in 0..1_500_usize) {
        let row = TABLE.rows().nth(place).unwrap();
        prop_assert_eq!(found(&TABLE, Some(&row.provider), &row.model), Some(row.name.to_string()));
        prop_assert_eq!(found(&TABLE, None, &row.name), Some(row.name.to_string()));
    }
}
