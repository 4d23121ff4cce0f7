//! When to come back to a target, from the headers and the body of its answer, and what is left of its rate limits.
//!
//! The target's own word comes first, if it is above 0: `retry-after-ms`, `x-ms-retry-after-ms`, `retry-after`; then what the body
//! says (Gemini's
//! `RetryInfo`, OpenAI's and Azure's "try again in", also as plain text, OpenRouter's quoted reset); then the end of a window
//! (`x-ratelimit-reset`, `ratelimit`, and with 429 that of a subscription of Anthropic's).
//! Only where none of these is given is an empty bucket used, which says when it will be *full* again, and no client needs to
//! wait for: so at most `MAX_REFILL`.
//!
//! Moments are measured against the answer's own `Date`, so that clocks need not agree, and against the time of receipt where
//! that is missing. What is negative, infinite or no time at all is ignored.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use types::outcome::{QuotaRemaining, RateLimitHeaders, RetryAfter};

use crate::error_body::{ErrorBody, MAX_MESSAGE_BYTES};
use crate::headers::AnswerHeaders;
use crate::json::RawJson;

/// The longest wait that is believed: a month, after which spend limits open again. Longer ones are shortened to it.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(31 * 24 * 60 * 60);
/// The longest wait for a bucket to fill.
pub(crate) const MAX_REFILL: Duration = Duration::from_secs(60);

/// No time is longer than this, in bytes.
const MAX_TEXT_BYTES: usize = 64;
/// Numbers from here on are no seconds but a moment in seconds since 1970: as seconds it would be 31 years.
const EPOCH_SECONDS: f64 = 1e9;
/// Numbers from here on are a moment in milliseconds since 1970: as seconds it would be the year 5138.
const EPOCH_MILLISECONDS: f64 = 1e11;
/// The places of `x-ratelimit-reset` and `ratelimit-reset` among the buckets: windows, which open at their reset and not before.
const WINDOW_BUCKETS: std::ops::Range<usize> = 9..11;
/// Which buckets count requests, and which tokens.
const REQUESTS: [usize; 5] = [0, 2, 7, 9, 10];
const TOKENS: [usize; 6] = [1, 3, 4, 5, 6, 8];

/// When an answer came: by its own `Date`, or else as the caller says. Read only where a moment has to be compared with it, which is
/// rare: most answers say nothing of the kind.
#[derive(Debug, Clone, Copy)]
struct Received<'a> {
    date: Option<&'a str>,
    otherwise: Option<Timestamp>,
}

impl<'a> Received<'a> {
    const fn new(headers: &AnswerHeaders<'a>, otherwise: Option<Timestamp>) -> Self {
        Self { date: headers.date, otherwise }
    }

    fn at(self) -> Option<Timestamp> {
        self.date.and_then(http_date).or(self.otherwise)
    }
}

/// When to come back after an answer with this status: of a good one only the reset of an empty bucket counts. The other arguments
/// are those of [`retry_after`].
pub fn of_answer(
    status: u16,
    headers: &AnswerHeaders<'_>,
    body: &[u8],
    received: Option<Timestamp>,
) -> Option<RetryAfter> {
    if status >= 400 {
        // Other errors have it too, and nothing to do with it.
        return wait(headers, body, received, headers.unified_reset().filter(|_| status == 429));
    }
    let left = rate_limits(headers, received);
    let is_empty = [left.requests, left.tokens].into_iter().flatten().any(|left| left.amount == 0);
    if is_empty { retry_after(headers, &[], received) } else { None }
}

/// When to come back after an *error* answer. Of the body the first 64 KB are read; `received` is when the answer came, and
/// is needed only where it has no `Date`.
pub fn retry_after(headers: &AnswerHeaders<'_>, body: &[u8], received: Option<Timestamp>) -> Option<RetryAfter> {
    wait(headers, body, received, None)
}

