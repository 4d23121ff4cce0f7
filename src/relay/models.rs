//! `GET …/models`: what a pool can serve, where its settings say that of all its targets. No target is called for it.

use bytes::Bytes;
use hyper::Response;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use llm::provider::Operation;
use serde_json::{Value, json};

use super::proxy_body::ProxyBody;

/// Whether what follows the ingress is a list of models in OpenAI's form; Gemini has another one.
pub(super) fn is_list(subpath: &str) -> bool {
    let path = subpath.trim_matches('/');
    let first = path.split('/').next().unwrap_or_default();
    Operation::of_path(path) == Operation::Models && !first.starts_with("v1beta")
}

/// The list in OpenAI's form. The field `created` is there because clients require it; the real time is unknown.
pub(super) fn list(models: &[String]) -> Response<ProxyBody> {
    let entry = |model| json!({"id": model, "object": "model", "created": 0, "owned_by": "broker"});
    let data: Vec<Value> = models.iter().map(entry).collect();
    let body = Bytes::from(json!({"object": "list", "data": data}).to_string());
    let mut response = Response::new(ProxyBody::buffered([body]));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_lists() {
        for path in ["models", "/models", "models/", "v1/models", "openai/v1/models", "openai/models"] {
            assert!(is_list(path), "{path}");
        }
        for path in [
            "",
            "models/gpt-4",
            "v1/model",
            "v1beta/models",
            "v1beta1/models",
            "xmodels",
            "models/x/y",
            "fine_tuning/models",
        ] {
            assert!(!is_list(path), "{path}");
        }
    }
}
