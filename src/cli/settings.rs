//! `broker config`: the settings in force, with secrets masked, and the pools as they were parsed.

use std::fmt::Write as _;

use clap::Args;
use serde_json::json;

use super::bus::clean;
use super::check::Format;
use crate::config::{self, Config, Setting, Sources};
use crate::lint::render;
use crate::status::ConfigStatus;
use gecholog_protocol::ReplicaIdentity;

#[derive(Debug, Clone, Args)]
pub struct SettingsArgs {
    /// As text, or as one JSON document, which also has the health settings of each router
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// The settings with which a broker would start here.
pub fn settings(args: &SettingsArgs, sources: &Sources, config: &Config) -> String {
    let settings = config::settings(sources, config);
    match args.format {
        Format::Text => text(&settings, config),
        Format::Json => json(&settings, config),
    }
}

fn text(settings: &[Setting], config: &Config) -> String {
    let mut text = String::new();
    // Writing into a String cannot fail.
    for Setting { name, value, from } in settings {
        let _ = match value {
            Some(value) => writeln!(text, "{name}={}  ({from})", clean(value)),
            None if from == "default" => writeln!(text, "{name}=  (not set)"),
            None => writeln!(text, "{name}=  ({from})"),
        };
    }
    for pool in &config.broker.pools {
        let _ = write!(text, "\n{}", render(pool));
    }
    text
}

fn json(settings: &[Setting], config: &Config) -> String {
    let identity = ReplicaIdentity::new("", config.broker.fingerprint(), config.mode);
    let shown = ConfigStatus::new(&identity, config.nats.show(), &config.broker);
    // Texts, numbers and lists always are JSON.
    let mut text = serde_json::to_string_pretty(&json!({"settings": settings, "in_force": shown})).unwrap_or_default();
    text.push('\n');
    text
}
