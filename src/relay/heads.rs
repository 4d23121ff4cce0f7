//! The lines of a request's head that say its length, as the client sent them.
//!
//! hyper drops a `Content-Length` beside a `Transfer-Encoding`, and all but one of several that agree. A proxy before the relay may
//! have read such a request in the other way (request smuggling), so it is refused, and for that its bytes are looked at here.
//! Only that answer hangs on it: of a request whose head came together with the end of the one before (pipelining) no line is
//! counted, and hyper's reading, which closes the connection, is what remains.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};

use crate::server::StreamObserver;

const NAME: &[u8] = b"content-length";

/// How many lines of a request's head are named `Content-Length`; 255 stands for more too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct LengthLines(pub(super) u8);

/// What is known of the head that is read now. Clones are about the same connection.
#[derive(Debug, Clone, Default)]
pub(super) struct LengthLineCounter(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    lines: AtomicU8,
    /// What is read next belongs to another head.
    restart: AtomicBool,
}

impl LengthLineCounter {
    /// The lines of the head that was read.
    pub(super) fn lines(&self) -> LengthLines {
        LengthLines(self.0.lines.load(Relaxed))
    }

    /// The request is answered: the next head may come.
    pub(super) fn restart(&self) {
        self.0.lines.store(0, Relaxed);
        self.0.restart.store(true, Relaxed);
    }
}

/// Watches the heads on a client's connection.
#[derive(Debug)]
pub(super) struct LengthScan {
    watch: LengthLineCounter,
    scan: Scan,
}

impl LengthScan {
    pub(super) fn new(watch: LengthLineCounter) -> Self {
        Self { watch, scan: Scan::default() }
    }
}

impl StreamObserver for LengthScan {
    fn on_read(&mut self, bytes: &[u8]) {
        let shared = &*self.watch.0;
        if shared.restart.load(Relaxed) {
            shared.restart.store(false, Relaxed);
            self.scan = Scan::default();
        }
        let found = self.scan.feed(bytes);
        if found > 0 {
            shared.lines.store(shared.lines.load(Relaxed).saturating_add(found), Relaxed);
        }
    }
}

/// A walk over the lines of one head, however its bytes are cut into parts.
#[derive(Debug, Default)]
struct Scan {
    /// Bytes of this line so far, without its end.
    column: usize,
    /// They are not the beginning of the name.
    differs: bool,
    /// There was a line before this one.
    begun: bool,
    /// The empty line after the head has come.
    over: bool,
}

impl Scan {
    /// How many lines with the name end their name in these bytes.
    fn feed(&mut self, bytes: &[u8]) -> u8 {
        let mut found = 0_u8;
        for byte in bytes {
            if self.over {
                break;
            }
            match byte {
                b'\r' => {}
                b'\n' => {
                    self.over = self.begun && self.column == 0;
                    self.begun |= self.column > 0;
                    (self.column, self.differs) = (0, false);
                }
                b':' if !self.differs && self.column == NAME.len() => {
                    found = found.saturating_add(1);
                    self.differs = true;
                }
                _ => {
                    self.differs |= NAME.get(self.column) != Some(&byte.to_ascii_lowercase());
                    self.column += 1;
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_however_they_are_cut() {
        for (head, lines) in [
            ("POST / HTTP/1.1\r\nHost: h\r\n\r\n", 0),
            ("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nContent-Length: 6\r\n", 1),
            ("\r\nPOST / HTTP/1.1\ncontent-length:5\nCONTENT-LENGTH : 5\nContent-Length:5\n\nContent-Length:", 2),
            ("POST /Content-Length: HTTP/1.1\r\nX: Content-Length: 1\r\nX-Content-Length: 1\r\n\r\n", 0),
            ("POST / HTTP/1.1\r\nContent-Length-X: 5\r\n Content-Length: 5\r\nContent-Lengt: 5\r\n\r\n", 0),
            ("POST / HTTP/1.1\r\nX:\r\nContent-Length:1:2\r\n\r\n", 1),
        ] {
            for cut in 0..head.len() {
                let (one, two) = head.as_bytes().split_at(cut);
                let mut scan = Scan::default();
                assert_eq!(scan.feed(one) + scan.feed(two), lines, "{head:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn each_request_is_counted_anew() {
        let mut watched = LengthScan::new(LengthLineCounter::default());
        let watch = watched.watch.clone();
        watched.on_read(b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello");
        assert_eq!(watch.lines(), LengthLines(2));
        watched.on_read(b"Content-Length: 5\r\n");
        assert_eq!(watch.lines(), LengthLines(2), "that is the body");
        watch.restart();
        watched.on_read(b"POST / HTTP/1.1\r\nContent-Len");
        watched.on_read(b"gth: 5\r\n\r\n");
        assert_eq!(watch.lines(), LengthLines(1));
    }
}
