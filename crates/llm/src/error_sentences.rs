//! The sentences by which vendors say what is wrong.
//!
//! They are no protocol: a vendor may quote what the caller sent. So a sentence decides against a target (its key, its quota, its
//! model) only by its *beginning*, quotations left out; what is the caller's fault anyway may be found anywhere in it.

/// Beginnings by which a vendor says that our account has nothing left.
const QUOTA: &[&str] = &[
    "your credit balance is too low",
    "billing hard limit has been reached",
    "insufficient balance",
    "insufficient credits",
    "insufficient account balance",
    // Novita.
    "not enough balance",
    "you have exceeded your monthly included credits",
    "you have run out of credits",
    "your account is not active, please check your billing",
    "your account is in arrears",
    "your prepayment credits are depleted",
    "sorry, your account balance is insufficient",
    "your newly created team doesn't have any credits",
    "key limit exceeded",
    "your project has exceeded its monthly spending cap",
    "out of call volume quota",
    // Anthropic, of accounts that pay by subscription.
    "you're out of extra usage",
    "third-party apps now draw from your extra usage",
];
/// The same, where the end of the sentence varies: one of [`LIMITS`] must follow.
const QUOTA_LIMIT: &[&str] = &[
    "you have reached your",
    "you've reached your",
    "your organization has reached",
    "your workspace has reached",
    "your account has reached",
    "account ",
    "your team",
    "this organization has reached",
    "this workspace has reached",
    "you are using a trial key",
];
const LIMITS: &[&str] = &["usage limit", "spend", "credit", "billing", "calls / month"];

/// How Ollama's cloud begins, before it says whose limit it is and what the account has reached:
/// `you (NAME) have reached your weekly usage limit, upgrade for higher limits` (ollama/ollama#13028, continuedev/continue#11444).
const NAMED_ACCOUNT: &str = "you (";

/// Beginnings by which a server says that it has too much to do: Ollama's queue (`server/sched.go`), its runner, and its cloud
/// (ollama/ollama#4124, #15934).
const BUSY: &[&str] = &["server busy", "server overloaded", "llm busy", "unexpected server status: llm busy"];

/// Beginnings by which a vendor refuses our key, account or region.
const KEY: &[&str] = &[
    "api key not valid",
    "api key not found",
    "api key expired",
    "invalid api key",
    "incorrect api key",
    "invalid authentication",
    "authentication error - expired key",
    "api key is currently blocked",
    "user location is not supported",
    "gemini api free tier is not available in your country",
    "this organization has been disabled",
    "your organization has been disabled",
    "the security token included in the request",
    // Gemini's endpoint in OpenAI's form, where it cannot read the key.
    "missing or invalid authorization header",
    "missing authorization header",
    "invalid authorization header",
];

/// Beginnings of a sentence about a model, of which one of [`MISSING`] must follow.
const MODEL: &[&str] = &[
    "model ",
    "models/",
    "the model ",
    "the requested model",
    "this model ",
    "publisher model",
    "the api deployment for this resource",
    "the provided model identifier",
    "could not resolve the foundation model",
    "no endpoints found",
    "no allowed providers are available for the selected model",
    "not found the model",
    "invocation of model id",
    "invalid model",
    "unknown model",
    "unsupported model",
    "unable to access model",
    "access to anthropic models",
    "no such model",
    // MiniMax.
    "invalid params, unknown model",
    // Gemini.
    "* generatecontentrequest.model: unexpected model name",
    // Zhipu: "the model does not exist".
    "\u{6a21}\u{578b}\u{4e0d}\u{5b58}\u{5728}",
];
const MISSING: &[&str] = &[
    "not exist",
    "not found",
    "not available",
    "no longer available",
    "no longer supported",
    "no longer accessible",
    "end of life",
    "end of its life",
    "was deprecated on",
    "was removed on",
    "not supported for",
    "decommissioned",
    "has been deprecated",
    "identifier is invalid",
    "could not resolve",
    "no endpoints",
    "no allowed providers",
    "on-demand throughput",
    "not allowed from unsupported countries",
    "invalid model",
    "unknown model",
    "unsupported model",
    "unable to access",
    "no such model",
    "not servable in",
    "unexpected model name",
    "\u{6a21}\u{578b}\u{4e0d}\u{5b58}\u{5728}",
];

