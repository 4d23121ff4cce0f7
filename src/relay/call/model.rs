//! The model that a call asks for: one that no target takes, or none at all.

use hyper::http::request::Parts;
use llm::json::RawJson;
use llm::provider::Operation;

use super::super::Relay;
use super::super::admission::subpath;
use super::super::direct::DirectUpstream;
use super::super::judgement::ClientChoices;
use super::super::local_reply::LocalReply;
use super::super::relay_request::RelayRequest;
use super::Call;
use balancer::broker::MAX_MODEL_BYTES;
use types::request::{Patch, Request as _};
use types::router::RouterPath;

/// What is said of a model that no target of the pool takes, and of a call that names none where none of them sets one.
pub(super) fn refused(
    relay: &Relay,
    ingress: &RouterPath,
    head: &Parts,
    view: &RelayRequest<'_>,
) -> Option<LocalReply> {
    if !view.is_generation() {
        return None;
    }
    match view.model() {
        Some(asked) => {
            let models = relay.broker.models_instead_of(ingress, asked)?;
            Some(LocalReply::UnknownModel(asked.to_owned(), models))
        }
        None if view.has_fields() && needs_model(head, ingress) => {
            relay.broker.models_instead_of(ingress, "").map(LocalReply::NoModel)
        }
        None => None,
    }
}

/// Whether the vendors ask for a model; others, such as a response made of a stored prompt, may do without.
fn needs_model(head: &Parts, ingress: &RouterPath) -> bool {
    matches!(
        Operation::from_path(head.method.as_str(), subpath(head, ingress)),
        Operation::Chat | Operation::Completions | Operation::Embeddings | Operation::Messages
    )
}

/// Whether a letter of a name is one that entries write without escapes, and that operators see where it stands: no mark that has no
/// width or turns the direction of what follows.
fn is_plain(letter: char) -> bool {
    !letter.is_control()
        && !matches!(
            letter,
            '"' | '\\' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
        )
}

impl Call<'_> {
    /// The model that the client calls, unless this patch sets one, if its name is one that all replicas can note.
    fn unset_model(&self, patch: &Patch) -> Option<&str> {
        let may_be_noted = |name: &&str| name.len() <= MAX_MODEL_BYTES && name.chars().all(is_plain);
        self.view.called_model().filter(may_be_noted).filter(|model| !patch.sets_model(model))
    }

    /// What the client chose of what this target is asked for with this patch.
    pub(super) fn client_choices(&self, direct: Option<&DirectUpstream>, patch: &Patch) -> ClientChoices<'_> {
        let account = direct.is_some_and(|direct| direct.takes_account_of(&self.head.headers));
        ClientChoices { account, model: self.unset_model(patch) }
    }

    /// The model that is to stand in the body for this target: the one that the path names (`deployments/NAME`, `engines/NAME`),
    /// where a provider's own path does not, or an empty one for a row of all other names to replace. `None` where the body says
    /// what it says.
    pub(super) fn model_of_body(&self, direct: Option<&DirectUpstream>, patch: &Patch) -> Option<String> {
        let path = self.head.uri.path();
        let is_named = || ["/deployments/", "/engines/"].iter().any(|part| path.contains(part));
        let body = || RawJson::parse(self.body).ok().filter(|body| body.is_object());
        if direct.is_some_and(|direct| direct.provider().is_some()) && is_named() {
            let body = body().filter(|body| body.field("model").is_none())?;
            let model = llm::request_view::RequestView::read(path, None, body.bytes()).model;
            return model.map(std::borrow::Cow::into_owned);
        }
        let is_replaced = direct.is_some() && self.view.model().is_none() && patch.renamed("").is_some();
        (is_replaced && needs_model(self.head, self.ingress) && body().is_some()).then(String::new)
    }
}
