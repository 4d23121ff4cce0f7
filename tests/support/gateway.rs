//! A gateway, and the fake LLMs behind it: the simulated one in this process, or with `GECHOLOG_BIN` the real program.

use std::any::Any;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::StreamExt;
use gateway_sim::llm::{Behaviour, Llm};
use serde_json::{Value, json};

use super::http::{self, Answer};
use super::{Bus, TOKEN, soon};

/// A chat that every deployment understands.
pub(crate) const HI: &str = r#"{"model":"gpt4","messages":[{"role":"user","content":"hi"}],"max_tokens":15}"#;

/// The fake LLMs: deployments `gpt4` and `gpt35turbo`.
pub(crate) struct Llms(Llm);

impl Llms {
    pub(crate) async fn start() -> Self {
        Self(Llm::start((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap())
    }

    /// Every call of this deployment is answered with this status from now on.
    pub(crate) fn answer(&self, deployment: &str, status: u16) {
        self.0.set(deployment, Behaviour { status, ..Behaviour::default() });
    }

    /// Every call of this deployment is answered with this status and body from now on.
    pub(crate) fn answer_with(&self, deployment: &str, status: u16, body: impl Into<String>) {
        self.0.set(deployment, Behaviour { status, body: Some(body.into()), ..Behaviour::default() });
    }

    /// What this deployment does with every call from now on.
    pub(crate) fn behave(&self, deployment: &str, behaviour: Behaviour) {
        self.0.set(deployment, behaviour);
    }

    pub(crate) fn calls(&self, deployment: &str) -> u64 {
        self.0.calls(deployment)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.0.addr())
    }
}

/// The shipped configuration, with its two rows.
pub(crate) fn two_rows(bus: &Bus, llms: &Llms) -> Value {
    two_rows_before(bus, &llms.url())
}

/// The same before any other upstream.
pub(crate) fn two_rows_before(bus: &Bus, url: &str) -> Value {
    configured(include_str!("../../gl_config.json"), bus, url)
}

/// The documents' configuration, with its one row.
pub(crate) fn one_row(bus: &Bus, llms: &Llms) -> Value {
    configured(include_str!("../../docs/gl_config.one-row.json"), bus, &llms.url())
}

/// The documents' configuration for targets that change the request, with its two rows.
pub(crate) fn overriding(bus: &Bus, url: &str) -> Value {
    configured(include_str!("../../docs/gl_config.overrides.json"), bus, url)
}

/// The same with one row.
pub(crate) fn overriding_in_one_row(bus: &Bus, url: &str) -> Value {
    let mut config = configured(include_str!("../../docs/gl_config.one-row.json"), bus, url);
    config["request"]["processors"][0][0]["output_fields_write"] = json!(["gl_path", "outbound_payload"]);
    seeing(config, &["outbound_payload"])
}

/// Shows further fields of the request to the first row.
pub(crate) fn seeing(mut config: Value, fields: &[&str]) -> Value {
    let seen = config["request"]["processors"][0][0]["input_fields_include"].as_array_mut().unwrap();
    seen.extend(fields.iter().map(|field| json!(field)));
    config
}

fn configured(text: &str, bus: &Bus, url: &str) -> Value {
    let text = text.replace("${NATS_TOKEN}", TOKEN).replace("${AISERVICE_API_BASE}", url);
    let mut config: Value = serde_json::from_str(&text).unwrap();
    config["service_bus"]["hostname"] = json!(bus.host());
    for side in ["request", "response"] {
        let rows = config[side]["processors"].as_array_mut().unwrap();
        for processor in rows.iter_mut().flat_map(|row| row.as_array_mut().unwrap()) {
            // The shipped 50 ms is for real machines; here a debug build shares two cores with a whole test run.
            processor["timeout"] = json!(10_000);
        }
    }
    config
}

/// A running gateway.
pub(crate) struct Gateway {
    addr: SocketAddr,
    /// Whatever it is, it ends when it is dropped.
    _running: Box<dyn Any + Send + Sync>,
}

/// The real program.
struct Real {
    child: Child,
    folder: PathBuf,
}

impl Gateway {
    pub(crate) async fn start(bus: &Bus, config: &Value) -> Self {
        match std::env::var_os("GECHOLOG_BIN").filter(|program| !program.is_empty()) {
            Some(program) => Self::start_real(bus, config.clone(), program.into()).await,
            None => {
                let mut config = gateway_sim::config::Config::parse(&config.to_string(), |_| None).unwrap();
                config.set_port(0);
                let gateway = gateway_sim::gateway::Gateway::start(config).await.unwrap();
                Self { addr: gateway.addr(), _running: Box::new(gateway) }
            }
        }
    }

    async fn start_real(bus: &Bus, mut config: Value, program: PathBuf) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("gecholog-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        config["gl_port"] = json!(port);
        let file = folder.join("gl_config.json");
        std::fs::File::create(&file).unwrap().write_all(config.to_string().as_bytes()).unwrap();
        let topic = config["service_bus"]["topic"].as_str().unwrap().to_owned();
        let mut status = bus.subscribe(&topic).await;
        let child = Command::new(program)
            .arg("-o")
            .arg(&file)
            .args(["-a", &format!("gl{number}")])
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let gateway = Self { addr, _running: Box::new(Real { child, folder }) };
        soon("the gateway's first word on the bus", status.next()).await.unwrap();
        // It prints before it listens, and nothing when it does.
        soon("the gateway", async {
            while tokio::net::TcpStream::connect(addr).await.is_err() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        })
        .await;
        gateway
    }

    pub(crate) const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// A client's call of the ingress.
    pub(crate) async fn call(&self) -> Answer {
        self.send("/azure/", &[], HI.as_bytes()).await
    }

    pub(crate) async fn send(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let own = [("Content-Type", "application/json"), ("Api-Key", "key-of-the-client")];
        let headers = [&own, headers].concat();
        http::send(self.addr, "POST", path, &headers, body).await.unwrap()
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
