//! A client's request as a provider takes it: the address, the headers, the body, and what is to become of the answer.

use std::borrow::Cow;

use super::answer_form::AnswerForm;
use super::endpoint::{BodyModel, Endpoint, EndpointError, EndpointRequest, TargetSettings, endpoint};
use super::fields;
use super::path::Operation;
use super::{Provider, TargetProtocol};
use crate::translate::anthropic::{self, ApiVersion, Envelope, RequestOptions, Thinking};
use crate::translate::{DroppedList, RequestFields, TranslateError, Unsupported, converse, embeddings, functions};

/// The largest output of a model of which nothing is known, in tokens: the smallest limit among Anthropic's models in use.
const DEFAULT_MAX_TOKENS: u64 = 4096;

/// A target's model, as far as a request to it depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ModelFacts {
    /// The most tokens that it gives.
    pub max_output: Option<u64>,
    /// It takes `temperature`, `top_p` and `top_k`.
    pub sampling: Option<bool>,
    /// It takes schemas for its answers.
    pub schemas: Option<bool>,
    /// It can think before it answers.
    pub reasoning: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetModel {
    /// Whose it is.
    pub provider: Provider,
    /// What the pools file says of it.
    pub settings: TargetSettings,
    /// What becomes of what it cannot take.
    pub unsupported: Unsupported,
}

/// What a client sent.
#[derive(Debug, Clone)]
pub struct ClientRequest<'a> {
    /// What it asks for.
    pub operation: Operation,
    /// Its path behind that of the pool.
    pub path: &'a str,
    /// Its body, with the target's own changes, the model's name among them.
    pub body: &'a [u8],
    /// Its `anthropic-version`, which goes before ours where it speaks Anthropic's protocol itself.
    pub anthropic_version: Option<&'a str>,
    /// The values of its headers `anthropic-beta`, each with one name or several with commas between them.
    pub anthropic_beta: Vec<&'a str>,
}

/// A request as it goes out, without the key.
#[derive(Debug)]
pub struct Prepared<'a> {
    /// Where it goes.
    pub endpoint: Endpoint,
    /// The body; borrowed if it is the client's, byte for byte.
    pub body: Cow<'a, [u8]>,
    /// What the target cannot take and was left out.
    pub dropped: DroppedList,
    /// What becomes of the answer.
    pub answer: AnswerForm,
}

impl Prepared<'_> {
    /// Whether the usage of a stream is asked for by `stream_options.include_usage`, which the target takes.
    pub fn takes_include_usage(&self, operation: Operation) -> bool {
        matches!(self.answer, AnswerForm::OpenAi | AnswerForm::OpenAiUnwrapped)
            && matches!(operation, Operation::Chat | Operation::Completions)
            && self.endpoint.fields.allows("stream_options")
    }
}

/// Why a request does not go to a target. None is the target's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrepareError {
    /// The target does not have what is asked for, or its settings make no address.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The request cannot be translated.
    #[error(transparent)]
    Translate(#[from] TranslateError),
}

/// Makes of a client's request one that the target takes. `facts_of` is asked for what is known of the model that the request
/// names, where the request depends on it.
///
/// # Errors
/// It does not go to this target.
pub fn prepare<'a>(
    target: &TargetModel,
    request: &ClientRequest<'a>,
    facts_of: impl FnOnce(&str) -> ModelFacts,
) -> Result<Prepared<'a>, PrepareError> {
    let is_translated = request.operation == Operation::Chat && target.provider == Provider::Anthropic;
    let read = if is_translated { RequestFields::read_checked } else { RequestFields::read };
    let fields = read(request.body);
    let model = fields.as_ref().map(RequestFields::model).unwrap_or_default();
    let stream = fields.as_ref().is_some_and(RequestFields::is_stream);
    let call = EndpointRequest { operation: request.operation, model: &model, stream, path: request.path };
    let mut endpoint = match endpoint(target.provider, &target.settings, &call) {
        // The name would stand in the body.
        Err(EndpointError::InvalidModel)
            if fields.is_none() && !matches!(request.operation, Operation::Models | Operation::Other) =>
        {
            return Err(TranslateError::not_an_object().into());
        }
        made => made?,
    };
    let made = match (request.operation, endpoint.protocol) {
        (Operation::Chat, protocol @ (TargetProtocol::Messages(_) | TargetProtocol::Converse)) => {
            translated(target, facts_of, fields, &model, protocol)?
        }
        (_, TargetProtocol::Messages(envelope)) => messages(request, fields.as_ref(), envelope, &mut endpoint),
        (_, TargetProtocol::Embeddings(family)) => {
            let made = embeddings::request_of(fields, family, target.unsupported)?;
            (Cow::Owned(made.body), made.dropped, AnswerForm::Embeddings(made.answer))
        }
        (_, TargetProtocol::OpenAi | TargetProtocol::Converse) => {
            let (body, dropped) = fields::filter(request.body, &endpoint.fields, target.unsupported)?;
            // Google may stand behind an address too.
            let may_be_google =
                matches!(target.provider, Provider::Gemini | Provider::Vertex | Provider::OpenAiCompatible);
            let form = if may_be_google { AnswerForm::OpenAiUnwrapped } else { AnswerForm::OpenAi };
            (with_model(body, &model, &endpoint.model), dropped, form)
        }
    };
    let (body, dropped, answer) = made;
    Ok(Prepared { endpoint, body, dropped, answer })
}

