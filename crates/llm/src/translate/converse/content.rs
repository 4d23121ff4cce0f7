//! One part of a message's content as a block of Converse.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::text;
use crate::json::RawJson;
use crate::translate::has_half_a_character;
use crate::translate::object_fields::{Others, pick_of};
use crate::translate::write;

/// A part of a content: its kind, what it holds, and the names of what it has beside.
#[derive(Debug)]
pub(super) struct Part<'a> {
    pub(super) kind: Cow<'a, str>,
    /// The field that is named as the kind.
    pub(super) value: Option<RawJson<'a>>,
    pub(super) others: Others<'a>,
}

impl<'a> Part<'a> {
    const NAMES: [&'static str; 6] = ["type", "text", "refusal", "image_url", "file", "input_audio"];

    /// Reads a part; `None` of one without a kind.
    pub(super) fn read(part: RawJson<'a>) -> Option<Self> {
        let ([kind, values @ ..], mut others) = pick_of(part, Self::NAMES);
        let (kind, mut own) = (kind?.text()?, None);
        let [_, names @ ..] = Self::NAMES;
        for (name, value) in names.into_iter().zip(values) {
            if kind == name {
                own = value;
            } else {
                others.note(name, value);
            }
        }
        Some(Self { kind, value: own, others })
    }
}

/// What becomes of a part.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Written,
    /// It says nothing, and Converse refuses blank texts.
    Blank,
    /// There is no block for it.
    Unsupported,
    /// It is not what OpenAI's API takes.
    Invalid(&'static str),
}

/// In what the block stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockRole {
    System,
    User,
    Assistant,
    ToolResult,
}

/// Appends the block of one part, and notes among the part's others what is lost of its object. `names` are those of the
/// documents so far, which must differ.
pub(super) fn write_part(
    out: &mut Vec<u8>,
    part: &mut Part<'_>,
    place: BlockRole,
    names: &mut DocumentNames,
) -> Outcome {
    let has_media = matches!(place, BlockRole::User | BlockRole::ToolResult);
    match part.kind.as_ref() {
        "text" => part.value.map_or(Outcome::Invalid("has no `text`"), |text| write_text(out, text)),
        "refusal" if place == BlockRole::Assistant => {
            part.value.map_or(Outcome::Invalid("has no `refusal`"), |text| write_text(out, text))
        }
        "image_url" if has_media => write_image(out, part),
        "file" if has_media => write_document(out, part, names),
        "input_audio" if place == BlockRole::User => write_audio(out, part),
        _ => Outcome::Unsupported,
    }
}

/// The fields of a part's object; those of other names are noted among the part's.
fn inner<'a, const N: usize>(part: &mut Part<'a>, names: [&str; N]) -> [Option<RawJson<'a>>; N] {
    let Some((picked, others)) = part.value.map(|value| pick_of(value, names)) else { return [None; N] };
    part.others.add(&part.kind, &others);
    picked
}

/// Appends a block of text as it stands.
pub(super) fn write_text(out: &mut Vec<u8>, value: RawJson<'_>) -> Outcome {
    if value.quoted().is_none() {
        return Outcome::Invalid("must be a string");
    }
    if has_half_a_character(value.bytes()) {
        return Outcome::Invalid(text::HALF_A_CHARACTER);
    }
    if write::is_blank_string(value) {
        return Outcome::Blank;
    }
    write::comma(out);
    out.extend_from_slice(b"{\"text\":");
    out.extend_from_slice(value.bytes());
    out.push(b'}');
    Outcome::Written
}

/// Only what comes within the request: we fetch nothing, and Converse takes no addresses.
fn write_image(out: &mut Vec<u8>, part: &mut Part<'_>) -> Outcome {
    let [url, detail] = inner(part, ["url", "detail"]);
    part.others.note("image_url.detail", detail.filter(|detail| !detail.is_text("auto")));
    // Old clients write the address itself.
    let url = url.or_else(|| part.value.filter(|image| !image.is_object()));
    let Some(url) = url.and_then(RawJson::text) else { return Outcome::Invalid("has no `image_url.url`") };
    let Some(data) = DataUrl::parse(&url) else { return Outcome::Unsupported };
    let format = match data.media_type.as_str() {
        "image/png" => "png",
        "image/jpeg" | "image/jpg" => "jpeg",
        "image/gif" => "gif",
        "image/webp" => "webp",
        _ => return Outcome::Unsupported,
    };
    write_bytes(out, "image", format, None, data.base64);
    Outcome::Written
}

