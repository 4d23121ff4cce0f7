//! Which calls ask a vendor to make something: an answer, an image, embeddings. Others read, list, count, keep or delete, and may work
//! where nothing can be made, or the other way round.

use crate::provider::{Operation, without_query};
use crate::request_view::RequestView;

/// Last parts of paths that make nothing, whatever stands before them.
const OTHERS: &[&str] = &[
    "cancel",
    "models",
    // Counts: OpenAI, Anthropic, Google, vLLM, xAI.
    "count_tokens",
    "count-tokens",
    "countTokens",
    "computeTokens",
    "input_tokens",
    "tokenize",
    "tokenize-text",
    "detokenize",
    // Google: where a video or another long operation is, what is to be cached, and what is made later.
    "fetchPredictOperation",
    "cachedContents",
    "batchGenerateContent",
    "asyncBatchEmbedContent",
    // Ollama: its models.
    "show",
    "copy",
    "pull",
    "push",
    // vLLM: its caches, adapters and profiles.
    "reset_mm_cache",
    "reset_prefix_cache",
    "sleep",
    "wake_up",
    "load_lora_adapter",
    "unload_lora_adapter",
    "start_profile",
    "stop_profile",
    // OpenAI: what becomes of a call that came in by telephone.
    "accept",
    "reject",
    "refer",
    "hangup",
];

/// Parts of the paths of what vendors keep, which makes nothing (assumed of a search in a vector store: it is no answer): OpenAI,
/// Anthropic, Ollama.
const KEPT: &[&str] = &[
    "assistants",
    "batchPredictionJobs",
    "batches",
    "blobs",
    "fileSearchStores",
    "files",
    "fine_tuning",
    "uploads",
    "vector_stores",
];

/// Parts of the paths by which keys, people and bills are managed, at OpenAI and at proxies: what an ordinary key may not do.
const MANAGEMENT: &[&str] = &[
    "admin",
    "api_keys",
    "auth",
    "billing",
    "budget",
    "config",
    "credentials",
    "customer",
    "invites",
    "key",
    "keys",
    "login",
    "organization",
    "organizations",
    "team",
    "user",
];

/// Whether a call asks for something to be made. `path`: below the address of the API; it may have a query. `view`: of the same request.
pub fn is_generation(method: &str, path: &str, view: &RequestView<'_>) -> bool {
    if method != "POST" {
        return false;
    }
    let path = without_query(path).trim_matches('/');
    // Whatever stands before it, as a project whose name is one of the words below.
    if !matches!(Operation::of_whole_path(path), Operation::Other | Operation::Models) {
        return true;
    }
    // The names of deployments are none of these.
    let befores = std::iter::once("").chain(path.split('/'));
    let fixed = path.split('/').zip(befores).filter(|(_, before)| !matches!(*before, "deployments" | "engines"));
    let parts: Vec<_> = fixed.map(|(part, _)| part).collect();
    let has = |known: &[&str]| parts.iter().any(|part| known.contains(part));
    if has(&["threads"]) {
        return runs_thread(path);
    }
    if has(&["conversations"]) {
        // OpenAI's are kept for later answers; Mistral's are answered at once, to `inputs`, which OpenAI's do not have.
        return view.field("inputs").is_some();
    }
    let last = path.rsplit(['/', ':']).next().unwrap_or_default();
    // Vertex names Anthropic's count as a model of its own.
    if path.contains("/count-tokens:") {
        return false;
    }
    let is_ollamas_create = path == "api/create" || path.ends_with("/api/create");
    !OTHERS.contains(&last) && !is_ollamas_create && !has(MANAGEMENT) && !has(KEPT)
}

/// Of a thread of OpenAI's Assistants only a run makes something, when it is created and when it gets the results of its tools; what
/// else is done to it keeps messages and names.
fn runs_thread(path: &str) -> bool {
    matches!(path.rsplit('/').next(), Some("runs" | "submit_tool_outputs"))
}
