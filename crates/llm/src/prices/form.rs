//! Our own form of a table, which people can write by hand:
//!
//! ```json
//! {"date": "2026-11-28", "models": {"openai/gpt-4o": {
//!   "input": 2.5, "output": 10, "cache_read": 1.25, "above": {"200000": {"input": 5}}, "batch": {"input": 1.25, "output": 5},
//!   "context": 128000, "max_output": 16384, "supports": ["tools", "vision"], "retires": "2027-01-14"}}}
//! ```
//!
//! Prices are dollars per million tokens. The name is provider/model; a model without a provider holds for every one. The price
//! of a target in the pools file is an object of the same prices.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::civil::Date;

use super::money::Rate;
use super::names;
use super::place::{Document, Path, PriceFault};
use super::row::{Capabilities, Entry, Limits, PriceRow, Prices, ServiceTier, TokenKind};
use crate::json::{RawJson, unescaped_name, without_mark};

const KINDS: [(&str, TokenKind); 8] = [
    ("input", TokenKind::Input),
    ("output", TokenKind::Output),
    ("cache_read", TokenKind::CacheRead),
    ("cache_write", TokenKind::CacheWrite),
    ("cache_write_1h", TokenKind::CacheWrite1h),
    ("reasoning", TokenKind::Reasoning),
    ("audio_input", TokenKind::AudioInput),
    ("audio_output", TokenKind::AudioOutput),
];
const TIERS: [(&str, ServiceTier); 3] =
    [("batch", ServiceTier::Batch), ("flex", ServiceTier::Flex), ("priority", ServiceTier::Priority)];
const ABILITIES: &str = "tools, vision, response_schema, reasoning, sampling_params";

/// Whether a text is a table in our own form; any other object is LiteLLM's.
pub(super) fn is_ours(text: &[u8]) -> bool {
    let text = without_mark(text);
    RawJson::parse(text).is_ok_and(|table| table.field("models").is_some() || table.is_blank())
}

/// Reads a table: its date and its rows.
///
/// # Errors
/// Everything that is wrong with it.
pub(super) fn read(text: &[u8]) -> Result<(Option<Date>, Vec<PriceRow>), Vec<PriceFault>> {
    let (mut document, table) = Document::new(text)?;
    let (mut date, mut rows) = (None, Vec::new());
    let mut seen = HashSet::new();
    let models = Path::ROOT.below("models");
    table.for_each_field(|key, value| match key {
        b"date" => date = document.date(value, &Path::ROOT.below("date")),
        b"notice" | b"source" | b"$schema" => {
            if value.text().is_none() {
                document.fault(value, &Path::ROOT.below(&unescaped_name(key)), "must be a text");
            }
        }
        b"models" if value.is_object() => value.for_each_field(|name, row| {
            let name = unescaped_name(name);
            let path = models.below(&name);
            let read = row_of(&mut document, &name, row, &path);
            if !seen.insert(Arc::clone(&read.name)) {
                document.fault(row, &path, "is here a second time: which of them counts?");
            }
            rows.push(read);
        }),
        b"models" => document.fault(value, &models, "must be an object such as {\"openai/gpt-4o\": {\"input\": 2.5}}"),
        _ => document.fault(
            value,
            &Path::ROOT.below(&unescaped_name(key)),
            "no such key; there are models, date, source, notice",
        ),
    });
    if table.is_object() && table.field("models").is_none() {
        document.fault(table, &Path::ROOT, "needs \"models\": {\"openai/gpt-4o\": {\"input\": 2.5, \"output\": 10}}");
    }
    document.finish((date, rows))
}

/// The `price` of a target: `{"input": 2.5, "output": 10, "cache_read": 1.25}`, in dollars per million tokens.
///
/// # Errors
/// Everything that is wrong with it.
pub fn target_price(text: &[u8]) -> Result<Prices, Vec<PriceFault>> {
    let (mut document, price) = Document::new(text)?;
    let mut reading = Reading { document: &mut document, entries: Vec::new() };
    price.for_each_field(|key, value| {
        let key = unescaped_name(key);
        let path = Path::ROOT.below(&key);
        if !reading.priced(&key, value, &path) {
            reading.document.fault(value, &path, format!("no such key; there are {}", price_keys()));
        }
    });
    let entries = reading.entries;
    if entries.is_empty() && !document.has_faults() {
        document.fault(
            price,
            &Path::ROOT,
            "needs prices such as {\"input\": 2.5, \"output\": 10}, dollars per million tokens",
        );
    }
    document.finish(Prices::new(entries))
}

fn price_keys() -> String {
    let kinds = KINDS.iter().map(|(name, _)| *name);
    kinds.chain(["above"]).chain(TIERS.iter().map(|(name, _)| *name)).collect::<Vec<_>>().join(", ")
}