fn write_audio(out: &mut Vec<u8>, part: &mut Part<'_>) -> Outcome {
    let [Some(data), Some(format)] = inner(part, ["data", "format"]).map(|field| field.and_then(RawJson::text)) else {
        return Outcome::Invalid("has no `input_audio.data` or `input_audio.format`");
    };
    if !matches!(format.as_ref(), "wav" | "mp3") {
        return Outcome::Unsupported;
    }
    write_bytes(out, "audio", &format, None, &data);
    Outcome::Written
}

fn write_document(out: &mut Vec<u8>, part: &mut Part<'_>, names: &mut DocumentNames) -> Outcome {
    let [data, file_name] = inner(part, ["file_data", "filename"]).map(|field| field.and_then(RawJson::text));
    let file_name = file_name.unwrap_or(Cow::Borrowed("document"));
    // A `file_id` names a file at OpenAI.
    let Some(data) = data else { return Outcome::Unsupported };
    let Some(data) = DataUrl::parse(&data).or_else(|| DataUrl::bare(&data)) else { return Outcome::Unsupported };
    let (stem, extension) = file_name.rsplit_once('.').unwrap_or((&file_name, ""));
    let by_type = match data.media_type.as_str() {
        "application/pdf" => Some("pdf"),
        "text/csv" => Some("csv"),
        "application/msword" => Some("doc"),
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document" => Some("docx"),
        "application/vnd.ms-excel" => Some("xls"),
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" => Some("xlsx"),
        "text/html" => Some("html"),
        "text/plain" => Some("txt"),
        "text/markdown" => Some("md"),
        _ => None,
    };
    let known = ["pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"];
    let by_name = || known.into_iter().find(|known| known.eq_ignore_ascii_case(extension));
    let Some(format) = by_type.or_else(by_name) else { return Outcome::Unsupported };
    let name = names.name(stem);
    write_bytes(out, "document", format, Some(&name), data.base64);
    Outcome::Written
}

/// The names of the documents so far.
#[derive(Debug, Default)]
pub(super) struct DocumentNames {
    /// Each with the number of the last one that was made of it.
    taken: BTreeMap<String, u32>,
}

impl DocumentNames {
    /// A document's name as Converse takes it: letters, digits, single spaces, hyphens and brackets, 200 at most, and different
    /// from the names before. (Source: `DocumentBlock` in the API reference; that they must differ is assumed.)
    fn name(&mut self, stem: &str) -> String {
        let good = |letter: char| letter.is_ascii_alphanumeric() || "-()[]".contains(letter);
        let letters: String = stem.chars().map(|letter| if good(letter) { letter } else { ' ' }).take(180).collect();
        let words = letters.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        let plain = if words.is_empty() { "document".to_owned() } else { words };
        let mut name = plain.clone();
        let mut number = self.taken.get(&plain).copied().unwrap_or(1);
        while self.taken.contains_key(&name) {
            number += 1;
            name = format!("{plain} {number}");
        }
        self.taken.insert(plain, number);
        self.taken.entry(name.clone()).or_insert(1);
        name
    }
}

fn write_bytes(out: &mut Vec<u8>, kind: &str, format: &str, name: Option<&str>, base64: &str) {
    write::comma(out);
    out.extend_from_slice(format!("{{\"{kind}\":{{\"format\":\"{format}\",").as_bytes());
    if let Some(name) = name {
        out.extend_from_slice(b"\"name\":");
        write::string(out, name);
        out.push(b',');
    }
    out.extend_from_slice(b"\"source\":{\"bytes\":");
    write::string(out, base64);
    out.extend_from_slice(b"}}}");
}

/// `data:image/png;base64,…`.
struct DataUrl<'a> {
    media_type: String,
    base64: &'a str,
}

impl<'a> DataUrl<'a> {
    fn parse(url: &'a str) -> Option<Self> {
        let (scheme, rest) = url.split_at_checked(5)?;
        let (head, base64) = rest.split_once(',')?;
        let (head, encoding) = head.rsplit_once(';')?;
        let is_base64 = scheme.eq_ignore_ascii_case("data:") && encoding.trim().eq_ignore_ascii_case("base64");
        let media_type = head.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        (is_base64 && !base64.is_empty()).then_some(Self { media_type, base64 })
    }

    /// Base64 without what stands before it in a data URL, as some clients send files; only a PDF shows its type by its beginning.
    fn bare(data: &'a str) -> Option<Self> {
        let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
        let media_type = if data.starts_with("JVBERi0") { "application/pdf" } else { "" };
        let is_bare = !data.is_empty() && data.bytes().all(is_base64);
        is_bare.then(|| Self { media_type: media_type.to_owned(), base64: data })
    }
}
