//! Follows the pools file: a valid new content is applied in one step; an invalid one changes nothing, and its faults are logged.
//!
//! Its folder is watched, because editors and Kubernetes replace the file. Its content is also compared every two seconds,
//! because a single mounted file sends no event, and SIGHUP reads it again in any case. Events of reads in the folder are
//! ignored: the broker's own reads would cause new ones for ever.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use crate::config::file::PoolsFile;
use crate::relay::Relay;
use crate::shared_broker::SharedBroker;
use crate::system::files;
use crate::telemetry::ReloadResult;

/// Timeout for watching the folder; on a file system that does not answer, only the content is compared.
const WATCH_TIME: Duration = Duration::from_secs(5);

/// Follows a file; never returns. Without a file SIGHUP has no effect; by default it would end the process.
pub async fn follow(file: Option<PoolsFile>, broker: SharedBroker, relay: Option<Arc<Relay>>) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        tracing::error!("cannot listen for SIGHUP: it ends this process");
        return;
    };
    let Some(mut file) = file else {
        while hangup.recv().await.is_some() {
            tracing::info!("SIGHUP: there is no pools file to read again");
        }
        return;
    };
    let (touched, mut touches) = mpsc::channel(1);
    let _watcher = watch_beside(file.path.clone(), touched).await;
    let mut polls = files::polls();
    loop {
        let asked = tokio::select! {
            _ = polls.tick() => false,
            Some(()) = touches.recv() => false,
            _ = hangup.recv() => true,
        };
        if file.has_changed().await || asked {
            take(&file, &broker, relay.as_deref());
        }
    }
}

/// Starts to watch on a thread of its own: on a file system that does not answer, this never returns.
async fn watch_beside(file: PathBuf, touched: mpsc::Sender<()>) -> Option<RecommendedWatcher> {
    let (sender, receiver) = oneshot::channel();
    let begin = move || {
        let watcher = watch(&file, move |_| {
            // A waiting event has the same effect.
            let _ = touched.try_send(());
        });
        // The receiver is gone if it took too long.
        let _ = sender.send(watcher);
    };
    let begun = std::thread::Builder::new().name("watch".to_owned()).spawn(begin);
    let watcher = match begun {
        Ok(_) => tokio::time::timeout(WATCH_TIME, receiver).await.ok()?.ok()?,
        Err(error) => Err(error.into()),
    };
    if let Err(error) = &watcher {
        tracing::debug!(%error, "the folder of the pools file sends no events; its content is compared every 2 s");
    }
    watcher.ok()
}

/// Calls this whenever something is changed in the file's folder. Stops when dropped.
fn watch(
    file: &Path,
    touched: impl Fn(notify::Result<notify::Event>) + Send + 'static,
) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if !matches!(event, Ok(notify::Event { kind: EventKind::Access(_), .. })) {
            touched(event);
        }
    })?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    watcher.watch(folder.unwrap_or_else(|| ".".as_ref()), RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

fn take(file: &PoolsFile, broker: &SharedBroker, relay: Option<&Relay>) {
    let result = match file.load() {
        Ok((settings, rules)) => {
            broker.prices().set_targets(rules.prices.clone());
            // First the targets' addresses, then the pools that use them.
            let replaced = relay.map(|relay| relay.configure(rules)).unwrap_or_default();
            let config = broker.configure(&settings);
            broker.targets_replaced(&replaced);
            tracing::info!(file = %file.path.display(), pools = settings.pools.len(), config, "pools file applied");
            ReloadResult::Applied
        }
        Err(faults) => {
            tracing::error!(faults = faults.len(), "the pools file is wrong and changes nothing:");
            faults.iter().for_each(|fault| tracing::error!("  {fault}"));
            if file.seen.is_ok() { ReloadResult::Refused } else { ReloadResult::Unreadable }
        }
    };
    broker.counts().reload(result, broker.now());
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc as channel;

    use super::*;

    #[test]
    fn to_read_the_file_is_no_change_of_it() {
        let folder = std::env::temp_dir().join(format!("broker-watch-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let [file, end] = ["broker.json", "end"].map(|name| folder.join(name));
        std::fs::write(&file, "{}").unwrap();
        let (sender, touches) = channel::channel();
        let _watcher = watch(&file, move |event| sender.send(event).unwrap()).unwrap();
        std::fs::read(&file).unwrap();
        std::fs::write(&end, "").unwrap();
        // Events come in order: what the reading made would be here first.
        let first = touches.recv_timeout(Duration::from_secs(20)).unwrap().unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(first.paths, [end], "{first:?}");
    }
}
