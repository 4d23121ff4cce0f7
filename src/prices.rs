//! The prices in force: of targets (`price` in the pools file), over a user's file (`BROKER_PRICES`), over the shipped table.
//!
//! The record of a call is made with the [`PriceBook`] of the moment, which never changes; the file is read again when its
//! content changes, and a faulty one changes nothing.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use arc_swap::ArcSwap;
use jiff::civil::Date;
use llm::prices::{PriceTable, Prices};

use crate::fault::Fault;
use crate::system::files;
use types::router::RouterPath;
use types::time::BrokerTime;

/// The largest file of prices, in bytes: several times LiteLLM's.
pub const MAX_FILE_BYTES: u64 = 16 << 20;
/// The shipped table may be outdated when it is older than this.
const MAX_AGE_DAYS: i32 = 90;

/// Read when it is first needed.
static SHIPPED: LazyLock<PriceTable> = LazyLock::new(PriceTable::shipped);

/// Applies the prices of the settings. The shipped table, which takes some milliseconds to read, is read on a thread of
/// its own, so that no call has to wait for it; a warning follows if it is old and the only one.
pub fn begin(prices: &LivePrices, targets: PricesByRouter, file: Option<&PricesFile>, now: BrokerTime) {
    prices.configure(targets, file);
    let prices = prices.clone();
    let load = move || {
        if let Some(old) = staleness(&prices.book(), day(now)) {
            tracing::warn!("{old}");
        }
    };
    // If no thread can be started, it is read when it is needed.
    let _ = std::thread::Builder::new().name("prices".to_owned()).spawn(load);
}

/// Follows the user's file, if there is one.
pub async fn follow(file: Option<PricesFile>, prices: &LivePrices) {
    let Some(mut file) = file else { return };
    let mut polls = files::polls();
    let mut was_there = true;
    loop {
        polls.tick().await;
        match files::read_beside(&file.path, MAX_FILE_BYTES).await {
            Ok(bytes) if bytes == file.seen => was_there = true,
            Ok(bytes) => {
                was_there = true;
                file.take(bytes, prices);
            }
            Err(error) => {
                if std::mem::take(&mut was_there) {
                    tracing::error!("{}: the prices stay as they are", unreadable(&file.path, &error));
                }
            }
        }
    }
}

/// The `price` of each target that has one.
pub type PricesByRouter = BTreeMap<RouterPath, Arc<Prices>>;

/// The prices of one moment.
#[derive(Debug, Clone, Default)]
pub struct PriceBook {
    /// The user's file and below it the shipped table; `None` without a file.
    table: Option<PriceTable>,
    targets: PricesByRouter,
}

impl PriceBook {
    /// The tables, without the prices of targets.
    pub fn table(&self) -> &PriceTable {
        self.table.as_ref().unwrap_or(&SHIPPED)
    }

    /// Whether the user has set prices.
    pub fn has_own_prices(&self) -> bool {
        self.table.is_some() || !self.targets.is_empty()
    }

    /// Whether there is a file of the user's.
    pub const fn has_file(&self) -> bool {
        self.table.is_some()
    }

    /// The `price` of a target in the pools file.
    pub fn target_price(&self, router: &RouterPath) -> Option<&Prices> {
        self.targets.get(router).map(AsRef::as_ref)
    }
}

/// The prices in force; clones share them.
#[derive(Debug, Clone, Default)]
pub struct LivePrices(Arc<ArcSwap<PriceBook>>);

impl LivePrices {
    /// The book of this moment.
    pub fn book(&self) -> impl Deref<Target = Arc<PriceBook>> + use<> {
        self.0.load()
    }

    /// Applies all prices of the settings.
    pub fn configure(&self, targets: PricesByRouter, file: Option<&PricesFile>) {
        self.set_targets(targets);
        if let Some(file) = file {
            self.set_table(file.table.clone());
        }
    }

    /// Applies the prices of targets.
    pub fn set_targets(&self, targets: PricesByRouter) {
        self.change(|book| book.targets.clone_from(&targets));
    }

    /// Applies a user's table, which is looked up before the shipped one.
    pub fn set_table(&self, table: PriceTable) {
        let table = table.over(&SHIPPED);
        self.change(|book| book.table = Some(table.clone()));
    }

    /// May be done again, if another change comes between.
    fn change(&self, change: impl Fn(&mut PriceBook)) {
        self.0.rcu(|now| {
            let mut book = PriceBook::clone(now);
            change(&mut book);
            book
        });
    }
}

/// A user's file of prices, in our own form or in LiteLLM's.
#[derive(Debug, Clone)]
pub struct PricesFile {
    path: PathBuf,
    /// Its content when it was last read, valid or not.
    seen: Vec<u8>,
    /// The table of its last valid content.
    pub table: PriceTable,
}

impl PricesFile {
    /// Reads a file.
    ///
    /// # Errors
    /// All faults.
    pub fn open(path: PathBuf) -> Result<Self, Vec<Fault>> {
        let seen = files::read(&path, MAX_FILE_BYTES).map_err(|error| vec![unreadable(&path, &error)])?;
        let table = parse(&path, &seen)?;
        Ok(Self { path, seen, table })
    }

