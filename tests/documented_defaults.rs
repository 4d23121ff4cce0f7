//! The numbers of presets and limits in the documents and in the schema are those of the code.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use balancer::health::{Cooldown, HealthSettings, Preset, Probe, Ratio, RetryAfterSettings};
use balancer::retry::{Backoff, RetryBudgetSettings, RetryLimits, TimeLimits};

use super::documented::file;

/// The words of a text, each time in seconds: "2 min", "120s" and "2m" are the same.
fn words(text: &str) -> String {
    let text = text.replace(|c: char| "`\",;:(){}".contains(c), " ");
    let mut words: Vec<String> = vec![String::new()];
    for word in text.split_whitespace().map(|word| word.trim_end_matches('.')) {
        let (number, unit) = word.split_at(word.find(|c: char| c.is_alphabetic()).unwrap_or(word.len()));
        let (number, unit) = match number {
            "" => (words.last().cloned().unwrap_or_default(), unit),
            number => (number.to_owned(), unit),
        };
        let factor = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" | "min" | "minutes" => 60.0,
            "h" => 3_600.0,
            _ => 0.0,
        };
        match number.parse::<f64>() {
            Ok(number) if factor > 0.0 => {
                if word == unit {
                    words.pop();
                }
                words.push(format!("{}s", number * factor));
            }
            _ => words.push(word.to_owned()),
        }
    }
    words.push(String::new());
    words.join(" ")
}

#[track_caller]
fn assert_says(text: &str, expected: &str, place: &str) {
    let (said, expected) = (words(text), words(expected));
    assert!(said.contains(&expected), "{place} does not say {expected:?}:\n{said}");
}

/// The cells of each row that begins with a key, below a heading of a page.
fn rows(page: &str, heading: &str) -> BTreeMap<String, Vec<String>> {
    let page = file(page);
    let section = page.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("{heading}")).1;
    let section = section.split("\n## ").next().unwrap_or_default();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| "));
    let rows = cells.map(|row| row.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>());
    rows.map(|row| (row[0].replace('`', ""), row)).collect()
}

/// What the schema says of a key, such as `cooldown.max` below `Health`.
fn described(of: &str, key: &str) -> String {
    let schema: Value = serde_json::from_str(&file("broker.schema.json")).unwrap();
    let defs = &schema["$defs"];
    let (of, key) = match key.split_once('.') {
        Some((outer, key)) => {
            let inner = outer.split('_').map(|word| word[..1].to_uppercase() + &word[1..]).collect::<String>();
            (inner, key)
        }
        None => (of.to_owned(), key),
    };
    let text = defs[&of]["properties"][key]["description"].as_str();
    text.unwrap_or_else(|| panic!("{of}.{key} is not described")).to_owned()
}

fn time(time: Duration) -> String {
    format!("{}s", time.as_secs_f64())
}

fn switch(is_on: bool) -> String {
    (if is_on { "on" } else { "off" }).to_owned()
}

fn ratio_words(Ratio { below, over, min }: Ratio) -> String {
    format!("below {below} over {}, from {min} answers on", time(over))
}

/// The settings of a preset by their keys in the pools file. No field can be forgotten: each is named here.
fn settings(preset: Preset) -> Vec<(&'static str, String)> {
    let HealthSettings {
        disabled_time,
        cooldown: Cooldown { factor, max, jitter },
        consecutive,
        ratio,
        retry_after: RetryAfterSettings { honor, max: longest, preempt, assume },
        probe: Probe { concurrency, timeout },
        slow_start,
        slow,
        poison,
        timeout_ejects,
        keep_last,
    } = preset.settings();
    assert!(!keep_last, "it is no part of a preset, and no row describes it");
    let time_or_off = |limit: Option<Duration>| limit.map_or_else(|| switch(false), time);
    let timeouts = if timeout_ejects { "disables at once, unless consecutive is set" } else { "counts as one failure" };
    vec![
        ("disabled_time", time(disabled_time)),
        ("cooldown.factor", factor.to_string()),
        ("cooldown.max", time(max)),
        ("cooldown.jitter", jitter.to_string()),
        ("consecutive", consecutive.to_string()),
        ("a relay attempt without an answer within first_byte", timeouts.to_owned()),
        ("ratio", ratio.map_or_else(|| switch(false), ratio_words)),
        ("retry_after.honor", honor.to_string()),
        ("retry_after.max", time(longest)),
        ("retry_after.assume", time_or_off(assume)),
        ("retry_after.preempt", preempt.to_string()),
        ("probe.concurrency", concurrency.to_string()),
        ("probe.timeout", time(timeout)),
        ("ramp", time_or_off(Some(slow_start).filter(|time| !time.is_zero()))),
        ("slow_is_failure_after", time_or_off(slow)),
        ("poison", switch(poison)),
    ]
}

