//! The tokens of the bus and of operators: from a variable or from a file, and never shown.

use super::check::{MAX_FILE_BYTES, Resolver, Sourced};
use crate::admin::{self, Token};
use crate::nats::Secret;
use crate::system::files;

impl Resolver {
    pub(super) fn token(&mut self) -> Option<Secret> {
        let token = self.get("NATS_TOKEN");
        let file = self.get("NATS_TOKEN_FILE");
        self.secret("NATS_TOKEN", token, file)
    }

    /// The operators' token. A listener on the bus can try tokens against its signatures, so a short one would not stay
    /// secret.
    pub(super) fn admin_token(&mut self) -> Option<Token> {
        let token = self.get("BROKER_ADMIN_TOKEN");
        let file = self.get("BROKER_ADMIN_TOKEN_FILE");
        let place = token.as_ref().or(file.as_ref()).map(|written| written.place.clone())?;
        let Secret(token) = self.secret("BROKER_ADMIN_TOKEN", token, file)?;
        if let Some(weakness) = admin::weakness(&token) {
            self.secret_fault(&place, weakness.to_string());
        }
        Some(Token::new(&token))
    }

    /// A secret, from a variable or from a file.
    fn secret(&mut self, name: &str, secret: Option<Sourced>, file: Option<Sourced>) -> Option<Secret> {
        match (secret, file) {
            (Some(secret), None) => Some(Secret(secret.value)),
            (None, Some(file)) => match files::read_text(file.value.as_ref(), MAX_FILE_BYTES) {
                Ok(text) if !text.trim().is_empty() => Some(Secret(text.trim().to_owned())),
                Ok(_) => {
                    self.fault(&file, "the file is empty; it must contain the token");
                    None
                }
                Err(error) => {
                    self.fault(&file, error.to_string());
                    None
                }
            },
            (Some(_), Some(file)) => {
                self.fault(&file, format!("{name} is set too: give one of them"));
                None
            }
            (None, None) => None,
        }
    }
}
