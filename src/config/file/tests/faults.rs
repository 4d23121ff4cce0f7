//! Each fault with its place, its value, and what would be right.

use proptest::prelude::*;

use super::super::{HealthDefaults, MAX_DEPTH, MAX_FILE_BYTES, MAX_TARGETS, PoolsFile};
use super::{faults, resolve};
use crate::fixtures::pools_file;
use balancer::broker::RouterSettings;

/// A file of one pool, which is `pool` in one line.
fn pool(pool: &str) -> String {
    format!("{{\"pools\": [{pool}]}}")
}

/// A file of one pool with these targets.
fn targets(targets: &str) -> String {
    pool(&format!("{{\"ingress\": \"/in/\", \"targets\": [{targets}]}}"))
}

/// A file of one pool with one target that has these keys beside its router.
fn target(keys: &str) -> String {
    targets(&format!("{{\"router\": \"/a/\", {keys}}}"))
}

/// A file of one pool with this strategy over targets a and b.
fn strategy(strategy: &str) -> String {
    let targets = "[{\"name\": \"a\", \"router\": \"/a/\"}, {\"name\": \"b\", \"router\": \"/b/\"}]";
    pool(&format!("{{\"ingress\": \"/in/\", \"strategy\": {strategy}, \"targets\": {targets}}}"))
}

/// A file of one pool with this query.
fn query(query: &str) -> String {
    strategy(&format!("{{\"mode\": \"conditional\", \"conditions\": [{{\"query\": {query}, \"then\": \"a\"}}]}}"))
}

/// Each file has exactly one fault: what it says must contain both texts.
#[track_caller]
fn each(table: &[(String, &str, &str)]) {
    for (text, place, words) in table {
        let faults = faults(text);
        assert_eq!(faults.len(), 1, "{text}\n{}", faults.join("\n"));
        assert!(faults[0].contains(place) && faults[0].contains(words), "{text}\n{}\n{place} {words}", faults[0]);
    }
}

#[test]
fn invalid_files() {
    each(&[
        (String::new(), "broker.json: ", "is empty; it must contain"),
        (" // nothing\n".to_owned(), "broker.json: ", "is empty"),
        ("[]".to_owned(), "broker.json:1:1=\"[]\": ", "must be an object such as {\"pools\": [...]}, and is a list"),
        ("{".to_owned(), "broker.json:1:1: ", "is not JSON: unterminated object"),
        ("{\"pools\": [}".to_owned(), "broker.json:1:12: ", "is not JSON: unexpected close brace"),
        ("{\n  \"pools\": [\n    {\"ingress\" \"/a/\"}]}".to_owned(), "broker.json:3:", "expected colon"),
        ("{'pools': []}".to_owned(), "broker.json:1:2: ", "is not JSON"),
        ("{\"pools\": [] \"health\": {}}".to_owned(), "broker.json:1:", "is not JSON: expected comma"),
        ("{} {}".to_owned(), "broker.json:1:4: ", "more than one JSON value"),
        ("[".repeat(600), "broker.json:1:", "maximum nesting depth exceeded"),
        ("{}".to_owned(), "broker.json:1:1: ", "needs \"pools\": [{\"ingress\": \"/azure/\""),
        ("{\"pools\": []}".to_owned(), "broker.json:1:11 pools=\"[]\": ", "is empty; it must contain pools"),
        ("{\"pools\": {}}".to_owned(), "broker.json:1:11 pools=", "must be a list of pools, and is an object"),
    ]);
    let bytes = pools_file(b"{\xff}", &RouterSettings::default()).unwrap_err();
    assert!(bytes[0].to_string().contains("is not UTF-8 text from byte 1"), "{bytes:?}");
}

