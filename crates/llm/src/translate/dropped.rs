//! What is left out of a request because its target cannot take it: named up to a bound, counted beyond it.

use std::fmt;

use super::object_fields::Others;
use super::{TranslateError, Unsupported};
use crate::json::RawJson;

/// Something of a request that a vendor cannot take: a field's path, such as `logit_bias` or `messages[2].content[0]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped(String);

/// Of what cannot be taken not more than this is named: a request could hold a million such parts.
pub const MAX_DROPPED: usize = 100;

impl Dropped {
    /// Of a path that is longer than 100 bytes only the beginning is kept: clients choose the names of fields, and headers and
    /// messages have little room. The names that vendors know have at most 40 letters.
    pub fn new(path: impl Into<String>) -> Self {
        const MAX_BYTES: usize = 100;
        let mut path = path.into();
        if path.len() > MAX_BYTES {
            let end = (0..=MAX_BYTES).rev().find(|end| path.is_char_boundary(*end)).unwrap_or_default();
            path.truncate(end);
            path.shrink_to_fit();
        }
        Self(path)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Content of a request: without it the model answers another question than the client's. What else can be left out are wishes
/// about the answer, and marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Content {
    Image,
    /// A sound that is sent, or the answer as one.
    Audio,
    Video,
    /// Documents and all other files.
    File,
    /// A part of an unknown kind.
    Part,
    Tool,
    /// The schema of the answer.
    Schema,
}

impl Content {
    /// By the type of a part of a message; `None` of those by which the assistant shows its thinking or refuses.
    pub(super) fn of_part(kind: &str) -> Option<Self> {
        match kind {
            "image_url" | "input_image" | "image" => Some(Self::Image),
            "input_audio" | "audio" => Some(Self::Audio),
            "video_url" | "input_video" | "video" => Some(Self::Video),
            "file" | "input_file" | "document" => Some(Self::File),
            "thinking" | "redacted_thinking" | "reasoning" | "refusal" => None,
            _ => Some(Self::Part),
        }
    }

    /// By the name of a field within the request; `None` of those that hold no content.
    pub(crate) fn of_inner_field(name: &str) -> Option<Self> {
        match name {
            // In a message it is a call that was made; in the request, a wish for one.
            "function_call" => Some(Self::Tool),
            _ => Self::of_field(name),
        }
    }

    /// By the name of a field of the request itself; `None` of those that hold no content.
    fn of_field(name: &str) -> Option<Self> {
        match name {
            "images" => Some(Self::Image),
            "audio" => Some(Self::Audio),
            "documents" | "files" => Some(Self::File),
            "functions" | "tools" => Some(Self::Tool),
            _ => None,
        }
    }

    /// In words that follow the router whose target cannot take it.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Image => "it cannot take an image of the request",
            Self::Audio => "it cannot take the request's audio",
            Self::Video => "it cannot take a video of the request",
            Self::File => "it cannot take a file of the request",
            Self::Part => "it cannot take a part of the request's content",
            Self::Tool => "it cannot take a tool of the request",
            Self::Schema => "it cannot take the request's schema",
        }
    }
}

/// All that is left out of one request, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DroppedList {
    named: Vec<Dropped>,
    unnamed: usize,
    content: Option<Content>,
}

impl DroppedList {
    /// Those that are named, at most [`MAX_DROPPED`].
    pub fn iter(&self) -> std::slice::Iter<'_, Dropped> {
        self.named.iter()
    }

    /// How many there are, named or not.
    pub fn total(&self) -> usize {
        self.named.len() + self.unnamed
    }

    pub fn is_empty(&self) -> bool {
        self.total() == 0
    }

    /// The first content that is left out, if any is.
    pub const fn content(&self) -> Option<Content> {
        self.content
    }

    /// The names with commas between them, at most this many; `and 12 more` says how many others there are. `name` writes one.
    pub fn names(&self, most: usize, name: impl Fn(&Dropped) -> String) -> String {
        let shown = self.named.len().min(most);
        let names = self.iter().take(shown).map(name).collect::<Vec<_>>().join(", ");
        match self.total() - shown {
            0 => names,
            more => format!("{names} and {more} more"),
        }
    }

    /// The same list, with other names.
    pub(super) fn renamed(self, name: impl Fn(&str) -> String) -> Self {
        let named = self.named.into_iter().map(|dropped| Dropped::new(name(dropped.as_str()))).collect();
        Self { named, ..self }
    }
}

