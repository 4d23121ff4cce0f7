//! The metrics of a scrape.

use super::Broker;

/// All of `/metrics`, as Prometheus would read it.
pub(crate) struct Scrape(pub(crate) String);

impl Scrape {
    pub(crate) async fn of(broker: &Broker) -> Self {
        Self(broker.get("/metrics").await.text())
    }

    /// The value of a series; its labels, or parts of them, in any order.
    pub(crate) fn series(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let line = self.0.lines().find(|line| {
            let begins = line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
            begins && labels.iter().all(|label| line.contains(label))
        });
        line?.rsplit_once(' ')?.1.parse().ok()
    }

    /// That each of these has its value.
    pub(crate) fn has(&self, all: &[(&str, &[&str], f64)]) {
        for (name, labels, value) in all {
            assert_eq!(self.series(name, labels), Some(*value), "{name} {labels:?} in\n{}", self.0);
        }
    }
}