#[test]
fn keys() {
    each(&[
        (
            pool("{\"ingres\": \"/in/\", \"ingress\": \"/in/\", \"targets\": [{\"router\": \"/a/\"}]}"),
            "broker.json:1:13 pools[0].ingres: ",
            "no such key; did you mean ingress?",
        ),
        (target("\"Weight\": 1"), "pools[0].targets[0].Weight: ", "did you mean weight?"),
        (target("\"overrideParams\": {}"), "targets[0].overrideParams: ", "did you mean override_params?"),
        (target("\"provider\": \"ollama\""), "targets[0].provider: ", "is beside \"router\""),
        (target("\"virtual_key\": \"a\""), "targets[0].virtual_key: ", "or a \"provider\" with its \"api_key\""),
        (target("\"a b\\n\": 1"), "targets[0][\"a b\"]: ", "no such key; there are name, router, url"),
        (
            strategy("{\"mode\": \"fallback\", \"on_status_codes\": [\"4x\"]}"),
            "strategy.on_status_codes[0]=\"4x\": ",
            "is not a status",
        ),
        (target("\"weight\": 1, \"weight\": 2"), "broker.json:1:75 pools[0].targets[0].weight: ", "a second time"),
        (target("\"override_params\": {\"a\": {\"b\": 1, \"b\": 2}}"), "override_params.a.b: ", "a second time"),
        (
            "{\"$schema\": 1, \"pools\": [{\"ingress\": \"/in/\", \"targets\": [{\"router\": \"/a/\"}]}]}".to_owned(),
            "broker.json:1:13 $schema=\"1\": ",
            "must be a text, and is a number",
        ),
    ]);
}

#[test]
fn pools_and_targets() {
    let two = "{\"ingress\": \"/in/\", \"targets\": [{\"router\": \"/a/\"}]}";
    each(&[
        (pool("7"), "pools[0]=\"7\": ", "must be an object such as {\"ingress\""),
        (pool("{\"targets\": [{\"router\": \"/a/\"}]}"), "broker.json:1:12 pools[0]: ", "needs an \"ingress\""),
        (pool("{\"ingress\": \"/in/\"}"), "pools[0]: ", "needs \"targets\""),
        (
            pool("{\"ingress\": \"azure\", \"targets\": [{\"router\": \"/a/\"}]}"),
            "broker.json:1:24 pools[0].ingress=\"azure\": ",
            "must begin and end with '/'",
        ),
        (
            pool(&format!("{two}, {two}")),
            "pools[1].ingress=\"/in/\": ",
            "has a pool already: broker.json:1:24 pools[0].ingress",
        ),
        (targets(""), "pools[0].targets=\"[]\": ", "is empty; it must contain targets"),
        (targets("{\"targets\": []}"), "pools[0].targets[0].targets=\"[]\": ", "is empty"),
        (
            targets("\"/a/\""),
            "targets[0]=\"/a/\": ",
            "must be an object such as {\"router\": \"/azure/gpt4/\"}, and is a text",
        ),
        (
            targets("{}"),
            "targets[0]: ",
            "needs a \"router\", such as /azure/gpt4/, a \"provider\", a \"url\", or a \"strategy\" over \"targets\"",
        ),
        (targets("{\"router\": \"/gpt-4/\"}"), "targets[0].router=\"/gpt-4/\": ", "has the character '-'"),
        (targets("{\"router\": null}"), "targets[0].router=\"null\": ", "must be a text, and is null"),
        (targets("{\"router\": \"/in/\"}"), "targets[0].router=\"/in/\": ", "is the ingress of this pool itself"),
        (
            targets("{\"router\": \"/a/\", \"targets\": [{\"router\": \"/b/\"}]}"),
            "targets[0].targets: ",
            "a target is either a router, a url or a branch",
        ),
        (target("\"strategy\": {}"), "targets[0].strategy: ", "belongs to a branch with \"targets\""),
        (target("\"drained\": 1"), "targets[0].drained=\"1\": ", "must be true or false, and is a number"),
        (target("\"name\": \"\""), "targets[0].name=\"\": ", "must not be empty"),
        (target("\"name\": \"a\\nb\""), "targets[0].name=\"a b\": ", "at most 80 characters in one line"),
        (
            targets("{\"name\": \"x\", \"router\": \"/a/\"}, {\"name\": \"x\", \"router\": \"/b/\"}"),
            "pools[0].targets[1].name=\"x\": ",
            "another target of this branch: broker.json:1:53 pools[0].targets[0].name",
        ),
    ]);
}

