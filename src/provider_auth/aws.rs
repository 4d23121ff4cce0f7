//! Temporary keys of AWS: for a workload with a token of its own (Kubernetes: IRSA), and from the agent of a container (ECS, and
//! EKS Pod Identity). SSO and the metadata of instances are not supported.
//!
//! Source: AWS SDKs and Tools Reference Guide, "Assume role with web identity" and "Container credential provider".

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Request, Uri};
use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::fetch::{Fetch, FetchError, MAX_BODY_BYTES};
use super::{AwsKey, ExpiringKey, Key};
use crate::system::files;

/// Where the agent of ECS is, before the path of the settings.
const CONTAINER_HOST: &str = "http://169.254.170.2";

/// Where temporary keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AwsSource {
    /// The token in a file is exchanged for the keys of a role.
    WebIdentity {
        /// `AWS_WEB_IDENTITY_TOKEN_FILE`. It is read anew each time, because it changes.
        token_file: PathBuf,
        /// `AWS_ROLE_ARN`.
        role: String,
        /// `AWS_ROLE_SESSION_NAME`.
        session: String,
        /// Of the Security Token Service: `AWS_ENDPOINT_URL_STS`, or that of the region.
        endpoint: Uri,
    },
    /// The agent of a container is asked.
    Container {
        /// `AWS_CONTAINER_CREDENTIALS_FULL_URI`, or the fixed address with `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`.
        uri: Uri,
        /// What the agent is shown.
        token: Option<ContainerToken>,
    },
}

/// The token for the agent of a container. A file goes before a text, as in AWS's own libraries.
#[derive(Clone, PartialEq, Eq)]
pub enum ContainerToken {
    /// `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`, read anew each time.
    File(PathBuf),
    /// `AWS_CONTAINER_AUTHORIZATION_TOKEN`.
    Text(String),
}

impl fmt::Debug for ContainerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Text(_) => f.write_str("Text(…)"),
        }
    }
}

/// What of the environment is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{name} {problem}")]
pub struct AwsSourceFault {
    /// The variable.
    pub name: &'static str,
    /// What is wrong with it, and what would be right.
    pub problem: &'static str,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContainerAnswer {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
    expiration: Timestamp,
}

impl AwsSource {
    /// What the environment names, in the order of AWS's own libraries; `None` if nothing.
    ///
    /// # Errors
    /// A variable of these is wrong.
    pub fn from_environment<'v>(
        region: &str,
        get: impl Fn(&str) -> Option<&'v str>,
    ) -> Result<Option<Self>, AwsSourceFault> {
        if let Some(file) = get("AWS_WEB_IDENTITY_TOKEN_FILE") {
            let missing =
                AwsSourceFault { name: "AWS_ROLE_ARN", problem: "is not set, beside AWS_WEB_IDENTITY_TOKEN_FILE" };
            let role = get("AWS_ROLE_ARN").ok_or(missing)?;
            let endpoint = get("AWS_ENDPOINT_URL_STS").map_or_else(|| sts_endpoint(region), str::to_owned);
            let fault = AwsSourceFault {
                name: "AWS_ENDPOINT_URL_STS",
                problem: "must be an address such as https://sts.eu-central-1.amazonaws.com",
            };
            return Ok(Some(Self::WebIdentity {
                token_file: file.into(),
                role: role.to_owned(),
                session: get("AWS_ROLE_SESSION_NAME").unwrap_or("gecholog-broker").to_owned(),
                endpoint: address(&endpoint).ok_or(fault)?,
            }));
        }
        let (name, text) =
            match (get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"), get("AWS_CONTAINER_CREDENTIALS_FULL_URI")) {
                (Some(path), _) => ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", format!("{CONTAINER_HOST}{path}")),
                (None, Some(uri)) => ("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri.to_owned()),
                (None, None) => return Ok(None),
            };
        let problem =
            "must be an address with https://, or one of this machine or its network's own agent with http://";
        let uri = address(&text).filter(may_have_token).ok_or(AwsSourceFault { name, problem })?;
        Ok(Some(Self::Container { uri, token: ContainerToken::from_environment(get)? }))
    }

    /// Keys.
    ///
    /// # Errors
    /// They cannot be fetched.
    pub(super) async fn fetch<F: Fetch>(&self, fetch: &F, now: Timestamp) -> Result<ExpiringKey, FetchError> {
        let request = self.request().await?;
        let host = request.uri().host().unwrap_or_default().to_owned();
        let body = fetch.fetch(request).await?;
        let key = match self {
            Self::WebIdentity { .. } => from_sts(&body),
            Self::Container { .. } => from_container(&body),
        };
        key.filter(|key| key.expires > now).ok_or(FetchError::Answer(host))
    }

    async fn request(&self) -> Result<Request<Bytes>, FetchError> {
        let request = match self {
            Self::WebIdentity { token_file, role, session, endpoint } => {
                let token = read(token_file).await?;
                let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
                let form = format!(
                    "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn={}&RoleSessionName={}&WebIdentityToken={}",
                    encoded(role),
                    encoded(session),
                    encoded(&token)
                );
                Request::post(endpoint.clone())
                    .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(Bytes::from(form))
            }
            Self::Container { uri, token } => {
                let mut request = Request::get(uri.clone());
                if let Some(token) = token {
                    request = request.header(AUTHORIZATION, token.header().await?);
                }
                request.body(Bytes::new())
            }
        };
        request.map_err(|_| FetchError::Request("the request for a key cannot be made"))
    }
}

