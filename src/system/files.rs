//! Files of settings: only regular ones, only up to a size, and only within a time.
//!
//! Reading a pipe, or a file on a network file system whose server is gone, may never end. So each file is read by a thread of
//! its own, which is awaited for at most 5 s. A thread that hangs cannot be ended; at most four of them are left behind.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::fs::OFlags;
use tokio::sync::oneshot;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Timeout of reading one file.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Threads that may hang in reading files; while that many do, no further file is read.
const MAX_HANGING_READS: usize = 4;
/// How often a file that is followed is compared with what it held before.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// Some editors begin each text with it. It is no part of a token, and hides the first line of a PEM file.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

static READING: AtomicUsize = AtomicUsize::new(0);

/// Why a file was not read; the text continues its name.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The system says so.
    #[error("cannot read the file: {0}")]
    System(#[from] io::Error),
    /// A folder, a pipe, a device.
    #[error("cannot read the file: it is {0}, and must be a regular file")]
    NotRegular(&'static str),
    /// Larger than this, in bytes.
    #[error("cannot read the file: it is larger than {}, the most that it may have", size(*.0))]
    TooLarge(u64),
    /// The file system does not answer.
    #[error("cannot read the file: it was not read within {} s; is its file system there?", READ_TIMEOUT.as_secs())]
    TooSlow,
    /// Too many earlier reads still hang.
    #[error("cannot read the file: {MAX_HANGING_READS} reads before it still hang; is the file system there?")]
    Hanging,
}

fn size(bytes: u64) -> String {
    if bytes < 1 << 20 { format!("{} KB", bytes >> 10) } else { format!("{} MB", bytes >> 20) }
}

/// The moments at which a file that is followed is read again.
pub fn polls() -> Interval {
    let mut polls = interval(POLL_INTERVAL);
    polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
    polls
}

/// Reads a file of at most `largest` bytes, without the byte order mark it may begin with. Blocks the thread for 5 s at most.
///
/// # Errors
/// Why it was not read.
pub fn read(path: &Path, largest: u64) -> Result<Vec<u8>, Unreadable> {
    let (sender, receiver) = mpsc::sync_channel(1);
    begin(path, largest, move |read| drop(sender.send(read)))?;
    receiver.recv_timeout(READ_TIMEOUT).unwrap_or(Err(Unreadable::TooSlow))
}

/// The same without blocking other tasks.
///
/// # Errors
/// Why it was not read.
pub async fn read_beside(path: &Path, largest: u64) -> Result<Vec<u8>, Unreadable> {
    let (sender, receiver) = oneshot::channel();
    begin(path, largest, move |read| drop(sender.send(read)))?;
    match tokio::time::timeout(READ_TIMEOUT, receiver).await {
        Ok(Ok(read)) => read,
        Ok(Err(_)) | Err(_) => Err(Unreadable::TooSlow),
    }
}

/// Reads a text file.
///
/// # Errors
/// Why it was not read.
pub fn read_text(path: &Path, largest: u64) -> Result<String, Unreadable> {
    text(read(path, largest)?)
}

/// The same without blocking other tasks.
///
/// # Errors
/// Why it was not read.
pub async fn read_text_beside(path: &Path, largest: u64) -> Result<String, Unreadable> {
    text(read_beside(path, largest).await?)
}

fn text(bytes: Vec<u8>) -> Result<String, Unreadable> {
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text").into())
}

/// Reads on a thread of its own.
fn begin(
    path: &Path,
    largest: u64,
    end: impl FnOnce(Result<Vec<u8>, Unreadable>) + Send + 'static,
) -> Result<(), Unreadable> {
    let place = Reading::begin()?;
    let path = PathBuf::from(path);
    thread::Builder::new().name("file".to_owned()).spawn(move || {
        let read = read_here(&path, largest);
        drop(place);
        end(read);
    })?;
    Ok(())
}

/// One of the threads that read.
struct Reading;

impl Reading {
    fn begin() -> Result<Self, Unreadable> {
        let place = READING.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |reading| {
            (reading < MAX_HANGING_READS).then_some(reading + 1)
        });
        place.map(|_| Self).map_err(|_| Unreadable::Hanging)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        READING.fetch_sub(1, Ordering::Relaxed);
    }
}

fn read_here(path: &Path, largest: u64) -> Result<Vec<u8>, Unreadable> {
    // Opening a pipe would wait for a writer; a regular file is read as usual.
    let file = OpenOptions::new().read(true).custom_flags(flags()).open(path)?;
    if let Some(kind) = other_than_regular(&file)? {
        return Err(Unreadable::NotRegular(kind));
    }
    let mut bytes = Vec::new();
    let length = file.take(largest + 1).read_to_end(&mut bytes)?;
    if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes.drain(..BYTE_ORDER_MARK.len());
    }
    if length as u64 > largest { Err(Unreadable::TooLarge(largest)) } else { Ok(bytes) }
}

const fn flags() -> i32 {
    OFlags::NONBLOCK.union(OFlags::NOCTTY).bits() as i32
}

fn other_than_regular(file: &File) -> io::Result<Option<&'static str>> {
    let kind = file.metadata()?.file_type();
    Ok(match () {
        () if kind.is_file() => None,
        () if kind.is_dir() => Some("a folder"),
        () if kind.is_fifo() => Some("a named pipe"),
        () if kind.is_socket() => Some("a socket"),
        () => Some("a device"),
    })
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    /// A path that no other test uses.
    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("broker-files-{}-{name}", std::process::id()))
    }

    #[test]
    fn a_regular_file_up_to_its_size() {
        let path = path("regular");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert_eq!(
            read(&path, 4).unwrap_err().to_string(),
            "cannot read the file: it is larger than 0 KB, the most that it may have"
        );
        std::fs::write(&path, "\u{feff}é\u{feff}").unwrap();
        assert_eq!(read_text(&path, 8).unwrap(), "é\u{feff}", "without the byte order mark");
        std::fs::remove_file(&path).unwrap();
        assert!(read(&path, 5).unwrap_err().to_string().starts_with("cannot read the file: No such file"));
    }

    #[test]
    fn anything_else_is_an_error_at_once() {
        let pipe = path("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        for (path, kind) in [
            (pipe.as_path(), "a named pipe"),
            (&std::env::temp_dir(), "a folder"),
            (Path::new("/dev/zero"), "a device"),
        ] {
            let said = read(path, 5).unwrap_err().to_string();
            assert_eq!(said, format!("cannot read the file: it is {kind}, and must be a regular file"));
        }
        std::fs::remove_file(&pipe).unwrap();
    }
}
