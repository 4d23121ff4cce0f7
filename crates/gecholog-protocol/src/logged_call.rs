//! The fields of a log entry for the call's record: tokens, model, trace headers, the whole stamp. They are parsed on demand,
//! from the fields that [`super::log_entry`] has found.

use std::borrow::Cow;

use llm::answer::begins_as_event_stream;
use llm::prices::ServiceTier;
use llm::request_view::RequestSummary;
use llm::stream::StreamState;
use llm::usage::{self, InvalidUsage, Usage};
use llm::{Protocol, model};
use types::outcome::{LogEntry, SetBy};

use super::missing::{MissingName, RequestNames};
use super::{entry, patch};
use llm::json::{Cursor, RawJson};

/// A finished call, from its entry.
#[derive(Debug, Clone, Copy)]
pub struct LoggedCall<'a> {
    /// The observation, for learning.
    pub entry: LogEntry<'a>,
    /// The tokens that the call used, counted by the vendor or by the gateway's `token_count`, or estimated for a stream that
    /// ended before its usage; `Ok(None)` if unknown.
    ///
    /// The usage is implausible.
    pub usage: Result<Option<Usage>, InvalidUsage>,
    pub(super) details: Details<'a>,
}

/// The fields that are read on demand, as written.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Details<'a> {
    /// `request.broker`
    pub(super) stamp: Option<RawJson<'a>>,
    /// `request.broker_call`, which the relay writes.
    pub(super) call: Option<RawJson<'a>>,
    /// `request.ingress_headers`
    pub(super) headers: Option<RawJson<'a>>,
    /// `request.url`
    pub(super) url: Option<RawJson<'a>>,
    /// `request.ingress_subpath`
    pub(super) subpath: Option<RawJson<'a>>,
    /// `request.ingress_payload` and `request.outbound_payload`
    pub(super) received: Option<RawJson<'a>>,
    pub(super) sent: Option<RawJson<'a>>,
    /// `request.broker_patch`
    pub(super) patch: Option<RawJson<'a>>,
    /// `response.error`
    pub(super) errors: Option<RawJson<'a>>,
    /// `response.inbound_payload` and `response.token_count`
    pub(super) answer: Option<RawJson<'a>>,
    pub(super) token_count: Option<RawJson<'a>>,
    /// The usage in `response.inbound_payload`, unless that is a text.
    pub(super) counted: Option<Result<Usage, InvalidUsage>>,
    /// The usage in `response.inbound_headers`.
    pub(super) stated: Option<Result<Usage, InvalidUsage>>,
}

/// The request of a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestFields {
    /// The model that the client names.
    pub model: Option<String>,
    /// The model that was sent to the upstream, if it is another one.
    pub sent_model: Option<String>,
    pub stream: bool,
    /// The end user that the client names: `user`.
    pub user: Option<String>,
    /// The path of the request, without its query.
    pub path: String,
}

/// All fields of a stamp.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LoggedStamp {
    pub id: Option<String>,
    pub replica: Option<String>,
    /// The probability of the choice, 0 to 1.
    pub p: Option<f64>,
    pub probe: bool,
    pub why: Option<String>,
    /// The router that would have been chosen, by a broker that only observes.
    pub would: Option<String>,
}