fn row_of(document: &mut Document<'_>, name: &str, row: RawJson<'_>, path: &Path<'_>) -> PriceRow {
    let lower = name.trim().to_ascii_lowercase();
    let (provider, model) = match lower.split_once('/') {
        Some((provider, model)) => (names::provider(provider), model),
        None => (String::new(), lower.as_str()),
    };
    if model.is_empty() || (name.contains('/') && provider.is_empty()) {
        document.fault(row, path, "must be named provider/model, such as openai/gpt-4o, or by the model alone");
    }
    if !row.is_object() {
        document.fault(row, path, "must be an object such as {\"input\": 2.5, \"output\": 10}");
    }
    let mut reading = Reading { document, entries: Vec::new() };
    let (mut capabilities, mut limits, mut retires) = (Capabilities::default(), Limits::default(), None);
    row.for_each_field(|key, value| {
        let key = unescaped_name(key);
        let path = path.below(&key);
        match &*key {
            "context" => limits.context = reading.document.tokens(value, &path),
            "max_output" => limits.max_output = reading.document.tokens(value, &path),
            "retires" => retires = reading.document.date(value, &path),
            "supports" => abilities(reading.document, value, &path, true, &mut capabilities),
            "lacks" => abilities(reading.document, value, &path, false, &mut capabilities),
            key if reading.priced(key, value, &path) => {}
            _ => {
                let keys = price_keys();
                let problem = format!("no such key; there are {keys}, context, max_output, supports, lacks, retires");
                reading.document.fault(value, &path, problem);
            }
        }
    });
    PriceRow {
        name: PriceRow::name_of(&provider, model),
        provider: provider.into(),
        model: model.into(),
        prices: Prices::new(reading.entries),
        capabilities,
        limits,
        retires,
        source: Arc::default(),
    }
}

/// The prices that are read of one place, and the document for what is wrong with them.
struct Reading<'d, 'a> {
    document: &'d mut Document<'a>,
    entries: Vec<Entry>,
}

impl Reading<'_, '_> {
    /// Reads a key that is about prices; false if it is not.
    fn priced(&mut self, key: &str, value: RawJson<'_>, path: &Path<'_>) -> bool {
        let Some((_, tier)) = TIERS.iter().find(|(name, _)| *name == key) else {
            return self.priced_in_tier(ServiceTier::Standard, key, value, path);
        };
        if !value.is_object() {
            self.document.fault(value, path, "must be an object such as {\"input\": 2.5, \"output\": 10}");
        }
        value.for_each_field(|key, value| {
            let key = unescaped_name(key);
            let path = path.below(&key);
            if !self.priced_in_tier(*tier, &key, value, &path) {
                self.document.fault(value, &path, "no such key; there are the prices, such as input, and above");
            }
        });
        true
    }

    fn priced_in_tier(&mut self, tier: ServiceTier, key: &str, value: RawJson<'_>, path: &Path<'_>) -> bool {
        if key != "above" {
            return self.priced_kind(tier, 0, key, value, path);
        }
        if !value.is_object() {
            let problem = "must be an object such as {\"200000\": {\"input\": 5, \"output\": 15}}";
            self.document.fault(value, path, problem);
        }
        value.for_each_field(|threshold, prices| {
            let threshold = unescaped_name(threshold);
            let path = path.below(&threshold);
            let Some(above) = threshold.parse().ok().filter(|above| *above > 0) else {
                let problem = "must be named by a number of input tokens, such as \"200000\"";
                return self.document.fault(prices, &path, problem);
            };
            if !prices.is_object() {
                self.document.fault(prices, &path, "must be an object such as {\"input\": 5, \"output\": 15}");
            }
            prices.for_each_field(|key, value| {
                let key = unescaped_name(key);
                let path = path.below(&key);
                if !self.priced_kind(tier, above, &key, value, &path) {
                    self.document.fault(value, &path, "no such price; there are input, output, cache_read and so on");
                }
            });
        });
        true
    }

    fn priced_kind(&mut self, tier: ServiceTier, above: u64, key: &str, value: RawJson<'_>, path: &Path<'_>) -> bool {
        let Some((_, kind)) = KINDS.iter().find(|(name, _)| *name == key) else { return false };
        match Rate::per_million(std::str::from_utf8(value.bytes()).unwrap_or_default()) {
            Ok(rate) => self.entries.push(Entry { tier, kind: *kind, above, rate }),
            Err(problem) => {
                self.document.fault(value, path, format!("{problem}; prices are dollars per million tokens"));
            }
        }
        true
    }
}

fn abilities(document: &mut Document<'_>, list: RawJson<'_>, path: &Path<'_>, has: bool, known: &mut Capabilities) {
    if !list.is_array() {
        return document.fault(list, path, format!("must be a list of {ABILITIES}"));
    }
    for name in list.elements() {
        let place = match name.quoted() {
            Some(b"tools") => &mut known.tools,
            Some(b"vision") => &mut known.vision,
            Some(b"response_schema") => &mut known.response_schema,
            Some(b"reasoning") => &mut known.reasoning,
            Some(b"sampling_params") => &mut known.sampling_params,
            _ => {
                document.fault(name, path, format!("must be one of {ABILITIES}"));
                continue;
            }
        };
        *place = Some(has);
    }
}
