//! `broker check` as a script sees it: exit code, report and where each is written. What it finds is tested beside its code.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use super::support::{PoolsFile, ProcessOutput, Setup, TOKEN};

const SHIPPED: &str = include_str!("../gl_config.json");
const EVEN: &str = include_str!("../examples/pools/01-even.json");

/// A pools file and, beside it, the gateway's configuration.
struct Files {
    pools: PoolsFile,
}

impl Files {
    /// The example that fits the shipped configuration, in which this is something else.
    fn with(from: &str, to: &str) -> Self {
        assert!(SHIPPED.contains(from), "{from}");
        let pools = PoolsFile::of(EVEN);
        fs::write(pools.folder().join("gl_config.json"), SHIPPED.replacen(from, to, 1)).unwrap();
        Self { pools }
    }

    fn shipped() -> Self {
        Self::with("BROKER01", "BROKER01")
    }

    fn gl_config(&self) -> PathBuf {
        self.pools.folder().join("gl_config.json")
    }

    /// Neither variable of the gateway's configuration is set.
    fn unset(&self, more: &[&str]) -> Setup {
        let (pools, gl_config) = (self.pools.path(), self.gl_config());
        let files = ["--config", pools.to_str().unwrap(), "--gl-config", gl_config.to_str().unwrap()];
        Setup::bare().arguments(&["check"]).arguments(&files).arguments(more)
    }

    async fn check(&self, more: &[&str]) -> ProcessOutput {
        self.unset(more).set("NATS_TOKEN", TOKEN).set("AISERVICE_API_BASE", "https://host").ended().await
    }
}

#[tokio::test]
async fn the_projects_own_configuration_with_an_example_that_fits_is_0() {
    let root = env!("CARGO_MANIFEST_DIR");
    let files = ["--config", "examples/pools/01-even.json", "--gl-config", "gl_config.json"];
    let files = files.map(|word| if word.starts_with('-') { word.to_owned() } else { format!("{root}/{word}") });
    let setup = Setup::bare().arguments(&["check", "--strict"]).arguments(&files.each_ref().map(String::as_str));
    let ended = setup.set("NATS_TOKEN", TOKEN).set("AISERVICE_API_BASE", "https://host").ended().await;
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{ended:?}");
    assert!(ended.out.contains("33.3 %  /azure/gpt4/"), "the tree with its shares:\n{}", ended.out);
}

#[tokio::test]
async fn an_error_is_1_with_its_reason_on_the_standard_output() {
    let ended = Files::with("coburn.gl.broker.apply", "coburn.gl.other").check(&[]).await;
    assert_eq!((ended.code, ended.err.as_str()), (Some(1), ""), "{ended:?}");
    let reason = "no request processor sends requests to coburn.gl.broker.apply";
    assert!(ended.out.contains(reason), "{}", ended.out);
}

#[tokio::test]
async fn warnings_alone_are_0_strict_or_not() {
    let files = Files::with("\"timeout\": 50", "\"timeout\": 4");
    for more in [&[][..], &["--strict"]] {
        let ended = files.check(more).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.out.contains("a timeout below 5 ms"), "{}", ended.out);
    }
}

#[tokio::test]
async fn an_unset_variable_is_0_and_with_strict_1_and_a_file_can_set_it() {
    let files = Files::shipped();
    let set = |setup: Setup| setup.set("NATS_TOKEN", TOKEN);
    let ended = set(files.unset(&[])).ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("AISERVICE_API_BASE"), "{}", ended.out);
    assert_eq!(set(files.unset(&["--strict"])).ended().await.code, Some(1));
    let variables = files.pools.folder().join("gateway.env");
    fs::write(&variables, "AISERVICE_API_BASE=https://s3cr3t-host\n").unwrap();
    let setup = set(files.unset(&["--strict", "--env-file", variables.to_str().unwrap()])).secret("s3cr3t-host");
    let ended = setup.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[tokio::test]
async fn observing_is_judged_by_what_observing_takes() {
    let files = Files::with("coburn.gl.broker.apply", "coburn.gl.other");
    assert_eq!(files.check(&["--broker-mode", "balance"]).await.code, Some(1));
    assert_eq!(files.check(&["--broker-mode", "observe"]).await.code, Some(0));
    let ended = files.unset(&[]).set("BROKER_MODE", "observe").ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[tokio::test]
async fn programs_read_json_whatever_the_code_is() {
    for (from, to, code) in [("BROKER01", "BROKER01", 0), ("coburn.gl.broker.apply", "coburn.gl.other", 1)] {
        let ended = Files::with(from, to).check(&["--format", "json"]).await;
        assert_eq!(ended.code, Some(code), "{ended:?}");
        let report: Value = serde_json::from_str(&ended.out).unwrap();
        assert_eq!(report["ok"], code == 0, "{report}");
        assert_eq!(report["pools"][0]["ingress"], "/azure/");
    }
}

#[tokio::test]
async fn what_cannot_be_read_or_is_not_understood_is_2_and_says_so_on_the_standard_error() {
    let files = Files::shipped();
    let there = files.gl_config();
    let there = there.to_str().unwrap();
    let nowhere = files.pools.folder().join("nowhere.json");
    let nowhere = nowhere.to_str().unwrap();
    let bad = PoolsFile::of(r#"{"pools": 1}"#);
    let bad = bad.path();
    for arguments in [
        &["check"][..],
        &["check", "--gl-config", nowhere],
        &["check", "--gl-config", there, "--config", nowhere],
        &["check", "--gl-config", there, "--config", bad.to_str().unwrap()],
        &["check", "--gl-config", there, "--env-file", nowhere],
        &["check", "--gl-config", there, "--format", "xml"],
        &["check", "--gl-config", there, "--broker-mode", "blance"],
        &["check", "--gl-config", there, "--no-such-flag"],
    ] {
        let ended = Setup::bare().arguments(arguments).ended().await;
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{arguments:?}: {ended:?}");
        assert!(!ended.err.is_empty(), "{arguments:?}");
    }
}

#[tokio::test]
async fn where_only_the_relay_serves_no_gateway_is_needed() {
    let direct = PoolsFile::of(
        r#"{"pools": [{"ingress": "/llm/", "targets": [{"url": "https://api.openai.com/v1", "forward_credentials": true}]}]}"#,
    );
    let through = PoolsFile::of(EVEN);
    let check = |file: &PoolsFile, bus: &'static str| {
        Setup::bare()
            .set("BROKER_CONFIG", file.path())
            .set("BROKER_RELAY", "127.0.0.1:0")
            .set("BROKER_BUS", bus)
            .set("NATS_TOKEN", TOKEN)
            .arguments(&["check", "--strict"])
    };
    for bus in ["on", "off"] {
        let ended = check(&direct, bus).ended().await;
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{bus}: {ended:?}");
        assert!(ended.out.contains("no errors, 0 undecided, 0 warnings"), "{bus}: {}", ended.out);
    }
    let ended = check(&through, "off").ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("[routers-unchecked]"), "{}", ended.out);
    let ended = check(&through, "on").ended().await;
    assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{ended:?}");
    assert!(ended.err.contains("needs --gl-config FILE") && ended.err.contains("BROKER_BUS=off"), "{ended:?}");
    let files = Files::with("coburn.gl.broker.apply", "coburn.gl.other");
    let without_bus = files.unset(&[]).set("BROKER_BUS", "off").set("BROKER_RELAY", "127.0.0.1:0").ended().await;
    assert_eq!(without_bus.code, Some(0), "nothing asks over a bus that is off: {without_bus:?}");
}
