//! `BROKER_CALLS`: every call as one JSON line in a file, rotated by size.
//!
//! A thread of its own writes from a queue: no call waits for a disk. Calls that do not fit into the queue or cannot be written
//! are dropped and counted; that is logged once, and again when writing succeeds. The file and its older files (`PATH.1`
//! to `PATH.3`) are readable by their owner only, and together never larger than the setting.
//!
//! Other programs, such as logrotate, may move, remove or empty the file at any time: before each batch of lines the writer
//! compares what is at the path with what it has open.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use rustix::fs::OFlags;
use tokio::sync::mpsc::Receiver;

use super::content::CallContent;
use super::{CallSink, FinishedCall, KeptCall};
use crate::system::queue::{Bounds, Queued, WorkQueue};

/// The file and its older files.
const MAX_FILES: u64 = 4;
/// The default limit of all files together, in bytes.
pub const DEFAULT_BYTES: u64 = 256 << 20;
/// Limits of the queue. The JSON of a call is shared with the memory of recent calls, so its bytes are not counted.
const BOUNDS: Bounds = Bounds { items: 4_096, bytes: 0 };
/// Calls that are written at once.
const MAX_BATCH_CALLS: usize = 256;
/// Delay after an error before the file is tried again.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// The settings of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallFileSettings {
    pub path: PathBuf,
    /// The most bytes of all files together.
    pub bytes: u64,
}

/// Counts of lines: written, and lost.
#[derive(Debug, Default)]
pub struct Counts {
    written: AtomicU64,
    lost: AtomicU64,
}

impl Counts {
    pub fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }
}

/// The queue to the thread that writes.
#[derive(Debug)]
pub struct CallsFile {
    queue: WorkQueue<KeptCall>,
    counts: Arc<Counts>,
}

impl CallsFile {
    /// Starts the thread. A file that cannot be opened is treated like any later error: it is logged, and tried again.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(settings: CallFileSettings) -> io::Result<Self> {
        let counts = Arc::new(Counts::default());
        let mut writer = Writer { file: None, fault: None, counts: Arc::clone(&counts), settings };
        let queue = WorkQueue::start("calls", BOUNDS, move |calls| writer.run(calls))?;
        Ok(Self { queue, counts })
    }

    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}

impl CallSink for CallsFile {
    fn finished(&self, call: &FinishedCall, _content: Option<&Arc<CallContent>>) {
        if self.queue.push(call.kept.clone(), 0).is_err() {
            self.counts.lost.fetch_add(1, Relaxed);
        }
    }

    /// Closes the queue, and waits until its calls are written, for 2 s at most.
    fn close(&self) {
        if !self.queue.close() {
            tracing::warn!("stopped before every call was written to the file of BROKER_CALLS");
        }
    }
}

/// The state of the thread.
struct Writer {
    settings: CallFileSettings,
    /// The file and its length.
    file: Option<(File, u64)>,
    /// The count of lost lines when the current error began.
    fault: Option<u64>,
    counts: Arc<Counts>,
}

impl Writer {
    fn run(&mut self, mut calls: Receiver<Queued<KeptCall>>) {
        self.try_or_say(|_| Ok(()));
        let mut batch = Vec::with_capacity(MAX_BATCH_CALLS);
        while calls.blocking_recv_many(&mut batch, MAX_BATCH_CALLS) > 0 {
            let before = self.counts.written();
            let done = self.try_or_say(|writer| batch.iter().try_for_each(|call| writer.write(call)));
            let written = self.counts.written() - before;
            self.counts.lost.fetch_add(batch.len() as u64 - written, Relaxed);
            batch.clear();
            if !done {
                // Meanwhile the queue fills, and then new calls are dropped.
                thread::sleep(RETRY_DELAY);
            }
        }
    }

