//! The many names of one model: providers' aliases, regions, dates and versions.

use std::borrow::Cow;

/// The provider under the name that this table uses: LiteLLM's, and the ones of OpenTelemetry's `gen_ai.provider.name`.
pub fn provider(name: &str) -> String {
    let name = name.trim().to_ascii_lowercase();
    let known = match name.as_str() {
        "text-completion-openai" => "openai",
        "azure_text" | "azure-openai" | "azure_openai" | "azureopenai" | "azure.ai.openai" => "azure",
        "azure.ai.inference" | "azure-ai" | "azureai" => "azure_ai",
        "bedrock_converse" | "aws.bedrock" | "aws_bedrock" | "aws-bedrock" | "amazon-bedrock" => "bedrock",
        "google" | "gcp.gemini" | "gcp.gen_ai" | "google-ai-studio" => "gemini",
        "vertex" | "gcp.vertex_ai" | "vertex-ai" | "vertexai" => "vertex_ai",
        "cohere_chat" => "cohere",
        "x_ai" | "x-ai" => "xai",
        "mistral_ai" | "mistralai" | "mistral-ai" => "mistral",
        "together" | "together-ai" => "together_ai",
        "fireworks" | "fireworks-ai" | "fireworks_ai-embedding-models" => "fireworks_ai",
        "moonshotai" | "moonshot_ai" => "moonshot",
        "text-completion-codestral" => "codestral",
        _ if name.starts_with("vertex_ai-") => "vertex_ai",
        other => return other.to_owned(),
    };
    known.to_owned()
}

/// How the names of providers' hosts end; one that begins with a dot has a name of the customer's before it.
static HOSTS: [(&str, &str); 30] = [
    (".openai.azure.com", "azure"),
    (".cognitiveservices.azure.com", "azure"),
    (".services.ai.azure.com", "azure_ai"),
    (".models.ai.azure.com", "azure_ai"),
    ("api.openai.com", "openai"),
    ("api.anthropic.com", "anthropic"),
    ("generativelanguage.googleapis.com", "gemini"),
    ("aiplatform.googleapis.com", "vertex_ai"),
    ("api.mistral.ai", "mistral"),
    ("api.cohere.com", "cohere"),
    ("api.cohere.ai", "cohere"),
    ("api.deepseek.com", "deepseek"),
    ("api.x.ai", "xai"),
    ("api.groq.com", "groq"),
    ("api.together.xyz", "together_ai"),
    ("api.together.ai", "together_ai"),
    ("api.fireworks.ai", "fireworks_ai"),
    ("api.deepinfra.com", "deepinfra"),
    ("api.perplexity.ai", "perplexity"),
    ("api.moonshot.ai", "moonshot"),
    ("api.z.ai", "zai"),
    ("api.minimax.io", "minimax"),
    ("api.cerebras.ai", "cerebras"),
    ("api.sambanova.ai", "sambanova"),
    ("api.voyageai.com", "voyage"),
    ("api.ai21.com", "ai21"),
    (".cloud.databricks.com", "databricks"),
    (".azuredatabricks.net", "databricks"),
    ("dashscope.aliyuncs.com", "dashscope"),
    ("dashscope-intl.aliyuncs.com", "dashscope"),
];

/// The provider that serves at a host, for targets that are called by their address. `None` for hosts of no provider, such as
/// a server of one's own.
pub fn provider_of_host(host: &str) -> Option<&'static str> {
    let is_lower = !host.bytes().any(|letter| letter.is_ascii_uppercase());
    let host = if is_lower { Cow::Borrowed(host) } else { Cow::Owned(host.to_ascii_lowercase()) };
    let is_at = |end: &str| {
        // By their first letters first: this is asked of every call.
        let begins = host.len().checked_sub(end.len()).and_then(|at| host.as_bytes().get(at));
        begins == end.as_bytes().first()
            && host
                .strip_suffix(end)
                .is_some_and(|before| before.is_empty() || end.starts_with('.') || before.ends_with(['.', '-']))
    };
    if host.starts_with("bedrock-runtime.") && (host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn"))
    {
        return Some("bedrock");
    }
    HOSTS.iter().find(|(end, _)| is_at(end)).map(|(_, provider)| *provider)
}

