//! The alert rules, the configuration of Prometheus and a scrape, as promtool reads them.

use std::io::Write;
use std::process::{Command, Stdio};

use super::super::support::{Bus, DUD, Log, PoolsFile, Setup};
use super::{content, file, has, root, words};

pub(super) fn promtool() -> bool {
    has("promtool", "Debian: apt-get install prometheus")
}

#[test]
fn promtool_takes_the_rules_and_each_of_them_fires_when_it_should() {
    if !promtool() {
        return;
    }
    content("promtool", &["check", "rules", "docs/alerts.yml"]);
    content("promtool", &["test", "rules", "tests/fixtures/alerts.yml"]);
    let (rules, tests) = (file("docs/alerts.yml"), file("tests/fixtures/alerts.yml"));
    let mut names = 0;
    for name in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        names += 1;
        assert!(tests.contains(&format!("alertname: {name}\n")), "no test lets {name} fire");
    }
    assert!(names > 8, "the rules are found");
}

#[test]
fn promtool_takes_the_configuration_of_prometheus() {
    if !promtool() {
        return;
    }
    let folder = PoolsFile::none();
    let path = folder.folder().join("prometheus.yml");
    let rules = root().join("docs/alerts.yml");
    let shipped = file("deploy/observability/prometheus.yml");
    assert!(shipped.contains("/etc/prometheus/alerts.yml"), "where the Compose file mounts the rules");
    std::fs::write(&path, shipped.replace("/etc/prometheus/alerts.yml", &rules.display().to_string())).unwrap();
    content("promtool", &["check", "config", &path.display().to_string()]);
}

#[tokio::test]
async fn promtool_takes_a_scrape() {
    if !promtool() {
        return;
    }
    let bus = Bus::start().await;
    let broker = Setup::on(&bus).set("BROKER_RELAY", "127.0.0.1:0").ready().await;
    bus.decide().await;
    bus.log(Log::of(DUD, 500)).await;
    broker.until(&["router disabled"]).await;
    let text = broker.get("/metrics").await.text();
    let mut promtool = Command::new("promtool");
    let promtool =
        promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().unwrap();
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    words("promtool", &["check", "metrics"], &promtool.wait_with_output().unwrap());
}