/// The same; `subscription` is the reset of one that is used up.
fn wait(
    headers: &AnswerHeaders<'_>,
    body: &[u8],
    received: Option<Timestamp>,
    subscription: Option<&str>,
) -> Option<RetryAfter> {
    let now = Received::new(headers, received);
    let [ms, ms_of_azure, seconds] = headers.stated;
    let stated = [ms.map(milliseconds), ms_of_azure.map(milliseconds), seconds.map(|text| time(text, now))];
    let is_stated = stated.iter().any(Option::is_some);
    let body = if headers.is_compressed() { &[] } else { body };
    let own_word = stated.into_iter().flatten().flatten().next();
    // That it may be called again at once may be a proxy's word, which does not know what the body says.
    let longer = own_word.filter(|wait| !wait.is_zero());
    let of_window = || window(headers, now).or_else(|| time(subscription?, now));
    match longer.or_else(|| in_body(headers, body, now)).or(own_word).or_else(of_window) {
        Some(wait) => Some(RetryAfter::Delay(wait)),
        None if is_stated => Some(RetryAfter::Unparsable),
        None => refill(headers, now),
    }
}

/// What the headers of any answer say about its target's rate limits; of several limits of a kind the least. Resets are at most
/// `MAX_REFILL`.
pub fn rate_limits(headers: &AnswerHeaders<'_>, received: Option<Timestamp>) -> RateLimitHeaders {
    let Some(all) = headers.buckets() else { return RateLimitHeaders::default() };
    let now = Received::new(headers, received);
    let remaining = |[limit, remaining, reset]: &[Option<&str>; 3]| {
        let amount = remaining.filter(|_| *limit != Some("0"))?.parse().ok()?;
        let reset = reset.and_then(|reset| time(reset, now)).unwrap_or(MAX_REFILL);
        Some(QuotaRemaining { amount, reset: reset.min(MAX_REFILL) })
    };
    let least = |places: &[usize]| {
        let buckets = places.iter().filter_map(|place| all.get(*place));
        buckets.filter_map(remaining).min_by_key(|left| left.amount)
    };
    RateLimitHeaders { requests: least(&REQUESTS), tokens: least(&TOKENS) }
}

/// The reset of a window that is used up, or that says nothing else.
fn window(headers: &AnswerHeaders<'_>, now: Received<'_>) -> Option<Duration> {
    let of_draft = |value| policy_window(value).or_else(|| member_window(value));
    headers.rate_limit.and_then(of_draft).or_else(|| bucket_window(headers, now))
}

/// The same in the draft's version 7, and of servers that still write it (express-rate-limit's `draft-7`): `limit=9, remaining=0, reset=25`.
fn member_window(members: &str) -> Option<Duration> {
    let member = |name| members.split(',').find_map(|text| text.trim().strip_prefix(name)?.split(';').next());
    member("remaining=").filter(|left| is_zero(left)).and_then(|_| number(member("reset=")?)).map(seconds_of)
}

/// The longest reset of those that are used up: `"api";r=0;t=25` (draft-ietf-httpapi-ratelimit-headers; huggingface.co, rate-limits).
fn policy_window(policies: &str) -> Option<Duration> {
    let of_policy = |policy: &str| {
        let parameter = |name| policy.split(';').skip(1).find_map(|text| text.trim().strip_prefix(name));
        parameter("r=").filter(|left| is_zero(left)).and_then(|_| number(parameter("t=")?)).map(seconds_of)
    };
    policies.split(',').filter_map(of_policy).max()
}

fn bucket_window(headers: &AnswerHeaders<'_>, now: Received<'_>) -> Option<Duration> {
    let windows = headers.buckets()?.get(WINDOW_BUCKETS)?.iter();
    let used_up = windows.filter(|[_, remaining, _]| remaining.is_none_or(is_zero));
    used_up.filter_map(|[_, _, reset]| time((*reset)?, now)).max()
}

