//! Fake vendors of models on loopback: OpenAI, Azure, Anthropic, Gemini, Vertex AI, Bedrock and Ollama, each in its own protocol.
//!
//! They refuse what the vendors refuse and say so in the vendors' form, check keys and signatures, and answer whole and streamed,
//! with texts, parallel tool calls, schemas and usage. The sources are the vendors' documents and the types of their SDKs; what
//! they take was not compared with the vendors themselves. No model is behind them: `reply` says what they say.

mod anthropic;
mod bedrock;
mod converse;
mod embeddings;
mod frames;
mod google;
mod openai;
mod reply;
mod sigv4;

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use serde_json::Value;

use crate::serve::{CloseConnection, HalfClosed, HandlerResult, Server, lock, response};
use crate::upstream::collect;

/// The id of the AWS key whose secret is the vendor's key.
pub const AWS_KEY_ID: &str = "AKIDFAKE";
/// The tokens that every answer counts.
pub const INPUT_TOKENS: u32 = 12;
/// The tokens that every answer counts.
pub const OUTPUT_TOKENS: u32 = 5;

/// Who is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// OpenAI.
    OpenAi,
    /// Azure OpenAI, in both of its forms.
    Azure,
    /// Anthropic's API.
    Anthropic,
    /// The Gemini API's OpenAI-shaped endpoint.
    Gemini,
    /// Vertex AI: its OpenAI-shaped endpoint, Claude by `rawPredict`, and Google's endpoint for tokens.
    Vertex,
    /// Bedrock: InvokeModel, Converse and the OpenAI-shaped endpoint.
    Bedrock,
    /// Ollama's OpenAI-shaped endpoint.
    Ollama,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 7] =
        [Kind::OpenAi, Kind::Azure, Kind::Anthropic, Kind::Gemini, Kind::Vertex, Kind::Bedrock, Kind::Ollama];

    /// What it calls itself in its texts.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::OpenAi => "openai",
            Kind::Azure => "azure",
            Kind::Anthropic => "anthropic",
            Kind::Gemini => "gemini",
            Kind::Vertex => "vertex",
            Kind::Bedrock => "bedrock",
            Kind::Ollama => "ollama",
        }
    }

    /// The path of its address.
    const fn base(self) -> &'static str {
        match self {
            Kind::OpenAi | Kind::Anthropic | Kind::Vertex | Kind::Ollama => "/v1",
            Kind::Gemini => "/v1beta/openai",
            Kind::Azure | Kind::Bedrock => "",
        }
    }
}

/// What a vendor does wrong. Numbers count the pieces of an answer from 0: events or frames of a stream; a whole answer is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It answers with this status, in its own form of errors.
    Status(u16),
    /// Only this many pieces come.
    CutAfter(usize),
    /// The piece breaks off in its middle, and nothing follows.
    CutWithin(usize),
    /// The piece is left out.
    Without(usize),
    /// The checksum of this frame is wrong.
    WrongChecksum(usize),
    /// The frame says that it is longer than 16 MB.
    LongFrame(usize),
    /// In the place of this frame comes an exception of this type, and nothing follows.
    Exception(usize, &'static str),
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Call {
    /// Such as `POST`.
    pub method: String,
    /// Path and query as they were sent.
    pub target: String,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Bytes,
    /// The status of the answer.
    pub status: u16,
}

impl Call {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The body; null if it is no JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    fn bearer(&self) -> Option<&str> {
        self.header("authorization")?.strip_prefix("Bearer ")
    }
}

/// An answer before it is sent.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    pieces: Vec<Vec<u8>>,
}

impl Answer {
    fn json(status: u16, body: &Value) -> Answer {
        Answer { status, headers: Vec::new(), pieces: vec![body.to_string().into_bytes()] }
    }

    fn stream(kind: &str, pieces: Vec<Vec<u8>>) -> Answer {
        Answer { status: 200, headers: vec![("content-type", kind.to_owned())], pieces }
    }

    fn events(pieces: Vec<Vec<u8>>) -> Answer {
        Answer::stream("text/event-stream", pieces)
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Answer {
        self.headers.push((name, value.into()));
        self
    }
}

/// Why a request is refused; each vendor has its own form for it.
#[derive(Debug)]
struct Refusal {
    status: u16,
    message: String,
}

fn refuse<T>(status: u16, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { status, message: message.into() })
}

/// What a vendor knows.
#[derive(Debug)]
struct State {
    kind: Kind,
    key: String,
    calls: Mutex<Vec<Call>>,
    next: Mutex<VecDeque<Fault>>,
    always: Mutex<Option<Fault>>,
    google: google::Tokens,
}

/// A running vendor; it stops when dropped.
#[derive(Debug)]
pub struct Vendor {
    server: Server,
    state: Arc<State>,
}

