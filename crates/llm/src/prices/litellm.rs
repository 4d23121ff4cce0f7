//! LiteLLM's form of a table: `model_prices_and_context_window.json`, dollars per token.
//!
//! Its names of prices are a kind, `_above_200k_tokens` for longer contexts, and `_batches`, `_flex` or `_priority`. Keys that
//! are not about tokens are skipped. A row whose prices are all 0 has no price: the table writes that also where calls are
//! paid in another way, or where it is unknown.

use std::collections::HashMap;
use std::sync::Arc;

use super::money::Rate;
use super::names;
use super::place::{Document, Path, PriceFault};
use super::row::{Capabilities, Entry, Limits, PriceRow, Prices, ServiceTier, TokenKind};
use crate::json::{RawJson, unescaped_name};

/// The row that describes the form.
const SPECIMEN: &str = "sample_spec";

/// # Errors
/// Everything that is wrong with it.
pub(super) fn read(text: &[u8]) -> Result<Vec<PriceRow>, Vec<PriceFault>> {
    let (mut document, table) = Document::new(text)?;
    let mut found = HashMap::new();
    let mut models = Vec::new();
    table.for_each_field(|name, row| {
        let name = unescaped_name(name);
        if name != SPECIMEN {
            found.insert(name.to_string(), row);
            models.push((name, row));
        }
    });
    let mut rows: HashMap<Arc<str>, PriceRow> = HashMap::with_capacity(models.len());
    for (name, row) in models {
        let path = Path::ROOT.below(&name);
        if !row.is_object() {
            document.fault(row, &path, "must be an object such as {\"litellm_provider\": \"openai\"}");
            continue;
        }
        let mut content = row;
        if let Some(alias) = row.field("alias_of") {
            match alias.text().and_then(|alias| found.get(&*alias)) {
                Some(other) => content = *other,
                None => {
                    document.fault(alias, &path.below("alias_of"), "must be the name of another row of this file");
                    continue;
                }
            }
        }
        let read = row_of(&mut document, &name, content, &path);
        // Of a name that stands here with its provider and without, the first is meant for it.
        let said = name.contains('/');
        if said || !rows.contains_key(&read.name) {
            rows.insert(Arc::clone(&read.name), read);
        }
    }
    let mut rows: Vec<_> = rows.into_values().collect();
    rows.sort_by(|a, b| (&a.provider, &a.model).cmp(&(&b.provider, &b.model)));
    document.finish(rows)
}

fn row_of(document: &mut Document<'_>, name: &str, row: RawJson<'_>, path: &Path<'_>) -> PriceRow {
    let mut reading = Reading { document, path, entries: Vec::new(), own_cache_read: None };
    let (mut capabilities, mut limits, mut retires) = (Capabilities::default(), Limits::default(), None);
    let mut provider = String::new();
    row.for_each_field(|key, value| {
        if value.is_null() {
            return;
        }
        let key = unescaped_name(key);
        let flag = || Some(value.is_true());
        match &*key {
            "litellm_provider" => provider = names::provider(&value.text().unwrap_or_default()),
            "max_input_tokens" => limits.context = reading.document.tokens(value, &path.below(&key)),
            "max_output_tokens" => limits.max_output = reading.document.tokens(value, &path.below(&key)),
            "deprecation_date" => retires = reading.document.date(value, &path.below(&key)),
            "supports_function_calling" => capabilities.tools = flag(),
            "supports_vision" => capabilities.vision = flag(),
            "supports_response_schema" => capabilities.response_schema = flag(),
            "supports_reasoning" => capabilities.reasoning = flag(),
            "supports_sampling_params" => capabilities.sampling_params = flag(),
            "tiered_pricing" => reading.by_range(value),
            key => reading.price(key, value, 0, &path.below(key)),
        }
    });
    let prices = reading.prices();
    let lower = name.trim().to_ascii_lowercase();
    let model = match lower.split_once('/') {
        Some((first, rest)) if provider.is_empty() || names::provider(first) == provider => {
            provider = names::provider(first);
            rest
        }
        _ => lower.as_str(),
    };
    PriceRow {
        name: PriceRow::name_of(&provider, model),
        provider: provider.into(),
        model: model.into(),
        prices: if prices.is_zero() { Prices::default() } else { prices },
        capabilities,
        limits,
        retires,
        source: Arc::default(),
    }
}