#[test]
fn weights() {
    for (weight, words) in [
        ("-1", "must be a number, finite and not negative"),
        ("-0.5", "must be a number, finite and not negative"),
        ("1e999", "must be a number, finite and not negative"),
        ("\"1\"", "must be a number, and is a text"),
        ("null", "must be a number, and is null"),
    ] {
        each(&[(target(&format!("\"weight\": {weight}")), "pools[0].targets[0].weight=", words)]);
    }
    for weight in ["0", "-0", "0.9", "1e308", "1E-3"] {
        resolve(&target(&format!("\"weight\": {weight}")));
    }
    let huge = "{\"router\": \"/a/\", \"weight\": 1e308}";
    each(&[
        (targets(&format!("{huge}, {huge}")), "pools[0].targets: ", "write smaller ones"),
        (target("\"weight\": 01"), "broker.json:1:", "is not JSON"),
        (target("\"weight\": Infinity"), "broker.json:1:", "is not JSON: unexpected token"),
    ]);
}

#[test]
fn patches() {
    each(&[
        (
            target("\"override_params\": [1]"),
            "override_params=\"[1]\": ",
            "must be an object such as {\"max_tokens\": 200}",
        ),
        (
            target("\"override_params\": {\"n\": 1e999}"),
            "override_params.n=\"1e999\": ",
            "must be a number that JSON can write",
        ),
        (target("\"model_map\": \"gpt4\""), "model_map=\"gpt4\": ", "must be an object such as {\"gpt-4\": \"gpt4\"}"),
        (target("\"model_map\": {\"gpt-4\": 4}"), "model_map[\"gpt-4\"]=\"4\": ", "must be a text, and is a number"),
        (target("\"model_map\": {\"a\": \"\"}"), "model_map.a=\"\": ", "must not be empty"),
    ]);
}

#[test]
fn strategies() {
    let conditions =
        |conditions: &str| strategy(&format!("{{\"mode\": \"conditional\", \"conditions\": {conditions}}}"));
    each(&[
        (
            strategy("\"fallback\""),
            "pools[0].strategy=\"fallback\": ",
            "must be an object such as {\"mode\": \"fallback\"}",
        ),
        (strategy("{\"mode\": \"fallbak\"}"), "strategy.mode=\"fallbak\": ", "did you mean fallback?"),
        (strategy("{\"mode\": \"load_balance\"}"), "strategy.mode=", "did you mean loadbalance?"),
        (strategy("{\"mode\": \"single\"}"), "strategy.mode=", "a branch with one target needs none"),
        (
            strategy("{\"mode\": \"x\"}"),
            "strategy.mode=",
            "there are loadbalance, round_robin, fallback, sticky, conditional",
        ),
        (strategy("{\"mode\": 1}"), "strategy.mode=\"1\": ", "must be a text"),
        (strategy("{\"mode\": \"sticky\"}"), "pools[0].strategy: ", "needs a \"key\", such as headers.X-User"),
        (strategy("{\"mode\": \"sticky\", \"key\": \"header.x\"}"), "strategy.key=", "did you mean headers.x?"),
        (
            strategy("{\"mode\": \"sticky\", \"key\": \"user\"}"),
            "strategy.key=",
            "a field is params.<name>, headers.<Name>, path",
        ),
        (
            strategy("{\"mode\": \"sticky\", \"key\": \"path\"}"),
            "strategy.key=",
            "the same for every request of a pool",
        ),
        (
            strategy("{\"mode\": \"fallback\", \"key\": \"session\"}"),
            "strategy.key: ",
            "belongs to the mode sticky, and this is fallback",
        ),
        (
            strategy("{\"default\": \"a\"}"),
            "strategy.default: ",
            "belongs to the mode conditional, and this is loadbalance",
        ),
        (strategy("{\"mode\": \"conditional\"}"), "pools[0].strategy: ", "needs \"conditions\""),
        (conditions("[]"), "strategy.conditions=\"[]\": ", "is empty; it must contain conditions"),
        (conditions("[{\"then\": \"a\"}]"), "conditions[0]: ", "needs a \"query\""),
        (conditions("[{\"query\": {\"path\": \"/in/\"}}]"), "conditions[0]: ", "needs a \"then\""),
        (
            conditions("[{\"query\": {\"path\": \"/in/\"}, \"then\": \"c\"}]"),
            "conditions[0].then=\"c\": ",
            "no target of this branch has this \"name\"; there are a, b",
        ),
        (
            strategy(
                "{\"mode\": \"conditional\", \"conditions\": [{\"query\": {\"path\": \"/in/\"}, \"then\": \"a\"}], \"default\": \"/a/\"}",
            ),
            "strategy.default=\"/a/\": ",
            "no target of this branch has this \"name\"",
        ),
    ]);
}

