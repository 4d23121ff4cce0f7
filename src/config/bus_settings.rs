//! The settings of the bus: where it is, and what is shown to it.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use async_nats::ServerAddr;
use percent_encoding::percent_decode_str;

use super::check::Resolver;
use crate::nats::{self, Secret};

impl Resolver {
    /// Whether there is a bus.
    pub(super) fn bus(&mut self) -> bool {
        self.one_of("BROKER_BUS", &[("on", true), ("off", false)]).unwrap_or(true)
    }

    pub(super) fn nats(&mut self) -> nats::NatsSettings {
        let mut settings = nats::NatsSettings {
            servers: Vec::new(),
            token: None,
            token_file: self.get("NATS_TOKEN_FILE").map(|file| file.value.into()),
            user: None,
            credentials: self.file("NATS_CREDS"),
            authority: self.file("NATS_CA"),
            subject: self.subject("BROKER_SUBJECT", "coburn.gl.broker"),
            logger_subject: self.subject("BROKER_LOGGER_SUBJECT", "coburn.gl.logger"),
            processor: self.subject("BROKER_PROCESSOR", "broker"),
            queue: self.subject("BROKER_QUEUE", "broker"),
        };
        match self.get("NATS_URL") {
            Some(written) => self.urls(&written.value, &mut settings),
            None => settings.servers.extend(self.host()),
        }
        if let Some(token) = self.token() {
            settings.token = Some(token);
        }
        settings
    }

    fn host(&mut self) -> Option<ServerAddr> {
        let written = self.get("GECHOLOG_HOST");
        let host = written.as_ref().map_or("localhost", |written| written.value.trim());
        let plain = !host.contains(['/', '@', ',', ' ']);
        let server = plain.then(|| format!("nats://{host}").parse::<ServerAddr>().ok()).flatten();
        if let (None, Some(written)) = (&server, &written) {
            let problem = match host.parse::<Ipv6Addr>() {
                Ok(address) => format!("must have an IPv6 address in brackets: [{address}]:4222"),
                Err(_) => {
                    "must be a host or host:port, such as gecholog or gecholog:4222; for a URL use NATS_URL".to_owned()
                }
            };
            // There may be a token before an @.
            if host.contains('@') { self.secret_fault(&written.place, problem) } else { self.fault(written, problem) }
        }
        server
    }

    /// Removes user, password or token from the URLs, so that they cannot be shown later. There they are percent-encoded.
    fn urls(&mut self, urls: &str, settings: &mut nats::NatsSettings) {
        for (place, part) in urls.split(',').map(str::trim).enumerate() {
            let place = format!("NATS_URL (number {})", place + 1);
            let Some(mut url) =
                part.parse::<ServerAddr>().ok().map(ServerAddr::into_inner).filter(|_| part.contains("://"))
            else {
                self.secret_fault(&place, "must be a URL such as nats://host:4222 or tls://host:4222");
                continue;
            };
            let decoded = |part: &str| percent_decode_str(part).decode_utf8().map(Cow::into_owned);
            let parts = (decoded(url.username()), url.password().map(decoded).transpose());
            let (Ok(user), Ok(password)) = parts else {
                self.secret_fault(&place, "has a user, password or token that is not UTF-8 text where %XX is decoded");
                continue;
            };
            let cleaned = url.set_username("").and_then(|()| url.set_password(None));
            let server = cleaned.ok().and_then(|()| ServerAddr::from_url(url).ok());
            match server.filter(|server| matches!(server.scheme(), "nats" | "tls")) {
                Some(server) => settings.servers.push(server),
                None => self.secret_fault(&place, "must begin with nats:// or tls://"),
            }
            match (user.is_empty(), password) {
                (false, Some(password)) => settings.user = Some((user, Secret(password))),
                (false, None) => settings.token = Some(Secret(user)),
                (true, _) => {}
            }
        }
    }

    fn subject(&mut self, name: &str, default: &str) -> String {
        let Some(written) = self.get(name) else { return default.to_owned() };
        let word = |word: &str| {
            !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
        };
        if !written.value.split('.').all(word) {
            self.fault(
                &written,
                format!("must be words of letters, digits, '_' and '-' with dots between, such as {default}"),
            );
        }
        written.value
    }
}
