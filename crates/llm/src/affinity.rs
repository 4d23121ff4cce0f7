//! The ids of what a target keeps: which of them a request names, and which an answer shows to be there.
//!
//! A response, a thread, a file or a batch is known only to the account and region that made it: a request that names one has
//! to go there again. Sources: OpenAI's API reference (responses, conversations, assistants, files, batches, uploads, vector
//! stores, fine-tuning, videos, containers, stored chats, sound of chats), Azure's (generations of videos), Anthropic's (files, message
//! batches, containers of code execution, skills), Mistral's (conversations, agents), Replicate's (predictions) and Gemini's
//! (interactions), whose objects carry their id at the top as `id` or under its name. Google's files, caches, batches and operations
//! have a name with their collection before their id (`files/abc`), and files an address that ends so.

use std::borrow::Cow;

use memchr::memmem;
use percent_encoding::percent_decode_str;
use ring::digest::{SHA256, digest};

use crate::json::{Cursor, RawJson, SyntaxError};
use crate::protocol::google_method;
use crate::provider::{Operation, without_query};
use crate::request_view::RequestView;

/// The longest id that is looked at, in bytes. Those of the vendors have some 60, with routing information some 250.
pub const MAX_ID_BYTES: usize = 512;
/// How many ids of one request, or of one answer, are looked at.
pub const MAX_IDS: usize = 64;
/// How many fields of a body are looked at whose name ends like that of an id.
const MAX_FIELDS: usize = 1_024;
/// How many bytes of the value of such a field are looked at: a list of [`MAX_IDS`] usual ids.
const MAX_VALUE_BYTES: usize = 8 << 10;

/// The segments of paths behind which an id stands, and below which things are made.
const COLLECTIONS: [&str; 18] = [
    "responses",
    "conversations",
    "threads",
    "assistants",
    "files",
    "batches",
    "uploads",
    "vector_stores",
    "jobs",
    "videos",
    "containers",
    "evals",
    "interactions",
    "cachedContents",
    "operations",
    "agents",
    "skills",
    "predictions",
];

/// Those that are one only behind another segment: videos of Azure's, stored chats.
const COLLECTIONS_BEHIND: [(&str, &str); 2] = [("video", "generations"), ("chat", "completions")];
/// Google's methods whose answer is an operation or a batch that goes on.
const LONG_METHODS: [&str; 3] = ["predictLongRunning", "batchGenerateContent", "asyncBatchEmbedContent"];

/// The fields at the top of an answer that hold an id.
const ANSWER_FIELDS: [&str; 10] = [
    "id",
    "thread_id",
    "assistant_id",
    "input_file_id",
    "output_file_id",
    "error_file_id",
    "vector_store_id",
    "result_file_id",
    "conversation_id",
    "container_id",
];
/// How what stands for encrypted content begins.
const ENCRYPTED: &str = "encrypted:";
/// Fields by which a call of a tool and its result find each other, which nothing keeps.
const OF_CALLS: [&str; 3] = ["\"call", "\"tool_call", "\"tool_use"];

/// The fields at the top of an answer that hold an object with an id.
const ANSWER_OBJECTS: [&str; 3] = ["container", "conversation", "file"];

/// Whether a path leads to things that targets keep: by itself, or the containers of Anthropic's Messages. It may have a query.
pub fn is_kept(path: &str) -> bool {
    match Operation::of_whole_path(path) {
        Operation::Messages => true,
        // Also those of an agent, which nothing keeps.
        Operation::Chat | Operation::Completions => false,
        _ => {
            segments(path).any(|segment| COLLECTIONS.contains(&segment)) || LONG_METHODS.contains(&google_method(path))
        }
    }
}

/// Whether a request's good answer is to be looked at for ids: its path leads to what is kept, or it is a chat that is to be stored or
/// to speak.
pub fn shows_ids(path: &str, view: &RequestView<'_>) -> bool {
    let is_stored_or_speaks = || {
        let speaks = view.json("modalities").is_some_and(|kinds| kinds.elements().any(|kind| kind.is_text("audio")));
        speaks || is_stored(path, view)
    };
    is_kept(path) || (is_chat(path) && is_stored_or_speaks())
}

