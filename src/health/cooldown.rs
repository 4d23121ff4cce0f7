//! How long a router is left alone.

use std::time::Duration;

use super::settings::Settings;

/// A shorter wait is a delay and no illness.
pub(super) const SHORTEST: Duration = Duration::from_secs(1);
/// From which pauses are doubled.
const LEAST: Duration = Duration::from_millis(10);
/// More steps than this make no difference.
const MOST_STEPS: u32 = 64;

/// The disabled time, longer by the factor for each `step`, and by a part of the jitter that `lot` draws: 0 to 2^64 - 1, the
/// same in every replica.
pub(super) fn length(settings: &Settings, step: u32, lot: u64) -> Duration {
    let (base, cooldown) = (settings.disabled_time.as_secs_f64(), settings.cooldown);
    let grown = base * cooldown.factor.powi(step.min(MOST_STEPS) as i32);
    let capped = grown.min(cooldown.max.as_secs_f64()).max(base);
    if step == 0 && cooldown.jitter == 0.0 {
        return settings.disabled_time; // exact, where nothing is to be computed
    }
    Duration::try_from_secs_f64(capped * jitter(settings, lot)).unwrap_or(Duration::MAX)
}

/// The longest that any step comes to.
pub(super) fn longest(settings: &Settings, lot: u64) -> Duration {
    let longest = without_jitter(settings);
    if settings.cooldown.jitter == 0.0 {
        return longest;
    }
    Duration::try_from_secs_f64(longest.as_secs_f64() * jitter(settings, lot)).unwrap_or(Duration::MAX)
}

fn without_jitter(settings: &Settings) -> Duration {
    let grows = settings.cooldown.factor > 1.0;
    settings.disabled_time.max(if grows { settings.cooldown.max } else { Duration::ZERO })
}

fn jitter(settings: &Settings, lot: u64) -> f64 {
    1.0 + settings.cooldown.jitter * (lot >> 11) as f64 / (1_u64 << 53) as f64
}

/// What the upstream asked for, doubled for each return in a row that failed, until the doubling reaches the longest time that
/// a router is left alone without a word: a dead upstream that always says "one second" must not cost a call every second.
pub(super) fn told(hint: Duration, failed_returns: u32, settings: &Settings) -> Duration {
    let doubled = hint.max(SHORTEST).saturating_mul(2_u32.saturating_pow(failed_returns));
    hint.max(doubled.min(without_jitter(settings)))
}

/// How long a pause is that an upstream asked for, after so many since the last success: what it said if that is a second or
/// more, or the first; else doubled each time, so that who always says "43 ms", or nothing at all, is left alone one day.
pub(super) fn pause(hint: Duration, pauses: u32) -> Duration {
    if hint >= SHORTEST || pauses == 0 { hint } else { hint.max(LEAST).saturating_mul(2_u32.saturating_pow(pauses)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Cooldown;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_hint_doubles_up_to_the_disabled_time_and_is_never_cut_short() {
        for (hint, failed, expected) in [
            (2, 0, 2),
            (1, 1, 2),
            (1, 5, 32),
            (1, 10, 600),
            (1, u32::MAX, 600),
            (900, 0, 900),
            (900, 3, 900),
            (0, 0, 1),
        ] {
            let length = told(seconds(hint), failed, &Settings::default());
            assert_eq!(length, seconds(expected), "{hint} s after {failed} failed returns");
        }
        assert_eq!(told(Duration::MAX, u32::MAX, &Settings::default()), Duration::MAX);
    }

    #[test]
    fn where_cooldowns_grow_the_doubling_goes_as_far() {
        let cooldown = Cooldown { factor: 2.0, max: seconds(300), jitter: 0.0 };
        let settings = Settings { disabled_time: seconds(5), cooldown, ..Settings::default() };
        assert_eq!([0, 3, 8, 9].map(|failed| told(seconds(1), failed, &settings)), [1, 8, 256, 300].map(seconds));
    }

    #[test]
    fn each_step_is_longer_up_to_the_longest_and_never_shorter_than_the_first() {
        let cooldown = Cooldown { factor: 2.0, max: seconds(300), jitter: 0.0 };
        let settings = Settings { disabled_time: seconds(10), cooldown, ..Settings::default() };
        for (step, expected) in [(0, 10), (1, 20), (4, 160), (5, 300), (u32::MAX, 300)] {
            assert_eq!(length(&settings, step, 0), seconds(expected), "step {step}");
        }
        let long = Settings { disabled_time: seconds(900), ..settings };
        assert_eq!(length(&long, 3, 0), seconds(900));
    }

    #[test]
    fn no_step_is_longer_than_the_longest() {
        for (disabled, factor, max, jitter) in [
            (600, 1.0, 3_600, 0.0),
            (600, 1.0, 3_600, 0.5),
            (5, 2.0, 120, 0.25),
            (900, 2.0, 300, 0.0),
            (0, 1.0, 1, 1.0),
        ] {
            let cooldown = Cooldown { factor, max: seconds(max), jitter };
            let settings = Settings { disabled_time: seconds(disabled), cooldown, ..Settings::default() };
            let longest = settings.longest_cooldown();
            for step in [0, 1, 5, 64, u32::MAX] {
                let length = length(&settings, step, u64::MAX);
                assert!(length <= longest, "step {step} of {settings:?}: {length:?}");
            }
            assert_eq!(length(&settings, 64, u64::MAX), longest, "{settings:?}");
        }
    }

    #[test]
    fn jitter_adds_up_to_its_part() {
        let cooldown = Cooldown { jitter: 0.5, ..Cooldown::default() };
        let settings = Settings { disabled_time: seconds(10), cooldown, ..Settings::default() };
        assert_eq!(length(&settings, 0, 0), seconds(10));
        assert_eq!(length(&settings, 0, 1 << 63), Duration::from_millis(12_500));
        assert!(length(&settings, 0, u64::MAX) <= seconds(15));
    }
}