/// Providers by whose prices a name is read that several have and that comes without one: first the makers of models, then the
/// clouds that resell them.
pub(super) const ORDER: [&str; 15] = [
    "openai",
    "anthropic",
    "gemini",
    "mistral",
    "deepseek",
    "xai",
    "cohere",
    "moonshot",
    "zai",
    "dashscope",
    "ai21",
    "voyage",
    "bedrock",
    "vertex_ai",
    "azure",
];

/// Prefixes of Bedrock's inference profiles across regions. A table may have rows for these: they can cost more.
const PROFILES: [&str; 13] = ["us-gov", "us", "eu", "apac", "ap", "global", "jp", "au", "in", "ca", "sa", "me", "af"];
/// Data zones and deployment types of Azure, as LiteLLM has them in names.
const ZONES: [&str; 4] = ["us", "eu", "global", "global-standard"];

/// A model's name without what is never part of it, in lower case: `models/gemini-2.5-pro`, the path of a Vertex model, an ARN.
pub(super) fn bare(model: &str) -> String {
    let model = model.trim().trim_matches('/').to_ascii_lowercase();
    // Most names have no slash, and the search for a longer text takes time to begin.
    let path = if model.contains('/') { model.rsplit_once("/models/") } else { None };
    let inner = match path {
        // Fireworks has this in its names.
        Some((before, last)) if !before.contains("accounts/") => last,
        _ if model.starts_with("arn:") => model.rsplit_once('/').map_or(model.as_str(), |(_, last)| last),
        _ => model.strip_prefix("models/").unwrap_or(&model),
    };
    // ft:gpt-4o-mini-2024-07-18:org::id
    if let Some(tuned) = inner.strip_prefix("ft:") {
        return format!("ft:{}", tuned.split(':').next().unwrap_or(tuned));
    }
    inner.to_owned()
}

/// The names under which a table may have a model, the most precise one first.
pub(super) fn candidates(model: &str) -> impl Iterator<Item = &str> {
    // Most models are found by their first name, so that each further one is made only when it is asked for.
    let (mut place, mut last) = (model, None);
    std::iter::from_fn(move || {
        let next = match last {
            None => Some(place),
            Some(name) => without_version(name).or_else(|| {
                place = without_place(place)?;
                Some(place)
            }),
        }?;
        last = Some(next);
        Some(next)
    })
}

/// The shortest of a name's candidates without its date and version; `None` if it has none.
pub(super) fn undated(model: &str) -> Option<&str> {
    let mut name = without_version(model)?;
    while let Some(shorter) = without_version(name) {
        name = shorter;
    }
    Some(name)
}

/// Without one prefix of a region or of a maker that the provider's own names leave out.
fn without_place(model: &str) -> Option<&str> {
    if let Some((first, rest)) = model.split_once('/') {
        let is_region = first.split('-').count() >= 3 && first.ends_with(|last: char| last.is_ascii_digit());
        let skipped = is_region || ZONES.contains(&first) || first == "google";
        return (skipped && !rest.is_empty()).then_some(rest);
    }
    let (first, rest) = model.split_once('.')?;
    // us.anthropic.claude-…, and not a version such as 4.5.
    (PROFILES.contains(&first) && rest.contains('.')).then_some(rest)
}

/// Without one suffix of a date, a version or a moving tag. A model tuned by a customer has a price of its own.
fn without_version(model: &str) -> Option<&str> {
    if model.starts_with("ft:") {
        return None;
    }
    if let Some((name, _)) = model.split_once('@') {
        return Some(name).filter(|name| !name.is_empty());
    }
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    // Bedrock's -v1:0.
    if let Some((name, revision)) = model.rsplit_once(':') {
        let number = name.rsplit_once("-v").filter(|(_, version)| version.bytes().all(|byte| byte.is_ascii_digit()));
        return number.filter(|_| digits(revision, 1)).map(|(name, _)| name);
    }
    let (name, last) = model.rsplit_once('-')?;
    // -001 is a version of Gemini's; -2411 is another model of Mistral's.
    if last == "latest" || digits(last, 8) || (digits(last, 3) && last.starts_with('0')) {
        return Some(name);
    }
    if digits(last, 2) {
        let (name, month) = name.rsplit_once('-')?;
        let (name, year) = name.rsplit_once('-')?;
        return (digits(month, 2) && digits(year, 4)).then_some(name);
    }
    None
}

