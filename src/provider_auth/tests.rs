use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::task::Poll;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hyper::Request;
use proptest::prelude::*;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, RsaPublicKeyComponents};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

use super::*;

/// Made for these tests; no account has it.
const PEM: &str = include_str!("test-only.pem");

/// Answers in turn, and keeps what was asked.
#[derive(Clone, Default)]
struct Scripted(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    answers: VecDeque<Result<Bytes, FetchError>>,
    asked: Vec<Request<Bytes>>,
}

impl Scripted {
    fn new(answers: impl IntoIterator<Item = Result<String, FetchError>>) -> Self {
        let answers = answers.into_iter().map(|answer| answer.map(Bytes::from)).collect();
        Self(Arc::new(Mutex::new(Script { answers, asked: Vec::new() })))
    }

    fn asked(&self) -> usize {
        self.0.lock().unwrap().asked.len()
    }
}

impl Fetch for Scripted {
    async fn fetch(&self, request: Request<Bytes>) -> Result<Bytes, FetchError> {
        tokio::task::yield_now().await;
        let mut script = self.0.lock().unwrap();
        script.asked.push(request);
        script.answers.pop_front().unwrap_or(Err(FetchError::Request("nothing is left to answer")))
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn account() -> String {
    json!({
        "type": "service_account", "client_email": "broker@p.iam.gserviceaccount.com", "private_key": PEM,
        "private_key_id": "k1", "project_id": "p", "token_uri": "https://oauth2.googleapis.com/token",
    })
    .to_string()
}

fn google() -> Arc<KeySource> {
    Arc::new(KeySource::new(Source::Google(ServiceAccount::parse(&account()).unwrap())))
}

fn token(text: &str) -> Result<String, FetchError> {
    Ok(json!({"access_token": text, "expires_in": 3600, "token_type": "Bearer"}).to_string())
}

fn bearer(text: &str) -> Key {
    Key::Bearer(text.to_owned())
}

#[tokio::test]
async fn a_key_is_fetched_once_and_renewed_before_its_end() {
    let (source, fetch) = (google(), Scripted::new([token("a"), token("b")]));
    let calls = (0..8).map(|_| source.key(&fetch, || at(0)));
    let keys = futures_util::future::join_all(calls).await;
    assert!(keys.iter().all(|key| key.as_deref() == Some(&bearer("a"))), "{keys:?}");
    assert_eq!(fetch.asked(), 1, "eight calls at once");
    assert_eq!(source.key(&fetch, || at(3_299)).await.as_deref(), Some(&bearer("a")));
    assert_eq!(fetch.asked(), 1, "long before the end");
    assert_eq!(source.key(&fetch, || at(3_300)).await.as_deref(), Some(&bearer("a")), "no call waits for the new one");
    while source.key(&fetch, || at(3_300)).await.as_deref() != Some(&bearer("b")) {
        tokio::task::yield_now().await;
    }
    assert_eq!(fetch.asked(), 2);
}

#[tokio::test]
async fn without_a_key_calls_go_on_at_once_and_it_is_tried_again_after_five_seconds() {
    let refused = || Err(FetchError::Status { host: "oauth2.googleapis.com".to_owned(), status: 503 });
    let (source, fetch) = (google(), Scripted::new([refused(), token("a"), refused()]));
    for second in [0, 1, 4] {
        assert_eq!(source.key(&fetch, move || at(second)).await, None);
    }
    assert_eq!(fetch.asked(), 1);
    assert_eq!(source.key(&fetch, || at(5)).await.as_deref(), Some(&bearer("a")));
    // A renewal that fails takes nothing away.
    assert_eq!(source.key(&fetch, || at(3_400)).await.as_deref(), Some(&bearer("a")));
    while fetch.asked() < 3 {
        tokio::task::yield_now().await;
    }
    assert_eq!(source.key(&fetch, || at(3_401)).await.as_deref(), Some(&bearer("a")));
    assert_eq!(source.key(&fetch, || at(3_605)).await, None, "its end");
}

/// Takes five seconds on this clock for each fetch, and never has a key.
#[derive(Clone, Default)]
struct Hanging {
    clock: Arc<AtomicI64>,
    asked: Arc<AtomicI64>,
}

impl Hanging {
    fn now(&self) -> impl Fn() -> Timestamp + Clone + Send + 'static {
        let clock = Arc::clone(&self.clock);
        move || at(clock.load(Relaxed))
    }
}

impl Fetch for Hanging {
    async fn fetch(&self, _: Request<Bytes>) -> Result<Bytes, FetchError> {
        self.asked.fetch_add(1, Relaxed);
        tokio::task::yield_now().await;
        self.clock.fetch_add(5, Relaxed);
        Err(FetchError::Connection { host: "h".to_owned(), problem: "not within five seconds".to_owned() })
    }
}

#[tokio::test]
async fn an_issuer_that_hangs_holds_calls_once_and_not_each_in_turn() {
    for source in [google(), container(&[])] {
        let fetch = Hanging::default();
        let calls = || futures_util::future::join_all((0..8).map(|_| source.key(&fetch, fetch.now())));
        assert!(calls().await.iter().all(Option::is_none));
        let seen = || (fetch.asked.load(Relaxed), fetch.clock.load(Relaxed));
        assert_eq!(seen(), (1, 5), "those that wait share the failure");
        fetch.clock.store(9, Relaxed);
        assert!(calls().await.iter().all(Option::is_none));
        assert_eq!(seen(), (1, 9), "the pause begins at the end of the fetch");
        fetch.clock.store(10, Relaxed);
        let one = source.key(&fetch, fetch.now());
        tokio::pin!(one);
        assert!(futures_util::poll!(&mut one).is_pending());
        assert_eq!(futures_util::poll!(Box::pin(source.key(&fetch, fetch.now()))), Poll::Ready(None), "no other waits");
        assert_eq!(one.await, None);
        assert_eq!(seen(), (2, 15));
    }
}

#[tokio::test]
async fn a_fetch_goes_on_when_its_call_is_given_up() {
    let (source, fetch) = (google(), Hanging::default());
    assert!(futures_util::poll!(Box::pin(source.key(&fetch, fetch.now()))).is_pending());
    assert_eq!(source.key(&fetch, fetch.now()).await, None);
    assert_eq!(fetch.asked.load(Relaxed), 1);
}

#[tokio::test]
async fn a_service_account_proves_itself_by_a_signed_assertion() {
    let (source, fetch) = (google(), Scripted::new([token("a")]));
    source.key(&fetch, || at(0)).await.unwrap();
    let script = fetch.0.lock().unwrap();
    let request = &script.asked[0];
    assert_eq!(request.uri(), "https://oauth2.googleapis.com/token");
    let form = std::str::from_utf8(request.body()).unwrap();
    let (grant, assertion) = form.split_once("&assertion=").unwrap();
    assert_eq!(grant, "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer");
    let (signed, signature) = assertion.rsplit_once('.').unwrap();
    let parts: Vec<Value> =
        signed.split('.').map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()).collect();
    assert_eq!(parts[0], json!({"alg": "RS256", "typ": "JWT", "kid": "k1"}));
    let claims = json!({
        "iss": "broker@p.iam.gserviceaccount.com", "scope": "https://www.googleapis.com/auth/cloud-platform",
        "aud": "https://oauth2.googleapis.com/token", "iat": 1_800_000_000, "exp": 1_800_003_600,
    });
    assert_eq!(parts[1], claims);
    let der = PrivatePkcs8KeyDer::from_pem_slice(PEM.as_bytes()).unwrap();
    let key = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap();
    let public = RsaPublicKeyComponents::<Vec<u8>>::from(key.public());
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    public.verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &signature).unwrap();
}