impl ContainerToken {
    /// # Errors
    /// The text cannot be sent.
    fn from_environment<'v>(get: impl Fn(&str) -> Option<&'v str>) -> Result<Option<Self>, AwsSourceFault> {
        let name = "AWS_CONTAINER_AUTHORIZATION_TOKEN";
        match (get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"), get(name)) {
            (Some(file), _) => Ok(Some(Self::File(file.into()))),
            (None, Some(text)) if HeaderValue::from_str(text).is_err() => {
                Err(AwsSourceFault { name, problem: "must be one line that a header can carry" })
            }
            (None, text) => Ok(text.map(|text| Self::Text(text.to_owned()))),
        }
    }

    async fn header(&self) -> Result<HeaderValue, FetchError> {
        let value = match self {
            Self::File(path) => HeaderValue::try_from(read(path).await?),
            Self::Text(text) => HeaderValue::from_str(text),
        };
        let mut value = value.map_err(|_| FetchError::Request("the token in the file cannot be sent in a header"))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

fn sts_endpoint(region: &str) -> String {
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    format!("https://sts.{region}.{domain}")
}

fn address(text: &str) -> Option<Uri> {
    let uri: Uri = text.parse().ok()?;
    let has_scheme = matches!(uri.scheme_str(), Some("https" | "http"));
    (has_scheme && uri.host().is_some_and(|host| !host.is_empty())).then_some(uri)
}

/// Whether the agent's token may be sent there: encrypted, to this machine, or to the addresses of the agents of ECS and EKS.
fn may_have_token(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_agent = host == "localhost"
        || host.parse::<IpAddr>().is_ok_and(|address| {
            address.is_loopback()
                || ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"].iter().any(|agent| agent.parse() == Ok(address))
        });
    uri.scheme_str() == Some("https") || is_agent
}

async fn read(path: &std::path::Path) -> Result<String, FetchError> {
    let text = files::read_text_beside(path, MAX_BODY_BYTES as u64).await;
    let text = text.map_err(|error| FetchError::File(format!("{}: {error}", path.display())))?;
    Ok(text.trim().to_owned())
}

fn from_container(body: &[u8]) -> Option<ExpiringKey> {
    let answer: ContainerAnswer = serde_json::from_slice(body).ok()?;
    let key = AwsKey { id: answer.access_key_id, secret: answer.secret_access_key, session_token: answer.token };
    Some(ExpiringKey { key: Arc::new(Key::Aws(key)), expires: answer.expiration })
}

/// The answer is XML whose fields are plain texts without markup, each there once.
fn from_sts(body: &[u8]) -> Option<ExpiringKey> {
    let text = std::str::from_utf8(body).ok()?;
    let credentials = text.split_once("<Credentials>")?.1.split_once("</Credentials>")?.0;
    let field = |name: &str| {
        let (_, behind) = credentials.split_once(&format!("<{name}>"))?;
        let (value, _) = behind.split_once(&format!("</{name}>"))?;
        (!value.contains(['<', '&'])).then(|| value.trim().to_owned())
    };
    let key = AwsKey {
        id: field("AccessKeyId")?,
        secret: field("SecretAccessKey")?,
        session_token: Some(field("SessionToken")?),
    };
    Some(ExpiringKey { key: Arc::new(Key::Aws(key)), expires: field("Expiration")?.parse().ok()? })
}

impl fmt::Display for AwsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WebIdentity { role, .. } => write!(f, "AWS's Security Token Service for {role}"),
            Self::Container { uri, .. } => write!(f, "AWS's container agent at {}", uri.host().unwrap_or_default()),
        }
    }
}
