//! The user's file of prices: `BROKER_PRICES`.

use super::check::Resolver;
use crate::prices::PricesFile;

impl Resolver {
    pub(super) fn prices(&mut self) -> Option<PricesFile> {
        let written = self.get("BROKER_PRICES")?;
        PricesFile::open(written.value.into()).map_err(|faults| self.faults.extend(faults)).ok()
    }
}
