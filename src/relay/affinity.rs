//! Where the things were made that targets keep: responses, threads, files, batches. Learnt from answers, by this replica or by
//! another, and looked up for each request that names one.
//!
//! Ids are not kept, and do not go over the bus: what stands for one is the beginning of its SHA-256 with its ingress. So an
//! entry has one size, and a listener learns no id. What other replicas say has room of its own: a forged message can
//! neither push out what this replica knows nor lead anywhere but to a target of the pool that may serve the request anyway.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::Method;
use hyper::http::request::Parts;
use ring::digest::{SHA256, digest};
use tokio::sync::Notify;

use super::admission::subpath;
use super::relay_request::RelayRequest;
use llm::affinity::is_encrypted;
use types::router::RouterPath;

/// How many ids are known of each kind, those that this replica learnt and those that others did; the oldest goes first. With
/// some 100 bytes for each at most 7 MB together.
const CAPACITY: usize = 32_768;
/// Entries that wait to be shared; what comes beyond is known to this replica only.
const MAX_UNSHARED: usize = 1_024;
/// The most entries in one message, some 130 bytes each.
const MAX_BATCH: usize = 256;
/// A replica that starts gets this many of the newest.
const MAX_SHARED: usize = 4_096;

/// What stands for an id below an ingress.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct IdKey(u128);

impl IdKey {
    fn new(ingress: &RouterPath, id: &str) -> Self {
        // A path has no zero byte.
        let hash = digest(&SHA256, &[ingress.as_str().as_bytes(), b"\0", id.as_bytes()].concat());
        Self(hash.as_ref().first_chunk().map_or(0, |first| u128::from_be_bytes(*first)))
    }
}

impl fmt::Debug for IdKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A bounded map, oldest out.
#[derive(Debug, Default)]
struct MakerTable {
    targets: HashMap<IdKey, RouterPath>,
    /// Each key once, the oldest first.
    order: VecDeque<IdKey>,
}

impl MakerTable {
    /// True if this is news.
    fn learn(&mut self, key: IdKey, target: RouterPath) -> bool {
        match self.targets.insert(key, target.clone()) {
            Some(before) => before != target,
            None => {
                self.order.push_back(key);
                if self.order.len() > CAPACITY
                    && let Some(oldest) = self.order.pop_front()
                {
                    self.targets.remove(&oldest);
                }
                true
            }
        }
    }

    fn newest(&self, most: usize) -> impl Iterator<Item = (IdKey, RouterPath)> {
        let newest = self.order.iter().rev().take(most);
        newest.filter_map(|key| Some((*key, self.targets.get(key)?.clone())))
    }
}

#[derive(Debug, Default)]
struct State {
    own: MakerTable,
    others: MakerTable,
    unshared: Vec<(IdKey, RouterPath)>,
}

/// Where things were made. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Affinity(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    learnt: Notify,
}

impl Affinity {
    /// These ids were made by this target of the pool.
    pub(super) fn learn(
        &self,
        ingress: &RouterPath,
        ids: impl IntoIterator<Item = impl AsRef<str>>,
        target: &RouterPath,
    ) {
        for key in ids.into_iter().map(|id| IdKey::new(ingress, id.as_ref())) {
            let mut state = self.lock();
            if state.own.learn(key, target.clone()) && state.unshared.len() < MAX_UNSHARED {
                state.unshared.push((key, target.clone()));
                self.0.learnt.notify_one();
            }
        }
    }

    /// Whether nothing is known, so that there is nothing to look for in a request.
    pub(super) fn is_empty(&self) -> bool {
        let state = self.lock();
        state.own.order.is_empty() && state.others.order.is_empty()
    }

