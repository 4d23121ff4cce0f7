//! The settings of TLS for clients: certificate and key, both or neither.

use super::check::Resolver;
use crate::server::{ServerTls, TlsFault};

impl Resolver {
    /// Whether clients are served over TLS, whatever the files hold.
    pub(super) fn has_tls(&self) -> bool {
        self.get("BROKER_TLS_CERT").is_some()
    }

    pub(super) fn tls(&mut self) -> Option<ServerTls> {
        let certificate = self.get("BROKER_TLS_CERT");
        let key = self.get("BROKER_TLS_KEY");
        let (certificate, key) = match (certificate, key) {
            (Some(certificate), Some(key)) => (certificate, key),
            (None, None) => return None,
            (Some(alone), None) => {
                self.fault(&alone, "needs BROKER_TLS_KEY too, the file of the certificate's private key");
                return None;
            }
            (None, Some(alone)) => {
                self.fault(&alone, "needs BROKER_TLS_CERT too, the file of the key's certificate");
                return None;
            }
        };
        match ServerTls::open(certificate.value.clone().into(), key.value.clone().into()) {
            Ok(tls) => Some(tls),
            Err(faults) => {
                for fault in faults {
                    match fault {
                        TlsFault::Certificate(problem) => self.fault(&certificate, problem),
                        TlsFault::Key(problem) => self.fault(&key, problem),
                    }
                }
                None
            }
        }
    }
}