/// Parts of sentences that say that the request is too long.
const TOO_LONG: &[&str] = &[
    "maximum context length",
    "context length",
    "context window",
    "context limit",
    "context size",
    "prompt is too long",
    "input is too long",
    "too many tokens",
    "exceeds the maximum number of tokens",
    "maximum prompt length",
    "reduce the length of the messages",
    // OpenAI's embeddings, Moonshot, vLLM, DashScope.
    "maximum input length is",
    "exceeded model token limit",
    "maximum model length",
    "range of input length should be",
    // Vertex, Gemini.
    "but the model only supports up to",
    "request payload size exceeds the limit",
    // Bedrock's Titan, and Nova (assumed: that of Nova as it is remembered).
    "expected maxlength:",
    "too many input tokens",
    "input tokens exceed",
    // assumed: Hugging Face's TGI, without what it quotes: "`inputs` tokens + `max_new_tokens` must be", "`inputs` must have less
    // than 1024 tokens".
    "input validation error:  tokens +  must be <=",
    "input validation error:  must have less than",
    // OpenRouter: what is left of the credit is enough for shorter answers, or for shorter prompts.
    "requires more credits, or fewer max_tokens",
    "prompt tokens limit exceeded",
    // llama.cpp, of embeddings: `input (700 tokens) is too large to process. increase the physical batch size`.
    "too large to process",
];

/// Parts of sentences that say that the content was refused.
const FILTERED: &[&str] = &[
    "content filtering policy",
    "content management policy",
    "content exists risk",
    // OpenRouter: `… requires moderation on Amazon Bedrock. Your input was flagged for …`.
    "input was flagged",
    // OpenAI.
    "flagged as potentially violating our usage policy",
    // assumed: Bedrock, Google's Imagen.
    "blocked by our content filters",
    "responsible ai practices",
    "violates usage guidelines",
    "the prompt could not be submitted",
    "rejected by the safety system",
    "rejected as a result of our safety system",
    // Cohere's 498 (docs.cohere.com, errors): `the request or response contains a deny-listed token.`
    "deny-listed token",
];

/// Beginnings of a sentence about a limit on calls or tokens per minute.
const TOO_MANY: &[&str] = &[
    "too many requests",
    "too many concurrent requests",
    "too many tokens, please wait",
    "tokens per minute limit",
    "requests per minute limit",
    "rate limit",
];

/// Ends of a sentence that begins with the name of a model, as the caller wrote it.
const NO_MODEL: &[&str] = &["is not a valid model id", "is not a valid model", "is not a chat model"];

/// Ends of a sentence of Ollama's that begins with the name of a model, by which it is there and does not do what is asked of it.
const OTHER_OPERATION: &[&str] = &[
    "does not support chat",
    "does not support generate",
    "does not support insert",
    "does not support thinking",
    "does not support tools",
];

/// Beginnings of sentences by which a model is there and those who serve it do not do what is asked, or not for our account: OpenRouter
/// (whose "No endpoints found for NAME" is of a model that is missing), OpenAI of what needs an organization that is verified; and LM
/// Studio of a path that it does not have.
const OTHER_REQUEST: &[&str] = &[
    "no endpoints found that support",
    "no endpoints found that can handle",
    "no endpoints found matching",
    "your organization must be verified to",
    "unexpected endpoint or method",
];

/// A sentence in the form in which it is compared: lower case, quotations left out.
#[derive(Debug)]
pub(crate) struct Sentence(String);

impl Sentence {
    pub(crate) fn new(message: &str) -> Self {
        let mut plain = String::with_capacity(message.len());
        let mut quote = None;
        let mut before = ' ';
        for letter in message.trim_start().chars() {
            match quote {
                // An apostrophe inside a word is no quotation mark.
                None if matches!(letter, '`' | '"') || (letter == '\'' && !before.is_alphanumeric()) => {
                    quote = Some(letter);
                }
                None => plain.extend(letter.to_lowercase()),
                Some(mark) if mark == letter => quote = None,
                Some(_) => {}
            }
            before = letter;
        }
        Self(plain)
    }

    pub(crate) fn begins(&self, with: &[&str]) -> bool {
        with.iter().any(|beginning| self.0.starts_with(beginning))
    }

    pub(crate) fn has(&self, parts: &[&str]) -> bool {
        parts.iter().any(|part| self.0.contains(part))
    }