    /// The target that made the first of these ids that is known.
    pub(super) fn maker(
        &self,
        ingress: &RouterPath,
        ids: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Option<RouterPath> {
        ids.into_iter().map(|id| IdKey::new(ingress, id.as_ref())).find_map(|key| {
            let state = self.lock();
            state.own.targets.get(&key).or_else(|| state.others.targets.get(&key)).cloned()
        })
    }

    /// Waits until something was learnt that is to be shared, and returns the message: at most `MAX_BATCH` entries.
    pub async fn next_message(&self) -> Vec<u8> {
        loop {
            let learnt = self.0.learnt.notified();
            let mut unshared = {
                let mut state = self.lock();
                let most = state.unshared.len().min(MAX_BATCH);
                state.unshared.drain(..most).collect::<Vec<_>>()
            };
            if !unshared.is_empty() {
                return message(&mut unshared);
            }
            learnt.await;
        }
    }

    /// What a replica that starts gets, in messages.
    pub fn messages(&self) -> Vec<Vec<u8>> {
        let mut known: Vec<_> = {
            let state = self.lock();
            let own = state.own.newest(MAX_SHARED);
            let others = state.others.newest(MAX_SHARED);
            own.chain(others).take(MAX_SHARED).collect()
        };
        // The oldest first, as it was learnt.
        known.reverse();
        known.chunks_mut(MAX_BATCH).map(message).collect()
    }

    /// Learns from another replica's message; what cannot be read, and what `known` does not know as a target, is left out.
    pub fn take(&self, message: &[u8], known: impl Fn(&RouterPath) -> Option<RouterPath>) {
        if message.len() > MAX_BATCH * 160 {
            return;
        }
        let Ok(entries) = serde_json::from_slice::<Vec<(String, String)>>(message) else { return };
        for (key, target) in entries.into_iter().take(MAX_BATCH) {
            let key = Some(key).filter(|key| key.len() == 32).and_then(|key| u128::from_str_radix(&key, 16).ok());
            let target = RouterPath::parse(&target).ok().and_then(|target| known(&target));
            if let Some((key, target)) = key.zip(target) {
                self.lock().others.learn(IdKey(key), target);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where it is noted what the answer to a call shows to be kept by its target.
#[derive(Debug, Clone)]
pub(super) struct MakerNotes {
    affinity: Affinity,
    ingress: RouterPath,
    /// The target keeps the answer: else only what it alone can read is noted.
    is_stored: bool,
}

impl MakerNotes {
    /// These ids were shown by an answer of this target.
    pub(super) fn note(&self, ids: impl IntoIterator<Item = impl AsRef<str>>, target: &RouterPath) {
        let noted = ids.into_iter().filter(|id| self.is_stored || is_encrypted(id.as_ref()));
        self.affinity.learn(&self.ingress, noted, target);
    }
}

/// What affinity is to one call. By default nothing.
#[derive(Debug, Default)]
pub(super) struct CallAffinity {
    /// The target that made what the request names.
    preferred: Option<RouterPath>,
    /// Where it is noted what the answer shows to be kept.
    notes: Option<MakerNotes>,
}

impl CallAffinity {
    /// That of a call to this ingress.
    pub(super) fn for_request(
        affinity: &Affinity,
        ingress: &RouterPath,
        head: &Parts,
        view: &RelayRequest<'_>,
        body: &[u8],
    ) -> Self {
        let path = subpath(head, ingress);
        let preferred = if affinity.is_empty() { None } else { affinity.maker(ingress, view.ids(path, body)) };
        let is_noted = view.shows_ids(path) && head.method != Method::DELETE;
        let notes =
            || MakerNotes { affinity: affinity.clone(), ingress: ingress.clone(), is_stored: view.is_stored(path) };
        Self { preferred, notes: is_noted.then(notes) }
    }

    pub(super) const fn preferred(&self) -> Option<&RouterPath> {
        self.preferred.as_ref()
    }

    /// Where to note what an answer shows, if that is to be noted.
    pub(super) const fn notes(&self) -> Option<&MakerNotes> {
        self.notes.as_ref()
    }
}

fn message(entries: &mut [(IdKey, RouterPath)]) -> Vec<u8> {
    let entries: Vec<_> = entries.iter().map(|(key, target)| (format!("{key:?}"), target)).collect();
    // Texts can always be written.
    serde_json::to_vec(&entries).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures::path;

    fn all(target: &RouterPath) -> Option<RouterPath> {
        Some(target.clone())
    }

    #[test]
    fn s1_9_an_id_leads_to_its_maker_within_its_pool() {
        let (affinity, pool, a, b) = (Affinity::default(), path("/llm/"), path("/llm/a/"), path("/llm/b/"));
        assert!(affinity.is_empty());
        affinity.learn(&pool, ["resp_1", "conv_1"], &a);
        affinity.learn(&pool, ["file_1"], &b);
        assert_eq!(affinity.maker(&pool, ["unknown", "file_1", "resp_1"]), Some(b.clone()), "the first that is known");
        assert_eq!(affinity.maker(&path("/other/"), ["resp_1"]), None);
        affinity.learn(&pool, ["resp_1"], &b);
        assert_eq!(affinity.maker(&pool, ["resp_1"]), Some(b), "the newest answer counts");
    }

    #[test]
    fn s1_9_of_what_is_not_stored_only_what_is_encrypted_is_noted() {
        for (is_stored, known) in [(true, true), (false, false)] {
            let (affinity, pool, a) = (Affinity::default(), path("/llm/"), path("/llm/a/"));
            let notes = MakerNotes { affinity: affinity.clone(), ingress: pool.clone(), is_stored };
            notes.note(["resp_1", "rs_1", "encrypted:0f", "msg_1"], &a);
            assert_eq!(affinity.maker(&pool, ["rs_1"]), Some(a.clone()), "it is encrypted for its maker");
            assert_eq!(affinity.maker(&pool, ["encrypted:0f"]), Some(a));
            assert_eq!(affinity.maker(&pool, ["resp_1", "msg_1"]).is_some(), known);
        }
    }

    #[test]
    fn s1_9_what_is_known_is_bounded_and_the_oldest_goes() {
        let (affinity, pool, a) = (Affinity::default(), path("/llm/"), path("/llm/a/"));
        let ids: Vec<_> = (0..=CAPACITY).map(|number| format!("resp_{number}")).collect();
        affinity.learn(&pool, &ids, &a);
        affinity.learn(&pool, &ids[CAPACITY - 10..], &a);
        assert_eq!(affinity.maker(&pool, [&ids[0]]), None);
        assert_eq!(affinity.maker(&pool, [&ids[1]]), Some(a.clone()));
        let state = affinity.lock();
        assert_eq!((state.own.order.len(), state.own.targets.len()), (CAPACITY, CAPACITY));
        assert_eq!(state.unshared.len(), MAX_UNSHARED);
    }

    #[tokio::test]
    async fn s1_9_replicas_share_what_they_learn_and_no_id_goes_over_the_bus() {
        let (one, two, pool, a) = (Affinity::default(), Affinity::default(), path("/llm/"), path("/llm/a/"));
        let ids: Vec<_> = (0..MAX_BATCH + 3).map(|number| format!("resp_{number}")).collect();
        one.learn(&pool, &ids, &a);
        for _ in 0..2 {
            let message = one.next_message().await;
            assert!(!String::from_utf8(message.clone()).unwrap().contains("resp_"));
            two.take(&message, all);
        }
        assert!(ids.iter().all(|id| two.maker(&pool, [id]) == Some(a.clone())));
        assert!(two.lock().unshared.is_empty(), "what came is not sent on");
        let late = Affinity::default();
        for message in two.messages() {
            late.take(&message, all);
        }
        assert_eq!(late.maker(&pool, [&ids[0]]), Some(a));
    }

    #[test]
    fn s1_9_what_others_say_pushes_out_nothing_that_was_learnt_here() {
        let (affinity, pool, a, b) = (Affinity::default(), path("/llm/"), path("/llm/a/"), path("/llm/b/"));
        affinity.learn(&pool, ["resp_1"], &a);
        for batch in 0..CAPACITY / MAX_BATCH + 2 {
            let key = |number| IdKey((batch * MAX_BATCH + number) as u128);
            affinity
                .take(&message(&mut (0..MAX_BATCH).map(|number| (key(number), b.clone())).collect::<Vec<_>>()), all);
        }
        affinity.take(&message(&mut [(IdKey::new(&pool, "resp_1"), b.clone())]), all);
        assert_eq!(affinity.maker(&pool, ["resp_1"]), Some(a), "what was seen here counts more");
        assert_eq!(affinity.lock().others.order.len(), CAPACITY);
        let unknown = Affinity::default();
        unknown.take(&message(&mut [(IdKey::new(&pool, "resp_1"), b)]), |_| None);
        assert!(unknown.is_empty(), "a target that is none");
    }

    proptest! {
        #[test]
        fn s1_9_any_message_may_come(message in prop::collection::vec(any::<u8>(), 0..200), key in "[0-9a-zé+]{30,33}") {
            let affinity = Affinity::default();
            affinity.take(&message, all);
            affinity.take(format!("[[\"{key}\",\"/llm/a/\"],[\"\",\"\"]]").as_bytes(), all);
        }
    }
}
