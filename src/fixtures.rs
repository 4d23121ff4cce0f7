//! What the unit tests of several modules are about: paths, a pool over some routers, a broker with it,
//! forms, and messages of the bus.

use std::path::Path;

use async_nats::{HeaderMap, Message};
use balancer::broker::{Broker, BrokerSettings, RouterSettings};
use bytes::Bytes;
use types::router::RouterPath;

use crate::config::Fault;
use crate::config::file::{self, HealthDefaults, Variables};

pub(crate) fn path(text: &str) -> RouterPath {
    RouterPath::parse(text).unwrap()
}

/// One pool, in which every router has the same share.
pub(crate) fn settings(ingress: &str, routers: &[&str]) -> BrokerSettings {
    let routers = routers.iter().map(|router| path(router)).collect();
    BrokerSettings::flat(path(ingress), routers, RouterSettings::default())
}

pub(crate) fn broker(ingress: &str, routers: &[&str]) -> Broker {
    Broker::new(settings(ingress, routers))
}

/// What a pools file says of pools and their routers, where the environment says this of routers.
pub(crate) fn pools_file(text: impl AsRef<[u8]>, routers: &RouterSettings) -> Result<BrokerSettings, Vec<Fault>> {
    let defaults = HealthDefaults::new(routers.clone());
    let read = file::read(Path::new("broker.json"), text.as_ref(), &defaults, &Variables::default());
    read.map(|(settings, _)| settings)
}

/// The content type of [`form`].
pub(crate) const FORM: &str = "multipart/form-data; boundary=B";

/// The body of a form with these fields.
pub(crate) fn form(fields: &[(&str, &str)]) -> Vec<u8> {
    let part = |(name, value): &(&str, &str)| {
        format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    (fields.iter().map(part).collect::<String>() + "--B--\r\n").into_bytes()
}

/// A message of the bus with this payload and these headers.
pub(crate) fn message((payload, headers): (Bytes, HeaderMap)) -> Message {
    Message {
        subject: "inbox".into(),
        reply: None,
        payload,
        headers: Some(headers),
        status: None,
        description: None,
        length: 0,
    }
}
