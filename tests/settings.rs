//! What is set wrong is said all at once, before anything starts; what is set right wins in the documented order.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use gateway_sim::nats_server::NatsServer;

use super::support::{Bus, GPT4, GPT35, REQUEST, Setup, TOKEN, soon};

#[tokio::test]
async fn every_fault_of_one_start_is_listed_with_its_place_its_value_and_what_would_be_right() {
    let ended = Setup::bare()
        .set("DISABLED_TIME", "ten")
        .set("BROKER_ROUTERS", "/azure/gpt4/,/azure/gpt4/,azure/dud,/azure/gpt-5/,/azure/")
        .set("BROKER_MODE", "blance")
        .set("BROKER_HTTP", "nowhere")
        .set("BROKER_RELAY", "everywhere")
        .set("BROKER_GATEWAY", "gecholog:5380")
        .set("BROKER_RELAY_CA", "/no/such/ca")
        .set("BROKER_RELAY_CALLS", "0")
        .set("BROKER_RELAY_BODY", "20MB")
        .set("BROKER_RELAY_PATIENCE", "0")
        .set("BROKER_RELAY_GRACE", "soon")
        .set("BROKER_LOG", "info,=,=")
        .set("BROKER_LOG_FORMAT", "xml")
        .set("BROKER_FAILURE_STATUS", "404,teapot,9xx9")
        .set("BROKER_SUBJECT", "coburn.*")
        .set("BROKER_QUEUE", "a b")
        .set("NATS_CREDS", "/no/such/file")
        .set("NATS_CA", "/no/such/authority")
        .set("NATS_TOKEN_FILE", "/no/such/token")
        .set("GECHOLOG_HOST", "http://somewhere/")
        .set("BROKER_ROUTER", "/azure/gpt4/")
        .set("DISABLE_TIME", "5")
        .set("BROKER_INGRESS", OsString::from_vec(vec![0xff]))
        .ended()
        .await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert_eq!(ended.out, "", "nothing has started");
    for words in [
        ["DISABLED_TIME", "\"ten\"", "0.5"],
        ["BROKER_ROUTERS", "/azure/gpt4/", "twice"],
        ["BROKER_ROUTERS", "azure/dud", "begin and end with '/'"],
        ["BROKER_ROUTERS", "/azure/gpt-5/", "'-'"],
        ["BROKER_ROUTERS", "/azure/", "ingress"],
        ["BROKER_MODE", "blance", "balance or observe"],
        ["BROKER_HTTP", "nowhere", "127.0.0.1:5381"],
        ["BROKER_RELAY=", "everywhere", "0.0.0.0:5390"],
        ["BROKER_GATEWAY", "must be a URL", "https://"],
        ["BROKER_RELAY_CALLS", "\"0\"", "from 1 to"],
        ["BROKER_RELAY_BODY", "20MB", "MB, from 1 to 1024"],
        ["BROKER_RELAY_PATIENCE", "\"0\"", "seconds, from 1 to"],
        ["BROKER_RELAY_GRACE", "soon", "seconds, from 0 to"],
        ["BROKER_RELAY_CA", "/no/such/ca", "cannot read"],
        ["BROKER_LOG=", "info,=,=", "debug"],
        ["BROKER_LOG_FORMAT", "xml", "text or json"],
        ["BROKER_FAILURE_STATUS", "\"teapot\"", "5xx"],
        ["BROKER_FAILURE_STATUS", "\"9xx9\"", "429"],
        ["BROKER_SUBJECT", "coburn.*", "coburn.gl.broker"],
        ["BROKER_QUEUE", "a b", "letters"],
        ["NATS_CREDS", "/no/such/file", "cannot read"],
        ["NATS_CA", "/no/such/authority", "cannot read"],
        ["NATS_TOKEN_FILE", "/no/such/token", "cannot read"],
        ["GECHOLOG_HOST", "http://somewhere/", "host:port"],
        ["BROKER_ROUTER:", "no such setting", "BROKER_ROUTERS"],
        ["DISABLE_TIME", "no such setting", "DISABLED_TIME"],
        ["BROKER_INGRESS", "UTF-8", "BROKER_INGRESS"],
    ] {
        let said = ended.err.lines().any(|line| words.iter().all(|word| line.contains(word)));
        assert!(said, "no line with {words:?} in:\n{}", ended.err);
    }
}

#[tokio::test]
async fn invalid_numbers_are_rejected() {
    for bad in ["-1", "NaN", "inf", "-inf", "1e400", "10m", "1,5", "1e300", " ", "0x10"] {
        for setup in [Setup::bare().set("DISABLED_TIME", bad), Setup::bare().arguments(&["--disabled-time", bad])] {
            let ended = setup.set("NATS_TOKEN", TOKEN).ended().await;
            assert_eq!(ended.code, Some(2), "{bad}: {ended:?}");
            assert!(ended.err.to_lowercase().replace('_', "-").contains("disabled-time"), "{bad}: {ended:?}");
        }
    }
}

