//! The row of one model: what its tokens cost, what it can do, how much it takes and when it is retired.

use std::sync::Arc;

use jiff::civil::Date;

use super::money::{Cost, Rate};
use crate::Usage;

/// What a token is paid as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TokenKind {
    Input,
    Output,
    CacheRead,
    /// Written to a cache, for five minutes or however long is usual.
    CacheWrite,
    /// Written to a cache for an hour.
    CacheWrite1h,
    Reasoning,
    AudioInput,
    AudioOutput,
}

impl TokenKind {
    /// The kind whose price holds where this one has none of its own; `None` where there is no such kind.
    const fn otherwise(self) -> Option<Self> {
        match self {
            Self::Input | Self::Output => None,
            Self::CacheRead | Self::CacheWrite | Self::AudioInput => Some(Self::Input),
            Self::CacheWrite1h => Some(Self::CacheWrite),
            Self::Reasoning | Self::AudioOutput => Some(Self::Output),
        }
    }
}

types::named_enum! {
    /// How a call is served, which some vendors price differently.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum ServiceTier {
        #[default]
        Standard = "standard",
        Batch = "batch",
        Flex = "flex",
        Priority = "priority",
        /// One that no table has prices of, such as capacity that is paid for in another way.
        Other = "other",
    }
}

impl ServiceTier {
    /// What an answer calls it.
    ///
    /// `service_tier` of OpenAI (<https://platform.openai.com/docs/api-reference/chat/object>; `fast` is its later name of
    /// `priority`, <https://developers.openai.com/api/docs/guides/fast-mode>), Anthropic
    /// (<https://platform.claude.com/docs/en/api/service-tiers>) and Groq (`on_demand`); `serviceTier` of Bedrock
    /// (<https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ServiceTier.html>) and Gemini; `trafficType` of
    /// Vertex AI, such as `ON_DEMAND_FLEX`
    /// (<https://googleapis.github.io/js-genai/release_docs/interfaces/types.UsageMetadata.html>).
    pub fn of_answer(name: &str) -> Self {
        // Each event of a stream may say it, almost always like this.
        Self::known(name).unwrap_or_else(|| {
            let name = name.to_ascii_lowercase();
            let prefixes = ["service_tier_", "traffic_type_", "on_demand_"];
            let bare = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix));
            Self::known(bare.unwrap_or(&name)).unwrap_or(Self::Other)
        })
    }

    fn known(name: &str) -> Option<Self> {
        match name {
            "default" | "standard" | "auto" | "on_demand" | "unspecified" | "" => Some(Self::Standard),
            "batch" => Some(Self::Batch),
            "flex" => Some(Self::Flex),
            "priority" | "fast" => Some(Self::Priority),
            _ => None,
        }
    }

    /// Whether it is the one that calls have by default.
    pub fn is_standard(&self) -> bool {
        *self == Self::Standard
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Entry {
    pub(super) tier: ServiceTier,
    pub(super) kind: TokenKind,
    /// It holds for calls with more input tokens than this; 0 for all.
    pub(super) above: u64,
    pub(super) rate: Rate,
}

/// What the tokens of one model, or of one target, cost.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Prices {
    /// In the order of tier, kind and threshold.
    entries: Box<[Entry]>,
}

impl Prices {
    pub(super) fn new(mut entries: Vec<Entry>) -> Self {
        entries.sort_unstable_by(|a, b| b.cmp(a));
        // Of two prices for the same the higher one is kept, which comes first here.
        entries.dedup_by_key(|entry| (entry.tier, entry.kind, entry.above));
        entries.reverse();
        Self { entries: entries.into() }
    }

