//! Counts the images, sounds and files in the messages of a request, in every vendor's form.

use crate::json::RawJson;

/// Parts lie in messages, and in results of tools inside of those; nothing lies deeper.
const MAX_DEPTH: usize = 5;

/// What a request holds beside text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Media {
    /// Images, sent along or linked.
    pub images: usize,
    /// Sounds.
    pub audio: usize,
    /// Documents, videos and all other files.
    pub files: usize,
}

impl Media {
    /// Counts what lies in a list of messages, items, or parts.
    pub(crate) fn count(&mut self, list: RawJson<'_>) {
        list.elements().for_each(|message| self.message(message, 0));
    }

    /// Counts a file by its media type.
    pub(crate) fn add(&mut self, media_type: &str) {
        let kind = media_type.split('/').next().unwrap_or_default().trim();
        if kind.eq_ignore_ascii_case("image") {
            self.images += 1;
        } else if kind.eq_ignore_ascii_case("audio") {
            self.audio += 1;
        } else {
            self.files += 1;
        }
    }

    fn message(&mut self, message: RawJson<'_>, depth: usize) {
        if depth > MAX_DEPTH {
            return;
        }
        message.for_each_field(|name, value| match name {
            b"content" | b"parts" | b"output" if value.is_array() => {
                value.elements().for_each(|part| self.message(part, depth + 1));
            }
            b"type" => self.part(value),
            // Bedrock: a tool's result.
            b"toolResult" => self.message(value, depth + 1),
            // Gemini: data with its media type.
            b"inlineData" | b"inline_data" | b"fileData" | b"file_data" if value.is_object() => {
                let kind = value.field("mimeType").or_else(|| value.field("mime_type")).and_then(RawJson::text);
                self.add(kind.as_deref().unwrap_or_default());
            }
            // Bedrock: the kind is the name.
            b"image" if value.is_object() => self.images += 1,
            b"document" | b"video" if value.is_object() => self.files += 1,
            _ => {}
        });
    }

    /// OpenAI's and Anthropic's parts say what they are.
    fn part(&mut self, kind: RawJson<'_>) {
        match kind.bytes() {
            b"\"image_url\"" | b"\"input_image\"" | b"\"image\"" => self.images += 1,
            b"\"input_audio\"" | b"\"audio\"" => self.audio += 1,
            b"\"file\"" | b"\"input_file\"" | b"\"document\"" => self.files += 1,
            b"\"video_url\"" | b"\"input_video\"" | b"\"video\"" => self.files += 1,
            _ => {}
        }
    }
}