/// The longest time to the full refill of the buckets that are empty. A limit of 0 is none; a reset whose remaining amount
/// is not given counts only where no bucket is known to be empty.
fn refill(headers: &AnswerHeaders<'_>, now: Received<'_>) -> Option<RetryAfter> {
    let all = headers.buckets()?;
    let buckets = || all.iter().take(WINDOW_BUCKETS.start).filter(|[limit, _, _]| !limit.is_some_and(is_zero));
    let empty: Vec<_> = buckets().filter(|[_, remaining, _]| remaining.is_some_and(is_zero)).collect();
    let unknown = || buckets().filter(|[_, remaining, _]| remaining.is_none()).collect();
    let empty = if empty.is_empty() { unknown() } else { empty };
    let resets: Vec<_> = empty.into_iter().filter_map(|[_, _, reset]| *reset).map(|reset| time(reset, now)).collect();
    match resets.iter().flatten().max() {
        Some(wait) => Some(RetryAfter::QuotaReset((*wait).min(MAX_REFILL))),
        None => (!resets.is_empty()).then_some(RetryAfter::Unparsable),
    }
}

fn is_zero(text: &str) -> bool {
    number(text) == Some(0.0)
}

/// What the body says, or else what the answers say that it quotes.
fn in_body(headers: &AnswerHeaders<'_>, body: &[u8], now: Received<'_>) -> Option<Duration> {
    let error = ErrorBody::read(body);
    let quoted = || error.find_quoted(|quoted| in_error(quoted, now));
    in_error(&error, now).or_else(quoted).or_else(|| in_text(plain_text(headers, body)?, now))
}

/// The first sentences of an error that is a text and nothing else, as proxies write it: no JSON, also where that is cut, and no page.
fn plain_text<'a>(headers: &AnswerHeaders<'_>, body: &'a [u8]) -> Option<&'a str> {
    let body = body.get(..MAX_MESSAGE_BYTES).unwrap_or(body).trim_ascii();
    let is_text = headers.is_untyped() && !body.starts_with(b"{") && !body.starts_with(b"[") && !body.starts_with(b"<");
    let text = body.utf8_chunks().next().filter(|_| is_text)?.valid();
    Some(text).filter(|text| !text.is_empty())
}

fn in_error(error: &ErrorBody<'_>, now: Received<'_>) -> Option<Duration> {
    let bare = |raw: RawJson<'_>| {
        let text = raw.text();
        text.map_or_else(|| String::from_utf8_lossy(raw.bytes()).into_owned(), std::borrow::Cow::into_owned)
    };
    let millis = || milliseconds(&bare(error.retry_delay_ms?));
    let delay = || time(&bare(error.retry_delay?), now);
    let reset = || time(&bare(error.reset?), now);
    let sentence = || in_text(error.message.as_deref()?, now);
    // It is a guess, and of one model: those that are loaded answer meanwhile.
    let estimate = || time(&bare(error.estimated_time?), now).map(|wait| wait.min(MAX_REFILL));
    millis().or_else(delay).or_else(sentence).or_else(reset).or_else(estimate)
}

fn in_text(text: &str, now: Received<'_>) -> Option<Duration> {
    in_sentence(text).or_else(|| announced(text, now.at()?))
}

/// "You will regain access on 2026-12-01 at 00:00 UTC." (Anthropic), "Limit resets at: 2026-12-01 00:00:00 UTC" (LiteLLM).
fn announced(message: &str, now: Timestamp) -> Option<Duration> {
    const LEADS: [&str; 6] = ["regain access on ", "resets at", "reset at", "again at", "again after", "retry after"];
    let lower = message.to_ascii_lowercase();
    let moment = LEADS.iter().find_map(|lead| moment(lower.split_once(lead)?.1.trim_start_matches([':', ' '])))?;
    Some(bounded(Duration::try_from(moment.duration_since(now)).unwrap_or_default()))
}

