//! Access tokens of Google for a service account: an assertion signed with the account's key is exchanged for a token that is
//! good for an hour.
//!
//! Source: Google, "Using OAuth 2.0 for Server to Server Applications" (HTTP/REST), and RFC 7523.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hyper::header::CONTENT_TYPE;
use hyper::{Request, Uri};
use jiff::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde_json::json;

use super::fetch::{Fetch, FetchError};
use super::{ExpiringKey, Key};

/// What the token is for: Vertex has no narrower scope.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// How long an assertion may be used; Google takes at most an hour.
const ASSERTION_LIFETIME: Duration = Duration::from_secs(3600);

/// A service account, as Google's console writes it into a JSON file.
#[derive(Clone)]
pub struct ServiceAccount {
    email: String,
    key_id: Option<String>,
    token_uri: Uri,
    /// The text that it was read from decides whether two are the same.
    pem: String,
    key: Arc<RsaKeyPair>,
    project: Option<String>,
}

/// Why a file is not a service account.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountFault {
    /// No JSON object with these fields.
    #[error("must be the JSON file of a service account, with client_email, private_key and token_uri")]
    Fields,
    #[error("has a private_key that is not an RSA key in PKCS #8")]
    Key,
    /// Not a URL, or not encrypted.
    #[error("has a token_uri that is not an https:// URL")]
    TokenUri,
}

#[derive(Deserialize)]
struct AccountFile {
    client_email: String,
    private_key: String,
    private_key_id: Option<String>,
    project_id: Option<String>,
    token_uri: String,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    expires_in: u32,
}

impl ServiceAccount {
    /// Reads the file of an account.
    ///
    /// # Errors
    /// It is not the file of a service account.
    pub fn parse(text: &str) -> Result<Self, AccountFault> {
        let file: AccountFile = serde_json::from_str(text).map_err(|_| AccountFault::Fields)?;
        let der = PrivatePkcs8KeyDer::from_pem_slice(file.private_key.as_bytes()).map_err(|_| AccountFault::Key)?;
        let key = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| AccountFault::Key)?;
        let token_uri: Uri = file.token_uri.parse().map_err(|_| AccountFault::TokenUri)?;
        let is_local = matches!(token_uri.host(), Some("127.0.0.1" | "localhost" | "[::1]"));
        if token_uri.scheme_str() != Some("https") && !(is_local && token_uri.scheme_str() == Some("http")) {
            return Err(AccountFault::TokenUri);
        }
        Ok(Self {
            email: file.client_email,
            key_id: file.private_key_id,
            token_uri,
            pem: file.private_key,
            key: Arc::new(key),
            project: file.project_id,
        })
    }

    /// The project that the account belongs to.
    pub fn project(&self) -> Option<&str> {
        self.project.as_deref()
    }

    /// A token.
    ///
    /// # Errors
    /// It cannot be fetched.
    pub(super) async fn fetch<F: Fetch>(&self, fetch: &F, now: Timestamp) -> Result<ExpiringKey, FetchError> {
        let assertion = self.assertion(now)?;
        let form = format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}");
        let request = Request::post(self.token_uri.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Bytes::from(form))
            .map_err(|_| FetchError::Request("the token_uri is not a valid URL"))?;
        let body = fetch.fetch(request).await?;
        let host = || self.token_uri.host().unwrap_or_default().to_owned();
        let token: TokenAnswer = serde_json::from_slice(&body).map_err(|_| FetchError::Answer(host()))?;
        let lifetime = Duration::from_secs(u64::from(token.expires_in));
        let expires = now.checked_add(lifetime).map_err(|_| FetchError::Answer(host()))?;
        Ok(ExpiringKey { key: Arc::new(Key::Bearer(token.access_token)), expires })
    }

    /// A JSON Web Token by which the account proves itself.
    fn assertion(&self, now: Timestamp) -> Result<String, FetchError> {
        let mut header = json!({"alg": "RS256", "typ": "JWT"});
        if let (Some(id), Some(header)) = (&self.key_id, header.as_object_mut()) {
            header.insert("kid".to_owned(), id.as_str().into());
        }
        let issued = now.as_second();
        let claims = json!({
            "iss": self.email,
            "scope": SCOPE,
            "aud": self.token_uri.to_string(),
            "iat": issued,
            "exp": issued.saturating_add_unsigned(ASSERTION_LIFETIME.as_secs()),
        });
        let mut assertion = URL_SAFE_NO_PAD.encode(header.to_string());
        assertion.push('.');
        URL_SAFE_NO_PAD.encode_string(claims.to_string(), &mut assertion);
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), assertion.as_bytes(), &mut signature)
            .map_err(|_| FetchError::Request("the key of the service account cannot sign"))?;
        assertion.push('.');
        URL_SAFE_NO_PAD.encode_string(&signature, &mut assertion);
        Ok(assertion)
    }
}

impl PartialEq for ServiceAccount {
    fn eq(&self, other: &Self) -> bool {
        (&self.email, &self.key_id, &self.token_uri, &self.pem)
            == (&other.email, &other.key_id, &other.token_uri, &other.pem)
    }
}

impl Eq for ServiceAccount {}

impl fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceAccount").field("email", &self.email).finish_non_exhaustive()
    }
}

impl fmt::Display for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Google's service account {}", self.email)
    }
}
