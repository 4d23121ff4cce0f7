//! The headers of an answer that matter, read once from wherever they stand: an HTTP library's map, or a log entry.

use crate::usage::{InvalidUsage, MAX_TOKENS, Usage};

/// The headers with a bucket's limit, what remains of it, and when it is full again.
pub(crate) const BUCKETS: [[&[u8]; 3]; 11] = [
    [b"x-ratelimit-limit-requests", b"x-ratelimit-remaining-requests", b"x-ratelimit-reset-requests"],
    [b"x-ratelimit-limit-tokens", b"x-ratelimit-remaining-tokens", b"x-ratelimit-reset-tokens"],
    [
        b"anthropic-ratelimit-requests-limit",
        b"anthropic-ratelimit-requests-remaining",
        b"anthropic-ratelimit-requests-reset",
    ],
    [b"anthropic-ratelimit-tokens-limit", b"anthropic-ratelimit-tokens-remaining", b"anthropic-ratelimit-tokens-reset"],
    [
        b"anthropic-ratelimit-input-tokens-limit",
        b"anthropic-ratelimit-input-tokens-remaining",
        b"anthropic-ratelimit-input-tokens-reset",
    ],
    [
        b"anthropic-ratelimit-output-tokens-limit",
        b"anthropic-ratelimit-output-tokens-remaining",
        b"anthropic-ratelimit-output-tokens-reset",
    ],
    [b"x-ratelimit-limit-project-tokens", b"x-ratelimit-remaining-project-tokens", b"x-ratelimit-reset-project-tokens"],
    // Cerebras.
    [b"x-ratelimit-limit-requests-day", b"x-ratelimit-remaining-requests-day", b"x-ratelimit-reset-requests-day"],
    [b"x-ratelimit-limit-tokens-minute", b"x-ratelimit-remaining-tokens-minute", b"x-ratelimit-reset-tokens-minute"],
    [b"x-ratelimit-limit", b"x-ratelimit-remaining", b"x-ratelimit-reset"],
    [b"ratelimit-limit", b"ratelimit-remaining", b"ratelimit-reset"],
];

/// The headers in which an upstream says how long to wait, in the order in which they are believed.
pub(crate) const STATED: [&[u8]; 3] = [b"retry-after-ms", b"x-ms-retry-after-ms", b"retry-after"];

/// What Anthropic says of the limits of a subscription, which are of no one kind: whether they are used up (`rejected`), and when the
/// one that is decides no more. Not in its documents; its own clients read them, and many others print them.
const UNIFIED: [&[u8]; 2] = [b"anthropic-ratelimit-unified-status", b"anthropic-ratelimit-unified-reset"];

/// The codings of bodies, by their registered names (IANA, HTTP Content Coding Registry), without those that no upstream of LLMs uses.
const CODINGS: [&str; 10] =
    ["gzip", "x-gzip", "deflate", "br", "zstd", "compress", "x-compress", "dcb", "dcz", "aes128gcm"];

/// The headers in which Bedrock counts the tokens of a whole answer of InvokeModel, whatever the model: input, output, read from the
/// cache and written to it. Source: LiteLLM and dd-trace read the same ones; captured answers have all four.
const BEDROCK_TOKENS: [&[u8]; 4] = [
    b"x-amzn-bedrock-input-token-count",
    b"x-amzn-bedrock-output-token-count",
    b"x-amzn-bedrock-cache-read-input-token-count",
    b"x-amzn-bedrock-cache-write-input-token-count",
];

/// The values of [`BUCKETS`].
pub(crate) type Buckets<'a> = [[Option<&'a str>; 3]; BUCKETS.len()];

