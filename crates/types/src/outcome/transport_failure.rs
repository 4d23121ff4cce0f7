//! How attempts of the relay fail, and the error class of each failure.

use std::fmt;

use super::ErrorClass;

/// How an attempt of the relay ended without a good answer. Replicas exchange it like a [`Cause`](super::Cause).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransportFailure {
    /// No connection: refused, name not resolved, or certificate not trusted.
    Connect,
    /// No connection within the connect timeout.
    ConnectTimeout,
    /// The connection broke before there was an answer.
    ConnectionClosed,
    /// A connection that had carried earlier calls was closed before any byte of this answer: most often the upstream's
    /// keep-alive timeout, which says nothing about its health.
    Stale,
    /// The answer is not valid HTTP, or its length is ambiguous.
    Protocol,
    /// There was no byte of an answer in time.
    FirstByteTimeout,
    /// The call's own deadline cut the attempt short before the target's time was over; no router learns from it.
    DeadlineExceeded,
    /// The answer ended early.
    Truncated,
    /// No further byte of the answer within the idle timeout.
    Stalled,
    /// The stream carried an error event, of this class.
    ErrorEvent(ErrorClass),
    /// The answer has a good status and is an error, of this class.
    ErrorAnswer(ErrorClass),
    /// The answer has a good status and no content.
    EmptyAnswer,
    /// The answer is declared as JSON and does not parse.
    InvalidJson,
    /// The answer is compressed and cannot be decoded, or breaks the protocol of its provider, so that it cannot be translated.
    BrokenAnswer,
    /// The target could not be called, because this process had no descriptors, memory or ports left. It changes no router's
    /// health.
    Exhausted,
}

impl TransportFailure {
    /// All failures, one of those that differ only in their error class.
    pub const ALL: [Self; 15] = [
        Self::Connect,
        Self::ConnectTimeout,
        Self::ConnectionClosed,
        Self::Stale,
        Self::Protocol,
        Self::FirstByteTimeout,
        Self::DeadlineExceeded,
        Self::Truncated,
        Self::Stalled,
        Self::ErrorEvent(ErrorClass::ServerError),
        Self::ErrorAnswer(ErrorClass::ServerError),
        Self::EmptyAnswer,
        Self::InvalidJson,
        Self::BrokenAnswer,
        Self::Exhausted,
    ];

    /// The error class; `None` if the upstream has no part in the failure.
    pub const fn error_class(self) -> Option<ErrorClass> {
        Some(match self {
            Self::Connect | Self::ConnectTimeout => ErrorClass::Unreachable,
            Self::ConnectionClosed | Self::Protocol | Self::Truncated | Self::InvalidJson | Self::BrokenAnswer => {
                ErrorClass::BrokenAnswer
            }
            Self::FirstByteTimeout | Self::Stalled => ErrorClass::TimedOut,
            Self::ErrorEvent(class) | Self::ErrorAnswer(class) => class,
            Self::EmptyAnswer => ErrorClass::EmptyAnswer,
            Self::Stale | Self::DeadlineExceeded | Self::Exhausted => return None,
        })
    }

    /// The failure of this name and error class, as another replica's log entry says it; `None` if it does not exist, or if the
    /// upstream has no part in it.
    pub fn from_name(name: &str, class: ErrorClass) -> Option<Self> {
        let failure = match Self::ALL.into_iter().find(|failure| failure.as_str() == name)? {
            Self::ErrorEvent(_) => Self::ErrorEvent(class),
            Self::ErrorAnswer(_) => Self::ErrorAnswer(class),
            failure => failure,
        };
        (failure.error_class() == Some(class)).then_some(failure)
    }

    /// The label value in metrics, and the name in log entries, which other versions read: never change one.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "not_connected",
            Self::ConnectTimeout => "not_connected_in_time",
            Self::ConnectionClosed => "no_answer",
            Self::Stale => "stale_connection",
            Self::Protocol => "protocol_error",
            Self::FirstByteTimeout => "no_answer_in_time",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::Truncated => "truncated",
            Self::Stalled => "stalled",
            Self::ErrorEvent(_) => "error_in_stream",
            Self::ErrorAnswer(_) => "error_in_answer",
            Self::EmptyAnswer => "empty_answer",
            Self::InvalidJson => "invalid_json",
            Self::BrokenAnswer => "broken_answer",
            Self::Exhausted => "broker_exhausted",
        }
    }
}

impl fmt::Display for TransportFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "cannot be connected to",
            Self::ConnectTimeout => "takes too long to connect to",
            Self::ConnectionClosed => "closed the connection without an answer",
            Self::Stale => "closed a reused connection before it answered",
            Self::Protocol => "sent an answer that is not valid HTTP",
            Self::FirstByteTimeout => "gave no answer in time",
            Self::DeadlineExceeded => "had not answered when the call's time was over",
            Self::Truncated => "truncated its answer",
            Self::Stalled => "stalled in its answer",
            Self::ErrorEvent(_) => "sent an error in its stream",
            Self::ErrorAnswer(_) => "sent an error with a good status",
            Self::EmptyAnswer => "sent a good status without an answer",
            Self::InvalidJson => "sent invalid JSON",
            Self::BrokenAnswer => "sent an answer that cannot be read",
            Self::Exhausted => "was not called, because the broker itself had no descriptors, memory or ports left",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_found_by_its_name_and_its_class_together() {
        for failure in TransportFailure::ALL {
            for class in ErrorClass::ALL {
                let found = TransportFailure::from_name(failure.as_str(), class);
                let expected = match failure {
                    TransportFailure::ErrorEvent(_) => Some(TransportFailure::ErrorEvent(class)),
                    TransportFailure::ErrorAnswer(_) => Some(TransportFailure::ErrorAnswer(class)),
                    failure => Some(failure).filter(|failure| failure.error_class() == Some(class)),
                };
                assert_eq!(found, expected, "{failure:?} {class}");
            }
        }
        assert_eq!(TransportFailure::from_name("gave no answer in time", ErrorClass::TimedOut), None);
    }
}