    /// Runs `write` with the file that is at the path. An error is logged when it begins and when it ends.
    fn try_or_say(&mut self, act: impl FnOnce(&mut Self) -> io::Result<()>) -> bool {
        let before = self.counts.written();
        let done = self.follow_path().and_then(|()| act(self));
        let wrote = self.counts.written() > before;
        match (done, self.fault) {
            (Ok(()), Some(lost)) if wrote => {
                let lost = self.counts.lost() - lost;
                tracing::info!(path = %self.settings.path.display(), lost, "calls are written to the file again");
                self.fault = None;
            }
            (Ok(()), _) => {}
            (Err(error), fault) => {
                self.file = None;
                if fault.is_none() {
                    self.fault = Some(self.counts.lost());
                    let path = self.settings.path.display();
                    tracing::warn!(%path, %error, "calls cannot be written to the file of BROKER_CALLS: they are lost until they can");
                }
                return false;
            }
        }
        true
    }

    fn write(&mut self, call: &KeptCall) -> io::Result<()> {
        let line = [call.json(), b"\n"].concat();
        let length = line.len() as u64;
        if self.file.as_ref().is_some_and(|(_, size)| *size > 0 && size + length > self.file_bytes()) {
            self.rotate()?;
        }
        self.open()?;
        let Some((file, size)) = &mut self.file else { return Err(io::Error::other("the file is closed")) };
        append(file, &line)?;
        *size += length;
        self.counts.written.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Opens the file that is at the path now, and reads its length, which another program may have changed.
    fn follow_path(&mut self) -> io::Result<()> {
        let Some((file, size)) = &mut self.file else { return self.open() };
        let own = file.metadata()?;
        let is_own = |found: fs::Metadata| (found.dev(), found.ino()) == (own.dev(), own.ino());
        match fs::symlink_metadata(&self.settings.path).map(is_own) {
            Ok(true) => {
                *size = own.len();
                return Ok(());
            }
            Ok(false) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        self.file = None;
        self.open()?;
        let path = self.settings.path.display();
        tracing::info!(%path, "the file of BROKER_CALLS was moved or removed: calls go on in a new one");
        Ok(())
    }

    const fn file_bytes(&self) -> u64 {
        self.settings.bytes / MAX_FILES
    }

    fn open(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            self.file = Some(open(&self.settings.path)?);
        }
        Ok(())
    }

    /// Renames the file to the first older generation, and removes the oldest and those beyond the limit.
    fn rotate(&mut self) -> io::Result<()> {
        self.file = None;
        let path = &self.settings.path;
        for number in (1..MAX_FILES - 1).rev() {
            rename(&older(path, number), &older(path, number + 1))?;
        }
        rename(path, &older(path, 1))?;
        let mut left = self.settings.bytes - self.file_bytes();
        for number in 1..MAX_FILES {
            let older = older(path, number);
            let Ok(found) = fs::symlink_metadata(&older) else { continue };
            match left.checked_sub(found.len()) {
                Some(less) => left = less,
                None => fs::remove_file(&older)?,
            }
        }
        Ok(())
    }
}

/// The files of a path that exist, the oldest first.
pub fn files(path: &Path) -> Vec<PathBuf> {
    let all = (1..MAX_FILES).rev().map(|number| older(path, number)).chain([path.to_owned()]);
    all.filter(|path| path.exists()).collect()
}

/// The older file of this number.
fn older(path: &Path, number: u64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        renamed => renamed,
    }
}

/// The error for a path that is a symbolic link: who may write to its folder could choose which file is written to and gets the
/// mode 0600.
pub const SYMBOLIC_LINK: &str = "is a symbolic link, which is not followed: name the file itself";

/// Whether there is a symbolic link at the path.
pub fn is_symbolic_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink())
}