#[test]
fn queries() {
    each(&[
        (
            query("[]"),
            "conditions[0].query=\"[]\": ",
            "must be an object such as {\"params.model\": {\"$eq\": \"gpt-4\"}}",
        ),
        (query("{}"), "conditions[0].query=\"{}\": ", "would match every request"),
        (query("{\"metadata.tier\": \"gold\"}"), "query[\"metadata.tier\"]: ", "ask for headers.<Name>"),
        (query("{\"url.pathname\": \"/x\"}"), "query[\"url.pathname\"]: ", "did you mean path?"),
        (query("{\"param.model\": \"x\"}"), "query[\"param.model\"]: ", "did you mean params.model?"),
        (query("{\"model\": \"x\"}"), "query.model: ", "did you mean params.model?"),
        (query("{\"headers\": \"x\"}"), "query.headers: ", "headers needs a name: headers.<name>"),
        (query("{\"headers.x tier\": \"x\"}"), "query[\"headers.x tier\"]: ", "\"x tier\" cannot be a header's name"),
        (query("{\"params.a..b\": \"x\"}"), "query[\"params.a..b\"]: ", "a field is params.<name>"),
        (query("{\"params.a\": {}}"), "query[\"params.a\"]=\"{}\": ", "is empty; it must contain a test"),
        (query("{\"params.a\": [1]}"), "query[\"params.a\"]=\"[1]\": ", "{\"$in\": [...]}"),
        (query("{\"params.a\": {\"$equals\": 1}}"), "[\"params.a\"].$equals: ", "no such operator; there are $eq, $ne"),
        (query("{\"params.a\": {\"$lge\": 1}}"), "[\"params.a\"].$lge: ", "no such operator; did you mean $"),
        (query("{\"params.a\": {\"$regexp\": \"a\"}}"), ".$regexp: ", "did you mean $regex?"),
        (query("{\"params.a\": {\"$not\": {\"$eq\": 1}}}"), ".$not: ", "goes around a query, such as {\"$not\""),
        (query("{\"$eq\": 1}"), "query.$eq: ", "goes inside a field, such as {\"params.model\""),
        (query("{\"$nor\": []}"), "query.$nor: ", "no such operator; did you mean $"),
        (query("{\"$and\": {}}"), "query.$and=", "must be a list of queries"),
        (query("{\"$or\": []}"), "query.$or=", "is empty; it must contain queries"),
        (query("{\"$not\": [1]}"), "query.$not=", "must be an object such as"),
        (query("{\"$and\": [{\"params.a\": 1}, 2]}"), "query.$and[1]=\"2\": ", "must be an object"),
        (query("{\"params.a\": {\"$in\": 1}}"), ".$in=\"1\": ", "must be a list of values"),
        (query("{\"params.a\": {\"$nin\": []}}"), ".$nin=\"[]\": ", "is empty; it must contain values"),
        (query("{\"params.a\": {\"$gt\": true}}"), ".$gt=\"true\": ", "must be a number or a text"),
        (
            query("{\"headers.x\": 5}"),
            "query[\"headers.x\"]=\"5\": ",
            "must be a text in quotes: headers.x is never anything else",
        ),
        (query("{\"headers.x\": {\"$in\": [\"a\", 5]}}"), ".$in[1]=\"5\": ", "must be a text in quotes"),
        (
            query("{\"path\": {\"$regex\": \"(a\"}}"),
            "query.path.$regex=\"(a\": ",
            "is not a regular expression: unclosed group",
        ),
        (query("{\"path\": {\"$regex\": \"(a{1000}){1000}\"}}"), ".$regex=", "size limit"),
        (query("{\"path\": {\"$regex\": 1}}"), ".$regex=\"1\": ", "must be a text"),
        (query(&nested_query(MAX_DEPTH)), "$not.$not: ", "is nested deeper than 16 levels"),
    ]);
    resolve(&query(&nested_query(MAX_DEPTH - 1)));
}

