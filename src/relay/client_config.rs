//! `x-portkey-config`: a strategy that a client sends along, in the form of Portkey's gateway, over the targets of a pool that
//! allows it. It names targets of the pools file, and never an address or a key.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::HeaderMap;
use hyper::http::request::Parts;
use llm::sigv4::sha256_hex;
use serde_json::{Map, Value};

use super::local_reply::LocalReply;
use super::{Relay, headers};
use balancer::broker::ClientTree;
use balancer::strategy::{Policy, Target, TargetKind};
use types::outcome::FailureRule;
use types::request::Patch;
use types::router::RouterPath;

/// The header.
const HEADER: &str = "x-portkey-config";
/// The beginning of all headers that clients of Portkey send; none of them is a vendor's.
const HEADERS: &str = "x-portkey-";
const MAX_DEPTH: usize = 8;
const MAX_TARGETS: usize = 128;
/// The memory of the parameters of all targets of one config, about, in bytes; 256 configs are kept.
const MAX_PARAMS_BYTES: usize = 512 << 10;
const MAX_FAULTS: usize = 16;
/// Retries of one target; Portkey has 5 at most.
const MAX_RETRIES: u64 = 20;
const KEYS: [&str; 8] =
    ["strategy", "targets", "weight", "name", "virtual_key", "provider", "override_params", "retry"];
/// The beginnings of keys that say where a vendor is, or who calls it.
const VENDOR_KEYS: [&str; 11] = [
    "api_key",
    "custom_host",
    "url",
    "base_url",
    "headers",
    "forward_headers",
    "authorization",
    "aws_",
    "azure_",
    "vertex_",
    "openai_",
];

/// The tree that the client of this call asks for; `None` where it asks for none or its pool does not allow that.
///
/// # Errors
/// All that is wrong with it, for the client.
pub(super) fn of_call(
    relay: &Relay,
    ingress: &RouterPath,
    headers: &HeaderMap,
) -> Result<Option<Arc<ClientTree>>, LocalReply> {
    let Some(config) = headers.get(HEADER).filter(|_| relay.rules().allows_client_config(ingress)) else {
        return Ok(None);
    };
    let digest = sha256_hex(config.as_bytes());
    if let Some(tree) = relay.broker.client_tree(ingress, &digest) {
        return Ok(Some(tree));
    }
    let (settings, generation) = relay.broker.numbered_settings();
    let pool = settings.pool(ingress).ok_or(LocalReply::NoPool)?;
    let (root, attempts) = read(config.as_bytes(), &pool.root).map_err(LocalReply::ClientConfig)?;
    Ok(Some(Arc::new(ClientTree { ingress: ingress.clone(), digest, root, attempts, generation })))
}

/// A request's head without what clients of Portkey's say to the gateway alone.
pub(super) fn without_headers(head: &Parts) -> Parts {
    let mut head = head.clone();
    headers::remove_where(&mut head.headers, |name| name.as_str().starts_with(HEADERS));
    head
}

/// Reads a config over the targets below `base`: the tree, and how often it allows a call to be sent.
fn read(config: &[u8], base: &Target) -> Result<(Target, u32), Vec<String>> {
    let text = if config.trim_ascii_start().starts_with(b"{") {
        Cow::Borrowed(config)
    } else {
        Cow::Owned(STANDARD.decode(config.trim_ascii()).unwrap_or_default())
    };
    let form = "must be a JSON object such as {\"strategy\": {\"mode\": \"fallback\"}, \"targets\": [{\"virtual_key\": \
                \"…\"}]}, or that in base64; ids of stored configs (pc-…) are not known here";
    let Ok(Value::Object(config)) = serde_json::from_slice(&text) else { return Err(vec![form.to_owned()]) };
    let mut reading = Reading { base, targets: 0, attempts: 0, size: 0, is_too_large: false, faults: Vec::new() };
    let root = reading.target(&config, "", &Inherited::default());
    match root {
        Some(root) if reading.faults.is_empty() => {
            let root = match root.kind {
                TargetKind::Branch { .. } => root,
                TargetKind::Router(_) => {
                    Target::plain(TargetKind::Branch { policy: Policy::Fallback, targets: vec![root] })
                }
            };
            Ok((root, reading.attempts))
        }
        _ => {
            reading.faults.truncate(MAX_FAULTS);
            Err(reading.faults)
        }
    }
}

/// What a value takes in memory, about, in bytes.
fn size(value: &Value) -> usize {
    /// An object with one field takes some 600 bytes.
    const PER_VALUE: usize = 600;
    PER_VALUE
        + match value {
            Value::String(text) => text.len(),
            Value::Array(values) => values.iter().map(size).sum(),
            Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + size(value)).sum(),
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        }
}

