//! The ids that a stream shows of what it makes, or of what it is.

use crate::affinity::{MAX_IDS, ids_of_answer};
use crate::protocol::Protocol;

/// Those that were not taken yet.
#[derive(Debug, Default)]
pub(crate) struct ShownIds {
    ids: Vec<String>,
    /// The stream answers a chat whose own id has not come.
    lacks_chat: bool,
}

impl ShownIds {
    /// Those of an answer to a request of this protocol.
    pub(crate) fn of_answer(asked: Protocol) -> Self {
        Self { lacks_chat: asked == Protocol::OpenAiChat, ..Self::default() }
    }

    /// An event shows an object that the target keeps from now on.
    pub(crate) fn add(&mut self, object: &[u8]) {
        for id in ids_of_answer(object) {
            if self.ids.len() < MAX_IDS && !self.ids.iter().any(|known| *known == id) {
                self.ids.push(id.into_owned());
            }
        }
    }

    /// A chunk of a chat came, before any content or with the first of it: behind that none is looked at, so that a stream without ids
    /// costs no more. In what Azure sends first the id is empty.
    pub(crate) fn add_chat(&mut self, chunk: &[u8]) {
        if self.lacks_chat {
            self.add(chunk);
            self.lacks_chat = self.ids.is_empty();
        }
    }

    pub(crate) fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.ids)
    }
}