fn nested_query(nots: usize) -> String {
    "{\"$not\": ".repeat(nots) + "{\"path\": \"/in/\"}" + &"}".repeat(nots)
}

#[test]
fn health() {
    let health = |health: &str| target(&format!("\"health\": {health}"));
    each(&[
        (health("5"), "targets[0].health=\"5\": ", "must be an object such as {\"disabled_time\": 5}"),
        (health("{\"disable_time\": 5}"), "health.disable_time: ", "did you mean disabled_time?"),
        (
            health("{\"disabled_time\": \"5\"}"),
            "health.disabled_time=\"5\": ",
            "must be minutes: a number such as 10 or 0.5",
        ),
        (health("{\"disabled_time\": -1}"), "health.disabled_time=\"-1\": ", "finite and not negative"),
        (health("{\"disabled_time\": 1e300}"), "health.disabled_time=\"1e300\": ", "too long a time"),
        (
            health("{\"failure_status\": 429}"),
            "health.failure_status=\"429\": ",
            "or a list such as [404, 429, \"5xx\"]",
        ),
        (health("{\"failure_status\": \"429,x\"}"), "failure_status=\"429,x\": ", "\"x\" is not a status (429), range"),
        (health("{\"failure_status\": []}"), "failure_status=\"[]\": ", "is empty; it must contain statuses"),
        (health("{\"failure_status\": [429, 42]}"), "failure_status[1]=\"42\": ", "\"42\" is not a status"),
        (health("{\"failure_status\": [\"any\"]}"), "failure_status[0]=\"any\": ", "is everything and needs no list"),
        (health("{\"failure_status\": [null]}"), "failure_status[0]=\"null\": ", "is not a status"),
    ]);
}

#[test]
fn budgets() {
    let budget = |budget: &str| target(&format!("\"budget\": {budget}"));
    each(&[
        (budget("600"), "budget=\"600\": ", "must be an object such as {\"rpm\": 600, \"tpm\": 100000}"),
        (budget("{\"rpm\": 0}"), "budget.rpm=\"0\": ", "must be a whole number, at least 1"),
        (budget("{\"tpm\": 1.5}"), "budget.tpm=\"1.5\": ", "must be a whole number, at least 1"),
        (budget("{\"tpm\": \"100k\"}"), "budget.tpm=\"100k\": ", "must be a whole number, at least 1"),
        (budget("{\"rpms\": 1}"), "budget.rpms: ", "did you mean rpm?"),
        (budget("null"), "budget=\"null\": ", "must be an object"),
        (
            targets("{\"budget\": {\"rpm\": 1}, \"targets\": [{\"router\": \"/a/\"}]}"),
            "pools[0].targets[0].budget: ",
            "belongs to a router, and this is a branch: set it for each router in it",
        ),
        (
            targets(
                "{\"router\": \"/a/\", \"budget\": {\"rpm\": 1}}, {\"router\": \"/a/\"}, {\"router\": \"/a/\", \"budget\": {\"rpm\": 2}}",
            ),
            "pools[0].targets[2].budget: ",
            "gives /a/ another budget than broker.json:1:",
        ),
    ]);
}