    fn take(&mut self, bytes: Vec<u8>, prices: &LivePrices) {
        match parse(&self.path, &bytes) {
            Ok(table) => {
                tracing::info!(file = %self.path.display(), models = table.len(), "file of prices applied");
                prices.set_table(table);
            }
            Err(faults) => {
                tracing::error!(faults = faults.len(), "the file of prices is wrong and changes nothing:");
                faults.iter().for_each(|fault| tracing::error!("  {fault}"));
            }
        }
        self.seen = bytes;
    }
}

impl PartialEq for PricesFile {
    fn eq(&self, other: &Self) -> bool {
        (&self.path, &self.seen) == (&other.path, &other.seen)
    }
}

fn unreadable(path: &Path, error: &files::Unreadable) -> Fault {
    Fault::new(path.display().to_string(), error.to_string())
}

fn parse(path: &Path, bytes: &[u8]) -> Result<PriceTable, Vec<Fault>> {
    let name = path.display().to_string();
    PriceTable::parse(&name, bytes).map_err(|faults| {
        let fault = |fault: llm::prices::PriceFault| {
            let place = match fault.line {
                0 => name.clone(),
                line => format!("{name}:{line}:{}", fault.column),
            };
            let gap = if fault.path.is_empty() { "" } else { " " };
            Fault::new(format!("{place}{gap}{}", fault.path), fault.problem)
        };
        faults.into_iter().map(fault).collect()
    })
}

/// The day of a time of the broker's clock.
pub fn day(now: BrokerTime) -> Date {
    now.timestamp().to_zoned(jiff::tz::TimeZone::UTC).date()
}

/// The warning about the shipped table if it is the only one and old.
pub fn staleness(book: &PriceBook, today: Date) -> Option<String> {
    let date = book.table().date().filter(|_| book.table.is_none())?;
    let age = today.since(date).ok()?.get_days();
    (age > MAX_AGE_DAYS).then(|| {
        format!(
            "the prices that came with this program are of {date}, {age} days ago: costs may be wrong; give a newer file as \
             BROKER_PRICES, in our form or LiteLLM's"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::cost::cost_of;
    use llm::Usage;

    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("broker-prices-{}-{name}.json", std::process::id()))
    }

    fn usage(input_uncached: u64) -> Usage {
        Usage { input_uncached, ..Usage::default() }
    }

    #[test]
    fn a_targets_price_stands_over_the_file_and_that_over_the_shipped_table() {
        let prices = LivePrices::default();
        let router = RouterPath::parse("/azure/gpt4/").unwrap();
        let cost = |router: &RouterPath| {
            let models = ["gpt-4o"].into_iter();
            cost_of(&prices.book(), router.as_str(), Some("openai"), models, &usage(1)).unwrap().nano_usd
        };
        assert_eq!(cost(&router), 2_500);
        assert!(!prices.book().has_own_prices());
        let mine = br#"{"models": {"openai/gpt-4o": {"input": 1}}}"#;
        prices.set_table(PriceTable::parse("mine", mine).unwrap());
        assert_eq!(cost(&router), 1_000);
        let old = prices.book();
        let own = llm::prices::target_price(br#"{"input": 7}"#).unwrap();
        prices.set_targets([(router.clone(), Arc::new(own))].into());
        assert_eq!(cost(&router), 7_000);
        assert_eq!(old.target_price(&router), None, "a book never changes");
    }

    #[test]
    fn a_faulty_file_changes_nothing_and_a_good_one_applies() {
        let path = path("reload");
        std::fs::write(&path, r#"{"models": {"a/m": {"input": 1}}}"#).unwrap();
        let mut file = PricesFile::open(path.clone()).unwrap();
        let prices = LivePrices::default();
        prices.set_table(file.table.clone());
        let cost = || prices.book().table().quote(Some("a"), "m", &usage(1)).map(|(cost, _)| cost.nano_dollars);
        assert_eq!(cost(), Some(1_000));
        file.take(br#"{"models": {"a/m": {"input": -1}}}"#.to_vec(), &prices);
        assert_eq!(cost(), Some(1_000));
        file.take(br#"{"models": {"a/m": {"input": 2}}}"#.to_vec(), &prices);
        assert_eq!(cost(), Some(2_000));
        std::fs::write(&path, "{\n\"models\": {\"a/m\": {\"inputs\": 1, \"output\": \"x\"}}}").unwrap();
        let faults = PricesFile::open(path.clone()).unwrap_err();
        let shown: Vec<_> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(shown.len(), 2, "{shown:?}");
        assert!(
            shown[0].starts_with(&format!("{}:2:30 models[\"a/m\"].inputs: no such key", path.display())),
            "{shown:?}"
        );
        std::fs::remove_file(&path).unwrap();
        assert!(PricesFile::open(path).unwrap_err()[0].problem.contains("cannot read the file"));
    }

    #[test]
    fn the_shipped_table_is_old_after_ninety_days_and_only_if_nothing_is_over_it() {
        let prices = LivePrices::default();
        let date = prices.book().table().date().unwrap();
        let after = |days: i64| date.checked_add(jiff::Span::new().days(days)).unwrap();
        assert_eq!(staleness(&prices.book(), after(90)), None);
        assert!(staleness(&prices.book(), after(91)).unwrap().contains("91 days"));
        prices.set_table(PriceTable::parse("mine", br#"{"models": {"a/m": {"input": 1}}}"#).unwrap());
        assert_eq!(staleness(&prices.book(), after(91)), None);
    }
}
