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

fn compose() -> Option<&'static [&'static str]> {
    let tools: [&[&str]; 2] = [&["docker", "compose"], &["docker-compose"]];
    let tool = tools.into_iter().find(|tool| runs(tool, "version"));
    if tool.is_none() {
        tool::missing("docker compose or docker-compose", "Debian: apt-get install docker-compose");
    }
    tool
}

/// What has to be set.
const NEEDED: [(&str, &str); 3] =
    [("NATS_TOKEN", "t"), ("GUI_SECRET", "g"), ("AISERVICE_API_BASE", "http://127.0.0.1:1/")];

/// `.env.example` with the needed values filled in and every optional setting uncommented.
fn filled() -> String {
    let mut text = file(".env.example");
    for (name, value) in NEEDED {
        assert!(text.contains(&format!("\n{name}=\n")), "{name} in .env.example");
        text = text.replace(&format!("\n{name}=\n"), &format!("\n{name}={value}\n"));
    }
    let set = text.lines().map(|line| match line.strip_prefix('#') {
        Some(setting) if setting.starts_with(|letter: char| letter.is_ascii_uppercase()) => setting,
        _ => line,
    });
    set.collect::<Vec<_>>().join("\n") + "\n"
}

#[test]
fn compose_takes_its_file_with_the_profile_and_without() {
    let Some(tool) = compose() else { return };
    let plain = made(tool, &["config"], &NEEDED).unwrap();
    // Older ones show what they would not start, with its profile.
    assert!(!plain.contains("grafana/grafana") || plain.contains("profiles"), "{plain}");
    let all = made(tool, &["--profile", "observability", "config"], &NEEDED).unwrap();
    assert!(all.contains("grafana/grafana") && all.contains("prom/prometheus"), "{all}");
    // Ports that are the same each time, and the gateway's configuration as it is on this machine.
    for words in ["127.0.0.1:5381:5381", "gl_config.json:/app/conf/gl_config.json", "/examples/pools:/pools:ro"] {
        // Newer ones write each port and mount as a table.
        assert!(plain.contains(words) || plain.contains("published: \"5381\""), "{words} in\n{plain}");
    }
}

#[test]
fn s3_compose_needs_nothing_of_the_shell_once_the_example_is_filled_in() {
    let Some(tool) = compose() else { return };
    let path = std::env::temp_dir().join(format!("compose-{}.env", std::process::id()));
    std::fs::write(&path, filled()).unwrap();
    let text = made(tool, &["--env-file", path.to_str().unwrap(), "config"], &[]).unwrap();
    std::fs::remove_file(&path).unwrap();
    for line in file(".env.example").lines().filter_map(|line| line.strip_prefix("#BROKER_")) {
        let (name, value) = line.split_once('=').unwrap();
        assert!(
            name == "PORTS" || text.contains(&format!("BROKER_{name}: {value}")) || value.is_empty(),
            "{line}:\n{text}"
        );
    }
    assert!(text.contains("BROKER_RELAY: 0.0.0.0:5390") && text.contains("BROKER_CONFIG: /pools/"), "{text}");
    assert!(text.contains("5381-5389"), "several brokers share a range:\n{text}");
    // As it is shipped it says what to fill in.
    let example = root().join(".env.example");
    let arguments = ["--env-file", example.to_str().unwrap(), "config"];
    let said = Command::new(tool[0]).args(&tool[1..]).args(arguments).current_dir(root()).output().unwrap();
    assert!(!said.status.success() && String::from_utf8_lossy(&said.stderr).contains("set NATS_TOKEN"), "{said:?}");
}

#[test]
fn s3_compose_passes_on_every_setting_and_every_variable_of_the_examples() {
    let compose = file("docker-compose.yml");
    let passes = |name: &str| compose.contains(&format!("{name}: \"${{{name}:-}}\""));
    // Where the bus of the gateway is and with which token, Compose says itself.
    let own = |name: &str| ["NATS_TOKEN", "NATS_TOKEN_FILE", "GECHOLOG_HOST", "BROKER_HTTP"].contains(&name);
    let known = Command::new(env!("CARGO_BIN_EXE_broker")).arg("config").env_clear().output().unwrap();
    let known = String::from_utf8(known.stdout).unwrap();
    let names: Vec<_> = known.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    assert!(names.len() > 30, "{known}");
    for name in names.into_iter().filter(|name| !own(name)) {
        assert!(passes(name), "{name} is not passed on");
    }
    for folder in ["examples/pools", "examples/relay"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            for name in text.split("${").skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name) {
                let is_gateways = name == "AISERVICE_API_BASE";
                assert!(passes(name) || is_gateways, "{name} of {} is not passed on", path.display());
            }
        }
    }
}

#[test]
fn s3_an_image_that_is_started_by_hand_lets_its_page_be_published() {
    let image = file("Dockerfile");
    assert!(image.contains("\nENV BROKER_HTTP=0.0.0.0:5381\n") && image.contains("\nEXPOSE 5381"), "{image}");
}

#[test]
fn s3_the_file_of_calls_has_a_volume_that_the_user_of_the_image_may_write() {
    let (compose, image) = (file("docker-compose.yml"), file("Dockerfile"));
    assert!(compose.contains("\n      - calls:/calls\n") && compose.contains("\n  calls:\n"), "{compose}");
    let user = image.lines().find_map(|line| line.strip_prefix("USER ")).unwrap();
    assert!(image.contains(&format!("\nCOPY --from=build --chown={user} /calls /calls\n")), "{image}");
    assert!(file(".env.example").contains("\n#BROKER_CALLS=/calls/"));
}

#[test]
fn s3_what_the_compose_file_mounts_is_there() {
    let compose = file("docker-compose.yml");
    let mounts = compose.lines().filter_map(|line| line.trim().strip_prefix("- ./")?.split(':').next());
    let mounted: Vec<_> = mounts.collect();
    assert!(mounted.len() >= 6, "{mounted:?}");
    for path in mounted {
        assert!(root().join(path).is_file(), "docker-compose.yml mounts {path}");
    }
    assert!(root().join("examples/pools").is_dir() && compose.contains("POOLS_FOLDER:-./examples/pools}:/pools:ro"));
}
