//! The terminal while something is drawn on it again and again: keys come one by one and are not echoed.
//!
//! However that ends, the terminal is as it was before: on drop, and when something panics, since a release ends there
//! without dropping anything. Signals stay signals (Ctrl-C, Ctrl-Z): the drawing loop waits for them too. It does not touch
//! anything that is no terminal.

use std::fs::File;
use std::io::{IsTerminal, Read as _};
use std::os::fd::AsFd;
use std::panic;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// The terminal that is drawn on, and how it was before: there is one at a time.
static BEFORE: Mutex<Option<(File, Termios)>> = Mutex::new(None);

/// A terminal whose keys come one by one, until this is dropped.
#[derive(Debug)]
pub(super) struct RawMode(());

/// The keys that are pressed there.
#[derive(Debug)]
pub(super) struct Keys(UnboundedReceiver<u8>);

/// Takes hold of the terminal of the standard input. `None` where keys do not come from one.
pub(super) fn enable() -> Option<(RawMode, Keys)> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        return None;
    }
    enable_on(File::from(input.as_fd().try_clone_to_owned().ok()?))
}

fn enable_on(terminal: File) -> Option<(RawMode, Keys)> {
    static HOOK: Once = Once::new();
    let mut reading = terminal.try_clone().ok()?;
    let before = tcgetattr(&terminal).ok()?;
    HOOK.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |about| {
            restore();
            others(about);
        }));
    });
    *before_it() = Some((terminal, before));
    let held = RawMode(());
    held.begin();
    let (sender, keys) = unbounded_channel();
    // A thread of its own that is never joined: a read from a terminal cannot be cancelled.
    let reader = std::thread::Builder::new().name("keys".to_owned()).spawn(move || {
        let mut key = [0];
        while reading.read_exact(&mut key).is_ok() && sender.send(key[0]).is_ok() {}
    });
    reader.is_ok().then_some((held, Keys(keys)))
}

impl RawMode {
    /// Once more after Ctrl-Z and `fg`: the shell has its own mind about the terminal meanwhile.
    pub(super) fn begin(&self) {
        if let Some((terminal, before)) = &*before_it() {
            let mut single = before.clone();
            single.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
            single.special_codes[SpecialCodeIndex::VMIN] = 1;
            single.special_codes[SpecialCodeIndex::VTIME] = 0;
            // A terminal that is gone takes no mode and needs none.
            let _ = tcsetattr(terminal, OptionalActions::Now, &single);
        }
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

impl Keys {
    /// Waits for `q`. The end of all input is none: then there are signals.
    pub(super) async fn leave(&mut self) {
        loop {
            match self.0.recv().await {
                Some(b'q' | b'Q') => return,
                Some(_) => {}
                None => std::future::pending().await,
            }
        }
    }
}

/// The signals that end a program at a terminal.
#[derive(Debug)]
pub(super) struct Signals([Signal; 4]);

impl Signals {
    pub(super) fn listen() -> std::io::Result<Self> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit()];
        let [int, term, hup, quit] = kinds.map(signal);
        Ok(Self([int?, term?, hup?, quit?]))
    }

    /// Waits for one of them.
    pub(super) async fn any(&mut self) {
        let [int, term, hup, quit] = &mut self.0;
        tokio::select! {
            _ = int.recv() => {}
            _ = term.recv() => {}
            _ = hup.recv() => {}
            _ = quit.recv() => {}
        }
    }
}

fn before_it() -> MutexGuard<'static, Option<(File, Termios)>> {
    BEFORE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does nothing the second time.
fn restore() {
    if let Some((terminal, before)) = before_it().take() {
        let _ = tcsetattr(terminal, OptionalActions::Now, &before);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    use super::*;

    /// A pseudo-terminal: its controlling side and the side of the program.
    fn terminal() -> (File, File) {
        let typing = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&typing).unwrap();
        unlockpt(&typing).unwrap();
        let name = ptsname(&typing, Vec::new()).unwrap();
        let typed = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        (File::from(typing), typed)
    }

    fn modes(terminal: &File) -> LocalModes {
        tcgetattr(terminal).unwrap().local_modes
    }

    /// One test, since there is one terminal at a time.
    #[tokio::test]
    async fn keys_come_one_by_one_and_the_terminal_is_restored_whatever_happens() {
        let (mut typing, typed) = terminal();
        let before = modes(&typed);
        assert!(before.contains(LocalModes::ICANON | LocalModes::ECHO));
        let (held, mut keys) = enable_on(typed.try_clone().unwrap()).unwrap();
        assert_eq!(modes(&typed), before.difference(LocalModes::ICANON | LocalModes::ECHO), "signals stay signals");
        typing.write_all(b"xq").unwrap();
        keys.leave().await;
        drop(held);
        assert_eq!(modes(&typed), before);

        let (_typing, typed) = terminal();
        let (held, _keys) = enable_on(typed.try_clone().unwrap()).unwrap();
        assert_ne!(modes(&typed), before);
        // As in a release, where a panic drops nothing.
        std::mem::forget(held);
        drop(panic::catch_unwind(|| panic!("on purpose")));
        assert_eq!(modes(&typed), before);
    }
}