    /// Whether one of its words begins with one of these.
    pub(crate) fn has_word(&self, beginnings: &[&str]) -> bool {
        self.0
            .split(|letter: char| !letter.is_alphanumeric())
            .any(|word| beginnings.iter().any(|beginning| word.starts_with(beginning)))
    }

    /// It begins with a model; LiteLLM's proxy writes the path in front: `/chat/completions: Invalid model name …`.
    pub(crate) fn is_about_model(&self) -> bool {
        let behind_path = || {
            let (path, rest) = self.0.strip_prefix('/')?.split_once(": ")?;
            (!path.contains(' ')).then(|| MODEL.iter().any(|beginning| rest.starts_with(beginning)))
        };
        self.begins(MODEL) || behind_path().unwrap_or(false)
    }

    /// Our account has nothing left.
    pub(crate) fn says_quota(&self) -> bool {
        let after_name = || self.0.strip_prefix(NAMED_ACCOUNT)?.split_once(')').map(|(_, rest)| rest);
        let is_named = || after_name().is_some_and(|rest| rest.starts_with(" have reached your"));
        self.begins(QUOTA) || (self.has(LIMITS) && (self.begins(QUOTA_LIMIT) || is_named()))
    }

    /// The server has too much to do.
    pub(crate) fn says_busy(&self) -> bool {
        self.begins(BUSY)
    }

    /// The same in OpenAI's words, which Gemini uses of a rate limit as well: only without any word beside it.
    pub(crate) fn says_current_quota(&self) -> bool {
        self.begins(&["you exceeded your current quota"])
    }

    /// Our key, account or region is refused.
    pub(crate) fn says_key(&self) -> bool {
        self.begins(KEY)
    }

    /// The model is missing. `not_found`: the answer says by its status or type that something is.
    pub(crate) fn says_model(&self, not_found: bool) -> bool {
        (self.is_about_model() && self.has(MISSING)) || (not_found && self.begins(&["model:"]))
    }

    /// What it begins with is no model; that is the caller's, and may say anything.
    pub(crate) fn names_no_model(&self) -> bool {
        let sentence = self.0.trim_end_matches('.');
        NO_MODEL.iter().any(|end| sentence.ends_with(end))
    }

    /// The model does something else than what is asked of it.
    pub(crate) fn says_unsupported(&self) -> bool {
        OTHER_OPERATION.iter().any(|end| self.0.ends_with(end)) || self.begins(OTHER_REQUEST)
    }

    /// The model is there, and not for our account, whatever the status is: Vertex, OpenAI, Bedrock, which may say no more than that an
    /// operation is not allowed (aws/aws-cli#8717, aws-samples/amazon-bedrock-audio-summarizer#3).
    pub(crate) fn says_account_may_not_use_model(&self) -> bool {
        (self.begins(&["project "]) && self.has(&["is not allowed to use publisher model"]))
            || self.begins(&[
                "your organization must be verified to use the model",
                "your account is not authorized to invoke",
            ])
            || self.0.trim_end_matches('.') == "operation not allowed"
    }

    /// What the request refers to was made with another account: `Files [file-2] were not found due to ownership verification failure.`
    /// (OpenAI, Azure: BerriAI/litellm#25759).
    pub(crate) fn says_made_elsewhere(&self) -> bool {
        self.has(&["not found due to ownership verification failure"])
    }

    /// Gemini: a limit of the model is none at all for our account, so no waiting helps.
    pub(crate) fn says_limit_of_none(&self) -> bool {
        self.has(&["limit: 0, model:"])
    }

    /// A limit on calls or tokens per minute is reached.
    pub(crate) fn says_too_many(&self) -> bool {
        self.begins(TOO_MANY)
    }

    /// The request is larger than a limit per minute ever allows, or than our plan does (Anthropic): waiting does not help.
    pub(crate) fn says_never_fits(&self) -> bool {
        self.begins(&["request too large for", "extra usage is required for long context"])
    }

    /// The request is too long.
    pub(crate) fn says_too_long(&self) -> bool {
        self.has(TOO_LONG)
    }

    /// The content was refused.
    pub(crate) fn says_filtered(&self) -> bool {
        self.has(FILTERED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotations_are_left_out() {
        for (message, plain) in [
            ("The model `gpt-5` doesn't exist", "the model  doesn't exist"),
            ("Invalid value: 'it is' \"b", "invalid value:  "),
            ("  Don't", "don't"),
        ] {
            assert_eq!(Sentence::new(message).0, plain);
        }
    }
}