#[test]
fn cooldowns_ratios_and_what_else_shapes_a_return() {
    let health = |health: &str| target(&format!("\"health\": {{{health}}}"));
    each(&[
        (health("\"preset\": \"robust\""), "preset=\"robust\": ", "must be \"documented\" or \"resilient\""),
        (health("\"preset\": 3"), "preset=\"3\": ", "must be a text, and is a number"),
        (health("\"cooldown\": \"5s\""), "cooldown=\"5s\": ", "must be an object such as {\"base\": \"5s\""),
        (health("\"cooldown\": {\"base\": 5}"), "cooldown.base=\"5\": ", "must be a text"),
        (health("\"cooldown\": {\"factor\": 0.5}"), "cooldown.factor=\"0.5\": ", "must be a number from 1 to 100"),
        (health("\"cooldown\": {\"jitter\": 1.5}"), "cooldown.jitter=\"1.5\": ", "must be a number from 0 to 1"),
        (health("\"cooldown\": {\"max\": \"5\"}"), "cooldown.max=\"5\": ", "must be a time with its unit"),
        (health("\"cooldown\": {\"step\": 2}"), "cooldown.step: ", "no such key"),
        (
            health("\"disabled_time\": 1, \"cooldown\": {\"base\": \"60s\"}"),
            "cooldown.base=\"60s\": ",
            "is another name for disabled_time",
        ),
        (health("\"ratio\": true"), "ratio=\"true\": ", "\"min\": 10}, or false"),
        (health("\"ratio\": {\"below\": 50}"), "ratio.below=\"50\": ", "must be a number from 0 to 1"),
        (health("\"ratio\": {\"min\": 0}"), "ratio.min=\"0\": ", "must be a whole number, at least 1"),
        (health("\"ramp\": true"), "ramp=\"true\": ", "must be a text"),
        (health("\"ramp\": \"10\""), "ramp=\"10\": ", "must be a time with its unit"),
        (health("\"slow_is_failure_after\": 30"), "slow_is_failure_after=\"30\": ", "must be a text"),
        (health("\"retry_after\": {\"preempt\": 1}"), "retry_after.preempt=\"1\": ", "must be true or false"),
        (health("\"retry_after\": {\"assume\": 5}"), "retry_after.assume=\"5\": ", "must be a text"),
        (health("\"poison\": \"yes\""), "poison=\"yes\": ", "must be true or false"),
    ]);
    let several = faults(&health("\"ratio\": {\"below\": 2, \"over\": \"x\", \"min\": 0}"));
    assert_eq!(several.len(), 3, "all at once: {several:?}");
}

#[test]
fn when_all_are_disabled() {
    let pool = |what: &str| {
        format!(
            "{{\"pools\": [{{\"ingress\": \"/in/\", \"when_all_disabled\": {what}, \"targets\": [{{\"router\": \"/a/\"}}]}}]}}"
        )
    };
    let wanted = "must be \"pass\" or \"soonest\" or \"any\"";
    each(&[
        (pool("\"first\""), "pools[0].when_all_disabled=\"first\": ", wanted),
        (pool("null"), "pools[0].when_all_disabled=\"null\": ", "must be a text"),
    ]);
}

#[test]
fn one_router_has_one_health() {
    let text = r#"{"pools": [
        {"ingress": "/in/", "health": {"disabled_time": 5}, "targets": [{"router": "/a/"}, {"router": "/b/"}]},
        {"ingress": "/on/", "targets": [{"router": "/a/", "health": {"disabled_time": 6}}, {"router": "/b/"}]}
    ]}"#;
    each(&[(
        text.to_owned(),
        "broker.json:3:87 pools[1].targets[0].health.disabled_time: ",
        "gives /a/ another disabled_time than broker.json:2:57 pools[0].health.disabled_time",
    )]);
    resolve(&text.replace("6}}", "5.0}}"));
}

