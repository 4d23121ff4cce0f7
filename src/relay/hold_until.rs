//! How much of an answer must be here before it is passed on, by its head.

use hyper::body::Body;
use hyper::{HeaderMap, StatusCode};
use llm::answer::may_be_untyped_json;
use llm::headers::AnswerHeaders;
use llm::stream::{Progress, StreamState};

use super::hold::{ExpectedAnswer, MAX_BUFFERED_BYTES};
use super::upstream_body::UpstreamBody;

/// How much of an answer must be here before it is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HoldUntil {
    FirstByte,
    /// The first event with content, or the time `hold`.
    Content,
    /// The end, or the time `hold`.
    EndOrTime,
    /// What it begins with behind white space, of an answer that may be JSON; then one of the others.
    ItsBeginning,
    End,
}

impl HoldUntil {
    pub(super) fn for_answer(
        status: StatusCode,
        headers: &AnswerHeaders<'_>,
        body: &UpstreamBody,
        expected: ExpectedAnswer,
        is_stream: bool,
    ) -> Self {
        let is_short = body.sent_length().is_some_and(|length| length <= MAX_BUFFERED_BYTES as u64);
        let is_untyped = may_be_untyped_json(expected.protocol, headers);
        // A growing array that cannot be read, as where it is compressed, is passed on as it comes.
        let is_whole = (headers.is_json() || is_untyped) && !headers.is_compressed() && !expected.grows;
        if is_error(status) {
            Self::End
        } else if is_stream {
            if expected.is_generation { Self::Content } else { Self::FirstByte }
        } else if is_short {
            Self::End
        } else if is_whole && expected.is_generation && body.size_hint().exact().is_none() {
            Self::ItsBeginning
        } else {
            Self::FirstByte
        }
    }

    /// Whether this much is enough before its end, and as far as its events have come.
    pub(super) fn is_reached(self, length: usize, progress: Progress) -> bool {
        match self {
            Self::FirstByte => length > 0,
            Self::Content => progress != Progress::Preamble,
            Self::ItsBeginning | Self::EndOrTime | Self::End => false,
        }
    }

    pub(super) const fn ends_in_time(self) -> bool {
        matches!(self, Self::Content | Self::EndOrTime)
    }
}

/// The stream that an answer with this head is. Lines and elements of what is only fetched may report failures of their own.
pub(super) fn stream_of(
    status: StatusCode,
    headers: &AnswerHeaders<'_>,
    expected: ExpectedAnswer,
) -> Option<StreamState> {
    let may_be = !is_error(status) && (expected.is_generation || headers.is_event_stream());
    may_be.then(|| StreamState::of_answer(expected.protocol, headers, expected.grows)).flatten()
}

pub(super) fn is_error(status: StatusCode) -> bool {
    status.as_u16() >= 400
}

/// The headers of an answer that matter.
pub(super) fn answer_headers(headers: &HeaderMap) -> AnswerHeaders<'_> {
    let mut read = AnswerHeaders::default();
    for (name, value) in headers {
        read.add(name.as_str().as_bytes(), || value.to_str().ok());
    }
    read
}