#[test]
fn a_file_that_is_no_service_account() {
    let with = |name: &str, value: Value| {
        let mut file: Value = serde_json::from_str(&account()).unwrap();
        file[name] = value;
        ServiceAccount::parse(&file.to_string()).unwrap_err()
    };
    assert_eq!(ServiceAccount::parse("{}").unwrap_err(), AccountFault::Fields);
    assert_eq!(with("client_email", Value::Null), AccountFault::Fields);
    assert_eq!(with("private_key", json!("-----BEGIN")), AccountFault::Key);
    assert_eq!(with("token_uri", json!("http://evil.example/token")), AccountFault::TokenUri);
    let shown = format!("{:?}", google());
    assert!(shown.contains("broker@p") && !shown.contains("PRIVATE"), "{shown}");
}

const STS: &str = "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><SubjectFromWebIdentityToken>x\
    </SubjectFromWebIdentityToken><Credentials><SessionToken>tok</SessionToken><SecretAccessKey>sec+/=</SecretAccessKey>\
    <Expiration>2027-01-15T09:00:00Z</Expiration><AccessKeyId>ASIA1</AccessKeyId></Credentials>\
    </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>";

fn aws(variables: &[(&str, &str)]) -> Result<Option<AwsSource>, AwsSourceFault> {
    let variables: BTreeMap<_, _> = variables.iter().copied().collect();
    AwsSource::from_environment("eu-central-1", |name| variables.get(name).copied())
}

