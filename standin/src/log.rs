//! The log of a transaction: both objects completed, filtered, and published.

use std::sync::Arc;

use crate::clock::timer;
use crate::config::Filter;
use crate::object::Object;
use crate::payload;
use crate::transaction::{Timestamps, Transaction};

pub(crate) async fn publish(mut transaction: Transaction) {
    let shared = Arc::clone(&transaction.shared);
    complete(&mut transaction);
    let now = shared.clock.now();
    let Timestamps { ingress, egress, .. } = transaction.timestamps;
    let part = |object: &Object, filter| object.select(filter).unwrap_or_else(|| b"{}".to_vec());
    let mut root = Object::default();
    root.set("egress_post_timer", timer(egress, Some(now)));
    root.set("ingress_egress_timer", timer(Some(ingress), egress));
    root.set("request", part(&transaction.request.object, &shared.config.log_request));
    root.set("response", part(&transaction.response.object, &shared.config.log_response));
    root.set_text("session_id", &transaction.session.session);
    root.set_text("transaction_id", &transaction.session.transaction);
    let message = root.select(&Filter::default()).unwrap_or_default();
    shared.bus.log(&transaction.session.transaction, message, now).await;
}

/// Adds the fields that the gateway fills itself, over what processors wrote under these names.
fn complete(transaction: &mut Transaction) {
    let Timestamps { ingress, outbound, inbound, egress } = transaction.timestamps;
    let request = &mut transaction.request;
    request.object.set("outbound_headers", transaction.sent.to_json());
    request.object.set("url", payload::string(&transaction.url));
    request.object.set("ingress_outbound_timer", timer(outbound.map(|_| ingress), outbound));
    request.finish();
    let response = &mut transaction.response;
    response.object.set("outbound_inbound_timer", timer(outbound, inbound));
    response.object.set("inbound_egress_timer", timer(inbound, egress));
    response.finish();
}
