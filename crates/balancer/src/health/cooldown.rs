//! The length of a cooldown.

use std::time::Duration;

use super::settings::HealthSettings;

/// A shorter wait is a pause and not an ejection: an ejection of a second would waste two thirds more of the capacity of
/// rate-limited pools (`make simulate`), and one failure in it would make ten minutes of a few milliseconds.
pub(super) const MIN_COOLDOWN: Duration = Duration::from_secs(1);
/// The first pause that is doubled.
const MIN_DOUBLED_PAUSE: Duration = Duration::from_millis(10);
/// A refused key or a used-up quota is asked about at least this often: people change accounts without notice.
const MAX_REFUSED: Duration = Duration::from_secs(15 * 60);
/// More steps make no difference.
const MAX_BACKOFF_STEPS: u32 = 64;

/// The disabled time, multiplied by the factor for each `step`, and extended by up to the jitter share; `jitter_seed`
/// (0 to 2^64 - 1) is the same in every replica.
pub(super) fn length(settings: &HealthSettings, step: u32, jitter_seed: u64) -> Duration {
    let (base, cooldown) = (settings.disabled_time.as_secs_f64(), settings.cooldown);
    let grown = base * cooldown.factor.powi(step.min(MAX_BACKOFF_STEPS) as i32);
    let capped = grown.min(cooldown.max.as_secs_f64()).max(base);
    if step == 0 && cooldown.jitter == 0.0 {
        return settings.disabled_time; // exact, where nothing is to be computed
    }
    Duration::try_from_secs_f64(capped * jitter(settings, jitter_seed)).unwrap_or(Duration::MAX)
}

/// The longest that any step comes to.
pub(super) fn longest(settings: &HealthSettings, jitter_seed: u64) -> Duration {
    let longest = without_jitter(settings);
    if settings.cooldown.jitter == 0.0 {
        return longest;
    }
    Duration::try_from_secs_f64(longest.as_secs_f64() * jitter(settings, jitter_seed)).unwrap_or(Duration::MAX)
}

/// The length of a cooldown after a refused key or a used-up quota: it ends when people act, and not by itself.
pub(super) fn refused(settings: &HealthSettings, jitter_seed: u64) -> Duration {
    longest(settings, jitter_seed).min(MAX_REFUSED)
}

fn without_jitter(settings: &HealthSettings) -> Duration {
    let grows = settings.cooldown.factor > 1.0;
    settings.disabled_time.max(if grows { settings.cooldown.max } else { Duration::ZERO })
}

fn jitter(settings: &HealthSettings, jitter_seed: u64) -> f64 {
    1.0 + settings.cooldown.jitter * (jitter_seed >> 11) as f64 / (1_u64 << 53) as f64
}

/// What the upstream asked for, doubled for each consecutive failed return, up to the longest cooldown without a
/// hint: a dead upstream that always says "one second" must not cost a call every second.
pub(super) fn hinted(upstream_wait: Duration, failed_returns: u32, settings: &HealthSettings) -> Duration {
    let doubled = upstream_wait.max(MIN_COOLDOWN).saturating_mul(2_u32.saturating_pow(failed_returns));
    upstream_wait.max(doubled.min(without_jitter(settings)))
}

/// The length of a pause that an upstream asked for, after `pauses` others since the last success: as asked if it is
/// a second or more, or the first; otherwise doubled each time, so that an upstream that always says "43 ms", or
/// nothing, is not called for longer and longer.
pub(super) fn pause(upstream_wait: Duration, pauses: u32) -> Duration {
    if upstream_wait >= MIN_COOLDOWN || pauses == 0 {
        upstream_wait
    } else {
        upstream_wait.max(MIN_DOUBLED_PAUSE).saturating_mul(2_u32.saturating_pow(pauses))
    }
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
        for (upstream_wait, failed, expected) in [
            (2, 0, 2),
            (1, 1, 2),
            (1, 5, 32),
            (1, 10, 600),
            (1, u32::MAX, 600),
            (900, 0, 900),
            (900, 3, 900),
            (0, 0, 1),
        ] {
            let length = hinted(seconds(upstream_wait), failed, &HealthSettings::default());
            assert_eq!(length, seconds(expected), "{upstream_wait} s after {failed} failed returns");
        }
        assert_eq!(hinted(Duration::MAX, u32::MAX, &HealthSettings::default()), Duration::MAX);
    }

    #[test]
    fn where_cooldowns_grow_the_doubling_goes_as_far() {
        let cooldown = Cooldown { factor: 2.0, max: seconds(300), jitter: 0.0 };
        let settings = HealthSettings { disabled_time: seconds(5), cooldown, ..HealthSettings::default() };
        assert_eq!([0, 3, 8, 9].map(|failed| hinted(seconds(1), failed, &settings)), [1, 8, 256, 300].map(seconds));
    }

    #[test]
    fn each_step_is_longer_up_to_the_longest_and_never_shorter_than_the_first() {
        let cooldown = Cooldown { factor: 2.0, max: seconds(300), jitter: 0.0 };
        let settings = HealthSettings { disabled_time: seconds(10), cooldown, ..HealthSettings::default() };
        for (step, expected) in [(0, 10), (1, 20), (4, 160), (5, 300), (u32::MAX, 300)] {
            assert_eq!(length(&settings, step, 0), seconds(expected), "step {step}");
        }
        let long = HealthSettings { disabled_time: seconds(900), ..settings };
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
            let settings = HealthSettings { disabled_time: seconds(disabled), cooldown, ..HealthSettings::default() };
            let longest = settings.longest_cooldown();
            for step in [0, 1, 5, 64, u32::MAX] {
                let length = length(&settings, step, u64::MAX);
                assert!(length <= longest, "step {step} of {settings:?}: {length:?}");
            }
            assert_eq!(length(&settings, 64, u64::MAX), longest, "{settings:?}");
        }
    }

    #[test]
    fn a_refused_account_is_left_alone_for_the_longest_time_and_asked_about_every_15_minutes() {
        let cooldown = |factor| Cooldown { factor, max: seconds(3_600), jitter: 0.0 };
        for (disabled, factor, expected) in [(600, 1.0, 600), (5, 2.0, 900), (7_200, 1.0, 900)] {
            let cooldown = cooldown(factor);
            let settings = HealthSettings { disabled_time: seconds(disabled), cooldown, ..HealthSettings::default() };
            assert_eq!(refused(&settings, 0), seconds(expected), "{disabled} s, factor {factor}");
        }
    }

    #[test]
    fn jitter_adds_up_to_its_part() {
        let cooldown = Cooldown { jitter: 0.5, ..Cooldown::default() };
        let settings = HealthSettings { disabled_time: seconds(10), cooldown, ..HealthSettings::default() };
        assert_eq!(length(&settings, 0, 0), seconds(10));
        assert_eq!(length(&settings, 0, 1 << 63), Duration::from_millis(12_500));
        assert!(length(&settings, 0, u64::MAX) <= seconds(15));
    }
}