/// What is left out, while a request is read.
#[derive(Debug, Default)]
pub(crate) struct Drops {
    /// The place in the request of the field that is being read.
    pub(crate) at: usize,
    list: Vec<Entry>,
    unnamed: usize,
    /// The first content, and how much there is in all.
    content: Option<Content>,
    contents: usize,
}

#[derive(Debug)]
struct Entry {
    /// The place in the request of the field that it is in.
    at: usize,
    dropped: Dropped,
    is_content: bool,
}

/// How much was left out up to some point; see [`Drops::mark`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    named: usize,
    unnamed: usize,
    content: Option<Content>,
    contents: usize,
}

impl Drops {
    pub(crate) fn push(&mut self, path: impl Into<String>) {
        self.push_content(path, None);
    }

    /// The same of something that may be content.
    pub(crate) fn push_content(&mut self, path: impl Into<String>, content: Option<Content>) {
        // Content has room of its own, for a refusal to name it.
        let contents = self.contents.min(MAX_DROPPED);
        let others = self.list.len() - contents;
        let is_content = content.is_some();
        if (if is_content { contents } else { others }) < MAX_DROPPED {
            self.list.push(Entry { at: self.at, dropped: Dropped::new(path), is_content });
        } else {
            self.unnamed += 1;
        }
        self.content = self.content.or(content);
        self.contents += usize::from(is_content);
    }

    /// How much was left out so far, for [`Self::back_to`].
    pub(crate) const fn mark(&self) -> Mark {
        Mark { named: self.list.len(), unnamed: self.unnamed, content: self.content, contents: self.contents }
    }

    /// Takes back what was noted since: it goes out after all, or is said by another name.
    pub(crate) fn back_to(&mut self, mark: Mark) {
        self.list.truncate(mark.named);
        (self.unnamed, self.content, self.contents) = (mark.unnamed, mark.content, mark.contents);
    }

    /// A field of the request itself.
    pub(crate) fn push_field(&mut self, name: &str) {
        self.push_content(name, Content::of_field(name));
    }

    /// The fields without a counterpart of the object at `path`.
    pub(super) fn push_fields(&mut self, path: impl Fn() -> String, others: &Others<'_>) {
        self.push_fields_but(path, others, |_| false);
    }

    /// The same, but for those that are said elsewhere.
    pub(super) fn push_fields_but(
        &mut self,
        path: impl Fn() -> String,
        others: &Others<'_>,
        is_said: impl Fn(&str) -> bool,
    ) {
        for name in others.iter().filter(|name| !is_said(name)) {
            self.push_content(format!("{}.{name}", path()), Content::of_inner_field(name));
        }
        self.unnamed += others.unnamed();
    }

    /// How many of them are content.
    pub(crate) const fn contents(&self) -> usize {
        self.contents
    }

    /// Why a request is refused of which nothing is left that could be answered: the content that was left out. Takes it.
    pub(crate) fn take_refusal(&mut self) -> Result<(), TranslateError> {
        let mut lost = std::mem::take(self);
        lost.list.retain(|entry| entry.is_content);
        lost.unnamed = lost.contents - lost.list.len();
        lost.into_list(Unsupported::Refuse).map(|_| ())
    }

    /// In the order of the request.
    ///
    /// # Errors
    /// Something was left out, and the settings say to refuse that.
    pub(crate) fn into_list(mut self, unsupported: Unsupported) -> Result<DroppedList, TranslateError> {
        self.list.sort_by_key(|entry| entry.at);
        let unnamed = self.unnamed + self.list.len().saturating_sub(MAX_DROPPED);
        let named = self.list.into_iter().take(MAX_DROPPED).map(|entry| entry.dropped).collect();
        let list = DroppedList { named, unnamed, content: self.content };
        if unsupported == Unsupported::Refuse && !list.is_empty() {
            return Err(TranslateError::Unsupported(list));
        }
        Ok(list)
    }
}

/// Where in a conversation content was left out: without what the model is to answer, it would answer something else, or go on with
/// its last answer; and one that begins with an answer is refused.
#[derive(Debug)]
pub(super) struct LostContent {
    /// How much there was up to the assistant's last message.
    answered: usize,
    /// How much there was before the last message that was read.
    before: usize,
    is_answered: bool,
    /// Some is missing of what the user said before the assistant did.
    in_question: bool,
}

impl LostContent {
    pub(super) const fn new(drops: &Drops) -> Self {
        Self { answered: drops.contents, before: drops.contents, is_answered: false, in_question: false }
    }