struct Reading<'d, 'a> {
    document: &'d mut Document<'a>,
    path: &'d Path<'d>,
    entries: Vec<Entry>,
    /// The price under DeepSeek's name.
    own_cache_read: Option<Rate>,
}

impl Reading<'_, '_> {
    /// Reads a key if it is the price of a token. `above` holds for keys that say no threshold themselves.
    fn price(&mut self, key: &str, value: RawJson<'_>, above: u64, path: &Path<'_>) {
        let is_deepseeks = key == "input_cost_per_token_cache_hit";
        let place = if is_deepseeks { Some((TokenKind::CacheRead, ServiceTier::Standard, 0)) } else { place(key) };
        let Some((kind, tier, own)) = place else { return };
        match Rate::per_token(std::str::from_utf8(value.bytes()).unwrap_or_default()) {
            Ok(rate) if is_deepseeks => self.own_cache_read = Some(rate),
            Ok(rate) => self.entries.push(Entry { tier, kind, above: own.max(above), rate }),
            Err(problem) => self.document.fault(value, path, format!("{problem}; prices are dollars per token")),
        }
    }

    /// Prices as a list of ranges of input tokens: `[{"range": [0, 128000], "input_cost_per_token": 1e-06}]`.
    fn by_range(&mut self, list: RawJson<'_>) {
        let path = self.path.below("tiered_pricing");
        for part in list.elements() {
            let from = part.field("range").and_then(RawJson::first);
            let Some(from) = from.and_then(|from| self.document.tokens(from, &path)) else { continue };
            part.for_each_field(|key, value| self.price(&unescaped_name(key), value, from, &path));
        }
    }

    fn prices(mut self) -> Prices {
        let has_cache_read = self
            .entries
            .iter()
            .any(|entry| entry.kind == TokenKind::CacheRead && entry.tier == ServiceTier::Standard && entry.above == 0);
        if let Some(rate) = self.own_cache_read.filter(|_| !has_cache_read) {
            self.entries.push(Entry { tier: ServiceTier::Standard, kind: TokenKind::CacheRead, above: 0, rate });
        }
        Prices::new(self.entries)
    }
}

/// What a key is the price of: kind, tier, and the number of input tokens above which it holds.
fn place(key: &str) -> Option<(TokenKind, ServiceTier, u64)> {
    let tiers = [("_batches", ServiceTier::Batch), ("_flex", ServiceTier::Flex), ("_priority", ServiceTier::Priority)];
    let tiered = tiers.iter().find_map(|(suffix, tier)| Some((key.strip_suffix(suffix)?, *tier)));
    let (key, tier) = tiered.unwrap_or((key, ServiceTier::Standard));
    let threshold = key.strip_suffix("k_tokens").and_then(|key| {
        let (key, thousands) = key.rsplit_once("_above_")?;
        Some((key, thousands.parse::<u32>().ok()?))
    });
    let (key, above) = threshold.map_or((key, 0), |(key, thousands)| (key, u64::from(thousands) * 1_000));
    let kind = match key {
        "input_cost_per_token" => TokenKind::Input,
        "output_cost_per_token" => TokenKind::Output,
        "cache_read_input_token_cost" => TokenKind::CacheRead,
        "cache_creation_input_token_cost" => TokenKind::CacheWrite,
        "cache_creation_input_token_cost_above_1hr" => TokenKind::CacheWrite1h,
        "output_cost_per_reasoning_token" => TokenKind::Reasoning,
        "input_cost_per_audio_token" => TokenKind::AudioInput,
        "output_cost_per_audio_token" => TokenKind::AudioOutput,
        _ => return None,
    };
    Some((kind, tier, above))
}