/// A date, a time of day in UTC, or with an offset, at the beginning of a lower-case text.
fn moment(text: &str) -> Option<Timestamp> {
    let (date, rest) = text.split_at_checked(10)?;
    let rest = rest.strip_prefix('t').or_else(|| rest.strip_prefix(" at ")).or_else(|| rest.strip_prefix(' '))?;
    let is_clock = |letter: char| letter.is_ascii_digit() || matches!(letter, ':' | '.');
    let (clock, zone) = rest.split_at_checked(rest.find(|letter| !is_clock(letter)).unwrap_or(rest.len()))?;
    let zone = zone.trim_start();
    let zone = match zone.get(..6).filter(|zone| zone.starts_with(['+', '-'])) {
        Some(offset) => offset,
        None if zone.starts_with('z') || zone.starts_with("utc") || zone.starts_with("gmt") => "Z",
        None => return None,
    };
    let seconds = if clock.matches(':').count() == 1 { ":00" } else { "" };
    format!("{date}T{clock}{seconds}{zone}").parse().ok()
}

/// "Please try again in 6m0s", "Please retry after 12 seconds", "Please retry in 34.07s", "wait 5 seconds".
fn in_sentence(message: &str) -> Option<Duration> {
    // Without such a word it may be a connection that was reset.
    const RESETS: [&str; 4] = ["reset after ", "resets after ", "reset in ", "resets in "];
    const LEADS: [&str; 11] = [
        "try again in ",
        "try again after ",
        "retry after ",
        "retry in ",
        "retry your request after ",
        "wait ",
        "reset in ",
        "resets in ",
        "reset after ",
        "resets after ",
        "available in ",
    ];
    let lower = message.to_ascii_lowercase();
    LEADS.iter().find_map(|lead| {
        let is_quotas = |at: usize| {
            let before = lower.get(..at).unwrap_or_default();
            !RESETS.contains(lead) || ["quota", "limit", "usage"].iter().any(|word| before.contains(word))
        };
        let starts = lower.match_indices(lead).filter(|(at, _)| is_quotas(*at));
        let mut ends = starts.map(|(at, _)| at + lead.len());
        ends.find_map(|end| {
            let rest = lower.get(end..)?;
            let rest = ["about ", "approximately ", "at least ", "~"]
                .iter()
                .find_map(|word| rest.strip_prefix(word))
                .unwrap_or(rest);
            span(rest)
        })
    })
}

/// Seconds, a span such as `6m0s`, a moment in seconds or milliseconds since 1970, or a date.
fn time(text: &str, now: Received<'_>) -> Option<Duration> {
    let text = text.trim();
    if text.len() > MAX_TEXT_BYTES {
        return None;
    }
    if let Some(number) = number(text) {
        return match number {
            ..EPOCH_SECONDS => Some(seconds_of(number)),
            ..EPOCH_MILLISECONDS => since(now.at()?, number),
            _ => since(now.at()?, number / 1e3),
        };
    }
    if let Some(moment) = http_date(text).or_else(|| text.parse().ok()) {
        return Some(bounded(Duration::try_from(moment.duration_since(now.at()?)).unwrap_or_default()));
    }
    match text.split_once(',') {
        // Proxies join a header that stands twice.
        Some((first, _)) => time(first, now),
        None => whole_span(&text.to_ascii_lowercase()),
    }
}

/// From now to a moment in seconds since 1970; one that is past is now.
fn since(now: Timestamp, epoch: f64) -> Option<Duration> {
    let now = now.as_millisecond() as f64 / 1e3;
    Some(seconds_of((epoch - now).max(0.0)))
}

/// A number that can be a time: finite and not negative.
fn number(text: &str) -> Option<f64> {
    let text = Some(text.trim()).filter(|text| text.len() <= MAX_TEXT_BYTES)?;
    let number: f64 = text.parse().ok()?;
    (number.is_finite() && number >= 0.0 && !text.starts_with('-')).then_some(number)
}

fn milliseconds(text: &str) -> Option<Duration> {
    number(text).map(|milliseconds| seconds_of(milliseconds / 1e3))
}

