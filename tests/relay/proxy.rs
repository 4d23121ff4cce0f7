//! Targets behind a forward proxy: which calls go through it, and what it and the log get to see.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use super::super::support::scripted::Scripted;
use super::super::support::tls::FOLDER;
use super::super::support::{Bus, DUD, Log, soon};
use super::tls::upstream;
use super::{HELLO, Harness, PoolsFile, Setup, good, pools, target};

const PASSWORD: &str = "pa55-of-the-proxy";

/// A forward proxy whose every tunnel leads to one port of this machine.
struct ForwardProxy {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl ForwardProxy {
    /// Without an upstream every tunnel is refused.
    async fn start(upstream: Option<u16>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&heads);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let seen = Arc::clone(&seen);
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(client.read_u8().await.ok()?);
                    }
                    seen.lock().unwrap().push(String::from_utf8(head).ok()?);
                    let Some(upstream) = upstream else {
                        return client.write_all(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n").await.ok();
                    };
                    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.ok()?;
                    let mut upstream = TcpStream::connect(("127.0.0.1", upstream)).await.ok()?;
                    copy_bidirectional(&mut client, &mut upstream).await.ok().map(|_| ())
                });
            }
        });
        Self { port, heads }
    }

    fn url(&self) -> String {
        format!("http://user:{PASSWORD}@127.0.0.1:{}", self.port)
    }

    /// The first lines of what was asked for so far.
    fn tunnels(&self) -> Vec<String> {
        self.heads.lock().unwrap().iter().map(|head| head.lines().next().unwrap_or_default().to_owned()).collect()
    }
}

/// A relay before a target at this address, with a backup on this machine.
async fn harness(url: &str, backup: &Scripted, variables: &[(&str, &str)]) -> Harness {
    let text = pools(&[target("a", url), target("b", &backup.url())]);
    let set = |setup: Setup| {
        let setup = setup.secret(PASSWORD).set("BROKER_RELAY_CA", format!("{FOLDER}/other.pem"));
        variables.iter().fold(setup, |setup, (name, value)| setup.set(name, value))
    };
    Harness::with(&text, set).await
}

#[tokio::test]
async fn s2_calls_of_https_targets_go_through_a_tunnel_and_calls_of_this_machine_do_not() {
    let (secure, backup) = (upstream("other").await, Scripted::start(good()).await);
    for name in ["HTTPS_PROXY", "https_proxy"] {
        let proxy = ForwardProxy::start(Some(secure)).await;
        let harness = harness("https://llm.test/v1/", &backup, &[(name, &proxy.url())]).await;
        let answer = harness.call().await;
        assert_eq!((answer.text().as_str(), answer.header("x-broker-router")), (HELLO, Some("/llm/a/")), "{name}");
        assert_eq!(proxy.tunnels(), ["CONNECT llm.test:443 HTTP/1.1"]);
        let head = proxy.heads.lock().unwrap()[0].to_ascii_lowercase();
        assert!(head.contains("\r\nproxy-authorization: basic dxnlcjpwytu1lw9mlxrozs1wcm94eq==\r\n"), "{head}");
        let line = harness.broker.until(&["through a proxy"]).await;
        assert!(line.contains(&format!("https=\"http://***@127.0.0.1:{}\" http=\"none\"", proxy.port)), "{line}");
    }
    let proxy = ForwardProxy::start(Some(secure)).await;
    let variables = [("HTTPS_PROXY", proxy.url()), ("HTTP_PROXY", proxy.url())];
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    let harness = harness(&format!("https://localhost:{secure}/"), &backup, &variables).await;
    assert_eq!(harness.call().await.header("x-broker-router"), Some("/llm/a/"));
    assert!(proxy.tunnels().is_empty(), "this machine needs no proxy: {:?}", proxy.tunnels());
}

#[tokio::test]
async fn s2_plain_targets_hosts_without_a_proxy_and_a_proxy_that_refuses() {
    let (plain, backup) = (Scripted::start(good()).await, Scripted::start(good()).await);
    let port = plain.url().parse::<hyper::Uri>().unwrap().port_u16().unwrap();
    for (url, variable, others, upstream, served, tunnels) in [
        ("http://llm.test/v1/", "HTTP_PROXY", vec![], Some(port), "/llm/a/", vec!["CONNECT llm.test:80 HTTP/1.1"]),
        ("http://llm.test:81/", "http_proxy", vec![], Some(port), "/llm/a/", vec!["CONNECT llm.test:81 HTTP/1.1"]),
        ("http://llm.test/", "HTTPS_PROXY", vec![], Some(port), "/llm/b/", vec![]),
        ("http://llm.test/", "HTTP_PROXY", vec![("NO_PROXY", "x.test, llm.test")], Some(port), "/llm/b/", vec![]),
        ("http://llm.test/", "HTTP_PROXY", vec![("no_proxy", ".test")], Some(port), "/llm/b/", vec![]),
        ("https://llm.test/", "HTTPS_PROXY", vec![], None, "/llm/b/", vec!["CONNECT llm.test:443 HTTP/1.1"]),
    ] {
        let proxy = ForwardProxy::start(upstream).await;
        let address = proxy.url();
        let variables = [others, vec![(variable, address.as_str())]].concat();
        let harness = harness(url, &backup, &variables).await;
        assert_eq!(harness.call().await.header("x-broker-router"), Some(served), "{url} {variable}");
        assert_eq!(proxy.tunnels(), tunnels, "{url} {variable}");
    }
}

#[tokio::test]
async fn s2_a_proxy_that_cannot_be_used_is_a_fault_where_something_is_called_through_it() {
    let proxies = Setup::bare().secret(PASSWORD).set("https_proxy", format!("socks5://user:{PASSWORD}@proxy:1080"));
    for on in [("BROKER_RELAY", "127.0.0.1:0"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.test")] {
        let ended = proxies.clone().set("HTTP_PROXY", "no url").set(on.0, on.1).ended().await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        for name in ["https_proxy: must be a URL such as http://", "HTTP_PROXY: must be a URL such as http://"] {
            assert!(ended.err.contains(name), "{ended:?}");
        }
        assert!(!ended.err.contains(PASSWORD), "{ended:?}");
    }
    let bus = Bus::start().await;
    let file = PoolsFile::none();
    let broker = Setup::on(&bus).secret(PASSWORD).set("https_proxy", file.path()).ready().await;
    assert_eq!(broker.count(&["proxy"]), 0);
}

#[tokio::test]
async fn the_collector_of_traces_is_called_through_the_proxy_without_a_relay_too() {
    let (bus, proxy) = (Bus::start().await, ForwardProxy::start(None).await);
    let setup = Setup::on(&bus).secret(PASSWORD).set("HTTP_PROXY", proxy.url());
    let broker = setup.set("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.test:4318").ready().await;
    broker.until(&["through a proxy"]).await;
    bus.log(Log::of(DUD, 200)).await;
    soon("a tunnel", async {
        while proxy.tunnels().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(proxy.tunnels()[0], "CONNECT collector.test:4318 HTTP/1.1");
}
