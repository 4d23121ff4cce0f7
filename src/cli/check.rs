//! `broker check`: finds what will not work before it goes live. This reads the files; [`crate::lint`] checks them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::BadArgument;
use crate::clock::Clock;
use crate::config::Config;
use crate::lint::{self, LintInput, report};
use crate::prices::{self, LivePrices};
use gecholog_protocol::gl_config::{self, GlConfig};

/// The gateway's configuration, and the variables in it.
#[derive(Debug, Clone, Args)]
pub(super) struct GlFile {
    /// The gateway's configuration
    #[arg(long, value_name = "FILE")]
    gl_config: PathBuf,
    /// File with the variables of the gateway, one NAME=value per line; variables that are not in it are taken from the
    /// environment
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
}

/// Arguments of `check`.
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// The gateway's configuration; needed unless only the relay serves the pools, or there is no bus
    #[arg(long, value_name = "FILE")]
    gl_config: Option<PathBuf>,
    /// File with the variables of the gateway, one NAME=value per line; variables that are not in it are taken from the
    /// environment
    #[arg(long, value_name = "FILE", requires = "gl_config")]
    env_file: Option<PathBuf>,
    /// Treat what depends on a variable that is unset here as an error
    #[arg(long)]
    strict: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

impl GlFile {
    /// Reads both files.
    ///
    /// # Errors
    /// A file cannot be read, or the one with the variables is invalid.
    pub(super) fn read(&self) -> anyhow::Result<GlConfig> {
        let text = content(&self.gl_config)?;
        let variables = match &self.env_file {
            Some(path) => variables(path, &content(path)?)?,
            None => BTreeMap::new(),
        };
        let env = |name: &str| variables.get(name).cloned().or_else(|| std::env::var(name).ok());
        Ok(gl_config::read(&self.gl_config.display().to_string(), &text, env))
    }
}

/// Checks the files. Returns the report, and whether there are no errors.
///
/// # Errors
/// A file cannot be read, or the gateway's configuration is needed and not given.
pub fn check(args: &CheckArgs, config: &Config) -> anyhow::Result<(String, bool)> {
    let settings = &config.broker;
    let nats = &config.nats;
    let plan = LintInput {
        settings,
        subject: &nats.subject,
        logger_subject: &nats.logger_subject,
        mode: config.mode,
        bus: config.bus,
    };
    let mut findings = match &args.gl_config {
        Some(path) => {
            let file = GlFile { gl_config: path.clone(), env_file: args.env_file.clone() };
            lint::check(plan, &file.read()?, args.strict)
        }
        None if lint::needs_gateway(plan) => {
            let problem = "needs --gl-config FILE, the gateway's configuration: the gateway asks this broker for routers. \
                           Where there is no gateway, only the relay serves calls: set BROKER_BUS=off";
            return Err(BadArgument(problem.to_owned()).into());
        }
        None => lint::without_gateway(plan),
    };
    findings.extend(models(config));
    let report = match args.format {
        Format::Text => report::text(&findings, settings),
        Format::Json => report::json(&findings, settings),
    };
    Ok((report, report::is_ok(&findings)))
}

/// The findings about the models that the pools name.
fn models(config: &Config) -> Vec<lint::Finding> {
    let prices = LivePrices::default();
    prices.configure(config.relay.rules.prices.clone(), config.prices.as_ref());
    let book = prices.book();
    let direct = &config.relay.rules.direct;
    let today = prices::day(Clock::start().now());
    lint::prices::check(&lint::prices::ModelPlan { settings: &config.broker, direct, book: &book, today })
}

fn content(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).map_err(|error| BadArgument(format!("cannot read {}: {error}", path.display())).into())
}

/// Parses lines of `NAME=value` as docker compose does: comments, also behind a value, `export` and quotes around a value are
/// allowed. A name without a value is taken from the environment. A fault is reported by its line number only, because the line
/// may contain a secret.
fn variables(path: &Path, text: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let mut variables = BTreeMap::new();
    let lines = text.lines().enumerate().map(|(number, line)| (number + 1, line.trim()));
    for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line.split_once('=').map_or((line, None), |(name, value)| (name, Some(value)));
        let name = name.trim();
        let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        anyhow::ensure!(plain, BadArgument(format!("{}:{number}: must be NAME=value", path.display())));
        if let Some(value) = value {
            let plain = in_quotes(value.trim()).unwrap_or_else(|| without_comment(value));
            variables.insert(name.to_owned(), plain.to_owned());
        }
    }
    Ok(variables)
}

/// What stands between quotes that nothing but a comment follows.
fn in_quotes(value: &str) -> Option<&str> {
    let quote = value.chars().next().filter(|letter| matches!(letter, '"' | '\''))?;
    let rest = value.strip_prefix(quote)?;
    let ends = rest.match_indices(quote).filter(|(end, _)| !rest.get(..*end).is_some_and(|text| text.ends_with('\\')));
    let parts = ends.map(|(end, _)| (rest.get(..end), rest.get(end + 1..).unwrap_or_default().trim_start()));
    parts.filter(|(_, behind)| behind.is_empty() || behind.starts_with('#')).find_map(|(inner, _)| inner)
}

/// A value without quotes, up to a `#` with a space before it.
fn without_comment(value: &str) -> &str {
    value.split_once(" #").map_or(value, |(value, _)| value).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_as_people_write_them() {
        let text = "# comment\n\nA=1\nexport B = \"two words\"\nC='x'\nD=\"\nE=a=b\nF\nG=\n";
        let read = variables(Path::new(".env"), text).unwrap();
        let read: Vec<_> = read.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(read, [("A", "1"), ("B", "two words"), ("C", "x"), ("D", "\""), ("E", "a=b"), ("G", "")]);
        for (line, expected) in [
            ("A=1 # comment", "1"),
            ("A=1  #comment # more", "1"),
            ("A=a#b", "a#b"),
            ("A= # comment", ""),
            ("A=#a", "#a"),
            ("A=\"a # b\" # comment", "a # b"),
            ("A='a # b'# comment", "a # b"),
            ("A='it' 's'", "it' 's"),
            (r#"A="a\" # b" # c"#, r#"a\" # b"#),
            ("A=\"a # b", "\"a"),
        ] {
            assert_eq!(variables(Path::new(".env"), line).unwrap()["A"], expected, "{line}");
        }
        let fault = variables(Path::new(".env"), "A=1\nsecret with spaces=2\n").unwrap_err().to_string();
        assert_eq!(fault, ".env:2: must be NAME=value");
    }
}
