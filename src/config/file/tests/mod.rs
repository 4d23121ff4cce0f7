//! What a pools file becomes, and what is said when it cannot be used.

mod examples;
mod faults;
mod providers;
mod relayed;
mod resolved;

use crate::fixtures::pools_file;
use balancer::broker::{BrokerSettings, RouterSettings};

fn resolve(text: &str) -> BrokerSettings {
    match pools_file(text, &RouterSettings::default()) {
        Ok(settings) => settings,
        Err(faults) => panic!("{}", faults.iter().map(|fault| format!("{fault}\n")).collect::<String>()),
    }
}

fn faults(text: &str) -> Vec<String> {
    match pools_file(text, &RouterSettings::default()) {
        Ok(settings) => panic!("{text}\npasses as {settings:?}"),
        Err(faults) => faults.iter().map(ToString::to_string).collect(),
    }
}