/// Whether the answer to a request is kept, as its `store` says: by default all but chats are.
pub fn is_stored(path: &str, view: &RequestView<'_>) -> bool {
    match view.json("store").map(RawJson::bytes) {
        Some(b"true") => true,
        Some(b"false") => false,
        _ => !is_chat(path),
    }
}

fn is_chat(path: &str) -> bool {
    Operation::of_whole_path(path) == Operation::Chat
}

/// Whether an id is that of something that only its maker can read also where it does not keep the answer (`"store": false`): an item of
/// reasoning or the sound of a chat (assumed: all of OpenAI's and Azure's begin so), or what stands for encrypted content.
pub fn is_encrypted(id: &str) -> bool {
    id.starts_with("rs_") || id.starts_with("audio_") || id.starts_with(ENCRYPTED)
}

/// Servers read two slashes as one.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    without_query(path).split('/').filter(|segment| !segment.is_empty())
}

/// The ids that a request names, the most specific first: those in its path, the response that it continues, then those in its
/// JSON body at any depth (`conversation`, `thread_id`, `file_ids`, …), among them the items of earlier responses that its input refers
/// to. `path` and `body` are those that `view` was read from.
pub fn ids_of_request<'a>(path: &'a str, view: &RequestView<'a>, body: &'a [u8]) -> Vec<Cow<'a, str>> {
    let mut ids = Vec::new();
    let (mut first, mut before) = ("", "");
    for segment in segments(path) {
        if COLLECTIONS.contains(&before) || COLLECTIONS_BEHIND.contains(&(first, before)) {
            let id = percent_decode_str(segment.split(':').next().unwrap_or_default());
            add(&mut ids, id.decode_utf8_lossy());
        }
        (first, before) = (before, segment);
    }
    if let Some(id) = &view.previous_response_id {
        add(&mut ids, id.clone());
    }
    let json = |name| view.json(name);
    for name in ["conversation", "container"] {
        json(name).into_iter().for_each(|value| add_value(&mut ids, value.field("id").unwrap_or(value)));
    }
    if let Some(tools) = json("tools") {
        // Those of OpenAI's code interpreter; one that is to be made is an object.
        tools.elements().filter_map(|tool| tool.field("container")).for_each(|value| add_value(&mut ids, value));
    }
    for name in ["cachedContent", "cached_content", "operationName"] {
        json(name).into_iter().for_each(|name| add_name(&mut ids, name));
    }
    if let Some(contents) = json("contents") {
        add_files(&mut ids, contents);
    }
    let input = json("batch").and_then(|batch| either(batch, "inputConfig", "input_config"));
    input
        .and_then(|input| either(input, "fileName", "file_name"))
        .into_iter()
        .for_each(|name| add_name(&mut ids, name));
    if is_chat(path) && memmem::find(body, b"\"audio\"").is_some() {
        let messages = json("messages").into_iter().flat_map(RawJson::elements);
        let ids_of_sound = messages.filter_map(|message| message.field("audio")?.field("id"));
        ids_of_sound.for_each(|id| add_value(&mut ids, id));
    }
    if segments(path).any(|segment| segment == "responses")
        && let Some(input) = json("input")
    {
        for item in input.elements() {
            add_reference(&mut ids, item);
            let [kind, content] = item.pick(["type", "encrypted_content"]);
            add_encrypted(&mut ids, kind, content);
        }
    }
    add_fields(&mut ids, body);
    for name in ["training_file", "validation_file"] {
        json(name).into_iter().for_each(|value| add_value(&mut ids, value));
    }
    ids
}

/// Adds the id of an item of a response's input that stands for one that an earlier response made: `item_reference`, whose type may be
/// left out, reasoning, which is known only where it was made, and an image without its bytes. Sources: OpenAI's OpenAPI description,
/// `ItemReferenceParam`; its guide of image generation.
fn add_reference<'a>(ids: &mut Vec<Cow<'a, str>>, item: RawJson<'a>) {
    let [id, kind, role, result] = item.pick(["id", "type", "role", "result"]);
    let refers = match kind.filter(|kind| !kind.is_null()) {
        Some(kind) if kind.is_text("image_generation_call") => result.is_none_or(RawJson::is_blank),
        Some(kind) => kind.is_text("item_reference") || kind.is_text("reasoning"),
        None => role.is_none(),
    };
    if let Some(id) = id.filter(|_| refers) {
        add_value(ids, id);
    }
}

