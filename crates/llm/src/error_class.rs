//! What an error answer means: one class from its status, headers and body.
//!
//! The class decides who is asked next, whether the target stays in, what metrics count and what users name in their settings.
//! In doubt the status decides, and a fault that may be the caller's is the caller's: no client must be able to take a target
//! away from everybody else by what they write into a request.

use crate::error_body::ErrorBody;
use crate::error_denial;
use crate::error_sentences::Sentence;
use crate::error_words;
use crate::headers::AnswerHeaders;
use crate::json::RawJson;
use types::outcome::ErrorClass::{
    self, ContentFiltered, ContextTooLong, InvalidRequest, KeyRefused, NotFound, Overloaded, QuotaExhausted,
    RateLimited, ServerError, Unsupported,
};

/// The class of an answer with an error status; `None` below 400. Of the body the first 64 KB are read, as plain bytes:
/// compressed ones say nothing, and then the status decides.
pub fn classify(status: u16, headers: &AnswerHeaders<'_>, body: &[u8]) -> Option<ErrorClass> {
    let by_status = ErrorClass::of_status(status)?;
    let body = if headers.is_compressed() { &[] } else { body };
    let error = ErrorBody::read(body);
    let class = by_words(&error, amazon_word(headers), Some(status));
    // A firewall in front answers with a page for people, or in Cloudflare's way with a number (1000 to 1199:
    // developers.cloudflare.com, "Cloudflare 1xxx errors"); and what a caller wrote may be what it dislikes.
    let is_cloudflares =
        body.trim_ascii_start().starts_with(b"error code: 1") || matches!(error.number(), Some(1_000..=1_199));
    let is_firewall = status == 403 && (headers.is_html() || is_cloudflares);
    Some(class.unwrap_or(if is_firewall { InvalidRequest } else { by_status }))
}

/// Bedrock's word: `ThrottlingException:http://internal.amazon.com/…`.
fn amazon_word<'a>(headers: &AnswerHeaders<'a>) -> Option<&'a str> {
    headers.amazon_error.and_then(|text| text.split([':', ';']).next()).map(str::trim)
}

/// Whether a 403 that is classified as a refused key says nothing of a key: bare ones (`Forbidden`, an empty body, a proxy's), and words
/// that say no more than that something is not permitted. A refused key is refused with every request, so one such answer, which may
/// be about its request, shows less than several.
pub fn is_ambiguous_refusal(status: u16, headers: &AnswerHeaders<'_>, body: &[u8]) -> bool {
    if status != 403 || classify(status, headers, body) != Some(KeyRefused) {
        return false;
    }
    let body = if headers.is_compressed() { &[] } else { body };
    let error = ErrorBody::read(body);
    let is_of_key = |word: &str| error_words::specific(word) == Some(KeyRefused) && !error_words::is_permission(word);
    let names_key = |error: &ErrorBody<'_>| {
        error.words().any(is_of_key) || error.message.as_deref().is_some_and(error_denial::names_key)
    };
    let by_header = amazon_word(headers).is_some_and(is_of_key);
    let in_quoted = || error.find_quoted(|quoted| names_key(quoted).then_some(())).is_some();
    !(by_header || names_key(&error) || in_quoted())
}

/// Whether an error of this class says that another account may get an answer, whatever the status is: ours may not use the model
/// (Vertex, OpenAI and Bedrock say so with a 400 too, which is the caller's fault where a model does not exist), has not made the
/// response, the encrypted reasoning or the file that the request refers to, or has a limit per minute that the request exceeds
/// (Groq's 413).
pub fn other_account_may_answer(class: ErrorClass, headers: &AnswerHeaders<'_>, body: &[u8]) -> bool {
    if headers.is_compressed() {
        return false;
    }
    let error = ErrorBody::read(body);
    let says = |what: fn(&Sentence) -> bool| error.message.as_deref().is_some_and(|text| what(&Sentence::new(text)));
    match class {
        NotFound => says(Sentence::says_account_may_not_use_model),
        InvalidRequest => error.words().any(error_words::is_made_elsewhere) || says(Sentence::says_made_elsewhere),
        ContextTooLong => {
            error.words().any(|word| error_words::specific(word) == Some(RateLimited))
                && says(Sentence::says_never_fits)
        }
        _ => false,
    }
}

/// Whether an error is about the account that a request chooses beside its key (`OpenAI-Organization`, `X-Goog-User-Project`): who
/// chose it is at fault.
pub fn refuses_account(headers: &AnswerHeaders<'_>, body: &[u8]) -> bool {
    !headers.is_compressed() && ErrorBody::read(body).words().any(error_words::is_account)
}

/// The class of an error inside a body that is already known to hold one, where the status does not say: a stream's event, or an
/// answer with a good status.
pub(crate) fn classify_error_body(body: &[u8]) -> ErrorClass {
    without_status(&ErrorBody::read(body))
}

/// The same for the value of an `error` field.
pub(crate) fn classify_error(error: RawJson<'_>) -> ErrorClass {
    without_status(&ErrorBody::of_error(error))
}

