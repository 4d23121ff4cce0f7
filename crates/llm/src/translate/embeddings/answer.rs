//! An answer: from what InvokeModel returns to OpenAI's list of embeddings.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::EmbeddingsContext;
use crate::json::RawJson;
use crate::translate::{BrokenAnswer, write};
use crate::usage::MAX_TOKENS;

/// Translates a whole answer. `counted` is the answer's header `x-amzn-bedrock-input-token-count`, where Bedrock says what Cohere's
/// models read (Titan's say it in the body). Where neither says it, the answer has no usage: a wrong number is worse than none.
///
/// # Errors
/// It is no such answer, or has another number of vectors than there were texts.
pub fn answer(body: &[u8], context: &EmbeddingsContext, counted: Option<u64>) -> Result<Vec<u8>, BrokenAnswer> {
    let whole =
        RawJson::parse(body).ok().filter(|body| body.is_object()).ok_or(BrokenAnswer("it is no JSON object"))?;
    let mut out = Vec::with_capacity(body.len() + 128);
    out.extend_from_slice(b"{\"object\":\"list\",\"data\":[");
    let mut written = 0;
    if context.family.is_cohere() {
        let vectors = whole.field("embeddings").ok_or(BrokenAnswer("it has no embeddings"))?;
        // By type (`{"float": …}`) where types were asked for, otherwise a list.
        let vectors = if vectors.is_object() { vectors.field("float") } else { Some(vectors) };
        let vectors = vectors.filter(|vectors| vectors.is_array()).ok_or(BrokenAnswer("it has no embeddings"))?;
        for vector in vectors.elements() {
            if written < context.inputs {
                write_vector(&mut out, vector, written, context.is_base64)?;
            }
            written += 1;
        }
    } else {
        let vector = whole.field("embedding").ok_or(BrokenAnswer("it has no embedding"))?;
        write_vector(&mut out, vector, 0, context.is_base64)?;
        written = 1;
    }
    if written != context.inputs {
        return Err(BrokenAnswer("it has another number of embeddings than there were texts"));
    }
    out.push(b']');
    write::text(&mut out, "model", &context.model);
    let said = whole.field("inputTextTokenCount").and_then(RawJson::unsigned).or(counted);
    if let Some(tokens) = said.filter(|tokens| *tokens <= MAX_TOKENS) {
        let usage = format!(",\"usage\":{{\"prompt_tokens\":{tokens},\"total_tokens\":{tokens}}}");
        out.extend_from_slice(usage.as_bytes());
    }
    out.push(b'}');
    Ok(out)
}

/// Appends one vector: its numbers as they are spelt, or the base64 of their 32 bit floats, the lowest byte first.
fn write_vector(out: &mut Vec<u8>, vector: RawJson<'_>, index: usize, is_base64: bool) -> Result<(), BrokenAnswer> {
    const NO_NUMBERS: BrokenAnswer = BrokenAnswer("an embedding in it is no list of numbers");
    let mut floats = Vec::new();
    for number in vector.elements() {
        // The JSON grammar is narrower than Rust's, which takes `inf` and `.5`.
        let number = serde_json::from_slice::<f32>(number.bytes()).ok().filter(|number| number.is_finite());
        floats.extend_from_slice(&number.ok_or(NO_NUMBERS)?.to_le_bytes());
    }
    if floats.is_empty() {
        return Err(NO_NUMBERS);
    }
    write::comma(out);
    out.extend_from_slice(format!("{{\"object\":\"embedding\",\"index\":{index},\"embedding\":").as_bytes());
    if is_base64 {
        out.push(b'"');
        out.extend_from_slice(STANDARD.encode(&floats).as_bytes());
        out.push(b'"');
    } else {
        out.extend_from_slice(vector.bytes());
    }
    out.push(b'}');
    Ok(())
}