#[test]
fn nesting() {
    let nested = |branches: usize| {
        targets(&("{\"targets\": [".repeat(branches) + "{\"router\": \"/a/\"}" + &"]}".repeat(branches)))
    };
    resolve(&nested(MAX_DEPTH - 1));
    each(&[(nested(MAX_DEPTH), "targets[0].targets[0].targets: ", "is nested deeper than 16 levels")]);
    // Deep where it is the user's own: what is merged may be as deep as a parser reads.
    resolve(&target(&format!("\"override_params\": {{\"a\": {}1{}}}", "[".repeat(500), "]".repeat(500))));
}

#[test]
fn sizes() {
    let many = vec!["{\"router\": \"/a/\"}"; MAX_TARGETS - 1].join(",");
    resolve(&targets(&many));
    let more = targets(&format!("{many},{{\"router\": \"/a/\"}}"));
    each(&[(more, "pools[0].targets[64999]: ", "is one more than the 65000 pools and targets")]);
    let file = std::env::temp_dir().join(format!("broker-pools-{}", std::process::id()));
    let large = std::fs::File::create(&file).and_then(|large| large.set_len(MAX_FILE_BYTES + 1));
    let open = || PoolsFile::open(file.clone(), HealthDefaults::new(RouterSettings::default())).seen.unwrap_err();
    let fault = open();
    large.and_then(|()| std::fs::remove_file(&file)).unwrap();
    assert!(fault.to_string().contains("is larger than 4 MB"), "{fault}");
    let fault = open();
    assert!(fault.place.contains("broker-pools") && fault.problem.contains("cannot read the file"), "{fault}");
}

#[test]
fn everything_at_once_in_the_order_of_the_file() {
    let text = r#"// A file written in a hurry.
{
  "pools": [
    {
      "ingress": "/azure/",
      "strategy": { "mode": "loadbalanced" },
      "targets": [
        { "router": "/azure/gpt-4/", "weight": "0.9" },
        { "name": "backup", "weigth": 0.1, "targets": [] },
      ]
    },
    {
      "ingress": "/azure/",
      "strategy": {
        "mode": "conditional",
        "conditions": [{ "query": { "params.model": { "$regex": "[" } }, "then": "big" }]
      },
      "targets": [{ "name": "bigg", "router": "/azure/" }]
    }
  ],
  "health": { "disabled_time": -1 }
}"#;
    let reported = faults(text);
    let expected = [
        "broker.json:6:29 pools[0].strategy.mode=\"loadbalanced\": no such mode; did you mean loadbalance?",
        "broker.json:8:21 pools[0].targets[0].router=\"/azure/gpt-4/\": has the character '-'",
        "broker.json:8:48 pools[0].targets[0].weight=\"0.9\": must be a number, and is a text",
        "broker.json:9:29 pools[0].targets[1].weigth: no such key; did you mean weight?",
        "broker.json:9:55 pools[0].targets[1].targets=\"[]\": is empty; it must contain targets",
        "broker.json:13:18 pools[1].ingress=\"/azure/\": has a pool already: broker.json:5:18 pools[0].ingress",
        "broker.json:16:65 pools[1].strategy.conditions[0].query[\"params.model\"].$regex=\"[\": is not a regular expression",
        "broker.json:16:82 pools[1].strategy.conditions[0].then=\"big\": no target of this branch has this \"name\"; did you",
        "broker.json:18:47 pools[1].targets[0].router=\"/azure/\": is the ingress of another pool",
        "broker.json:21:32 health.disabled_time=\"-1\": must be minutes",
    ];
    assert_eq!(reported.len(), expected.len(), "{}", reported.join("\n"));
    for (reported, expected) in reported.iter().zip(expected) {
        assert!(reported.starts_with(expected), "{reported}\n{expected}");
    }
}

#[test]
fn a_hundred_faults_are_enough() {
    let reported = faults(&targets(&vec!["{}"; 250].join(",")));
    assert_eq!(reported.len(), 101);
    assert!(reported[100].contains("broker.json: has 150 faults more"), "{}", reported[100]);
}

