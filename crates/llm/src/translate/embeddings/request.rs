//! A request: from OpenAI's embeddings to the body of InvokeModel.

use super::{EmbeddingModel, EmbeddingsContext};
use crate::json::RawJson;
use crate::translate::{Drops, RequestFields, TranslateError, TranslatedRequest, Unsupported, invalid, write};

/// Names of the vendors' fields that are written here, or change the form or the number of what is answered: a client's field of
/// that name never passes.
const RESERVED: &[&str] = &[
    "embeddingConfig",
    "embeddingTypes",
    "embedding_types",
    "images",
    "inputText",
    "inputs",
    "output_dimension",
    "texts",
];

/// A field of OpenAI's that these models have nothing for.
const USER: &str = "user";

/// The fields of a request that are translated.
#[derive(Debug, Default)]
struct Fields<'a> {
    input: Option<RawJson<'a>>,
    dimensions: Option<RawJson<'a>>,
    encoding_format: Option<RawJson<'a>>,
    /// Fields that pass, with their names as they are meant.
    passed: Vec<(String, RawJson<'a>)>,
    drops: Drops,
}

/// Translates a request. The model's id goes into the address (see [`crate::provider`]), not into the body.
///
/// # Errors
/// It is no request of OpenAI's, has tokens instead of texts or several texts for a model that takes one, or asks for what the
/// model does not have and `unsupported` says to refuse that.
pub fn request(
    body: &[u8],
    family: EmbeddingModel,
    unsupported: Unsupported,
) -> Result<TranslatedRequest<EmbeddingsContext>, TranslateError> {
    request_of(RequestFields::read(body), family, unsupported)
}

/// The same of a request whose fields have been read; `None` is a body that has none.
pub(crate) fn request_of(
    fields: Option<RequestFields<'_>>,
    family: EmbeddingModel,
    unsupported: Unsupported,
) -> Result<TranslatedRequest<EmbeddingsContext>, TranslateError> {
    let asked = RequestFields::of_request(fields)?;
    let mut fields = Fields::default();
    for (name, value) in asked.list() {
        fields.read(name, *value, family, unsupported);
    }
    let texts = texts(fields.input)?;
    let is_base64 = is_base64(fields.encoding_format)?;
    let dimensions = match fields.dimensions.filter(|value| !value.is_null()) {
        None => None,
        Some(value) => {
            let length = value.unsigned().filter(|length| *length > 0);
            Some(length.ok_or_else(|| invalid("dimensions", "must be a whole number above 0"))?)
        }
    };
    let dimensions = dimensions.filter(|_| family.fixed_length().is_none());
    let dropped = fields.drops.into_list(unsupported)?;
    let body = write_body(family, &texts, dimensions, &fields.passed)?;
    let model = asked.model().into_owned();
    let answer = EmbeddingsContext { model, family, inputs: texts.len(), is_base64 };
    Ok(TranslatedRequest { body, dropped, answer })
}

impl<'a> Fields<'a> {
    fn read(&mut self, name: &str, value: RawJson<'a>, family: EmbeddingModel, unsupported: Unsupported) {
        match name {
            "model" => {}
            "input" => self.input = Some(value),
            "dimensions" => {
                self.dimensions = Some(value);
                if family.fixed_length().zip(value.unsigned()).is_some_and(|(length, asked)| asked != length) {
                    self.drops.push(name);
                }
            }
            "encoding_format" => self.encoding_format = Some(value),
            _ if value.is_null() => {}
            own if family.own_fields().contains(&own) => self.passed.push((name.to_owned(), value)),
            other => {
                let is_known = other == USER || RESERVED.contains(&other);
                if unsupported == Unsupported::Pass && !is_known {
                    self.passed.push((name.to_owned(), value));
                } else {
                    self.drops.push_field(name);
                }
            }
        }
    }
}

/// The texts of `input`, as they stand.
fn texts(input: Option<RawJson<'_>>) -> Result<Vec<RawJson<'_>>, TranslateError> {
    const FORM: &str = "must be a text, or a list of texts that is not empty";
    let input = input.ok_or_else(|| invalid("input", FORM))?;
    if input.quoted().is_some() {
        return Ok(vec![input]);
    }
    let (mut texts, mut others, mut tokens) = (Vec::new(), false, false);
    for one in input.elements() {
        if one.quoted().is_some() {
            texts.push(one);
        } else if one.is_array() || one.unsigned().is_some() {
            tokens = true;
        } else {
            others = true;
        }
    }
    if tokens && !others {
        return Err(invalid("input", "the model takes texts, and no lists of tokens"));
    }
    if others || texts.is_empty() {
        return Err(invalid("input", FORM));
    }
    Ok(texts)
}

/// Whether `encoding_format` asks for base64.
fn is_base64(format: Option<RawJson<'_>>) -> Result<bool, TranslateError> {
    let Some(format) = format.filter(|format| !format.is_null()) else { return Ok(false) };
    match format.text().as_deref() {
        Some("float") => Ok(false),
        Some("base64") => Ok(true),
        _ => Err(invalid("encoding_format", "must be \"float\" or \"base64\"")),
    }
}

fn write_body(
    family: EmbeddingModel,
    texts: &[RawJson<'_>],
    dimensions: Option<u64>,
    passed: &[(String, RawJson<'_>)],
) -> Result<Vec<u8>, TranslateError> {
    let mut out = Vec::with_capacity(texts.iter().map(|text| text.bytes().len() + 1).sum::<usize>() + 128);
    if family.is_cohere() {
        out.extend_from_slice(b"{\"texts\":[");
        for text in texts {
            write::comma(&mut out);
            out.extend_from_slice(text.bytes());
        }
        out.push(b']');
        // The vendor asks for one; that texts are rather documents than queries is assumed, as LiteLLM does.
        if !passed.iter().any(|(name, _)| name == "input_type") {
            out.extend_from_slice(b",\"input_type\":\"search_document\"");
        }
    } else {
        // Titan takes one text in a call; several calls for one would be several answers, prices and failures.
        let [text] = texts else {
            return Err(invalid("input", "the model takes one text in a call"));
        };
        out.extend_from_slice(b"{\"inputText\":");
        out.extend_from_slice(text.bytes());
    }
    // Which lengths there are is for the vendor to say: there may be more of them later.
    if let Some(length) = dimensions {
        let field = match family {
            EmbeddingModel::TitanMultimodal => format!(",\"embeddingConfig\":{{\"outputEmbeddingLength\":{length}}}"),
            EmbeddingModel::CohereV4 => format!(",\"output_dimension\":{length}"),
            _ => format!(",\"dimensions\":{length}"),
        };
        out.extend_from_slice(field.as_bytes());
    }
    for (name, value) in passed {
        write::clients_field(&mut out, name, *value);
    }
    out.push(b'}');
    Ok(out)
}