#[tokio::test]
async fn paths_that_the_gateway_refuses_are_refused() {
    for bad in
        ["/", "//", "/a//b/", "/a", "a/", "/a b/", "/ä/", "/gpt-4/", "/a/,,/b/", &format!("/{}/", "a".repeat(200))]
    {
        let ended = Setup::bare().set("BROKER_ROUTERS", bad).ended().await;
        assert_eq!(ended.code, Some(2), "{bad}: {ended:?}");
        assert!(ended.err.contains("BROKER_ROUTERS"), "{bad}: {ended:?}");
        let ended = Setup::bare().set("BROKER_INGRESS", bad).ended().await;
        assert_eq!(ended.code, Some(2), "{bad}: {ended:?}");
        assert!(ended.err.contains("BROKER_INGRESS"), "{bad}: {ended:?}");
    }
}

#[tokio::test]
async fn what_kubernetes_sets_by_itself_only_warns() {
    let bus = Bus::start().await;
    let broker = Setup::on(&bus)
        .set("BROKER_PORT", "tcp://10.0.0.7:5381")
        .set("BROKER_SERVICE_HOST", "10.0.0.7")
        .set("BROKER_SERVICE_PORT", "5381")
        .set("BROKER_PORT_5381_TCP_ADDR", "10.0.0.7")
        .ready()
        .await;
    for name in ["BROKER_PORT:", "BROKER_SERVICE_HOST:", "BROKER_SERVICE_PORT:", "BROKER_PORT_5381_TCP_ADDR:"] {
        broker.until(&["WARN", name]).await;
    }
    broker.exactly(&["WARN"], 4).await;
}

#[tokio::test]
async fn an_empty_variable_is_an_unset_one() {
    let bus = Bus::start().await;
    let mut setup = Setup::on(&bus);
    for name in [
        "NATS_TOKEN_FILE",
        "NATS_URL",
        "NATS_CREDS",
        "NATS_CA",
        "DISABLED_TIME",
        "BROKER_INGRESS",
        "BROKER_ROUTERS",
        "BROKER_SUBJECT",
        "BROKER_LOGGER_SUBJECT",
        "BROKER_QUEUE",
        "BROKER_FAILURE_STATUS",
        "BROKER_MODE",
        "BROKER_LOG",
        "BROKER_LOG_FORMAT",
        "BROKER_ROUTER",
        "BROKER_PORT",
    ] {
        setup = setup.set(name, "");
    }
    let broker = setup.ready().await;
    assert_eq!(broker.count(&["WARN"]), 0, "{}", broker.text());
    let stamp = bus.decide().await["broker"].take();
    assert_eq!((&stamp["pool"], stamp["p"].as_f64()), (&"/azure/".into(), Some(0.333_333)));
}

#[tokio::test]
async fn a_flag_wins_over_its_variable_and_stands_before_or_behind_the_command() {
    let bus = Bus::start().await;
    for arguments in [["--broker-routers", GPT35, "run"], ["run", "--broker-routers", GPT35]] {
        let setup = Setup::on(&bus).set("BROKER_ROUTERS", GPT4).arguments(&arguments);
        let _broker = setup.ready().await;
        assert_eq!(bus.decide().await["gl_path"], GPT35);
    }
    let ended = Setup::on(&bus).set("BROKER_MODE", "observe").arguments(&["--broker-mode", "maybe"]).ended().await;
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.contains("--broker-mode") && ended.err.contains("maybe"), "the flag is named: {ended:?}");
}

#[tokio::test]
async fn help_lists_every_switch_but_the_secrets() {
    let ended = Setup::bare().arguments(&["--help"]).ended().await;
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    let flags: Vec<_> = ended.out.split_whitespace().filter(|word| word.starts_with("--")).collect();
    for name in [
        "--nats-token-file",
        "--gecholog-host",
        "--nats-creds",
        "--nats-ca",
        "--disabled-time",
        "--broker-ingress",
        "--broker-routers",
        "--broker-subject",
        "--broker-logger-subject",
        "--broker-queue",
        "--broker-failure-status",
        "--broker-mode",
        "--broker-http",
        "--broker-log",
        "--broker-log-format",
    ] {
        assert!(flags.contains(&name), "{name} is missing in:\n{}", ended.out);
    }
    for secret in ["--nats-token", "--nats-url"] {
        assert!(!flags.contains(&secret), "{secret}");
        let ended = Setup::bare().arguments(&[&format!("{secret}={TOKEN}")]).ended().await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
    }
    for default in
        ["localhost:4222", "/azure/gpt35turbo/,/azure/gpt4/,/azure/dud/", "127.0.0.1:5381", "coburn.gl.broker"]
    {
        assert!(ended.out.contains(default), "the default {default} in:\n{}", ended.out);
    }
    let ended = Setup::bare().arguments(&["--version"]).ended().await;
    assert_eq!((ended.code, ended.out.trim()), (Some(0), concat!("broker ", env!("CARGO_PKG_VERSION"))));
}