/// Adds the ids of the files that the parts of Gemini's `contents` name by their addresses.
fn add_files<'a>(ids: &mut Vec<Cow<'a, str>>, contents: RawJson<'a>) {
    let mut of_part = |part: RawJson<'a>| {
        let uri = either(part, "fileData", "file_data").and_then(|file| either(file, "fileUri", "file_uri"));
        uri.into_iter().for_each(|uri| add_name(ids, uri));
    };
    // Google takes one in the place of a list of them.
    each(contents, |content| content.field("parts").into_iter().for_each(|parts| each(parts, &mut of_part)));
}

fn each<'a>(value: RawJson<'a>, mut visit: impl FnMut(RawJson<'a>)) {
    if value.is_array() { value.elements().for_each(visit) } else { visit(value) }
}

fn either<'a>(object: RawJson<'a>, name: &str, other: &str) -> Option<RawJson<'a>> {
    object.field(name).or_else(|| object.field(other))
}

/// Adds the id at the end of one of Google's names, or of the address of a file: what stands behind a collection.
fn add_name<'a>(ids: &mut Vec<Cow<'a, str>>, name: RawJson<'a>) {
    let Some(name) = name.text() else { return };
    let Some((before, id)) = name.rsplit_once('/') else { return };
    if before.rsplit('/').next().is_some_and(|collection| COLLECTIONS.contains(&collection)) {
        let id = id.split([':', '?']).next().unwrap_or_default();
        add(ids, id.to_owned().into());
    }
}

/// Adds what stands for the content of an item that only its maker can read, reasoning or what is left of a conversation that was
/// compacted: clients send it back, and may leave out the item's id.
fn add_encrypted(ids: &mut Vec<Cow<'_, str>>, kind: Option<RawJson<'_>>, content: Option<RawJson<'_>>) {
    if !kind.is_some_and(|kind| kind.is_text("reasoning") || kind.is_text("compaction")) || ids.len() >= MAX_IDS {
        return;
    }
    if let Some(content) = content.and_then(RawJson::text).filter(|content| !content.is_empty()) {
        let hash = digest(&SHA256, content.as_bytes());
        let beginning = hash.as_ref().first_chunk().map_or(0, |first| u128::from_be_bytes(*first));
        add(ids, format!("{ENCRYPTED}{beginning:032x}").into());
    }
}

/// The ids that a whole answer shows to be kept where it comes from, or the beginning of one: that of the object itself, those that
/// it refers to at its top, and those of the items that a response has made, with what stands for encrypted content; or those of one
/// such item; of a chat its own and those of its sound. A list shows none: it may be one of many pages, and of
/// things of others. Of a message of Anthropic's only the container is kept.
pub fn ids_of_answer(body: &[u8]) -> Vec<Cow<'_, str>> {
    let (mut own, mut ids, mut items) = (Vec::new(), Vec::new(), Vec::new());
    let (mut is_list, mut is_response, mut has_model) = (false, false, false);
    let (mut kind, mut encrypted) = (None, None);
    // Where it breaks off, the fields before have been read.
    let _ = Cursor::new(body).fields(|name, value| {
        let Ok(name) = std::str::from_utf8(name) else { return Ok(()) };
        if name == "object" {
            let object = value.raw()?;
            is_list |= object.is_text("list");
            is_response |= object.is_text("response") || object.is_text("response.compaction");
        } else if name == "type" {
            kind = Some(value.raw()?);
        } else if name == "encrypted_content" {
            encrypted = Some(value.raw()?);
        } else if name == "model" {
            has_model = true;
        } else if name == "output" && value.peek() == Some(b'[') {
            return value.elements(|item| add_item(&mut items, item));
        } else if ANSWER_FIELDS.contains(&name) {
            add_value(if name == "id" { &mut own } else { &mut ids }, value.raw()?);
        } else if name == "name" {
            add_name(&mut own, value.raw()?);
        } else if name == "generations" {
            value.raw()?.elements().filter_map(|made| made.field("id")).for_each(|id| add_value(&mut ids, id));
        } else if name == "choices" && value.peek() == Some(b'[') {
            return value.elements(|choice| choice.fields(|name, value| sound_of_choice(&mut ids, name, value)));
        } else if ANSWER_OBJECTS.contains(&name) {
            let [id, name, uri] = value.raw()?.pick(["id", "name", "uri"]);
            id.into_iter().for_each(|id| add_value(&mut ids, id));
            [name, uri].into_iter().flatten().for_each(|name| add_name(&mut ids, name));
        }
        Ok(())
    });
    if is_list {
        return Vec::new();
    }
    // An item of a response names no model.
    if has_model && kind.is_some_and(|kind| kind.is_text("message")) {
        return ids;
    }
    add_encrypted(&mut own, kind, encrypted);
    ids.into_iter().chain(items.into_iter().filter(|_| is_response)).for_each(|id| add(&mut own, id));
    own
}