    /// A message of this role was read.
    pub(super) fn note(&mut self, drops: &Drops, role: Option<RawJson<'_>>) {
        let is = |name| role.is_some_and(|role| role.is_text(name));
        if is("assistant") {
            self.answered = drops.contents;
            self.is_answered = true;
        }
        let is_instruction = is("system") || is("developer");
        self.in_question |= !self.is_answered && !is_instruction && drops.contents > self.before;
        self.before = drops.contents;
    }

    /// # Errors
    /// Too little is left of the conversation: it begins or ends with the assistant because of what was left out.
    pub(super) fn refuse_a_rest(
        self,
        drops: &mut Drops,
        begins_with_answer: bool,
        ends_with_answer: bool,
    ) -> Result<(), TranslateError> {
        let has_no_question = begins_with_answer && self.in_question;
        let has_no_end = ends_with_answer && drops.contents > self.answered;
        if has_no_question || has_no_end { drops.take_refusal() } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(count: usize) -> DroppedList {
        let mut drops = Drops::default();
        (0..count).for_each(|number| drops.push(format!("f{number}")));
        drops.into_list(Unsupported::Drop).unwrap()
    }

    #[test]
    fn the_first_are_named_and_all_are_counted() {
        let plain = |dropped: &Dropped| dropped.to_string();
        for (count, most, names) in [
            (0, 2, ""),
            (1, 2, "f0"),
            (2, 2, "f0, f1"),
            (3, 2, "f0, f1 and 1 more"),
            (1_000_000, 2, "f0, f1 and 999998 more"),
        ] {
            let list = list(count);
            assert_eq!((list.total(), list.names(most, plain).as_str()), (count, names));
            assert_eq!(list.is_empty(), count == 0);
        }
        let many = list(MAX_DROPPED + 7);
        assert_eq!(many.iter().count(), MAX_DROPPED);
        assert!(many.names(1_000, plain).ends_with("f98, f99 and 7 more"));
    }

    #[test]
    fn they_are_in_the_order_of_the_request_and_refused_where_the_settings_say_so() {
        let drops = || {
            let mut drops = Drops::default();
            for (at, name) in [(3, "c"), (1, "a"), (3, "d"), (2, "b")] {
                drops.at = at;
                drops.push(name);
            }
            drops
        };
        let said = |dropped: &Dropped| dropped.to_string();
        assert_eq!(drops().into_list(Unsupported::Drop).unwrap().names(9, said), "a, b, c, d");
        let refused = drops().into_list(Unsupported::Refuse).unwrap_err().to_string();
        assert_eq!(refused, "the model cannot take `a`, `b`, `c`, `d`");
        assert!(Drops::default().into_list(Unsupported::Refuse).unwrap().is_empty());
    }

    #[test]
    fn a_refusal_names_the_content_among_what_is_left_out() {
        for (wishes, contents, said) in [
            (1, 1, "`c0`"),
            (0, 2, "`c0`, `c1`"),
            (MAX_DROPPED + 7, 1, "`c0`"),
            (MAX_DROPPED + 7, MAX_DROPPED + 2, "`c99` and 2 more"),
        ] {
            let mut drops = Drops::default();
            (0..wishes).for_each(|number| drops.push(format!("f{number}")));
            (0..contents).for_each(|number| drops.push_content(format!("c{number}"), Some(Content::Image)));
            let refused = drops.take_refusal().unwrap_err().to_string();
            assert!(refused.ends_with(said) && !refused.contains("`f"), "{refused}");
            (0..wishes).for_each(|number| drops.push(format!("f{number}")));
            (0..contents).for_each(|number| drops.push_content(format!("c{number}"), Some(Content::Image)));
            let list = drops.into_list(Unsupported::Drop).unwrap();
            assert_eq!((list.total(), list.content()), (wishes + contents, Some(Content::Image)));
            assert_eq!(list.iter().count(), (wishes + contents).min(MAX_DROPPED));
        }
    }

    #[test]
    fn what_was_noted_since_a_mark_is_taken_back() {
        for before in [0, 1, MAX_DROPPED + 1] {
            let mut drops = Drops::default();
            (0..before).for_each(|number| drops.push(format!("f{number}")));
            let mark = drops.mark();
            drops.push("a");
            drops.push_content("b", Some(Content::Tool));
            drops.back_to(mark);
            let (contents, list) = (drops.contents(), drops.into_list(Unsupported::Drop).unwrap());
            assert_eq!((contents, list), (0, self::list(before)));
        }
    }
}