/// The headers of an answer that matter to this crate. Of a header that stands several times the first value counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AnswerHeaders<'a> {
    /// The type of the body without its parameters.
    media_type: Option<&'a str>,
    content_encoding: Option<&'a str>,
    pub(crate) date: Option<&'a str>,
    pub(crate) amazon_error: Option<&'a str>,
    pub(crate) stated: [Option<&'a str>; 3],
    /// What is left by the draft of a standard.
    pub(crate) rate_limit: Option<&'a str>,
    /// The values of [`UNIFIED`].
    unified: [Option<&'a str>; 2],
    bedrock_tokens: [Option<&'a str>; 4],
    /// By far the largest part, which many answers do without.
    buckets: Option<Box<Buckets<'a>>>,
}

impl<'a> AnswerHeaders<'a> {
    /// Reads all headers of an answer; names in any case.
    pub fn read(headers: impl IntoIterator<Item = (&'a [u8], &'a str)>) -> Self {
        let mut read = Self::default();
        for (name, value) in headers {
            read.add(name, || Some(value));
        }
        read
    }

    /// Adds one header; one that does not matter is ignored, and its value not asked for. Absent: a value that is no text.
    pub fn add(&mut self, name: &[u8], value: impl FnOnce() -> Option<&'a str>) {
        let Some(field) = Field::named(name) else { return };
        let Some(mut value) = value().map(str::trim) else { return };
        let place = match field {
            Field::ContentType => {
                let end = value.bytes().position(|byte| byte == b';').unwrap_or(value.len());
                value = value.get(..end).unwrap_or(value).trim_end();
                &mut self.media_type
            }
            Field::ContentEncoding => &mut self.content_encoding,
            Field::Date => &mut self.date,
            Field::AmazonError => &mut self.amazon_error,
            Field::RateLimit => &mut self.rate_limit,
            Field::Unified(place) => &mut self.unified[place],
            Field::BedrockTokens(place) => &mut self.bedrock_tokens[place],
            Field::Stated(place) => &mut self.stated[place],
            Field::Bucket(bucket, place) => &mut self.buckets.get_or_insert_default()[bucket][place],
        };
        place.get_or_insert(value);
    }

    /// When the limit of a subscription that is used up opens again (Anthropic).
    pub(crate) fn unified_reset(&self) -> Option<&'a str> {
        let [status, reset] = self.unified;
        reset.filter(|_| status.is_some_and(|status| status.eq_ignore_ascii_case("rejected")))
    }

    /// The values of [`BUCKETS`], if there is any.
    pub(crate) fn buckets(&self) -> Option<&Buckets<'a>> {
        self.buckets.as_deref()
    }

    /// The media type without its parameters, for comparison without regard to case.
    pub fn media_type(&self) -> Option<&'a str> {
        self.media_type.filter(|kind| !kind.is_empty())
    }

    fn is(&self, kind: &str) -> bool {
        self.media_type().is_some_and(|media| media.eq_ignore_ascii_case(kind))
    }

    /// Whether the body is JSON (`application/json`, `…+json`).
    pub fn is_json(&self) -> bool {
        self.media_type().is_some_and(|media| {
            let suffix = media.len().checked_sub(5).and_then(|at| media.get(at..));
            media.eq_ignore_ascii_case("application/json")
                || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case("+json"))
        })
    }

    /// Whether no type is named, or one that says nothing: servers give `text/plain` and `application/octet-stream` to what they have
    /// not typed.
    pub(crate) fn is_untyped(&self) -> bool {
        self.media_type().is_none() || self.is("text/plain") || self.is("application/octet-stream")
    }

    /// Whether the body is sound, an image or a video.
    pub(crate) fn is_media(&self) -> bool {
        let kind = self.media_type().and_then(|media| media.split('/').next());
        kind.is_some_and(|kind| ["audio", "image", "video"].iter().any(|known| kind.eq_ignore_ascii_case(known)))
    }

    /// Whether the body has problem details by RFC 9457.
    pub(crate) fn is_problem(&self) -> bool {
        self.is("application/problem+json")
    }

    /// Whether the body is a page for people: no API answers so, but many a proxy in front of one.
    pub fn is_html(&self) -> bool {
        self.is("text/html")
    }

    /// Whether the body is a stream of server-sent events that can be read, that is, one that is not compressed.
    pub fn is_event_stream(&self) -> bool {
        self.is("text/event-stream") && !self.is_compressed()
    }

    /// Whether the body is a stream in AWS's frames; see [`crate::event_stream`].
    pub fn is_framed(&self) -> bool {
        self.is("application/vnd.amazon.eventstream") && !self.is_compressed()
    }

    /// Whether the body is a stream of JSON objects, one a line, that can be read: Ollama's `application/x-ndjson`, Cohere's
    /// `application/stream+json`.
    pub fn is_json_lines(&self) -> bool {
        const KINDS: [&str; 3] = ["application/x-ndjson", "application/ndjson", "application/stream+json"];
        KINDS.into_iter().any(|kind| self.is(kind)) && !self.is_compressed()
    }

    /// What the headers say that the call used.
    ///
    /// # Errors
    /// It cannot be believed.
    pub fn usage(&self) -> Result<Option<Usage>, InvalidUsage> {
        let [input, output, cache_read, cache_write] = self.bedrock_tokens;
        let Some(input) = input else { return Ok(None) };
        let number = |text: &str| {
            let digits = Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            let number = digits.and_then(|digits| digits.parse().ok()).filter(|number| *number <= MAX_TOKENS);
            number.ok_or(InvalidUsage::Implausible)
        };
        // Embeddings have no output.
        let part = |text: Option<&str>| text.map_or(Ok(0), number);
        let input_uncached = number(input)?;
        let (cache_read, cache_write, output) = (part(cache_read)?, part(cache_write)?, part(output)?);
        Ok(Some(Usage { input_uncached, cache_read, cache_write, output, ..Usage::default() }))
    }

    /// Whether the body is compressed, and so cannot be read here. Names that are no coding, such as `utf-8`, are mistakes.
    pub fn is_compressed(&self) -> bool {
        let is_coding = |name: &str| CODINGS.iter().any(|coding| coding.eq_ignore_ascii_case(name.trim()));
        self.content_encoding.is_some_and(|names| names.split(',').any(is_coding))
    }
}

