//! What the unit tests of several modules are about: paths, a pool over some routers, a broker with it,
//! forms, and messages of the bus.

use async_nats::{HeaderMap, Message};
use balancer::broker::{Broker, BrokerSettings, RouterSettings};
use bytes::Bytes;
use types::router::RouterPath;

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