    /// Nothing has a price.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn is_zero(&self) -> bool {
        self.entries.iter().all(|entry| entry.rate.femto_dollars() == 0)
    }

    /// What a call costs at the tier that served it; `None` if it used something whose price is unknown.
    ///
    /// The price of longer contexts holds for all tokens of a call whose whole input is above the threshold. A tier that has no
    /// price for longer contexts, where the standard one has, has none there.
    pub fn cost(&self, usage: &Usage) -> Option<Cost> {
        let (input, tier) = (usage.input(), usage.service_tier);
        let threshold = |tier| self.entry(tier, TokenKind::Input, input).map_or(0, |entry| entry.above);
        if tier != ServiceTier::Standard && threshold(tier) < threshold(ServiceTier::Standard) {
            return None;
        }
        let audio_input = usage.audio_input.min(usage.input_uncached);
        let reasoning = usage.reasoning.min(usage.output);
        let audio_output = usage.audio_output.min(usage.output - reasoning);
        let cache_write_1h = usage.cache_write_1h.min(usage.cache_write);
        let parts = [
            (TokenKind::Input, usage.input_uncached - audio_input),
            (TokenKind::AudioInput, audio_input),
            (TokenKind::CacheRead, usage.cache_read),
            (TokenKind::CacheWrite, usage.cache_write - cache_write_1h),
            (TokenKind::CacheWrite1h, cache_write_1h),
            (TokenKind::Output, usage.output - reasoning - audio_output),
            (TokenKind::Reasoning, reasoning),
            (TokenKind::AudioOutput, audio_output),
        ];
        if self.is_empty() {
            return None;
        }
        let mut sum = 0_u128;
        for (kind, tokens) in parts.into_iter().filter(|(_, tokens)| *tokens > 0) {
            sum = sum.saturating_add(self.rate(kind, tier, input)?.for_tokens(tokens));
        }
        Some(Cost::of_femto_dollars(sum))
    }

    /// The price of a token in a call with this many input tokens.
    pub fn rate(&self, kind: TokenKind, tier: ServiceTier, input: u64) -> Option<Rate> {
        let mut kind = Some(kind);
        while let Some(wanted) = kind {
            if let Some(entry) = self.entry(tier, wanted, input) {
                return Some(entry.rate);
            }
            kind = wanted.otherwise();
        }
        None
    }

    /// The entry with the highest threshold that the call is above.
    fn entry(&self, tier: ServiceTier, kind: TokenKind, input: u64) -> Option<&Entry> {
        let fits = |entry: &&Entry| entry.above == 0 || entry.above < input;
        let mut of_kind = self.entries.iter().filter(|entry| entry.tier == tier && entry.kind == kind);
        of_kind.rfind(fits)
    }
}

/// What a model can do, as far as the table says: `None` is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    pub tools: Option<bool>,
    /// Images in the input.
    pub vision: Option<bool>,
    /// Answers that follow a JSON Schema.
    pub response_schema: Option<bool>,
    pub reasoning: Option<bool>,
    /// `temperature`, `top_p` and their like.
    pub sampling_params: Option<bool>,
}

/// How many tokens a model takes and gives; `None` is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// The largest input, in tokens.
    pub context: Option<u64>,
    /// The largest output, in tokens.
    pub max_output: Option<u64>,
}

/// Where rows come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableSource {
    /// What the table is called where a price is explained: `shipped`, or the path of a file.
    pub name: Arc<str>,
    /// The day on which the prices were taken from their source, if the table says so.
    pub date: Option<Date>,
    /// The same as a text, for the cost of every call.
    pub day: Option<Arc<str>>,
}

impl TableSource {
    pub fn new(name: &str, date: Option<Date>) -> Self {
        Self { name: name.into(), date, day: date.map(|date| date.to_string().into()) }
    }
}

/// What is known of one model of one provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceRow {
    /// In the words of [`super::names`]; empty for a row that holds for every provider.
    pub provider: Box<str>,
    /// As its provider calls it, in lower case.
    pub model: Box<str>,
    /// Both of them, as `openai/gpt-4o`.
    pub name: Arc<str>,
    /// Empty if nothing is known.
    pub prices: Prices,
    pub capabilities: Capabilities,
    pub limits: Limits,
    /// The day from which the vendor does not serve it any more.
    pub retires: Option<Date>,
    pub source: Arc<TableSource>,
}

impl PriceRow {
    pub(crate) fn name_of(provider: &str, model: &str) -> Arc<str> {
        if provider.is_empty() { model.into() } else { format!("{provider}/{model}").into() }
    }
}