#[test]
fn the_presets_are_described_as_they_are() {
    let settings_rows = rows("docs/settings.md", "## Health");
    let rows = rows("docs/health.md", "## Presets");
    let both = settings(Preset::Documented).into_iter().zip(settings(Preset::Resilient));
    for ((key, documented), (_, resilient)) in both {
        let row = rows.get(key).unwrap_or_else(|| panic!("docs/health.md has no row of {key}: {:?}", rows.keys()));
        assert_eq!(words(&row[1]), words(&documented), "docs/health.md: {key}, documented");
        assert_eq!(words(&row[3]), words(&resilient), "docs/health.md: {key}, resilient");
        if key.contains(' ') {
            continue; // no key of the file
        }
        let text = described("Health", key);
        if documented == resilient {
            let (alone, behind) = (format!("Without {documented}"), format!("else {documented}"));
            let says = [alone, behind].iter().any(|expected| words(&text).contains(&words(expected)));
            assert!(says, "the schema's {key} does not say {documented}:\n{text}");
        } else {
            assert_says(&text, &format!("(documented: {documented}, resilient: {resilient})"), key);
        }
    }
    let [documented, resilient] = [Preset::Documented, Preset::Resilient].map(|preset| preset.settings().disabled_time);
    let usual = format!("{}; resilient: {}", documented.as_secs() / 60, time(resilient));
    assert_eq!(words(&settings_rows["DISABLED_TIME"][1]), words(&usual));
    let Ratio { below, over, min } = Ratio::default();
    let object = format!("below {below} over {} min {min}", time(over));
    assert_says(&file("docs/configuration.md"), &object, "docs/configuration.md: ratio");
    for (key, value) in [("ratio.below", below.to_string()), ("ratio.over", time(over)), ("ratio.min", min.to_string())]
    {
        assert_says(&described("Health", key), &format!("Without: {value}"), key);
    }
}

#[test]
fn the_limits_of_the_relay_are_described_as_they_are() {
    let TimeLimits { connect, first_byte, idle, timeout, hold } = TimeLimits::default();
    let RetryLimits { attempts, timeout: total, backoff: Backoff { base, cap } } = RetryLimits::default();
    let RetryBudgetSettings { ratio, per_second } = RetryBudgetSettings::default();
    assert_eq!((first_byte, total), (None, timeout));
    let of_stream = time(TimeLimits::default().first_byte_of(true).unwrap());
    let rows = rows("docs/relay.md", "## Limits");
    for (key, value) in [
        ("attempts", attempts.to_string()),
        ("backoff", format!("base {}, cap {}", time(base), time(cap))),
        ("retry_budget", format!("ratio {ratio} per_second {per_second}")),
        ("connect", time(connect)),
        ("idle", time(idle)),
        ("timeout", time(timeout)),
        ("hold", time(hold)),
    ] {
        let row = rows.get(key).unwrap_or_else(|| panic!("docs/relay.md has no row of {key}: {:?}", rows.keys()));
        assert_eq!(words(&row[1]), words(&value), "docs/relay.md: {key}");
    }
    assert_says(&rows["first_byte"][1], &of_stream, "docs/relay.md: first_byte");
    assert_says(&rows["first_byte"][1], "a whole answer: none", "docs/relay.md: first_byte");
    for (key, value) in [
        ("attempts", attempts.to_string()),
        ("connect", time(connect)),
        ("first_byte", format!("{of_stream} for a stream and no limit for a whole answer")),
        ("idle", time(idle)),
        ("timeout", time(timeout)),
        ("hold", time(hold)),
        ("backoff.base", time(base)),
        ("backoff.cap", time(cap)),
        ("retry_budget.ratio", ratio.to_string()),
        ("retry_budget.per_second", per_second.to_string()),
    ] {
        assert_says(&described("Relay", key), &format!("Without: {value}"), key);
    }
}