fn without_status(error: &ErrorBody<'_>) -> ErrorClass {
    // Some vendors number their errors in their own way.
    let number = error.number().and_then(|number| u16::try_from(number).ok()).filter(|number| *number < 600);
    by_words(error, None, None)
        .or_else(|| number.and_then(ErrorClass::of_status))
        .or_else(|| error.words().find_map(error_words::general))
        .unwrap_or(ServerError)
}

/// The class by what the error says itself, or else what the answers say that it quotes.
fn by_words(error: &ErrorBody<'_>, amazon: Option<&str>, status: Option<u16>) -> Option<ErrorClass> {
    by_own_words(error, amazon, status).or_else(|| error.find_quoted(|quoted| by_own_words(quoted, None, status)))
}

/// The class by an error's words, and then by its sentence.
fn by_own_words(error: &ErrorBody<'_>, amazon: Option<&str>, status: Option<u16>) -> Option<ErrorClass> {
    let known = |word| error_words::specific(word).map(|class| (class, error_words::is_permission(word)));
    let known = error.words().chain(amazon).find_map(known);
    // Google's, also where nobody has cancelled anything: a client that has is gone, and is told nothing.
    let is_cancelled =
        || status.map(u64::from).or(error.number()) == Some(499) && error.words().any(|word| word == "CANCELLED");
    let word = known.map(|(class, _)| class).or_else(|| is_cancelled().then_some(ServerError));
    let is_denial = match known {
        Some((_, is_permission)) => is_permission,
        None => matches!(status.map(u64::from).or(error.number()), Some(401 | 403)),
    };
    if error.is_flagged {
        return Some(ContentFiltered);
    }
    // A sentence may say more than that a parameter is wrong.
    if let Some(class) = error.by_vendor.filter(|class| *class != InvalidRequest) {
        return Some(class);
    }
    // LiteLLM's proxy: the budget of the end user whom the request names, and not that of our key.
    let is_of_end_user =
        error.message.as_deref().is_some_and(|message| message.trim_start().starts_with("ExceededBudget: End User="));
    if is_of_end_user {
        return Some(InvalidRequest);
    }
    // A sentence that begins with a quotation or says nothing new costs a copy of it: only where it can matter.
    if word.is_some_and(|class| class != RateLimited) && !is_denial {
        return word;
    }
    if is_denial && error.is_about_model {
        return Some(NotFound);
    }
    let Some(message) = error.message.as_deref() else { return word.or(error.by_vendor) };
    if !status.is_none_or(|status| (400..500).contains(&status)) {
        return word.or_else(|| of_server_fault(error, &Sentence::new(message))).or(error.by_vendor);
    }
    by_sentence(error, &Sentence::new(message), word, is_denial, status).or(error.by_vendor)
}

/// The class by what a sentence says whose status is a server's fault: what only spares the target, and that it has too much to do.
fn of_server_fault(error: &ErrorBody<'_>, sentence: &Sentence) -> Option<ErrorClass> {
    if sentence.says_busy() {
        Some(Overloaded)
    } else if matches!(error.number(), Some(408 | 429)) {
        // What it counts may be tokens per minute.
        None
    } else if sentence.says_too_long() {
        Some(ContextTooLong)
    } else {
        sentence.says_filtered().then_some(ContentFiltered)
    }
}

/// The class by what a sentence says beside a word that leaves it open, or without one.
fn by_sentence(
    error: &ErrorBody<'_>,
    sentence: &Sentence,
    word: Option<ErrorClass>,
    is_denial: bool,
    status: Option<u16>,
) -> Option<ErrorClass> {
    // Of a limit on calls a vendor says what it counts; only that it never fits is about this request.
    let is_limit = matches!(status.map(u64::from).or(error.number()), Some(408 | 429));
    let not_found = || status == Some(404) || error.words().any(|word| word.eq_ignore_ascii_case("not_found_error"));
    if (word.is_some() || is_limit) && sentence.says_never_fits() {
        Some(ContextTooLong)
    } else if sentence.names_no_model()
        || sentence.says_account_may_not_use_model()
        || (word == Some(RateLimited) && sentence.says_limit_of_none())
    {
        Some(NotFound)
    } else if sentence.says_unsupported() {
        Some(Unsupported)
    } else if sentence.says_quota() {
        Some(QuotaExhausted)
    } else if is_denial && sentence.says_filtered() {
        Some(ContentFiltered)
    } else if is_denial
        && !sentence.says_key()
        && let Some(denied) = error_denial::of_request(sentence)
    {
        Some(denied)
    } else if word.is_some() {
        word
    } else if sentence.says_model(not_found()) {
        Some(NotFound)
    } else if sentence.says_current_quota() {
        Some(QuotaExhausted)
    } else if sentence.says_key() {
        Some(KeyRefused)
    } else if is_limit {
        None
    } else if status.is_none() && sentence.says_too_many() {
        Some(RateLimited)
    } else if status.is_none() && sentence.says_busy() {
        Some(Overloaded)
    } else if sentence.says_too_long() {
        Some(ContextTooLong)
    } else if sentence.says_filtered() {
        Some(ContentFiltered)
    } else {
        None
    }
}