/// What holds for the targets below.
#[derive(Debug, Clone, Default)]
struct Inherited {
    depth: usize,
    params: Map<String, Value>,
    retry_on: Option<FailureRule>,
    retries: u32,
}

struct Reading<'b> {
    base: &'b Target,
    targets: usize,
    attempts: u32,
    /// The memory of all parameters so far, about, in bytes.
    size: usize,
    is_too_large: bool,
    faults: Vec<String>,
}

impl Reading<'_> {
    fn fault(&mut self, path: &str, key: &str, problem: &str) {
        let dot = if path.is_empty() || key.is_empty() { "" } else { "." };
        self.faults.push(format!("{path}{dot}{key} {problem}").trim_start().to_owned());
    }

    fn target(&mut self, item: &Map<String, Value>, path: &str, above: &Inherited) -> Option<Target> {
        self.targets += 1;
        if self.targets > MAX_TARGETS || above.depth > MAX_DEPTH {
            let problem = format!("is too much: a config has at most {MAX_TARGETS} targets, in {MAX_DEPTH} levels");
            if self.targets <= MAX_TARGETS + 1 {
                self.fault(path, "", &problem);
            }
            return None;
        }
        self.check_keys(item, path);
        let weight = match item.get("weight").map(|weight| weight.as_f64().filter(|weight| *weight >= 0.0)) {
            None => 1.0,
            Some(Some(weight)) => weight,
            Some(None) => {
                self.fault(path, "weight", "must be a number, 0 or larger");
                1.0
            }
        };
        let mut above = Inherited { depth: above.depth + 1, ..above.clone() };
        match item.get("override_params") {
            None => {}
            Some(Value::Object(params)) => above.params.extend(params.clone()),
            Some(_) => self.fault(path, "override_params", "must be an object such as {\"max_tokens\": 200}"),
        }
        self.retry(item, path, &mut above);
        let name = item.get("name").and_then(Value::as_str).map(str::to_owned);
        let target =
            if item.contains_key("targets") { self.branch(item, path, &above) } else { self.leaf(item, path, &above) }?;
        Some(Target { weight, name: name.or_else(|| target.name.clone()), ..target })
    }

    fn check_keys(&mut self, item: &Map<String, Value>, path: &str) {
        for key in item.keys().filter(|key| !KEYS.contains(&key.as_str())) {
            let key: String = key.chars().take(40).collect();
            if VENDOR_KEYS.iter().any(|known| key.starts_with(known)) {
                let problem = "is not taken from clients: addresses and keys are those of the pools file; name one of \
                               its targets by virtual_key or provider";
                self.fault(path, &key, problem);
            } else {
                self.fault(path, &key, &format!("is not supported; there are {}", KEYS.join(", ")));
            }
        }
    }

    fn retry(&mut self, item: &Map<String, Value>, path: &str, above: &mut Inherited) {
        let Some(retry) = item.get("retry") else { return };
        let Some(retry) = retry.as_object() else {
            return self.fault(path, "retry", "must be an object such as {\"attempts\": 2}");
        };
        let attempts = retry.get("attempts").and_then(Value::as_u64).filter(|attempts| *attempts <= MAX_RETRIES);
        match attempts.and_then(|attempts| u32::try_from(attempts).ok()) {
            Some(attempts) => above.retries = attempts,
            None => {
                self.fault(path, "retry.attempts", &format!("must be a whole number from 0 to {MAX_RETRIES}"));
            }
        }
        self.statuses(retry, path, "retry.on_status_codes", above);
    }

    /// Reads `on_status_codes`.
    fn statuses(&mut self, item: &Map<String, Value>, path: &str, key: &str, above: &mut Inherited) {
        let Some(list) = item.get("on_status_codes") else { return };
        let codes: Option<Vec<_>> =
            list.as_array().map(|list| list.iter().filter_map(Value::as_u64).map(|code| code.to_string()).collect());
        let is_whole = codes.as_ref().map(Vec::len) == list.as_array().map(Vec::len);
        let rule = codes.filter(|_| is_whole).and_then(|codes| FailureRule::parse(&codes.join(",")).ok());
        match rule {
            Some(rule) => {
                above.retry_on = Some(match above.retry_on.take() {
                    Some(before) => before.union(rule),
                    None => rule,
                });
            }
            None => self.fault(path, key, "must be a list of statuses from 400 to 599, such as [429, 503]"),
        }
    }

    fn branch(&mut self, item: &Map<String, Value>, path: &str, above: &Inherited) -> Option<Target> {
        let empty = Map::new();
        let strategy = match item.get("strategy") {
            None => &empty,
            Some(Value::Object(strategy)) => strategy,
            Some(_) => {
                self.fault(path, "strategy", "must be an object such as {\"mode\": \"fallback\"}");
                &empty
            }
        };
        let mut above = above.clone();
        self.statuses(strategy, path, "strategy.on_status_codes", &mut above);
        for key in strategy.keys().filter(|key| !matches!(key.as_str(), "mode" | "on_status_codes")) {
            let key: String = key.chars().take(40).collect();
            self.fault(path, &format!("strategy.{key}"), "is not supported; there are mode, on_status_codes");
        }
        let list = item.get("targets").and_then(Value::as_array).filter(|list| !list.is_empty());
        let Some(list) = list else {
            self.fault(path, "targets", "must be a list of targets");
            return None;
        };
        let policy = match strategy.get("mode").map(|mode| mode.as_str().unwrap_or_default()) {
            Some("loadbalance") => Policy::LoadBalance,
            Some("fallback") => Policy::Fallback,
            Some("single") | None if list.len() == 1 => Policy::Fallback,
            _ => {
                let problem = "must be loadbalance, fallback, or, with one target, single; conditions belong into the \
                               pools file";
                self.fault(path, "strategy.mode", problem);
                Policy::Fallback
            }
        };
        let dot = if path.is_empty() { "" } else { "." };
        let mut targets = Vec::new();
        for (place, target) in list.iter().enumerate() {
            let path = format!("{path}{dot}targets[{place}]");
            match target.as_object() {
                Some(target) => targets.extend(self.target(target, &path, &above)),
                None => self.fault(&path, "", "must be an object such as {\"virtual_key\": \"…\"}"),
            }
        }
        Some(Target::plain(TargetKind::Branch { policy, targets }))
    }

    fn leaf(&mut self, item: &Map<String, Value>, path: &str, above: &Inherited) -> Option<Target> {
        if item.contains_key("strategy") {
            self.fault(path, "strategy", "needs targets");
        }
        let Some(key) = ["virtual_key", "provider"].into_iter().find(|key| item.contains_key(*key)) else {
            self.fault(
                path,
                "",
                "needs a virtual_key or a provider, the name of a target of the pools file, or targets",
            );
            return None;
        };
        let name = item.get(key).and_then(Value::as_str).unwrap_or_default();
        let wanted = name.strip_prefix('@').unwrap_or(name);
        let leaves = leaves(self.base);
        let Some((_, found)) = leaves.iter().find(|(called, _)| *called == wanted) else {
            let names: Vec<_> = leaves.iter().map(|(called, _)| *called).collect();
            self.fault(path, key, &format!("names no target of this pool; there are {}", names.join(", ")));
            return None;
        };
        self.attempts = self.attempts.saturating_add(1 + above.retries);
        self.size += above.params.values().map(size).sum::<usize>();
        if self.size > MAX_PARAMS_BYTES {
            if !self.is_too_large {
                self.fault(
                    path,
                    "override_params",
                    "are too large: those of all targets together take too much memory",
                );
            }
            self.is_too_large = true;
            return None;
        }
        let mut merge = above.params.clone();
        // What the file says of its target holds.
        merge.extend(found.patch.merge.clone());
        let patch = Arc::new(Patch { merge, model_map: found.patch.model_map.clone() });
        let retry_on = above.retry_on.clone().map(Arc::new).or_else(|| found.retry_on.clone());
        Some(Target { patch, retry_on, ..Target::clone(found) })
    }
}

