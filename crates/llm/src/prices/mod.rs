//! What models cost, can do and take: a table with one row per provider and model, and the rule that finds the row of a call.
//!
//! A price that is unknown is `None` and never 0: a budget that counts unknown calls as free is open. All amounts are whole
//! numbers: femto-dollars per token, nano-dollars per call ([`Cost`]).
//!
//! **Which row**: tables are asked in their order (a user's file, then the shipped one), and in each table the names of a model
//! from the most precise to the least ([`names`]): as written, without a date or version, without a region. A model that is
//! asked for without its date is also found where a table has it only with dates: the last one.
//! With a provider only its rows count, and those that name none. Without one, a name that several providers have is read as
//! that of the first in a fixed order, makers before resellers; of providers outside it, only if all of them ask the same price.
//!
//! Not in any price: fees per request, per search or per image, and discounts by the hour.

mod form;
mod litellm;
mod money;
pub mod names;
mod place;
mod row;

use std::sync::Arc;

use jiff::civil::Date;
use rustc_hash::{FxBuildHasher, FxHashMap};

pub use form::target_price;
pub use money::{Cost, Rate};
pub use place::PriceFault;
pub use row::{Capabilities, Limits, PriceRow, Prices, ServiceTier, TableSource, TokenKind};

use crate::Usage;

/// The table that ships with the program, in our own form. It takes milliseconds to read: read it once, with [`PriceTable::parse`].
pub const SHIPPED: &[u8] = include_bytes!("../../../../data/prices.json");

/// Prices of many models. Copies share their rows.
#[derive(Debug, Clone, Default)]
pub struct PriceTable {
    /// The first that knows a model counts.
    layers: Vec<Arc<Layer>>,
}

/// The rows of one file. Its names are those of a file of the operator's, so the hash needs no secret.
#[derive(Debug)]
struct Layer {
    source: Arc<TableSource>,
    rows: Vec<Arc<PriceRow>>,
    /// By provider and model.
    by_name: FxHashMap<Arc<str>, usize>,
    /// The last of the dated rows, by the name without the date, where no row has that name.
    by_undated: FxHashMap<Arc<str>, usize>,
    /// All rows of a model, of whichever provider, by its names with and without a date.
    by_model: FxHashMap<Box<str>, Vec<usize>>,
}

impl PriceTable {
    /// [`SHIPPED`], read.
    pub fn shipped() -> Self {
        // A test reads it without faults.
        Self::parse("shipped", SHIPPED).unwrap_or_default()
    }