type Made<'a> = (Cow<'a, [u8]>, DroppedList, AnswerForm);

/// A chat in another protocol than the client's. Functions of the old form become tools first.
fn translated<'a>(
    target: &TargetModel,
    facts_of: impl FnOnce(&str) -> ModelFacts,
    fields: Option<RequestFields<'_>>,
    model: &str,
    protocol: TargetProtocol,
) -> Result<Made<'a>, TranslateError> {
    let translate = |fields: Option<RequestFields<'_>>| match protocol {
        TargetProtocol::Messages(envelope) => chat_as_messages(target, facts_of(model), fields, model, envelope),
        TargetProtocol::Converse | TargetProtocol::OpenAi | TargetProtocol::Embeddings(_) => {
            let made = converse::request_of(fields, target.unsupported)?;
            Ok((Cow::Owned(made.body), made.dropped, AnswerForm::Converse(made.answer)))
        }
    };
    let says_one = protocol != TargetProtocol::Converse;
    match fields.as_ref().and_then(|fields| functions::as_tools(fields, says_one)) {
        None => translate(fields),
        Some(asked) => {
            let made = translate(RequestFields::read(&asked.body)).map_err(|error| asked.error(error));
            let (body, dropped, answer) = made?;
            let answer = if asked.is_asked { AnswerForm::Functions(Box::new(answer)) } else { answer };
            Ok((body, asked.dropped(dropped), answer))
        }
    }
}

fn chat_as_messages<'a>(
    target: &TargetModel,
    facts: ModelFacts,
    fields: Option<RequestFields<'_>>,
    model: &str,
    envelope: Envelope,
) -> Result<Made<'a>, TranslateError> {
    let ModelFacts { max_output, sampling, schemas, reasoning } = facts;
    let options = RequestOptions {
        api_version: target.settings.api_version.as_deref().and_then(ApiVersion::parse).unwrap_or_default(),
        envelope,
        model,
        default_max_tokens: max_output.unwrap_or(DEFAULT_MAX_TOKENS),
        sampling: sampling.unwrap_or(true),
        schemas: schemas.unwrap_or(true),
        thinking: if reasoning == Some(false) { Thinking::None } else { Thinking::of_model(model) },
        unsupported: target.unsupported,
    };
    let made = anthropic::request_of(fields, &options)?;
    let is_framed = envelope == Envelope::Bedrock;
    Ok((Cow::Owned(made.body), made.dropped, AnswerForm::Anthropic { context: made.answer, is_framed }))
}

/// Anthropic's protocol on both sides: only what stands around the request changes.
fn messages<'a>(
    request: &ClientRequest<'a>,
    fields: Option<&RequestFields<'_>>,
    envelope: Envelope,
    endpoint: &mut Endpoint,
) -> Made<'a> {
    let body = request.body;
    let (body, is_framed) = match envelope {
        Envelope::Api => {
            if let Some(version) = request.anthropic_version {
                for (_, value) in endpoint.headers.iter_mut().filter(|(name, _)| *name == "anthropic-version") {
                    version.clone_into(value);
                }
            }
            let asked = fields.map(RequestFields::model).unwrap_or_default();
            (with_model(Cow::Borrowed(body), &asked, &endpoint.model), false)
        }
        // Its beta features are in the header, as Anthropic's own are. Source: the vendor's SDK, `lib/vertex`.
        Envelope::Vertex => {
            (fields::set(body, &[("model", None), ("anthropic_version", Some("\"vertex-2023-10-16\""))]), false)
        }
        Envelope::Bedrock => {
            let version = Some("\"bedrock-2023-05-31\"");
            let betas = betas(&request.anthropic_beta).filter(|_| fields.is_some_and(|it| it.get(BETA).is_none()));
            let mut changes = vec![("model", None), ("stream", None), ("anthropic_version", version)];
            changes.extend(betas.as_deref().map(|betas| (BETA, Some(betas))));
            (fields::set(body, &changes), fields.is_some_and(RequestFields::is_stream))
        }
    };
    (body, DroppedList::default(), if is_framed { AnswerForm::FramedMessages } else { AnswerForm::Messages })
}

/// The field of InvokeModel's body for what a client of Anthropic's API says in the header `anthropic-beta`. Source: Bedrock's user
/// guide, `model-parameters-anthropic-claude-messages-request-response`; that the body's own goes before the header, the vendor's
/// SDK, `lib/bedrock`.
const BETA: &str = "anthropic_beta";

/// The names in headers `anthropic-beta` as a JSON list; `None` where there are none.
fn betas(headers: &[&str]) -> Option<String> {
    let names = headers.iter().flat_map(|header| header.split(',')).map(str::trim).filter(|name| !name.is_empty());
    let names: Vec<_> = names.collect();
    (!names.is_empty()).then(|| serde_json::Value::from(names).to_string())
}

/// The body with the name that the target's model has there.
fn with_model<'a>(body: Cow<'a, [u8]>, asked: &str, model: &BodyModel) -> Cow<'a, [u8]> {
    match model {
        BodyModel::Is(model) if model != asked && !asked.is_empty() => {
            let name = serde_json::Value::from(model.as_str()).to_string();
            match body {
                Cow::Borrowed(body) => fields::set(body, &[("model", Some(&name))]),
                Cow::Owned(body) => Cow::Owned(fields::set(&body, &[("model", Some(&name))]).into_owned()),
            }
        }
        BodyModel::Is(_) | BodyModel::Absent => body,
    }
}
