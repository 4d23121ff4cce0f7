//! Lists that a vendor makes for a request, in which at least one thing has to be: embeddings, images, moderations, documents in order.

use crate::json::RawJson;
use crate::protocol::Protocol;

/// What OpenAI says of images beside them, as text.
const SAID_OF_IMAGES: [&[u8]; 7] = [b"background", b"id", b"model", b"object", b"output_format", b"quality", b"size"];

/// Whether an answer says that it is a list, or has a field of the form of its protocol, and there is nothing in it, nor in a place of
/// another form.
pub(crate) fn lacks_all(protocol: Protocol, answer: RawJson<'_>) -> bool {
    let fields: &[&[u8]] = match protocol {
        Protocol::Embeddings => &[b"data"],
        Protocol::Images => &[b"data", b"created"],
        Protocol::Moderations => &[b"results"],
        // Cohere's, and Voyage's.
        Protocol::Rerank => &[b"results", b"data"],
        _ => return false,
    };
    let (mut claims, mut has_any) = (false, false);
    answer.for_each_field(|name, field| {
        claims |= fields.contains(&name) || (name == b"object" && field.is_text("list"));
        has_any |= match name {
            // The latter: Cohere's version and bill.
            b"usage" | b"meta" => false,
            _ if field.is_array() || field.is_object() => !field.is_blank(),
            // A text may say where the images are, or why there are none.
            _ => protocol == Protocol::Images && !SAID_OF_IMAGES.contains(&name) && is_text(field),
        };
    });
    claims && !has_any
}

fn is_text(field: RawJson<'_>) -> bool {
    field.quoted().is_some_and(|text| !text.is_empty())
}