impl Vendor {
    /// Starts at any free port. `key` is the only key that it takes; Ollama takes none as well. Vertex takes the tokens that it
    /// hands out.
    ///
    /// # Errors
    /// No port can be bound.
    pub async fn start(kind: Kind, key: &str) -> std::io::Result<Vendor> {
        let state = Arc::new(State {
            kind,
            key: key.to_owned(),
            calls: Mutex::default(),
            next: Mutex::default(),
            always: Mutex::default(),
            google: google::Tokens::default(),
        });
        let served = Arc::clone(&state);
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = Server::start(addr, HalfClosed::Dropped, move |request| {
            let state = Arc::clone(&served);
            async move { serve(&state, request).await }
        })
        .await?;
        Ok(Vendor { server, state })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// What a client sets as its address: for Azure and Bedrock the host, for others the address before `chat/completions` or
    /// `messages`.
    pub fn url(&self) -> String {
        format!("http://{}{}", self.addr(), self.state.kind.base())
    }

    /// Where Google's tokens are to be had (`token_uri` of a service account).
    pub fn token_url(&self) -> String {
        format!("http://{}/token", self.addr())
    }

    /// Whether the token endpoint answers 503 from now on.
    pub fn refuse_tokens(&self, is_unavailable: bool) {
        self.state.google.set_unavailable(is_unavailable);
    }

    /// Does this wrong once; calls of this come one after the other.
    pub fn once(&self, fault: Fault) {
        lock(&self.state.next).push_back(fault);
    }

    /// Does this wrong with every call, or nothing any more.
    pub fn always(&self, fault: Option<Fault>) {
        *lock(&self.state.always) = fault;
    }

    /// The calls so far, those for tokens apart.
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.state.calls).clone()
    }

    /// Forgets the calls so far.
    pub fn forget(&self) {
        lock(&self.state.calls).clear();
    }

    /// How many tokens were handed out.
    pub fn tokens(&self) -> usize {
        self.state.google.count()
    }
}

async fn serve(state: &State, request: Request<Incoming>) -> HandlerResult {
    let (head, body) = request.into_parts();
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut call = Call {
        method: head.method.to_string(),
        target: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        headers: head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        body: collect(body).await.map_err(|_| CloseConnection)?,
        status: 0,
    };
    if state.kind == Kind::Vertex && call.path() == "/token" {
        return send(state.google.hand_out(&call));
    }
    let answer = answer(state, &call);
    call.status = answer.status;
    lock(&state.calls).push(call);
    send(answer)
}

fn answer(state: &State, call: &Call) -> Answer {
    let fault = lock(&state.next).pop_front().or(*lock(&state.always));
    let respond = match state.kind {
        Kind::Anthropic => anthropic::respond,
        Kind::Bedrock => bedrock::respond,
        Kind::OpenAi | Kind::Azure | Kind::Gemini | Kind::Vertex | Kind::Ollama => openai::respond,
    };
    let refused = |refusal: &Refusal| match state.kind {
        Kind::Anthropic => anthropic::error(refusal),
        Kind::Bedrock => bedrock::error(refusal),
        Kind::Gemini | Kind::Vertex => google::error(refusal),
        Kind::OpenAi | Kind::Azure | Kind::Ollama => openai::error(refusal),
    };
    if let Some(Fault::Status(status)) = fault {
        return refused(&Refusal { status, message: "This is what the script says.".to_owned() });
    }
    let mut answer = match respond(state, call) {
        Ok(answer) => answer,
        Err(refusal) => return refused(&refusal),
    };
    break_pieces(&mut answer.pieces, fault);
    answer
}

/// Does to an answer what a fault says.
fn break_pieces(pieces: &mut Vec<Vec<u8>>, fault: Option<Fault>) {
    match fault {
        None | Some(Fault::Status(_)) => {}
        Some(Fault::CutAfter(kept)) => pieces.truncate(kept),
        Some(Fault::CutWithin(number)) => {
            pieces.truncate(number + 1);
            if let Some(last) = pieces.get_mut(number) {
                last.truncate(last.len() / 2);
            }
        }
        Some(Fault::Without(number)) if number < pieces.len() => drop(pieces.remove(number)),
        Some(Fault::Without(_)) => {}
        Some(Fault::WrongChecksum(number)) => {
            if let Some(byte) = pieces.get_mut(number).and_then(|piece| piece.last_mut()) {
                *byte ^= 1;
            }
        }
        Some(Fault::LongFrame(number)) => {
            if let Some(piece) = pieces.get_mut(number) {
                *piece = frames::prelude(17 << 20, 0);
            }
        }
        Some(Fault::Exception(number, kind)) => {
            pieces.truncate(number);
            pieces.push(frames::exception(kind, "This is what the script says."));
        }
    }
}

fn send(answer: Answer) -> HandlerResult {
    response(answer.status, &answer.headers, answer.pieces.concat())
}

/// Whether names of tools and ids of calls have the letters that Anthropic and Bedrock take.
fn is_word(text: &str, longest: usize) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !text.is_empty() && text.len() <= longest && text.bytes().all(is_good)
}

/// The list of a field; empty if there is none.
fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The text of a field; empty if there is none.
fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The first field that is none of these.
fn unknown<'a>(value: &'a Value, known: &[&str]) -> Option<&'a str> {
    value.as_object()?.keys().map(String::as_str).find(|name| !known.contains(name))
}

#[cfg(test)]
mod tests;
