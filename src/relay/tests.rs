//! The time limits of an answer, on a stopped clock: what a target sends comes over a connection in memory, so each limit is
//! exact, and minutes take no time.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use llm::Protocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::time::{Instant, sleep};
use types::outcome::{ErrorClass, TransportFailure};

use super::attempt_guard::AttemptEnd;
use super::exchange::AttemptTimeouts;
use super::hold::{ExpectedAnswer, FailedAttempt, UpstreamAnswer};
use super::proxy_body::ProxyBody;
use super::upstream_body::UpstreamBody;

const SECOND: Duration = Duration::from_secs(1);
const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
const JSON: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n";
const UNTYPED: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n";
const ERROR: &str = "HTTP/1.1 503 Busy\r\ncontent-type: application/json\r\n\r\n";
const COMMENT: &str = ": still here\n\n";
const ROLE: &str = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n";
const HELLO: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Hello\"}}]}\n\n";

const CHUNKED_EVENTS: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
const DONE: &str = "data: [DONE]\n\n";
/// In the place of a text: it closes.
const CLOSE: &str = "(closes)";

/// What a target sends: after so many seconds this text. After the last one it neither sends nor closes.
type Script = &'static [(u32, &'static str)];

/// When the attempt was over, in seconds since the request was sent, and how; then when and how the client's answer was.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    /// It never began for the client.
    Failed(u64, TransportFailure),
    /// Passed on to the client, and cut after these parts, which show why.
    Cut(u64, u64, String),
    /// Passed on to the client as a whole.
    Whole(u64),
}

/// Sends a request at 0 s and reads its answer to the end, as a call to this relay does. The call's time is over at 600 s.
async fn answered(script: Script, first_byte: Option<u32>) -> Ended {
    answered_as((Protocol::OpenAiChat, false), script, first_byte).await
}

/// The same for a request of this protocol, which an array that grows may answer.
async fn answered_as((protocol, grows): (Protocol, bool), script: Script, first_byte: Option<u32>) -> Ended {
    let (near, mut far) = duplex(1 << 16);
    let (mut sender, connection) = http1::handshake(TokioIo::new(near)).await.unwrap();
    tokio::spawn(connection);
    tokio::spawn(async move {
        let _request = far.read(&mut [0; 1024]).await;
        for (pause, text) in script {
            sleep(*pause * SECOND).await;
            if *text == CLOSE {
                return;
            }
            far.write_all(text.as_bytes()).await.unwrap();
        }
        std::future::pending::<()>().await;
    });
    let began = Instant::now();
    let seconds = || began.elapsed().as_secs();
    let times = AttemptTimeouts {
        connect: 5 * SECOND,
        first_byte: first_byte.map(|seconds| seconds * SECOND),
        idle: 120 * SECOND,
        hold: 10 * SECOND,
        deadline: began + 600 * SECOND,
    };
    let response = sender.send_request(Request::new(Empty::<Bytes>::new())).await.unwrap();
    let (head, body) = response.into_parts();
    let asked = ExpectedAnswer { protocol, grows, is_generation: true, is_download: false, key: None };
    let held = UpstreamAnswer::hold(head, UpstreamBody::unchanged(body), asked, times, Some(began)).await;
    let answer = match held {
        Err(FailedAttempt { failure, .. }) => return Ended::Failed(seconds(), failure),
        Ok(answer) => answer,
    };
    let passed_on = seconds();
    let UpstreamAnswer { held, rest, stream, first_event_by, .. } = answer;
    let Some(rest) = rest else { return Ended::Whole(passed_on) };
    let mut body = ProxyBody::streaming(held, rest, times.idle, first_event_by, stream, None, AttemptEnd::with(200));
    let mut text = String::new();
    loop {
        match body.frame().await {
            Some(Ok(frame)) => text += str::from_utf8(&frame.into_data().unwrap()).unwrap(),
            Some(Err(_)) => return Ended::Cut(passed_on, seconds(), text),
            None => return Ended::Whole(seconds()),
        }
    }
}

fn is_cut(ended: &Ended, at: (u64, u64), words: &[&str]) -> bool {
    matches!(ended, Ended::Cut(passed_on, cut, text)
        if (*passed_on, *cut) == at && words.iter().all(|words| text.contains(words)))
}