#[test]
fn long_values_are_shortened_and_columns_count_characters() {
    let reported = faults(&target(&format!("\"name\": \"ä\", \"drained\": \"{}\"", "é\t".repeat(400))));
    assert!(reported[0].starts_with("broker.json:1:86 "), "{}", reported[0]);
    assert!(
        reported[0].contains("é…\": must be true or false") && reported[0].chars().count() < 250,
        "{}",
        reported[0]
    );
}

/// Any JSON, and JSON made of the words that the file knows.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let words = prop::sample::select(vec![
        "$schema",
        "pools",
        "health",
        "ingress",
        "strategy",
        "targets",
        "name",
        "router",
        "weight",
        "drained",
        "mode",
        "key",
        "override_params",
        "model_map",
        "conditions",
        "default",
        "query",
        "then",
        "disabled_time",
        "failure_status",
        "$and",
        "$or",
        "$not",
        "$eq",
        "$in",
        "$regex",
        "params.a",
        "headers.X",
        "path",
        "session",
        "/a/",
        "/b/",
        "sticky",
        "fallback",
        "conditional",
        "round_robin",
        "any",
        "5xx",
        "",
        "\u{1F600}\n\"",
    ]);
    let word = prop_oneof![4 => words.prop_map(str::to_owned), 1 => ".*"].boxed();
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        word.clone().prop_map(Into::into),
    ];
    leaf.prop_recursive(8, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::btree_map(word.clone(), inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_json_makes_it_panic(value in json()) {
        let whole = value.to_string();
        let files = [
            target(&format!("\"health\": {value}, \"override_params\": {value}")),
            targets(&whole),
            pool(&whole),
            strategy(&whole),
            query(&whole),
            whole,
        ];
        for file in files {
            let _ = pools_file(file, &RouterSettings::default());
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in ".*", cut in 0..700_usize) {
        let _ = pools_file(text, &RouterSettings::default());
        let example = include_bytes!("../../../../examples/pools/10-conditional.json");
        let _ = pools_file(&example[..cut.min(example.len())], &RouterSettings::default());
    }
}

#[test]
fn a_secret_in_place_of_a_name_is_not_shown_and_a_misspelt_name_is() {
    let target = |fields: &str| {
        format!(
            r#"{{"pools": [{{"ingress": "/a/", "targets": [{{"url": "https://h/", "forward_credentials": true, {fields}}}]}}]}}"#
        )
    };
    let pool =
        |fields: &str| format!(r#"{{"pools": [{{"ingress": "/a/", {fields}, "targets": [{{"router": "/a/b/"}}]}}]}}"#);
    let texts = [
        |value: &str| format!(r#""provider": "{value}""#),
        |value: &str| format!(r#""provider": "anthropic", "api": "{value}""#),
        |value: &str| format!(r#""provider": "anthropic", "unsupported": "{value}""#),
        |value: &str| format!(r#""provider": "anthropic", "api_version": "{value}""#),
        |value: &str| format!(r#""health": {{"preset": "{value}"}}"#),
        |value: &str| format!(r#""{value}": 1"#),
    ];
    let of_pools = [
        |value: &str| format!(r#""strategy": {{"mode": "{value}"}}"#),
        |value: &str| format!(r#""when_all_disabled": "{value}""#),
        |value: &str| format!(r#""health": {{"retry_after": "{value}"}}"#),
    ];
    for secret in ["sk-proj-Zx81mQa", "0123456789abcdef0123456789abcdef", "550e8400-e29b-41d4-a716-446655440000"] {
        let all = texts.iter().map(|text| target(&text(secret))).chain(of_pools.iter().map(|text| pool(&text(secret))));
        for text in all {
            let reported = faults(&text).join("\n");
            assert!(!reported.contains(secret), "{text}\n{reported}");
        }
    }
    let reported = faults(&pool(r#""strategy": {"mode": "fastst"}"#)).join("\n");
    assert!(reported.contains(r#"mode="fastst": no such mode; did you mean fastest?"#), "{reported}");
    let reported = faults(&target(r#""provider": "opnai""#)).join("\n");
    assert!(reported.contains(r#"provider="opnai": must be "#), "{reported}");
}
