//! Which fields Google's endpoints in OpenAI's form know, at each place of a request.

/// The known fields of an object, each with what is in it.
#[derive(Debug)]
pub(super) struct Shape(pub(super) &'static [(&'static str, Inner)]);

#[derive(Debug, Clone, Copy)]
pub(super) enum Inner {
    /// It passes, whatever it is.
    Any,
    Object(&'static Shape),
    /// A text, or a list of parts.
    Content,
    /// A list of calls.
    Calls,
    /// A name, which is none if it is empty.
    Name,
}

pub(super) const TEXT: Shape = Shape(&[("type", Inner::Any), ("text", Inner::Any), ("extra_content", Inner::Any)]);
pub(super) const IMAGE: Shape = Shape(&[
    ("type", Inner::Any),
    ("image_url", Inner::Object(&Shape(&[("url", Inner::Any), ("detail", Inner::Any)]))),
    ("extra_content", Inner::Any),
]);
pub(super) const AUDIO: Shape = Shape(&[
    ("type", Inner::Any),
    ("input_audio", Inner::Object(&Shape(&[("data", Inner::Any), ("format", Inner::Any)]))),
    ("extra_content", Inner::Any),
]);
pub(super) const CALL: Shape = Shape(&[
    ("id", Inner::Any),
    ("type", Inner::Any),
    ("function", Inner::Object(&Shape(&[("name", Inner::Any), ("arguments", Inner::Any)]))),
    ("extra_content", Inner::Any),
]);
pub(super) const MESSAGE: Shape = Shape(&[
    ("role", Inner::Any),
    ("content", Inner::Content),
    ("name", Inner::Name),
    ("tool_calls", Inner::Calls),
    ("tool_call_id", Inner::Any),
    ("refusal", Inner::Any),
    ("extra_content", Inner::Any),
]);
pub(super) const TOOL: Shape = Shape(&[
    ("type", Inner::Any),
    (
        "function",
        Inner::Object(&Shape(&[
            ("name", Inner::Any),
            ("description", Inner::Any),
            ("parameters", Inner::Any),
            ("strict", Inner::Any),
        ])),
    ),
]);
pub(super) const STREAM_OPTIONS: Shape = Shape(&[("include_usage", Inner::Any)]);