fn seconds_of(seconds: f64) -> Duration {
    bounded(Duration::try_from_secs_f64(seconds).unwrap_or(MAX_RETRY_AFTER))
}

fn bounded(wait: Duration) -> Duration {
    wait.min(MAX_RETRY_AFTER)
}

/// A span that is all of a text, with a unit.
fn whole_span(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let (part, behind) = span_part(rest)?;
        seconds += part?;
        rest = behind.trim_start();
    }
    (!text.is_empty()).then(|| seconds_of(seconds))
}

/// The span at the beginning of a lower-case text, with a unit.
fn span(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = None;
    while let Some((Some(seconds), behind)) = span_part(rest) {
        total = Some(total.unwrap_or(0.0) + seconds);
        rest = behind.trim_start_matches([',', ' ']);
        rest = rest.strip_prefix("and ").unwrap_or(rest);
    }
    total.map(seconds_of)
}

/// A number and its unit, in seconds (`None` where the unit is unknown), and what follows.
fn span_part(text: &str) -> Option<(Option<f64>, &str)> {
    let digits = text.len() - text.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '.').len();
    let (count, rest) = text.split_at_checked(digits).filter(|(count, _)| !count.is_empty())?;
    let rest = rest.strip_prefix(' ').unwrap_or(rest);
    let letters =
        rest.len() - rest.trim_start_matches(|letter: char| letter.is_ascii_lowercase() || letter == 'µ').len();
    let (unit, behind) = rest.split_at_checked(letters)?;
    let unit = match unit {
        "ns" => 1e-9,
        "us" | "µs" => 1e-6,
        "ms" | "millisecond" | "milliseconds" => 1e-3,
        "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3600.0,
        "d" | "day" | "days" => 86400.0,
        _ => return Some((None, behind)),
    };
    Some((number(count).map(|count| count * unit), behind))
}

/// A date in one of HTTP's three forms (RFC 9110, 5.6.7): IMF-fixdate, RFC 850, asctime.
fn http_date(text: &str) -> Option<Timestamp> {
    let text = Some(text.trim()).filter(|text| text.len() <= MAX_TEXT_BYTES)?;
    let mut parts = text.split([' ', ',', '-']).filter(|part| !part.is_empty());
    let (weekday, first, second) = (parts.next()?, parts.next()?, parts.next()?);
    if !weekday.starts_with(|letter: char| letter.is_ascii_alphabetic()) {
        return None;
    }
    let (third, fourth) = (parts.next()?, parts.next()?);
    let (day, month, year, clock) = match month(first) {
        // Sun Nov  6 08:49:37 1994
        Some(month) => (second, month, fourth, third),
        // Sun, 06 Nov 1994 08:49:37 GMT and Sunday, 06-Nov-94 08:49:37 GMT
        None => {
            let zone = parts.next()?;
            // `-0000`, as Python's `email.utils.formatdate` says it (RFC 5322, 3.3), has lost its sign to the split.
            let is_utc =
                ["GMT", "UTC", "UT", "Z", "+0000", "0000"].iter().any(|known| zone.eq_ignore_ascii_case(known));
            is_utc.then_some((first, month(second)?, third, fourth))?
        }
    };
    if parts.next().is_some() {
        return None;
    }
    let year: i16 = match year.len() {
        // RFC 850 is from 1983 and out of use: two digits of this century, unless that is far away.
        2 => year.parse::<i16>().ok().map(|year| if year < 70 { 2000 + year } else { 1900 + year })?,
        4 => year.parse().ok()?,
        _ => return None,
    };
    let mut clock = clock.split(':').map(|part| part.parse::<i8>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    // A leap second is the second before it.
    let second = if second == 60 { 59 } else { second };
    let moment = DateTime::new(year, month, day.parse().ok()?, hour, minute, second, 0).ok()?;
    moment.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

fn month(name: &str) -> Option<i8> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let place = MONTHS.iter().position(|month| month.eq_ignore_ascii_case(name))?;
    i8::try_from(place + 1).ok()
}