/// Azure writes 35 for 3.5.
pub(super) fn with_dots(model: &str) -> Option<String> {
    model.contains("gpt-35").then(|| model.replace("gpt-35", "gpt-3.5"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_from_the_most_precise_to_the_least() {
        for (model, names) in [
            ("gpt-4o", &["gpt-4o"][..]),
            ("gpt-4o-2024-08-06", &["gpt-4o-2024-08-06", "gpt-4o"]),
            ("claude-sonnet-4-5-20250929", &["claude-sonnet-4-5-20250929", "claude-sonnet-4-5"]),
            ("claude-haiku-4-5@20251001", &["claude-haiku-4-5@20251001", "claude-haiku-4-5"]),
            ("models/gemini-2.0-flash-001", &["gemini-2.0-flash-001", "gemini-2.0-flash"]),
            ("google/gemini-2.5-pro", &["google/gemini-2.5-pro", "gemini-2.5-pro"]),
            ("projects/p/locations/l/publishers/google/models/gemini-2.5-pro", &["gemini-2.5-pro"]),
            (
                "us.anthropic.claude-3-haiku-20240307-v1:0",
                &[
                    "us.anthropic.claude-3-haiku-20240307-v1:0",
                    "us.anthropic.claude-3-haiku-20240307",
                    "us.anthropic.claude-3-haiku",
                    "anthropic.claude-3-haiku-20240307-v1:0",
                    "anthropic.claude-3-haiku-20240307",
                    "anthropic.claude-3-haiku",
                ],
            ),
            (
                "arn:aws:bedrock:us-east-1:1:foundation-model/amazon.nova-lite-v1:0",
                &["amazon.nova-lite-v1:0", "amazon.nova-lite"],
            ),
            ("us-east-1/amazon.nova-lite", &["us-east-1/amazon.nova-lite", "amazon.nova-lite"]),
            ("eu/gpt-4o", &["eu/gpt-4o", "gpt-4o"]),
            ("mistral-large-2411", &["mistral-large-2411"]),
            ("gpt-3.5-turbo", &["gpt-3.5-turbo"]),
            ("ft:gpt-4o-mini-2024-07-18:org::id", &["ft:gpt-4o-mini-2024-07-18"]),
            ("meta-llama/Llama-3.3-70B", &["meta-llama/llama-3.3-70b"]),
            ("accounts/fireworks/models/kimi-k2", &["accounts/fireworks/models/kimi-k2"]),
            ("", &[""]),
        ] {
            assert_eq!(candidates(&bare(model)).collect::<Vec<_>>(), names, "{model}");
        }
    }

    #[test]
    fn providers_by_their_hosts() {
        for (host, provider) in [
            ("api.openai.com", Some("openai")),
            ("eu.api.openai.com", Some("openai")),
            ("my-resource.openai.azure.com", Some("azure")),
            ("API.Anthropic.com", Some("anthropic")),
            ("europe-west4-aiplatform.googleapis.com", Some("vertex_ai")),
            ("bedrock-runtime.us-east-1.amazonaws.com", Some("bedrock")),
            ("notapi.openai.com", None),
            ("api.openai.com.evil.example", None),
            ("localhost", None),
            ("", None),
        ] {
            assert_eq!(provider_of_host(host), provider, "{host}");
        }
    }

    proptest! {
        #[test]
        fn no_name_panics_or_goes_on_for_ever(model in ".{0,80}", parts in "((us|eu|google)[./]|[a-z0-9@:./-]){0,40}") {
            for model in [model, parts] {
                let bare = bare(&model);
                prop_assert!(candidates(&bare).count() <= 1 + bare.len() * bare.len());
                let _ = undated(&bare);
            }
        }
    }
}