impl LoggedCall<'_> {
    /// The stamp of the decision; fields that are missing or have another type are absent.
    pub fn stamp(&self) -> LoggedStamp {
        let mut stamp = LoggedStamp::default();
        let Some(written) = self.details.stamp else { return stamp };
        let text = |value: RawJson<'_>| value.text().map(Cow::into_owned);
        written.for_each_field(|name, value| match name {
            b"id" => stamp.id = text(value),
            b"replica" => stamp.replica = text(value),
            b"p" => {
                let number = std::str::from_utf8(value.bytes()).ok().and_then(|number| number.parse().ok());
                stamp.p = number.filter(|number| (0.0..=1.0).contains(number));
            }
            b"probe" => stamp.probe = value.is_true(),
            b"why" => stamp.why = text(value),
            b"would" => stamp.would = text(value),
            _ => {}
        });
        stamp
    }

    /// The field `broker_call` of the relay, as JSON.
    pub fn relay_call(&self) -> Option<&[u8]> {
        self.details.call.map(RawJson::bytes)
    }

    /// Why the relay got no good answer, if it wrote the entry and did not.
    pub fn relay_error(&self) -> Option<Cow<'_, str>> {
        let is_of_relay = |error: &RawJson<'_>| error.field("name").and_then(RawJson::plain) == Some(entry::RELAY);
        let mut errors = self.details.errors?.elements().filter(is_of_relay);
        errors.find_map(|error| error.field("details")).and_then(RawJson::text)
    }

    /// The URL that was called. It may contain secrets.
    pub fn url(&self) -> Option<Cow<'_, str>> {
        self.details.url.and_then(RawJson::text)
    }

    /// The request of the call.
    pub fn request_fields(&self) -> RequestFields {
        let ingress = self.entry.ingress.unwrap_or_default();
        let subpath = self.details.subpath.and_then(RawJson::text).unwrap_or_default();
        let path = format!("{ingress}{subpath}");
        let body = self.details.received.map(RawJson::bytes).unwrap_or_default();
        let RequestSummary { model, stream, user } = RequestSummary::read(&path, body);
        // Most targets change nothing, and a payload may be long.
        let changed = self.details.sent.filter(|sent| Some(sent) != self.details.received.as_ref());
        let sent = changed.and_then(|sent| RequestSummary::read(&path, sent.bytes()).model);
        let sent_model = sent.filter(|sent| Some(sent) != model.as_ref()).map(Cow::into_owned);
        let (model, user) = (model.map(Cow::into_owned), user.map(Cow::into_owned));
        RequestFields { model, sent_model, stream, user, path }
    }

    /// The model that the answer names.
    pub fn served_model(&self) -> Option<String> {
        let answer = self.details.answer?;
        let read = |body: &[u8]| model::of_answer(body).map(Cow::into_owned);
        match answer.text() {
            Some(events) => read(events.as_bytes()),
            None => read(answer.bytes()),
        }
    }

    /// The body of the client's request; empty if the entry has none.
    pub fn request_body(&self) -> &[u8] {
        self.details.received.map(RawJson::bytes).unwrap_or_default()
    }

    /// The body of the answer, a stream as its events; empty if the entry has none.
    pub fn answer_body(&self) -> Cow<'_, [u8]> {
        match self.details.answer.map(|answer| (answer, answer.text())) {
            Some((_, Some(Cow::Owned(text)))) => Cow::Owned(text.into_bytes()),
            Some((_, Some(Cow::Borrowed(text)))) => Cow::Borrowed(text.as_bytes()),
            Some((answer, None)) => Cow::Borrowed(answer.bytes()),
            None => Cow::Borrowed(&[]),
        }
    }

    /// The client's headers, each with its name as it was written and its first value.
    pub fn for_each_header<'s>(&'s self, mut visit: impl FnMut(&'s str, RawJson<'s>)) {
        let Some(headers) = self.details.headers else { return };
        // What breaks off was seen before: the entry is whole.
        let _ = Cursor::new(headers.bytes()).fields(|name, values| {
            if let (Ok(name), Some(value)) = (std::str::from_utf8(name), values.raw()?.first()) {
                visit(name, value);
            }
            Ok(())
        });
    }
}

impl Details<'_> {
    /// Who named the deployment or model that is missing.
    pub(super) fn who_named(&self, missing: MissingName) -> SetBy {
        let text =
            |raw: Option<RawJson<'_>>| raw.and_then(RawJson::value).and_then(|value| Some(value.as_str()?.to_owned()));
        let (url, subpath) = (text(self.url), text(self.subpath));
        let patch = self.patch.map(patch::read);
        let names = RequestNames {
            path: url.as_deref().and_then(path_of),
            subpath: subpath.as_deref(),
            received: self.received,
            sent: self.sent,
            patch: patch.as_ref(),
        };
        names.named_by(missing)
    }

    /// The usage by the answer, or else by the gateway; an estimate for a stream that ended before its usage.
    pub(super) fn usage(&self) -> Result<Option<Usage>, InvalidUsage> {
        let Some(answer) = self.answer else { return self.counted_by_gateway(ServiceTier::default()) };
        let Some(text) = answer.text() else {
            let counted = self.counted.transpose()?;
            return counted.map_or_else(|| self.counted_by_gateway(ServiceTier::default()), |usage| Ok(Some(usage)));
        };
        let request = self.sent.or(self.received).map_or(0, |payload| payload.bytes().len()) as u64;
        // The gateway makes one text of a stream.
        if !begins_as_event_stream(text.trim_start_matches('\u{feff}').as_bytes()) {
            let counted = if text.starts_with('{') { usage::of_lines(text.as_bytes(), request)? } else { None };
            return counted.map_or_else(|| self.counted_by_gateway(ServiceTier::default()), |usage| Ok(Some(usage)));
        }
        let mut stream = StreamState::new(Protocol::Generic);
        stream.push(text.as_bytes());
        stream.finish();
        if stream.usage()?.is_none()
            && let Some(counted) = self.counted_by_gateway(stream.service_tier())?
        {
            return Ok(Some(counted));
        }
        stream.usage_or_estimate(request)
    }

    /// The usage in the answer's headers, or else in the gateway's `token_count`. Neither has the service tier.
    fn counted_by_gateway(&self, service_tier: ServiceTier) -> Result<Option<Usage>, InvalidUsage> {
        if let Some(stated) = self.stated {
            return stated.map(Some);
        }
        let Some(count) = self.token_count else { return Ok(None) };
        Ok(usage::of_object(count.bytes())?.map(|counted| Usage { service_tier, ..counted }))
    }
}

/// The path of a URL, without its query; `None` if it is empty, as that of a call that never left the gateway.
pub fn path_of(url: &str) -> Option<&str> {
    let (_, behind) = url.split_once("://")?;
    let path = behind.get(behind.find('/')?..)?;
    path.split(['?', '#']).next()
}