/// Appends a line. One that was not written completely is removed again.
fn append(file: &mut File, line: &[u8]) -> io::Result<()> {
    let mut left = line;
    loop {
        let error = match file.write(left) {
            Ok(0) => io::ErrorKind::WriteZero.into(),
            Ok(written) => {
                left = left.get(written..).unwrap_or_default();
                if left.is_empty() {
                    return Ok(());
                }
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => error,
        };
        let added = (line.len() - left.len()) as u64;
        if added > 0 {
            // To the length that the file has now: another program may have emptied it. `open` ends an incomplete line.
            drop(file.metadata().and_then(|found| file.set_len(found.len().saturating_sub(added))));
        }
        return Err(error);
    }
}

/// Opens the file for appending, and returns its length. An incomplete last line, which a crash left, is ended.
fn open(path: &Path) -> io::Result<(File, u64)> {
    // Opening a pipe would wait for a reader.
    let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed();
    let opened = OpenOptions::new().read(true).append(true).create(true).mode(0o600).custom_flags(flags).open(path);
    let mut file = opened.map_err(|error| match is_symbolic_link(path) {
        true => io::Error::new(io::ErrorKind::InvalidInput, format!("it {SYMBOLIC_LINK}")),
        false => error,
    })?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    if found.permissions().mode() & 0o777 != 0o600 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    let mut size = found.len();
    if size > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
            size += 1;
        }
    }
    Ok((file, size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::CallRecord;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("broker-calls-{name}-{}", std::process::id()));
            drop(fs::remove_dir_all(&folder));
            fs::create_dir(&folder).unwrap();
            Self(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    fn call(number: u32) -> FinishedCall {
        let record = CallRecord { id: format!("{number:06}"), ..CallRecord::default() };
        FinishedCall { kept: KeptCall::from_record(&record), record: Arc::new(record) }
    }

    fn ids(path: &Path) -> Vec<String> {
        let lines = |path: PathBuf| fs::read_to_string(path).unwrap();
        let text: String = files(path).into_iter().map(lines).collect();
        let read = |line: &str| serde_json::from_str::<CallRecord>(line).ok().map(|record| record.id);
        text.lines().filter_map(read).collect()
    }

    #[test]
    fn files_are_rotated_bounded_in_all_and_their_owners_only() {
        let folder = Folder::new("rotated");
        let path = folder.0.join("calls.jsonl");
        let line = call(0).kept.json().len() as u64 + 1;
        let file = CallsFile::start(CallFileSettings { path: path.clone(), bytes: 4 * 10 * line }).unwrap();
        (0..95).for_each(|number| file.finished(&call(number), None));
        file.close();
        assert_eq!((file.counts.written(), file.counts.lost()), (95, 0));
        let expected: Vec<_> = (60..95).map(|number| format!("{number:06}")).collect();
        assert_eq!(ids(&path), expected, "three whole files and the beginning of a fourth");
        for path in files(&path) {
            let found = fs::metadata(&path).unwrap();
            assert!(found.len() <= 10 * line && found.permissions().mode() & 0o777 == 0o600, "{path:?}");
        }
        file.finished(&call(99), None);
        assert_eq!(file.counts.lost(), 1, "what comes after the end is lost and counted");
    }

    #[test]
    fn half_a_line_is_no_part_of_the_next_one_and_others_may_not_read() {
        let folder = Folder::new("half");
        let path = folder.0.join("calls.jsonl");
        fs::write(&path, b"{\"v\":1,\"id\":\"hal").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let file = CallsFile::start(CallFileSettings { path: path.clone(), bytes: DEFAULT_BYTES }).unwrap();
        file.finished(&call(1), None);
        file.close();
        assert_eq!(ids(&path), ["000001"]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    /// Waits until this many lines are written or lost.
    fn wait(file: &CallsFile, lines: u64) {
        while file.counts.written() + file.counts.lost() < lines {
            thread::yield_now();
        }
    }

    #[test]
    fn a_file_that_was_moved_or_removed_is_made_anew() {
        let folder = Folder::new("moved");
        let (path, moved) = (folder.0.join("calls.jsonl"), folder.0.join("moved"));
        let file = CallsFile::start(CallFileSettings { path: path.clone(), bytes: DEFAULT_BYTES }).unwrap();
        file.finished(&call(1), None);
        wait(&file, 1);
        fs::rename(&path, &moved).unwrap();
        file.finished(&call(2), None);
        wait(&file, 2);
        assert_eq!((ids(&moved), ids(&path)), (vec!["000001".to_owned()], vec!["000002".to_owned()]));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::remove_file(&path).unwrap();
        file.finished(&call(3), None);
        wait(&file, 3);
        assert_eq!(ids(&path), ["000003"]);
        // Another one is there already, which others may read.
        fs::remove_file(&path).unwrap();
        fs::write(&path, call(4).kept.json()).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        file.finished(&call(5), None);
        wait(&file, 4);
        assert_eq!(ids(&path), ["000004", "000005"]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        // A symbolic link to the very file that is open.
        fs::rename(&path, &moved).unwrap();
        std::os::unix::fs::symlink(&moved, &path).unwrap();
        file.finished(&call(6), None);
        file.close();
        assert_eq!((file.counts.written(), file.counts.lost()), (4, 1));
        assert_eq!(ids(&moved), ["000004", "000005"]);
    }

    #[test]
    fn the_size_is_that_of_the_file_which_another_program_emptied_or_put_there() {
        let folder = Folder::new("emptied");
        let path = folder.0.join("calls.jsonl");
        let line = call(0).kept.json().len() as u64 + 1;
        let file = CallsFile::start(CallFileSettings { path: path.clone(), bytes: 4 * 10 * line }).unwrap();
        let mut number = 0;
        let mut write = |lines: u32| {
            (0..lines).for_each(|_| {
                number += 1;
                file.finished(&call(number), None);
            });
            wait(&file, u64::from(number));
        };
        let lines = |path: &Path| fs::read(path).map_or(0, |text| text.len() as u64 / line);
        write(8);
        File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
        write(10);
        assert_eq!((lines(&path), lines(&older(&path, 1))), (10, 0), "ten lines since it was emptied are not too many");
        write(1);
        assert_eq!((lines(&path), lines(&older(&path, 1))), (1, 10));
        fs::copy(older(&path, 1), folder.0.join("full")).unwrap();
        fs::rename(folder.0.join("full"), &path).unwrap();
        write(1);
        assert_eq!((lines(&path), lines(&older(&path, 1)), lines(&older(&path, 2))), (1, 10, 10));
        file.close();
        assert_eq!((file.counts.written(), file.counts.lost()), (20, 0));
    }

    #[test]
    fn a_smaller_setting_holds_with_what_an_earlier_one_left() {
        let folder = Folder::new("smaller");
        let path = folder.0.join("calls.jsonl");
        fs::write(older(&path, 1), vec![b'\n'; 100_000]).unwrap();
        let line = call(0).kept.json().len() as u64 + 1;
        let file = CallsFile::start(CallFileSettings { path: path.clone(), bytes: 4 * line }).unwrap();
        (0..3).for_each(|number| file.finished(&call(number), None));
        file.close();
        assert_eq!(ids(&path), ["000000", "000001", "000002"]);
        let size: u64 = files(&path).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
        assert!(size <= 4 * line, "{size}");
    }

    #[test]
    fn a_symbolic_link_is_not_followed_not_even_one_that_comes_later() {
        let folder = Folder::new("link");
        let (path, behind) = (folder.0.join("calls.jsonl"), folder.0.join("behind"));
        fs::write(&behind, b"of others\n").unwrap();
        fs::set_permissions(&behind, Permissions::from_mode(0o644)).unwrap();
        std::os::unix::fs::symlink(&behind, &path).unwrap();
        let error = open(&path).unwrap_err().to_string();
        assert_eq!(error, format!("it {SYMBOLIC_LINK}"));
        let file = CallsFile::start(CallFileSettings { path: path.clone(), bytes: DEFAULT_BYTES }).unwrap();
        file.finished(&call(1), None);
        file.close();
        assert_eq!((file.counts.written(), file.counts.lost()), (0, 1));
        assert_eq!(fs::read(&behind).unwrap(), b"of others\n");
        assert_eq!(fs::metadata(&behind).unwrap().permissions().mode() & 0o777, 0o644);
    }

    #[test]
    fn what_is_no_regular_file_is_a_fault_and_the_file_is_used_once_it_can_be() {
        let folder = Folder::new("pipe");
        let path = folder.0.join("calls.jsonl");
        fs::create_dir(&path).unwrap();
        let file = CallsFile::start(CallFileSettings { path: path.clone(), bytes: DEFAULT_BYTES }).unwrap();
        file.finished(&call(1), None);
        while file.counts.lost() == 0 {
            thread::yield_now();
        }
        fs::remove_dir(&path).unwrap();
        file.finished(&call(2), None);
        file.close();
        assert_eq!(ids(&path), ["000002"]);
        assert_eq!((file.counts.written(), file.counts.lost()), (1, 1));
    }
}