#[tokio::test]
async fn no_fault_shows_a_secret() {
    for url in [
        format!("ftp://user:{TOKEN}@host:4222"),
        format!("{TOKEN}@host:4222"),
        format!("nats://{TOKEN}@host:port"),
        format!("nats://one:4222,http://user:{TOKEN}@two:4222"),
    ] {
        let ended = Setup::bare().set("NATS_URL", &url).ended().await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.err.contains("NATS_URL"), "{ended:?}");
    }
    let ended = Setup::bare().set("GECHOLOG_HOST", format!("{TOKEN}@host")).ended().await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("GECHOLOG_HOST"), "{ended:?}");
    let file = std::env::temp_dir().join(format!("token-{}", std::process::id()));
    std::fs::write(&file, TOKEN).unwrap();
    let ended = Setup::bare().set("NATS_TOKEN", TOKEN).set("NATS_TOKEN_FILE", &file).ended().await;
    std::fs::remove_file(&file).unwrap();
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("NATS_TOKEN_FILE") && ended.err.contains("NATS_TOKEN is set too"), "{ended:?}");
}

#[tokio::test]
async fn the_token_can_stand_in_a_file() {
    let bus = Bus::start().await;
    let file = std::env::temp_dir().join(format!("token-file-{}", std::process::id()));
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let _broker = Setup::on(&bus).unset("NATS_TOKEN").set("NATS_TOKEN_FILE", &file).ready().await;
    std::fs::remove_file(&file).unwrap();
    assert!(bus.decide().await["gl_path"].is_string());
}

#[tokio::test]
async fn the_bus_can_be_a_url_with_its_token_and_one_of_several_servers() {
    let bus = Bus::start().await;
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for url in [
        format!("nats://{TOKEN}@{}", bus.host()),
        format!("nats://{TOKEN}@{dead},nats://{TOKEN}@{}", bus.host()),
        format!("nats://{}, nats://{TOKEN}@{dead}", bus.host()),
    ] {
        let setup = Setup::bare().set("NATS_URL", &url).set("GECHOLOG_HOST", "no.such.host").set("BROKER_HTTP", "off");
        let _broker = setup.ready().await;
        assert!(bus.decide().await["gl_path"].is_string(), "{url}");
    }
}

#[tokio::test]
async fn user_and_password_can_stand_in_the_url() {
    let account = r#"authorization { user: "broker", password: "pa55word" }"#;
    let server = NatsServer::start(0, "unused", account).unwrap();
    let options = async_nats::ConnectOptions::with_user_and_password("broker".into(), "pa55word".into());
    let client = soon("the bus", options.connect(server.host())).await.unwrap();
    let setup = Setup::bare().set("BROKER_HTTP", "off").set("BROKER_LOG", "trace").secret("pa55word");
    let url = format!("nats://broker:pa55word@{}", server.host());
    let broker = setup.clone().set("NATS_URL", url).ready().await;
    let answer = client.request("coburn.gl.broker", REQUEST.into()).await.unwrap();
    assert!(!answer.payload.is_empty());
    drop(broker);
    let url = format!("nats://broker:wr0ng-pass@{}", server.host());
    let ended = setup.set("NATS_URL", url).secret("wr0ng-pass").ended().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
}

#[tokio::test]
async fn a_bus_with_a_certificate_of_ones_own_authority_needs_nats_ca() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tls");
    let authority = format!("{folder}/ca.pem");
    let tls = format!(r#"tls {{ cert_file: "{folder}/server.pem", key_file: "{folder}/server.key" }}"#);
    let server = NatsServer::start(0, TOKEN, &tls).unwrap();
    let options = async_nats::ConnectOptions::with_token(TOKEN.into()).add_root_certificates(authority.clone().into());
    let client = soon("the bus", options.connect(format!("tls://{}", server.host()))).await.unwrap();
    let setup = Setup::bare().set("NATS_TOKEN", TOKEN).set("NATS_URL", format!("tls://{}", server.host()));
    let setup = setup.set("BROKER_HTTP", "127.0.0.1:0");
    let broker = setup.clone().set("NATS_CA", &authority).ready().await;
    assert!(!client.request("coburn.gl.broker", REQUEST.into()).await.unwrap().payload.is_empty());
    drop(broker);
    let broker = setup.spawn();
    broker.until_nth(&["no connection to the bus"], 2).await;
    assert_eq!(broker.get("/readyz").await.status, 503);
}

#[tokio::test]
async fn the_log_can_be_made_quiet() {
    let bus = Bus::start().await;
    let broker = Setup::on(&bus).set("BROKER_LOG", "warn").spawn();
    // Nothing says that it is ready, so it is asked until it answers.
    soon("an answer", async {
        while bus.client.request("coburn.gl.broker", REQUEST.into()).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(broker.text(), "");
    bus.ask("coburn.gl.broker.outcome", super::support::outcome(GPT4, 500)).await;
    broker.until(&["WARN", "router disabled"]).await;
}