/// The agent of a container, with these variables besides.
fn container(variables: &[(&str, &str)]) -> Arc<KeySource> {
    let variables = [&[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/1")], variables].concat();
    KeySource::shared(Source::Aws(aws(&variables).unwrap().unwrap()))
}

fn aws_key(id: &str, secret: &str, session: Option<&str>) -> Key {
    Key::Aws(AwsKey { id: id.to_owned(), secret: secret.to_owned(), session_token: session.map(str::to_owned) })
}

#[tokio::test]
async fn a_token_in_a_file_is_exchanged_for_the_keys_of_a_role() {
    let file = std::env::temp_dir().join(format!("web-identity-{}", std::process::id()));
    std::fs::write(&file, "eyJ.a/b\n").unwrap();
    let named = aws(&[
        ("AWS_WEB_IDENTITY_TOKEN_FILE", file.to_str().unwrap()),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/x"),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1/credentials"),
    ]);
    let source = Arc::new(KeySource::new(Source::Aws(named.unwrap().unwrap())));
    let fetch = Scripted::new([Ok(STS.to_owned())]);
    let key = source.key(&fetch, || at(0)).await;
    std::fs::remove_file(&file).unwrap();
    assert_eq!(key.as_deref(), Some(&aws_key("ASIA1", "sec+/=", Some("tok"))));
    let script = fetch.0.lock().unwrap();
    assert_eq!(script.asked[0].uri(), "https://sts.eu-central-1.amazonaws.com/");
    assert_eq!(
        script.asked[0].body(),
        "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fx\
         &RoleSessionName=gecholog%2Dbroker&WebIdentityToken=eyJ%2Ea%2Fb"
    );
}

#[tokio::test]
async fn the_agent_of_a_container_is_asked() {
    let source = container(&[]);
    let answer =
        json!({"AccessKeyId": "ASIA2", "SecretAccessKey": "s", "Token": "t", "Expiration": "2027-01-15T09:00:00Z"});
    let expired = json!({"AccessKeyId": "ASIA2", "SecretAccessKey": "s", "Expiration": "2027-01-15T07:00:00Z"});
    let fetch = Scripted::new([Ok(expired.to_string()), Ok(answer.to_string())]);
    assert_eq!(source.key(&fetch, || at(0)).await, None, "a key that has ended");
    assert_eq!(source.key(&fetch, || at(6)).await.as_deref(), Some(&aws_key("ASIA2", "s", Some("t"))));
    assert_eq!(fetch.0.lock().unwrap().asked[0].uri(), "http://169.254.170.2/v2/credentials/1");
}

#[tokio::test]
async fn the_agent_of_a_container_gets_the_token_of_the_environment_or_of_a_file() {
    const TEXT: (&str, &str) = ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Basic c2VjcmV0");
    let file = std::env::temp_dir().join(format!("container-token-{}", std::process::id()));
    std::fs::write(&file, "from-file\n").unwrap();
    let from_file = ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file.to_str().unwrap());
    for (variables, token) in [
        (&[][..], None),
        (&[TEXT][..], Some("Basic c2VjcmV0")),
        (&[from_file][..], Some("from-file")),
        (&[TEXT, from_file][..], Some("from-file")),
    ] {
        let (source, fetch) = (container(variables), Scripted::default());
        source.key(&fetch, || at(0)).await;
        let script = fetch.0.lock().unwrap();
        let sent = script.asked[0].headers().get("authorization");
        assert_eq!(sent.map(|value| value.to_str().unwrap()), token, "{variables:?}");
        assert!(sent.is_none_or(hyper::header::HeaderValue::is_sensitive));
        assert!(!format!("{source:?}").contains("c2VjcmV0"), "{source:?}");
    }
    std::fs::remove_file(&file).unwrap();
    let uri = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "https://h/");
    let broken = aws(&[uri, ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "a\r\nb")]).unwrap_err();
    assert_eq!(broken.name, "AWS_CONTAINER_AUTHORIZATION_TOKEN");
}

#[test]
fn a_token_goes_only_where_it_may() {
    assert_eq!(aws(&[]), Ok(None));
    assert_eq!(aws(&[("AWS_WEB_IDENTITY_TOKEN_FILE", "/t")]).unwrap_err().name, "AWS_ROLE_ARN");
    let full = |uri| aws(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri)]).is_ok();
    for uri in ["http://127.0.0.1:80/", "http://169.254.170.23/v1", "http://[fd00:ec2::23]/v1", "https://h/"] {
        assert!(full(uri), "{uri}");
    }
    for uri in ["http://h/", "http://169.254.169.254/", "ftp://127.0.0.1/", "/v1"] {
        assert!(!full(uri), "{uri}");
    }
}

proptest! {
    #[test]
    fn any_answer_is_read_without_panic(body in prop::collection::vec(any::<u8>(), 0..400)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let source = Arc::new(KeySource::new(Source::Aws(
            aws(&[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/")]).unwrap().unwrap(),
        )));
        let fetch = Scripted::default();
        fetch.0.lock().unwrap().answers.push_back(Ok(body.into()));
        prop_assert_eq!(runtime.block_on(source.key(&fetch, || at(0))), None);
    }
}