/// The leaves below a target, each with what it is called: its name, or else its path.
fn leaves(target: &Target) -> Vec<(&str, &Target)> {
    match &target.kind {
        TargetKind::Router(path) => vec![(target.name.as_deref().unwrap_or(path.as_str()), target)],
        TargetKind::Branch { targets, .. } => targets.iter().flat_map(leaves).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use serde_json::json;

    fn base() -> Target {
        let leaf = |name: &str, merge: Value| {
            let path = RouterPath::parse(&format!("/llm/{name}/")).unwrap();
            let Value::Object(merge) = merge else { panic!("an object") };
            let patch = Arc::new(Patch { merge, ..Patch::default() });
            Target { name: Some(name.to_owned()), patch, ..Target::plain(TargetKind::Router(path)) }
        };
        let targets = vec![leaf("a", json!({"model": "ours"})), leaf("b", json!({}))];
        Target::plain(TargetKind::Branch { policy: Policy::LoadBalance, targets })
    }

    #[test]
    fn a_nested_config_is_a_tree_over_the_targets_of_the_pool() {
        let config = json!({"strategy": {"mode": "loadbalance"}, "override_params": {"model": "theirs", "n": 1}, "targets": [
            {"virtual_key": "a", "weight": 0, "override_params": {"max_tokens": 5}},
            {"weight": 0.5, "strategy": {"mode": "fallback", "on_status_codes": [429]},
             "targets": [{"provider": "@b", "retry": {"attempts": 2}}, {"provider": "a"}]},
        ]});
        for text in [config.to_string(), STANDARD.encode(config.to_string())] {
            let (root, attempts) = read(text.as_bytes(), &base()).unwrap();
            assert_eq!(attempts, 5, "one at each target, and two more at one");
            let TargetKind::Branch { policy: Policy::LoadBalance, targets } = root.kind else { panic!("{root:?}") };
            assert_eq!((targets[0].weight, targets[1].weight), (0.0, 0.5));
            let merged = Value::Object(targets[0].patch.merge.clone());
            assert_eq!(merged, json!({"model": "ours", "n": 1, "max_tokens": 5}), "the file's model holds");
            let TargetKind::Branch { policy: Policy::Fallback, targets } = &targets[1].kind else { panic!("nested") };
            assert_eq!(leaves(&targets[0])[0].0, "b");
            assert!(targets[0].retry_on.as_ref().unwrap().lists(429, None));
        }
        let (single, attempts) = read(br#"{"virtual_key": "b"}"#, &base()).unwrap();
        assert_eq!((leaves(&single).len(), attempts), (1, 1));
    }

    #[test]
    fn parameters_of_all_targets_together_have_a_bounded_size() {
        let config = |fields: usize, targets: usize| {
            let params: Vec<Value> = (0..fields).map(|_| json!({"": 0})).collect();
            let targets = vec![json!({"provider": "b"}); targets];
            json!({"strategy": {"mode": "loadbalance"}, "override_params": {"a": params}, "targets": targets})
                .to_string()
        };
        assert!(read(config(20, 20).as_bytes(), &base()).is_ok());
        let faults = read(config(2_000, 100).as_bytes(), &base()).unwrap_err();
        assert!(faults.len() == 1 && faults[0].contains("are too large"), "{faults:?}");
        let text = json!({"strategy": {"mode": "loadbalance"}, "override_params": {"a": "x".repeat(50_000)},
            "targets": vec![json!({"provider": "b"}); 100]});
        assert!(read(text.to_string().as_bytes(), &base()).is_err());
    }

    #[test]
    fn all_faults_are_reported_at_once_and_nothing_else_is_taken() {
        let config = json!({"strategy": {"mode": "conditional", "conditions": []}, "cache": {}, "targets": [
            {"virtual_key": "nobody", "weight": -1},
            {"provider": "a", "custom_host": "http://127.0.0.1/", "api_key": "sk-theirs"},
            {"retry": {"attempts": "many", "on_status_codes": [7]}}, 5,
        ]});
        let faults = read(config.to_string().as_bytes(), &base()).unwrap_err().join("; ");
        for fault in [
            "cache is not supported",
            "strategy.conditions is not supported",
            "strategy.mode must be",
            "targets[0].virtual_key names no target of this pool; there are a, b",
            "targets[0].weight must be",
            "targets[1].custom_host is not taken from clients",
            "targets[1].api_key is not taken from clients",
            "targets[2].retry.attempts must be",
            "targets[2].retry.on_status_codes must be",
            "targets[2] needs a virtual_key",
            "targets[3] must be an object",
        ] {
            assert!(faults.contains(fault), "{fault}: {faults}");
        }
        assert!(!faults.contains("sk-theirs"), "{faults}");
        for text in ["", "pc-123", "[]", "{", "{}", r#"{"targets": []}"#] {
            assert!(read(text.as_bytes(), &base()).is_err(), "{text}");
        }
        let mut deep = json!({"virtual_key": "a"});
        for _ in 0..20 {
            deep = json!({"strategy": {"mode": "fallback"}, "targets": [deep]});
        }
        assert!(read(deep.to_string().as_bytes(), &base()).is_err());
        let wide: Vec<_> = (0..200).map(|_| json!({"virtual_key": "a"})).collect();
        let wide = json!({"strategy": {"mode": "fallback"}, "targets": wide});
        assert_eq!(read(wide.to_string().as_bytes(), &base()).unwrap_err().len(), 1);
    }
}
