//! An upstream that follows a script, byte by byte: answers, stalls, truncates.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};

use super::soon;

/// One thing that an upstream does with a call.
#[derive(Clone)]
pub(crate) enum Move {
    /// Writes this.
    Send(Vec<u8>),
    /// Waits for the signal to go on.
    Await(Arc<Notify>),
    /// Waits until the other side sends anything more.
    Hear,
    /// Reads another whole call on the same connection.
    NextCall,
    /// Does nothing until the other side goes away.
    Hold,
}

/// All that it does with a call; then it closes the connection.
pub(crate) type Act = Vec<Move>;

/// A whole answer.
pub(crate) fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Act {
    let mut head = format!("HTTP/1.1 {status} Any\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
        head += "Content-Type: application/json\r\n";
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    vec![Move::Send(format!("{head}\r\n{body}").into_bytes())]
}

/// A whole answer after which the connection is kept.
pub(crate) fn kept_answer(body: &str) -> Move {
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}");
    Move::Send(head.into_bytes())
}

/// A whole answer after which the connection is kept; when the other side sends anything more, it is closed.
pub(crate) fn answer_and_hang_up_later(body: &str) -> Act {
    vec![kept_answer(body), Move::Hear]
}

/// The beginning of a stream of events.
pub(crate) fn stream() -> Move {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    Move::Send(head.into())
}

/// A part of a chunked body.
pub(crate) fn chunk(text: &str) -> Move {
    Move::Send(format!("{:x}\r\n{text}\r\n", text.len()).into_bytes())
}

/// Its good end.
pub(crate) fn last_chunk() -> Move {
    Move::Send(b"0\r\n\r\n".to_vec())
}

/// A call as it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Call {
    /// The first line and the headers, in small letters.
    pub(crate) head: String,
    pub(crate) body: String,
}

/// What is done with a call.
type Always = Arc<dyn Fn(&Call) -> Act + Send + Sync>;

struct Script {
    next: Mutex<VecDeque<Act>>,
    always: Mutex<Always>,
    calls: watch::Sender<Vec<Call>>,
    /// Calls whose other side went away while they were held, or while they were answered.
    gone: watch::Sender<usize>,
}

pub(crate) struct Scripted {
    addr: SocketAddr,
    script: Arc<Script>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Scripted {
    /// Does this with every call.
    pub(crate) async fn start(always: Act) -> Self {
        Self::answering(move |_| always.clone()).await
    }

    /// Looks at a call, and does what that calls for.
    pub(crate) async fn answering(always: impl Fn(&Call) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let script = Arc::new(Script {
            next: Mutex::default(),
            always: Mutex::new(Arc::new(always)),
            calls: watch::Sender::default(),
            gone: watch::Sender::default(),
        });
        let acting = Arc::clone(&script);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(act(stream, Arc::clone(&acting)));
            }
        });
        Self { addr, script, accepting }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1/", self.addr)
    }

    /// Does this once, before what it always does.
    pub(crate) fn once(&self, act: Act) {
        self.script.next.lock().unwrap().push_back(act);
    }

    /// Does this with every call from now on.
    pub(crate) fn always(&self, act: Act) {
        *self.script.always.lock().unwrap() = Arc::new(move |_| act.clone());
    }

    pub(crate) fn calls(&self) -> usize {
        self.script.calls.borrow().len()
    }

    pub(crate) fn last(&self) -> Call {
        self.script.calls.borrow().last().cloned().unwrap_or_default()
    }

    /// Waits until it has had this many calls.
    pub(crate) async fn called(&self, times: usize) {
        let mut calls = self.script.calls.subscribe();
        soon("a call", calls.wait_for(|calls| calls.len() >= times)).await.unwrap();
    }

    /// Waits until this many calls, held or half answered, were closed by the other side.
    pub(crate) async fn gone(&self, times: usize) {
        let mut gone = self.script.gone.subscribe();
        soon("the end of a call", gone.wait_for(|gone| *gone >= times)).await.unwrap();
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn act(mut stream: TcpStream, script: Arc<Script>) -> Option<()> {
    let call = read(&mut stream).await?;
    let next = script.next.lock().unwrap().pop_front();
    let act = next.unwrap_or_else(|| (script.always.lock().unwrap().clone())(&call));
    script.calls.send_modify(|calls| calls.push(call));
    for step in act {
        match step {
            Move::Send(bytes) => {
                if stream.write_all(&bytes).await.is_err() {
                    script.gone.send_modify(|gone| *gone += 1);
                    return None;
                }
            }
            Move::Await(go) => go.notified().await,
            Move::NextCall => {
                let call = read(&mut stream).await?;
                script.calls.send_modify(|calls| calls.push(call));
            }
            Move::Hear => drop(stream.read(&mut [0; 1024]).await),
            Move::Hold => {
                while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
                script.gone.send_modify(|gone| *gone += 1);
            }
        }
    }
    stream.shutdown().await.ok()
}

async fn read(stream: &mut TcpStream) -> Option<Call> {
    let mut bytes = Vec::new();
    let body = loop {
        if let Some(head) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break head + 4;
        }
        more(stream, &mut bytes).await?;
    };
    let head = String::from_utf8_lossy(&bytes[..body]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    while bytes.len() < body + length.unwrap_or(0) {
        more(stream, &mut bytes).await?;
    }
    Some(Call { head, body: String::from_utf8_lossy(&bytes[body..]).into_owned() })
}

async fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    stream.read_buf(bytes).await.ok().filter(|read| *read > 0).map(drop)
}
