//! What a connection shows the bus: a token, a user, a credentials file. Files are read for each attempt to connect, so that what
//! has been renewed since the start counts.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_nats::{Auth, AuthError, ConnectOptions};
use nkeys::KeyPair;

use super::{NatsSettings, Secret};
use crate::system::files;

/// The largest file, in bytes; a usual one has 1 KB.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Why a file of credentials cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}={}: {problem}", path.display())]
pub struct CredentialsFault {
    variable: &'static str,
    path: PathBuf,
    problem: String,
}

/// Where the credentials are.
#[derive(Debug, Clone)]
pub(super) struct Credentials {
    token: Option<Secret>,
    token_file: Option<PathBuf>,
    user: Option<(String, Secret)>,
    file: Option<PathBuf>,
    /// The last fault that was logged; the library tries again and again.
    logged: Arc<Mutex<Option<CredentialsFault>>>,
}

impl Credentials {
    pub(super) fn of(settings: &NatsSettings) -> Self {
        let NatsSettings { token, token_file, user, credentials, .. } = settings.clone();
        Self { token, token_file, user, file: credentials, logged: Arc::default() }
    }

    /// The options of a connection that reads the files whenever it connects.
    pub(super) fn into_options(self) -> ConnectOptions {
        ConnectOptions::with_auth_callback(move |nonce| {
            let credentials = self.clone();
            async move {
                let read = credentials.read(&nonce).await;
                let mut logged = credentials.logged.lock().unwrap_or_else(PoisonError::into_inner);
                let fault = read.as_ref().err();
                if let Some(fault) = fault.filter(|fault| logged.as_ref() != Some(fault)) {
                    tracing::warn!("cannot show the bus our credentials: {fault}; retrying");
                }
                *logged = fault.cloned();
                read.map_err(AuthError::new)
            }
        })
    }

    /// Reads them, and signs what the server asks to have signed.
    ///
    /// # Errors
    /// A file cannot be used.
    pub(super) async fn read(&self, nonce: &[u8]) -> Result<Auth, CredentialsFault> {
        let mut auth = Auth::new();
        auth.token = self.token.clone().map(|Secret(token)| token);
        if let Some(path) = &self.token_file {
            auth.token = Some(read_text("NATS_TOKEN_FILE", path, |text| Some(text.trim().to_owned())).await?);
        }
        if let Some((user, Secret(password))) = &self.user {
            (auth.username, auth.password) = (Some(user.clone()), Some(password.clone()));
        }
        if let Some(path) = &self.file {
            let (jwt, key) = read_text("NATS_CREDS", path, parse).await?;
            auth.jwt = Some(jwt);
            auth.signature = key.sign(nonce).ok();
        }
        Ok(auth)
    }
}

/// Reads a file and what is in it; `None` and an empty text are faults.
async fn read_text<T>(
    variable: &'static str,
    path: &Path,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<T, CredentialsFault> {
    let fault = |problem: String| CredentialsFault { variable, path: path.to_owned(), problem };
    let text = files::read_text_beside(path, MAX_FILE_BYTES).await;
    let text = text.map_err(|unreadable| fault(unreadable.to_string()))?;
    if text.trim().is_empty() {
        return Err(fault("the file is empty".to_owned()));
    }
    parse(&text).ok_or_else(|| fault("the file has no user's JWT with a seed behind it, as nsc writes them".to_owned()))
}

/// The user's JWT and key in a credentials file: each is a line behind one of dashes.
fn parse(text: &str) -> Option<(String, KeyPair)> {
    let is_value = |line: &str| {
        !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.=".contains(&byte))
    };
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let behind_dashes = lines.windows(2).filter(|pair| pair[0].starts_with("---") && is_value(pair[1]));
    let mut values = behind_dashes.map(|pair| pair[1]);
    let (jwt, seed) = (values.next()?, values.next()?);
    Some((jwt.to_owned(), KeyPair::from_seed(seed).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credentials_file_is_read_as_nsc_writes_it() {
        let seed = KeyPair::new_user().seed().unwrap();
        let file = |jwt: &str, seed: &str, end: &str| {
            [
                "-----BEGIN NATS USER JWT-----",
                jwt,
                "------END NATS USER JWT------",
                "",
                "************************* IMPORTANT *************************",
                "NKEY Seed printed below can be used to sign and prove identity.",
                "",
                "-----BEGIN USER NKEY SEED-----",
                seed,
                "------END USER NKEY SEED------",
                "",
            ]
            .join(end)
        };
        for end in ["\n", "\r\n"] {
            let (jwt, key) = parse(&file("eyJ0.e-_J.x=", &seed, end)).unwrap();
            assert_eq!((jwt.as_str(), key.seed().unwrap()), ("eyJ0.e-_J.x=", seed.clone()));
        }
        for bad in ["", "a", &seed, &file("", &seed, "\n"), &file("eyJ0", "", "\n"), &file("eyJ0", "SUAseed", "\n")] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