#[tokio::test(start_paused = true)]
async fn first_byte_counts_from_the_sent_request_and_idle_from_the_last_part() {
    use Ended::Failed;
    for (script, first_byte, expected) in [
        (&[(7, STREAM)][..], Some(30), Failed(30, TransportFailure::FirstByteTimeout)),
        (&[(7, STREAM)], None, Failed(600, TransportFailure::DeadlineExceeded)),
        (&[(7, JSON)], Some(30), Failed(30, TransportFailure::FirstByteTimeout)),
        (&[(7, JSON)], Some(600), Failed(600, TransportFailure::DeadlineExceeded)),
        (&[(7, JSON)], Some(700), Failed(600, TransportFailure::DeadlineExceeded)),
    ] {
        assert_eq!(answered(script, first_byte).await, expected, "{script:?}, {first_byte:?}");
    }
    let stalled = ["Hello", "stream_broken", "stalled in its answer"];
    let once = answered(&[(7, STREAM), (2, HELLO)], Some(30)).await;
    assert!(is_cut(&once, (9, 129), &stalled), "{once:?}");
    let again = answered(&[(7, STREAM), (2, HELLO), (119, HELLO), (119, COMMENT)], Some(30)).await;
    assert!(is_cut(&again, (9, 367), &stalled), "each part begins the time anew: {again:?}");
}

#[tokio::test(start_paused = true)]
async fn a_preamble_is_held_for_its_time_and_comments_do_not_put_off_the_first_event() {
    let late = answered(&[(7, STREAM), (1, ROLE), (20, HELLO)], Some(30)).await;
    assert!(is_cut(&late, (17, 148), &["assistant", "Hello"]), "held for 10 s from its head: {late:?}");
    let comments = &[(7, STREAM), (1, COMMENT), (9, COMMENT), (9, COMMENT), (9, COMMENT)];
    let limited = answered(comments, Some(30)).await;
    assert!(is_cut(&limited, (17, 30), &["still here", "stalled in its answer"]), "{limited:?}");
    let unlimited = answered(comments, None).await;
    assert!(is_cut(&unlimited, (17, 155), &["still here"]), "{unlimited:?}");
    let event = &[(7, STREAM), (1, COMMENT), (20, HELLO)];
    let event = answered(event, Some(30)).await;
    assert!(is_cut(&event, (17, 148), &["Hello"]), "after the first event only idle counts: {event:?}");
}

