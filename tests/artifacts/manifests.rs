//! The kustomize base and the Compose file, as their own tools read them, without a cluster and without an engine.

use std::process::{Command, Stdio};

use super::super::support::{Bus, Setup, tool};
use super::{file, root, words};

/// What a tool makes of something, if there is such a tool.
fn made(tool: &[&str], arguments: &[&str], environment: &[(&str, &str)]) -> Option<String> {
    let mut command = Command::new(tool[0]);
    command.args(&tool[1..]).args(arguments).envs(environment.iter().copied()).current_dir(root()).stdin(Stdio::null());
    Some(words(tool[0], arguments, &command.output().ok()?))
}

fn runs(tool: &[&str], probe: &str) -> bool {
    let said = Command::new(tool[0]).args(&tool[1..]).arg(probe).stdin(Stdio::null()).output();
    said.is_ok_and(|said| said.status.success())
}

#[test]
fn kustomize_builds_the_base_and_everything_in_it_fits_together() {
    let Some(text) = made(&["kubectl"], &["kustomize", "deploy/kubernetes"], &[]) else {
        return tool::missing("kubectl", "Debian: apt-get install kubernetes-client");
    };
    let documents: Vec<_> = text.split("\n---\n").collect();
    for kind in ["ConfigMap", "Deployment", "NetworkPolicy", "Service"] {
        let of = documents.iter().filter(|document| document.contains(&format!("\nkind: {kind}\n"))).count();
        assert_eq!(of, 1, "{kind} in\n{text}");
    }
    let deployment = documents.iter().find(|document| document.contains("kind: Deployment")).unwrap();
    let map = documents.iter().find(|document| document.contains("kind: ConfigMap")).unwrap();
    assert!(map.contains("name: broker-pools") && map.contains("broker.json:"), "{map}");
    for line in ["name: broker-pools", "value: /etc/broker/broker.json", "mountPath: /etc/broker"] {
        assert!(deployment.contains(line), "{line} in\n{deployment}");
    }
    for line in ["readOnlyRootFilesystem: true", "runAsNonRoot: true", "path: /livez", "path: /readyz", "replicas: 2"] {
        assert!(deployment.contains(line), "{line} in\n{deployment}");
    }
    let label = "app.kubernetes.io/name: gecholog-broker";
    assert!(documents.iter().all(|document| document.contains(label)));
}

#[tokio::test]
async fn a_broker_starts_with_the_pools_file_of_the_base() {
    let bus = Bus::start().await;
    let path = root().join("deploy/kubernetes/broker.json");
    let _broker = Setup::on(&bus).set("BROKER_CONFIG", path).ready().await;
    assert!(bus.decide().await["gl_path"].is_string());
}

#[test]
fn compose_takes_its_file_with_the_profile_and_without() {
    let tools: [&[&str]; 2] = [&["docker", "compose"], &["docker-compose"]];
    let Some(tool) = tools.into_iter().find(|tool| runs(tool, "version")) else {
        return tool::missing("docker compose or docker-compose", "Debian: apt-get install docker-compose");
    };
    let set = [("NATS_TOKEN", "t"), ("GUI_SECRET", "g"), ("AISERVICE_API_BASE", "http://127.0.0.1:1/")];
    let plain = made(tool, &["config"], &set).unwrap();
    // Older ones show what they would not start, with its profile.
    assert!(!plain.contains("grafana/grafana") || plain.contains("profiles"), "{plain}");
    let all = made(tool, &["--profile", "observability", "config"], &set).unwrap();
    assert!(all.contains("grafana/grafana") && all.contains("prom/prometheus"), "{all}");
}

#[test]
fn what_the_compose_file_mounts_is_there() {
    let compose = file("docker-compose.yml");
    let mounts = compose.lines().filter_map(|line| line.trim().strip_prefix("- ./")?.split(':').next());
    let mounted: Vec<_> = mounts.collect();
    assert!(mounted.len() >= 5, "{mounted:?}");
    for path in mounted {
        assert!(root().join(path).is_file(), "docker-compose.yml mounts {path}");
    }
}