    /// Reads a table in our own form or in LiteLLM's; `name` is what it is called where a price is explained.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(name: &str, text: &[u8]) -> Result<Self, Vec<PriceFault>> {
        let (date, rows) = if form::is_ours(text) { form::read(text)? } else { (None, litellm::read(text)?) };
        let source = Arc::new(TableSource::new(name, date));
        let rows = rows.into_iter().map(|row| Arc::new(PriceRow { source: Arc::clone(&source), ..row })).collect();
        Ok(Self { layers: vec![Arc::new(Layer::new(source, rows))] })
    }

    /// These prices where they say something, else those of the other table.
    #[must_use]
    pub fn over(mut self, below: &Self) -> Self {
        self.layers.extend(below.layers.iter().cloned());
        self
    }

    /// The number of rows of all its files.
    pub fn len(&self) -> usize {
        self.layers.iter().map(|layer| layer.rows.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The day of the newest file that says one.
    pub fn date(&self) -> Option<Date> {
        self.layers.iter().filter_map(|layer| layer.source.date).max()
    }

    pub fn rows(&self) -> impl Iterator<Item = &Arc<PriceRow>> {
        self.layers.iter().flat_map(|layer| &layer.rows)
    }

    /// The row of a model, by the rule of this module.
    pub fn find(&self, provider: Option<&str>, model: &str) -> Option<&Arc<PriceRow>> {
        let provider = provider.map(names::provider).filter(|provider| !provider.is_empty());
        let model = names::bare(model);
        self.layers.iter().find_map(|layer| layer.find(provider.as_deref(), &model))
    }

    /// What a call cost, and the row with its price; `None` if that is unknown. Best is the model as the answer names it.
    pub fn quote(&self, provider: Option<&str>, model: &str, usage: &Usage) -> Option<(Cost, &Arc<PriceRow>)> {
        let row = self.find(provider, model)?;
        Some((row.prices.cost(usage)?, row))
    }
}

impl Layer {
    fn new(source: Arc<TableSource>, rows: Vec<Arc<PriceRow>>) -> Self {
        let mut by_name = FxHashMap::with_capacity_and_hasher(rows.len(), FxBuildHasher);
        let mut by_model: FxHashMap<Box<str>, Vec<_>> = FxHashMap::with_capacity_and_hasher(rows.len(), FxBuildHasher);
        for (place, row) in rows.iter().enumerate() {
            by_name.insert(Arc::clone(&row.name), place);
            by_model.entry(row.model.clone()).or_default().push(place);
        }
        let mut by_undated = FxHashMap::default();
        let mut last_first: Vec<_> = rows.iter().enumerate().collect();
        last_first.sort_by(|(_, a), (_, b)| b.model.cmp(&a.model));
        for (place, row) in last_first {
            let Some(model) = names::undated(&row.model) else { continue };
            let name = PriceRow::name_of(&row.provider, model);
            if !by_name.contains_key(&name) && !by_undated.contains_key(&name) {
                by_model.entry(model.into()).or_default().push(place);
                by_undated.insert(name, place);
            }
        }
        Self { source, rows, by_name, by_undated, by_model }
    }

    /// The row of a model whose name is bare; the provider is under the name that the table uses.
    fn find(&self, provider: Option<&str>, model: &str) -> Option<&Arc<PriceRow>> {
        let found = self.find_as_written(provider, model);
        found.or_else(|| self.find_as_written(provider, &names::with_dots(model)?))
    }

    fn find_as_written(&self, provider: Option<&str>, model: &str) -> Option<&Arc<PriceRow>> {
        // A provider may stand before the name.
        if let Some((first, rest)) = model.split_once('/') {
            let said = names::provider(first);
            if provider.is_none_or(|provider| provider == said)
                && let Some(row) = self.of_provider(&said, rest)
            {
                return Some(row);
            }
        }
        match provider {
            Some(provider) => self.of_provider(provider, model).or_else(|| self.of_provider("", model)),
            None => names::candidates(model).find_map(|name| self.of_any(name)),
        }
    }

    fn of_provider(&self, provider: &str, model: &str) -> Option<&Arc<PriceRow>> {
        let mut key = String::with_capacity(provider.len() + 1 + model.len());
        names::candidates(model).find_map(|name| {
            key.clear();
            if !provider.is_empty() {
                key.push_str(provider);
                key.push('/');
            }
            key.push_str(name);
            let place = self.by_name.get(key.as_str()).or_else(|| self.by_undated.get(key.as_str()))?;
            // A name with a slash could be read as that of a provider.
            self.rows.get(*place).filter(|row| *row.provider == *provider)
        })
    }

    /// The row of a model whose provider is unknown.
    fn of_any(&self, model: &str) -> Option<&Arc<PriceRow>> {
        let places = self.by_model.get(model)?;
        let rows: Vec<_> = places.iter().filter_map(|place| self.rows.get(*place)).collect();
        let known = |provider: &str| rows.iter().copied().find(|row| *row.provider == *provider);
        let first = known("").or_else(|| names::ORDER.iter().find_map(|provider| known(provider)));
        first.or_else(|| {
            let first = rows.iter().copied().min_by_key(|row| &row.provider)?;
            rows.iter().all(|row| row.prices == first.prices).then_some(first)
        })
    }
}