#[tokio::test(start_paused = true)]
async fn json_without_a_length_is_held_for_its_time_and_an_error_for_three_seconds() {
    let json = answered(&[(7, JSON), (1, "{\"choices\": [")], None).await;
    assert!(is_cut(&json, (17, 137), &["choices"]), "idle counts from when it is passed on: {json:?}");
    let held = answered(&[(7, UNTYPED), (1, "{\"choices\": [")], None).await;
    assert!(is_cut(&held, (17, 137), &["choices"]), "it may be JSON: {held:?}");
    let text = answered(&[(7, UNTYPED), (1, "Hello, I am"), (2, " a model")], None).await;
    assert!(is_cut(&text, (8, 130), &["Hello"]), "it is none: {text:?}");
    // DeepSeek keeps the connection of a queued call alive with empty lines, for minutes.
    let blanks = &[(7, JSON), (1, "\n"), (50, "\n"), (50, "\n"), (2, "{\"choices\": [")];
    let blanks = answered(blanks, None).await;
    assert!(is_cut(&blanks, (113, 233), &["choices"]), "white space is no answer to pass on: {blanks:?}");
    const CHUNKED_JSON: &str =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let script = &[
        (7, CHUNKED_JSON),
        (1, "1\r\n\n\r\n"),
        (50, "11\r\n{\"error\": {\"code\"\r\n"),
        (1, "7\r\n: 502}}\r\n0\r\n\r\n"),
    ];
    let late = answered(script, None).await;
    assert_eq!(
        late,
        Ended::Failed(59, TransportFailure::ErrorAnswer(ErrorClass::ServerError)),
        "an error in two parts"
    );
    let only = answered(&[(7, JSON), (1, "\n"), (50, "\n"), (2, CLOSE)], None).await;
    assert_eq!(only, Ended::Failed(60, TransportFailure::EmptyAnswer), "nor is it one at its end");
    let stalled = answered(&[(7, JSON), (1, "\n"), (50, "\n")], None).await;
    assert_eq!(stalled, Ended::Failed(178, TransportFailure::Stalled));
    for script in [&[(7, ERROR), (1, "{\"error\": {\"mess")][..], &[(7, ERROR), (1, " ")], &[(7, ERROR)]] {
        assert_eq!(answered(script, Some(300)).await, Ended::Whole(10), "{script:?}: 3 s from its head");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_a_good_status_in_chunks_is_known_before_it_is_passed_on() {
    use ErrorClass::{BrokenAnswer, RateLimited, ServerError};
    use TransportFailure::{ErrorAnswer, ErrorEvent};
    const PAGE: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ntransfer-encoding: chunked\r\n\r\n5\r\n<html\r\n";
    const UNTYPED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    const TYPED: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    const ERROR: &str = "28\r\n{\"error\": {\"message\": \"x\", \"code\": 429}}\r\n";
    const TEXT: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n";
    const COMMENT_CHUNK: &str = "5\r\n: a\n\n\r\n";
    const EVENT: &str = "30\r\ndata: {\"error\": {\"message\": \"x\", \"code\": 429}}\n\n\r\n";
    const END: &str = "0\r\n\r\n";
    let chat = (Protocol::OpenAiChat, false);
    let gemini = |grows| (Protocol::Gemini, grows);
    let generic = (Protocol::Generic, false);
    for (what, asked, script, expected) in [
        ("a page", chat, &[(7, PAGE)][..], ErrorAnswer(BrokenAnswer)),
        ("without a type", chat, &[(6, UNTYPED), (1, ERROR), (0, END)], ErrorAnswer(RateLimited)),
        ("a stream that is called a text", chat, &[(6, TEXT), (0, COMMENT_CHUNK), (1, EVENT)], ErrorEvent(RateLimited)),
        ("a stream that is called JSON", chat, &[(6, TYPED), (0, COMMENT_CHUNK), (1, EVENT)], ErrorEvent(RateLimited)),
        ("Gemini, whole", gemini(false), &[(6, TYPED), (1, ERROR), (0, END)], ErrorAnswer(RateLimited)),
        ("Gemini, an array", gemini(true), &[(6, TYPED), (0, "1\r\n[\r\n"), (1, ERROR)], ErrorEvent(RateLimited)),
        ("lines", generic, &[(6, LINES), (0, LINE_BEGINS), (1, LINE_FAILS)], ErrorEvent(ServerError)),
    ] {
        assert_eq!(answered_as(asked, script, Some(30)).await, Ended::Failed(7, expected), "{what}");
    }
    let healthy = answered(&[(7, JSON), (1, HELLO), (1, HELLO), (1, DONE)], Some(30)).await;
    assert_eq!(healthy, Ended::Whole(11), "a stream that is called JSON is passed on, and over after its last event");
    let page = answered_as(generic, &[(7, PAGE), (1, END)], Some(30)).await;
    assert_eq!(page, Ended::Whole(8), "whatever was asked for");
}

const LINES: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\n\r\n";
const LINE_BEGINS: &str = "{\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":false}\n";
const LINE_FAILS: &str = "{\"error\":\"an error was encountered\"}\n";
const LINE_SAYS: &str = "{\"message\":{\"content\":\"Hello\"},\"done\":false}\n{\"mess";
const LINE_ENDS: &str = "{\"message\":{\"content\":\"\"},\"done\":true}\n";

#[tokio::test(start_paused = true)]
async fn lines_that_end_without_their_last_one_are_broken_and_say_so() {
    let asked = (Protocol::Generic, false);
    let cut = answered_as(asked, &[(6, LINES), (1, LINE_SAYS), (2, CLOSE)], Some(30)).await;
    assert!(is_cut(&cut, (7, 9), &["Hello\"},\"done\":false}\n{\"error\":\"The answer is not whole"]), "{cut:?}");
    let whole = answered_as(asked, &[(6, LINES), (1, LINE_BEGINS), (2, LINE_ENDS), (0, CLOSE)], Some(30)).await;
    assert_eq!(whole, Ended::Whole(9));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_over_has_ended_well_however_its_connection_ends_or_does_not() {
    const HELLO_CHUNK: &str = "33\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"Hello\"}}]}\n\n\r\n";
    const DONE_CHUNK: &str = "e\r\ndata: [DONE]\n\n\r\n";
    assert_eq!((HELLO.len(), DONE.len()), (0x33, 0xe));
    let open = answered(&[(7, STREAM), (1, HELLO), (1, DONE)], Some(30)).await;
    assert_eq!(open, Ended::Whole(10), "a second after its last event");
    let closed = answered(&[(7, CHUNKED_EVENTS), (1, HELLO_CHUNK), (1, DONE_CHUNK), (0, CLOSE)], Some(30)).await;
    assert_eq!(closed, Ended::Whole(9), "without the last chunk");
    let cut = answered(&[(7, CHUNKED_EVENTS), (1, HELLO_CHUNK), (1, CLOSE)], Some(30)).await;
    assert!(is_cut(&cut, (8, 9), &["Hello", "stream_broken"]), "{cut:?}");
    let lines = answered_as((Protocol::Generic, false), &[(7, LINES), (1, LINE_ENDS)], Some(30)).await;
    assert_eq!(lines, Ended::Whole(9));
}