/// Adds the ids of an item of a response. Its beginning is enough where it breaks off: a picture is longer than what is held.
fn add_item<'a>(ids: &mut Vec<Cow<'a, str>>, item: &mut Cursor<'a>) -> Result<(), SyntaxError> {
    if item.peek() != Some(b'{') {
        return Ok(());
    }
    let (mut kind, mut content) = (None, None);
    let read = item.fields(|name, value| {
        match name {
            b"id" | b"container_id" => add_value(ids, value.raw()?),
            b"type" => kind = Some(value.raw()?),
            b"encrypted_content" => content = Some(value.raw()?),
            _ => {}
        }
        Ok(())
    });
    add_encrypted(ids, kind, content);
    read
}

/// Adds the id of what a choice of a chat says aloud, which comes before its bytes; those may break off.
fn sound_of_choice<'a>(ids: &mut Vec<Cow<'a, str>>, name: &[u8], value: &mut Cursor<'a>) -> Result<(), SyntaxError> {
    if name != b"message" || value.peek() != Some(b'{') {
        return Ok(());
    }
    value.fields(|name, value| {
        if name != b"audio" || value.peek() != Some(b'{') {
            return Ok(());
        }
        value.fields(|name, value| {
            if name == b"id" {
                add_value(ids, value.raw()?);
            }
            Ok(())
        })
    })
}

/// Adds the values of all fields whose name ends in `_id` or `_ids`, but for those of calls. Within a text a quote has a backslash
/// before it, so what a text says is never taken for a field.
fn add_fields<'a>(ids: &mut Vec<Cow<'a, str>>, body: &'a [u8]) {
    let is_of_call = |at: usize| {
        let before = body.get(..at).unwrap_or_default();
        OF_CALLS.iter().any(|name| before.ends_with(name.as_bytes()))
    };
    for at in memmem::find_iter(body, "_id").filter(|at| !is_of_call(*at)).take(MAX_FIELDS) {
        let behind = body.get(at + 3..).unwrap_or_default();
        let behind = behind.strip_prefix(b"s").unwrap_or(behind);
        let Some(behind) = behind.strip_prefix(b"\"") else { continue };
        let Some(value) = behind.trim_ascii_start().strip_prefix(b":") else { continue };
        let value = value.get(..MAX_VALUE_BYTES).unwrap_or(value);
        if let Ok(value) = Cursor::new(value).raw() {
            add_value(ids, value);
        }
    }
}

/// Adds a text, or the texts of a list.
fn add_value<'a>(ids: &mut Vec<Cow<'a, str>>, value: RawJson<'a>) {
    if value.is_array() {
        value.elements().filter_map(RawJson::text).for_each(|id| add(ids, id));
    } else if let Some(id) = value.text() {
        add(ids, id);
    }
}

fn add<'a>(ids: &mut Vec<Cow<'a, str>>, id: Cow<'a, str>) {
    let is_id = !id.is_empty() && id.len() <= MAX_ID_BYTES && id.bytes().all(|byte| byte.is_ascii_graphic());
    if is_id && ids.len() < MAX_IDS && !ids.contains(&id) {
        ids.push(id);
    }
}
