//! A user's file of prices: faults at the start and later, and what `broker check` says of models.

use super::support::{Bus, PoolsFile, Setup, TOKEN};

const GOOD: &str = r#"{"models": {"openai/gpt-4o": {"input": 1, "output": 2, "retires": "2020-01-31"}}}"#;
const APPLIED: &str = "file of prices applied";
const WRONG: &str = "the file of prices is wrong and changes nothing";

#[tokio::test]
async fn a_file_with_faults_is_refused_with_all_of_them_and_the_old_one_stays() {
    let bus = Bus::start().await;
    let file = PoolsFile::of(GOOD);
    let broker = Setup::on(&bus).set("BROKER_PRICES", file.path()).ready().await;
    file.put("{\"models\": {\n\"openai/gpt-4o\": {\"input\": -1,\n\"outputs\": 2}}}");
    broker.until(&[WRONG]).await;
    broker.until(&[":2:28 models[\"openai/gpt-4o\"].input", "not negative"]).await;
    broker.until(&[":3:12 models[\"openai/gpt-4o\"].outputs", "no such key"]).await;
    std::fs::remove_file(file.path()).unwrap();
    broker.until(&["cannot read the file", "the prices stay as they are"]).await;
    file.put(r#"{"gpt-4o": {"litellm_provider": "openai", "input_cost_per_token": 2e-06}}"#);
    broker.until(&[APPLIED, "models=1"]).await;
    broker.exactly(&[APPLIED], 1).await;
    broker.exactly(&[WRONG], 1).await;
}

#[tokio::test]
async fn a_start_with_a_faulty_file_lists_its_faults_and_those_of_the_pools_file() {
    let prices = PoolsFile::of(r#"{"models": {"openai/gpt-4o": {"input": "free", "max_output": -1}}}"#);
    let pools = PoolsFile::of(
        r#"{"pools": [{"ingress": "/azure/", "targets": [
            {"router": "/azure/gpt4/", "price": {"input": -2.5, "outputs": 10, "output": 4e-10}},
            {"router": "/azure/a/", "price": 5},
            {"router": "/azure/b/", "price": {}},
            {"router": "/azure/c/", "price": {"input": 1}},
            {"router": "/azure/c/", "price": {"input": 2}},
            {"price": {"input": 1}, "targets": [{"router": "/azure/d/"}]}]}]}"#,
    );
    let ended = Setup::bare().set("BROKER_PRICES", prices.path()).set("BROKER_CONFIG", pools.path()).ended().await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    for words in [
        ["models[\"openai/gpt-4o\"].input", "must be a number of dollars"],
        ["models[\"openai/gpt-4o\"].max_output", "whole number of tokens"],
        ["targets[0].price", "input: must be a number of dollars"],
        ["targets[0].price", "outputs: no such key; there are input, output"],
        ["targets[0].price", "output: must have at most nine decimal places"],
        ["targets[1].price", "must be an object such as"],
        ["targets[2].price", "needs prices such as"],
        ["targets[4].price", "another price than it has already"],
        ["targets[5].price", "this is a branch"],
    ] {
        let said = ended.err.lines().any(|line| words.iter().all(|word| line.contains(word)));
        assert!(said, "{words:?} in\n{}", ended.err);
    }
}

#[tokio::test]
async fn check_warns_of_models_that_are_retired_and_of_prices_that_are_unknown() {
    let prices = PoolsFile::of(GOOD);
    let pools = PoolsFile::of(
        r#"{"pools": [{"ingress": "/azure/", "targets": [
            {"router": "/azure/gpt4/", "model_map": {"a": "gpt-4o", "b": "nobodys-model"}},
            {"router": "/azure/gpt35turbo/"}, {"router": "/azure/dud/"}]}]}"#,
    );
    let gateways = format!("{}/gl_config.json", env!("CARGO_MANIFEST_DIR"));
    let path = pools.path();
    let check = ["check", "--config", path.to_str().unwrap(), "--gl-config", &gateways];
    let check = || {
        let setup = Setup::bare().arguments(&check).set("NATS_TOKEN", TOKEN);
        setup.set("AISERVICE_API_BASE", "https://host")
    };
    let ended = check().set("BROKER_PRICES", prices.path()).ended().await;
    assert!(ended.out.contains("warnings (2)"), "{}", ended.out);
    assert!(ended.out.contains("[model-retires]") && ended.out.contains("was retired on 2020-01-31"), "{}", ended.out);
    assert!(ended.out.contains("[price-unknown]") && ended.out.contains("nobodys-model"), "{}", ended.out);
    let ended = check().ended().await;
    assert!(!ended.out.contains("price-unknown"), "nobody asked for costs: {}", ended.out);
}