/// A header that matters; numbers are places in [`STATED`], [`UNIFIED`], [`BEDROCK_TOKENS`] and [`BUCKETS`].
#[derive(Debug, Clone, Copy)]
enum Field {
    ContentType,
    ContentEncoding,
    Date,
    AmazonError,
    Stated(usize),
    RateLimit,
    Unified(usize),
    BedrockTokens(usize),
    Bucket(usize, usize),
}

impl Field {
    /// Most headers are ruled out by their first letter.
    fn named(name: &[u8]) -> Option<Self> {
        let is = |known: &&[u8]| known.eq_ignore_ascii_case(name);
        match name.first()?.to_ascii_lowercase() {
            b'c' if name.eq_ignore_ascii_case(b"content-type") => Some(Self::ContentType),
            b'c' if name.eq_ignore_ascii_case(b"content-encoding") => Some(Self::ContentEncoding),
            b'd' if name.eq_ignore_ascii_case(b"date") => Some(Self::Date),
            b'x' if name.eq_ignore_ascii_case(b"x-amzn-errortype") => Some(Self::AmazonError),
            b'x' if name.get(..7).is_some_and(|start| start.eq_ignore_ascii_case(b"x-amzn-")) => {
                BEDROCK_TOKENS.iter().position(is).map(Self::BedrockTokens)
            }
            b'r' if name.eq_ignore_ascii_case(b"ratelimit") => Some(Self::RateLimit),
            b'a' if name.get(..28).is_some_and(|start| start.eq_ignore_ascii_case(b"anthropic-ratelimit-unified-")) => {
                UNIFIED.iter().position(is).map(Self::Unified)
            }
            b'r' | b'x' | b'a' => STATED.iter().position(is).map(Self::Stated).or_else(|| {
                let places = BUCKETS.iter().map(|names| names.iter().position(is)).enumerate();
                places.filter_map(|(bucket, place)| Some(Self::Bucket(bucket, place?))).next()
            }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(kind: &str) -> AnswerHeaders<'_> {
        AnswerHeaders::read([(&b"CONTENT-TYPE"[..], kind)])
    }

    #[test]
    fn media_types() {
        assert!(content("application/json; charset=utf-8").is_json() && content("Application/Problem+JSON").is_json());
        assert!(!content("application/x-ndjson").is_json() && !content("").is_json());
        assert!(content("text/html").is_html() && content("text/event-stream;charset=UTF-8").is_event_stream());
        let mut packed = content("text/event-stream");
        packed.add(b"content-encoding", || Some("gzip"));
        assert!(packed.is_compressed() && !packed.is_event_stream());
        for (coding, is_compressed) in [
            ("identity, BR", true),
            ("zstd", true),
            ("", false),
            ("identity", false),
            ("UTF-8", false),
            ("none", false),
        ] {
            assert_eq!(
                AnswerHeaders::read([(&b"content-encoding"[..], coding)]).is_compressed(),
                is_compressed,
                "{coding}"
            );
        }
    }

    #[test]
    fn the_first_value_counts_and_the_rest_is_ignored() {
        let headers = [(&b"Date"[..], " a "), (b"date", "b"), (b"X-Ratelimit-Reset", "1"), (b"server", "nginx")];
        let read = AnswerHeaders::read(headers);
        assert_eq!((read.date, read.buckets().unwrap()[9]), (Some("a"), [None, None, Some("1")]));
        let mut read = AnswerHeaders::default();
        for name in [&b"server"[..], b""] {
            read.add(name, || unreachable!("a value that does not matter is not asked for"));
        }
        read.add(b"date", || None);
        assert_eq!(read, AnswerHeaders::default());
    }

    #[test]
    fn what_bedrock_counts_in_its_headers() {
        let of = |headers: &[(&'static [u8], &'static str)]| AnswerHeaders::read(headers.iter().copied()).usage();
        let (input, output) = (&b"X-Amzn-Bedrock-Input-Token-Count"[..], &b"x-amzn-bedrock-output-token-count"[..]);
        let usage = |input_uncached, output| Usage { input_uncached, output, ..Usage::default() };
        assert_eq!(of(&[(input, "28"), (output, "51")]), Ok(Some(usage(28, 51))));
        assert_eq!(of(&[(input, "28")]), Ok(Some(usage(28, 0))), "embeddings");
        let cached = [
            (&b"x-amzn-bedrock-cache-read-input-token-count"[..], "100"),
            (b"x-amzn-bedrock-cache-write-input-token-count", "20"),
        ];
        let expected = Usage { cache_read: 100, cache_write: 20, ..usage(10, 5) };
        assert_eq!(of(&[(input, "10"), (output, "5"), cached[0], cached[1]]), Ok(Some(expected)));
        for headers in
            [&[(input, "-1")][..], &[(input, "9"), (output, "1e3")], &[(input, "")], &[(input, "99999999999")]]
        {
            assert!(of(headers).is_err(), "{headers:?}");
        }
        assert_eq!(of(&[(output, "51")]), Ok(None));
    }
}
