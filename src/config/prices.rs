//! The user's file of prices: `BROKER_PRICES`.

use super::check::Resolver;
use crate::prices::PricesFile;

impl Resolver {
    pub(super) fn prices(&mut self) -> Option<PricesFile> {
        let written = self.get("BROKER_PRICES")?;
        match PricesFile::open(written.value.into()) {
            Ok(file) => Some(file),
            Err(faults) => {
                self.faults.extend(faults);
                None
            }
        }
    }
}
