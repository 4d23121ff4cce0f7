//! The file as a whole: whether the gateway accepts it, and its unset variables.

use super::{Finding, Linter};

impl Linter<'_> {
    pub(super) fn whole(&mut self) {
        let config = self.config;
        for (variable, place) in &config.unset {
            let reason =
                format!("the variable {variable} is unset here; where it is unset for the gateway too, it is empty");
            let fix = format!("set {variable}, or give a file with its value: --env-file FILE");
            self.find([Finding::warning("variable-unset", place, reason, fix)]);
        }
        for fault in &config.faults {
            self.find([Finding::fault("file-refused", fault, "the gateway rejects the whole file", "follow the rule")]);
        }
        let crashes = config.routers.iter().filter(|router| router.is_kept() != Some(false));
        for fault in crashes.filter_map(|router| router.crash.as_ref()) {
            let finding = Finding::fault(
                "file-crashes",
                fault,
                "the gateway accepts the file and exits when it starts",
                "follow the rule",
            );
            self.find([finding]);
        }
    }
}
