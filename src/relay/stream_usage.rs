//! Which streams are asked what they used although their client did not ask: those of which something counts tokens or cost, to
//! targets that have not refused to be asked.

use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};

use bytes::Bytes;
use llm::json::RawJson;
use llm::stream_usage;

use super::body::BodyMemory;
use super::direct::DirectUpstream;
use super::hold::{FailedAttempt, UpstreamAnswer};
use super::provider_target::NotSentReason;
use crate::shared_broker::SharedBroker;
use types::router::RouterPath;

/// The targets that have refused `stream_options.include_usage`. Each is a target of the pools file, so there are no more than
/// that names; with another file they are asked again.
#[derive(Debug, Default)]
pub(super) struct UsageRefusals(RwLock<BTreeSet<RouterPath>>);

impl UsageRefusals {
    pub(super) fn contains(&self, target: &RouterPath) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(target)
    }

    pub(super) fn note(&self, target: &RouterPath) {
        let is_new = self.0.write().unwrap_or_else(PoisonError::into_inner).insert(target.clone());
        if is_new {
            tracing::info!(router = %target, "the target rejects stream_options: the usage of its streams is estimated");
        }
    }

    pub(super) fn forget(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Whether something needs the usage of a stream with this body: the target has a budget of tokens (`counts_tokens`), calls
/// are written down or exported, or there is a price. A price of the shipped table counts where the target names its provider;
/// a target with nothing but a `url` is sent the client's bytes until the user says something that needs more.
pub(super) fn is_needed(
    broker: &SharedBroker,
    router: &RouterPath,
    direct: &DirectUpstream,
    counts_tokens: bool,
    body: &[u8],
) -> bool {
    let book = broker.prices().book();
    if counts_tokens || broker.calls().has_sinks() || book.target_price(router).is_some() {
        return true;
    }
    if direct.provider().is_none() && !book.has_file() {
        return false;
    }
    let model = RawJson::parse(body).ok().and_then(|body| body.field("model")?.text());
    let row = model.and_then(|model| book.table().find(direct.provider_name(), &model));
    row.is_some_and(|row| !row.prices.is_empty())
}

/// The body that asks for the usage at the end of its stream, in memory that is counted; `None` if it asks already or is no
/// stream.
pub(super) fn asking(memory: &BodyMemory, body: &[u8]) -> Result<Option<Bytes>, NotSentReason> {
    let Some(asking) = stream_usage::add_include_usage(body) else { return Ok(None) };
    let held = memory.reserve(asking.len()).and_then(|counted| counted.keep(asking));
    held.map(Some).map_err(|_| NotSentReason::NoMemory)
}

/// Whether a target's answer to a stream that was asked so says that it does not take that.
pub(super) fn is_refused(result: &Result<UpstreamAnswer, FailedAttempt>) -> bool {
    result
        .as_ref()
        .is_ok_and(|answer| stream_usage::refuses_include_usage(answer.head.status.as_u16(), &answer.start()))
}
