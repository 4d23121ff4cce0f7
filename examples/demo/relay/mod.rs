//! The show of `--relay`: three targets behind the relay, one that always fails and one that breaks and comes back, and clients
//! who notice nothing of it.
//!
//! Calls are made one after the other: directly, as a stream, and through the gateway. What the scenes wait for is what the
//! broker says, so that the show is the same on any machine; only how long a target is left out is waited for. `client` makes
//! a call, `judge` says whether all was right. `providers` is another show, of a pools file's providers. A trace is the output of `broker watch --grouped`.

mod client;
mod judge;
pub(crate) mod providers;

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use gateway_sim::llm::Behaviour;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout_at};

use crate::harness::RunningDemo;
use crate::screen::{Relayed, Screen};
use crate::summary::times;
use crate::watch::{Call, Event, RouterState};
use client::Way;
use judge::{EAST, Made, Run, Scene, WEST, is_good};

/// The default number of calls.
pub(crate) const CALLS: u32 = 150;
/// The example that runs.
pub(crate) const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/relay/05-on-one-machine.json");
/// The variables in it for keys; the fake LLMs take any.
pub(crate) const KEYS: [&str; 3] = ["EAST_API_KEY", "WEST_API_KEY", "NORTH_API_KEY"];
/// The pool's ingress, and the router of the gateway that leads there.
pub(crate) const INGRESS: &str = "/llm/";
pub(crate) const ROUTER: &str = "/assistant/";
/// How long something may be on its way that must come.
const WATCH_TIMEOUT: Duration = Duration::from_secs(10);

/// The show as it goes on.
pub(crate) struct Show<'a> {
    harness: &'a mut RunningDemo,
    screen: &'a mut Screen,
    pace: Interval,
    agent: ureq::Agent,
    run: Run,
    /// The entries of calls that are not printed yet, by the prefix of their ids.
    entries: BTreeMap<String, Vec<Call>>,
    /// Changes and remarks that are not printed yet.
    news: Vec<Event>,
    states: BTreeMap<String, RouterState>,
    calls: u32,
}

/// Whether all was right.
pub(crate) async fn show(
    harness: &mut RunningDemo,
    screen: &mut Screen,
    calls: u32,
    rate: u32,
) -> anyhow::Result<bool> {
    let mut watch = harness.watch().await?;
    let mut pace = interval(Duration::from_secs(1) / rate.max(1));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut show = Show {
        harness,
        screen,
        pace,
        agent: client::agent(),
        run: Run::default(),
        entries: BTreeMap::new(),
        news: Vec::new(),
        states: BTreeMap::new(),
        calls: 0,
    };
    let third = calls / 3;
    show.screen.title(&format!("{EAST} fails every call it gets. No client will notice."))?;
    show.harness.llms().set("east", Behaviour { status: 503, ..Behaviour::default() });
    show.scene(Scene::OneFails, third).await?;
    show.until(EAST, &RouterState::OnProbation).await?;
    show.screen
        .title(&format!("{WEST} breaks now: it answers with half a JSON object, just as {EAST} is tried again."))?;
    // Not a closed connection: a reused one that closes is tried once more, which the log does not show.
    show.harness.llms().set("west", Behaviour { body: Some("{\"choices\": [".to_owned()), ..Behaviour::default() });
    show.scene(Scene::WestDies, third).await?;
    show.screen.title(&format!("{WEST} is well again. The first call after its time is over will find out."))?;
    show.harness.llms().set("west", Behaviour::default());
    show.until(WEST, &RouterState::OnProbation).await?;
    show.scene(Scene::WestIsBack, calls - 2 * third).await?;
    show.until(WEST, &RouterState::Enabled).await?;
    let run = show.run;
    let trace = match run.longest() {
        Some(answer) => watch.group(&answer.session, WATCH_TIMEOUT).await,
        None => None,
    };
    watch.kill().await;
    verdict(screen, &run, trace.as_deref())
}

impl Show<'_> {
    async fn scene(&mut self, scene: Scene, calls: u32) -> anyhow::Result<()> {
        for _ in 0..calls {
            self.wait().await?;
            self.tell_news()?;
            self.call(scene).await?;
        }
        self.settle().await
    }

    /// Waits until the broker has logged each failure: its log lines and its answers come over different ways.
    async fn settle(&mut self) -> anyhow::Result<()> {
        let by = Instant::now() + WATCH_TIMEOUT;
        while [EAST, WEST].iter().any(|router| self.run.failures(router) > self.run.disabled(router)) {
            match timeout_at(by, self.harness.next()).await {
                Ok(event) => self.take(event?),
                // The judge finds what is missing.
                Err(_) => break,
            }
        }
        Ok(self.tell_news()?)
    }

    /// Until it is time for the next call.
    async fn wait(&mut self) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                biased;
                event = self.harness.next() => self.take(event?),
                _ = self.pace.tick() => return Ok(()),
            }
        }
    }

    async fn call(&mut self, scene: Scene) -> anyhow::Result<()> {
        let way = Way::of(self.calls);
        self.calls += 1;
        let url =
            if way == Way::ThroughTheGateway { self.harness.at(ROUTER) } else { self.harness.relay_url("127.0.0.1") };
        let agent = self.agent.clone();
        let began = Instant::now();
        let mut calling = tokio::task::spawn_blocking(move || client::call(&agent, &url, way));
        let answer = loop {
            tokio::select! {
                event = self.harness.next() => self.take(event?),
                answer = &mut calling => break answer.unwrap_or_else(|error| Err(error.to_string())),
            }
        };
        let took = began.elapsed();
        let attempts = match &answer {
            Ok(answer) => self.attempts(&answer.session, answer.attempts).await?,
            Err(_) => Vec::new(),
        };
        let made = Made { scene, answer, attempts };
        self.tell(&made, way, took)?;
        self.run.made.push(made);
        self.tell_news()?;
        Ok(())
    }

    /// The log's entries of a session, when there are as many as there must be.
    async fn attempts(&mut self, session: &str, count: usize) -> anyhow::Result<Vec<Call>> {
        let begins = of_session(session);
        let by = Instant::now() + WATCH_TIMEOUT;
        while self.entries.get(begins).map_or(0, Vec::len) < count {
            match timeout_at(by, self.harness.next()).await {
                Ok(event) => self.take(event?),
                Err(_) => break,
            }
        }
        let mut attempts = self.entries.remove(begins).unwrap_or_default();
        attempts.sort_by_key(|call| number(&call.transaction));
        // There are no other calls; what is left are the gateway's own entries of calls that came through it.
        self.entries.clear();
        Ok(attempts)
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Call(call) => {
                self.entries.entry(of_session(&call.transaction).to_owned()).or_default().push(call);
            }
            Event::Change(change) => {
                self.states.insert(change.router.clone(), change.to.clone());
                self.run.changes.push(change.clone());
                self.news.push(Event::Change(change));
            }
            other => self.news.push(other),
        }
    }

    /// Waits until a target has this state. No call is made meanwhile.
    async fn until(&mut self, router: &str, wanted: &RouterState) -> anyhow::Result<()> {
        let by = Instant::now() + self.harness.disabled_time() + WATCH_TIMEOUT;
        while self.states.get(router) != Some(wanted) {
            match timeout_at(by, self.harness.next()).await {
                Ok(event) => self.take(event?),
                Err(_) => break,
            }
        }
        Ok(self.tell_news()?)
    }

    fn tell_news(&mut self) -> io::Result<()> {
        std::mem::take(&mut self.news).iter().try_for_each(|event| self.screen.show(event))
    }

    fn tell(&self, made: &Made, way: Way, took: Duration) -> io::Result<()> {
        let (status, what) = match &made.answer {
            Err(error) => ("-".to_owned(), error.clone()),
            Ok(answer) => (answer.status.to_string(), story(&made.attempts, answer.broken.as_deref())),
        };
        let good = made.answer.as_ref().is_ok_and(|answer| answer.status == 200 && answer.broken.is_none());
        let (called, router) = (way.words(), made.served_by());
        let (status, what) = (status.as_str(), what.as_str());
        self.screen.relayed(&Relayed { number: self.calls, called, router, status, took, what, good })
    }
}

/// What became of the attempts before the last.
fn story(attempts: &[Call], broken: Option<&str>) -> String {
    let failed = |call: &Call| {
        let status = call.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
        format!("{} {status}", call.router)
    };
    let failed: Vec<_> = attempts.iter().filter(|call| !is_good(call)).map(failed).collect();
    let count = attempts.len();
    let text = if count == 1 {
        "1 attempt".to_owned()
    } else {
        format!("{count} attempts: {}, then this one", failed.join(", "))
    };
    let used = attempts.last().and_then(|call| call.used.as_ref());
    let text = used.map_or(text.clone(), |used| format!("{text}; {used}"));
    broken.map_or(text.clone(), |broken| format!("{text}; not whole: {broken}"))
}

/// What the ids of a session begin with.
fn of_session(id: &str) -> &str {
    id.rsplit_once('_').map_or(id, |(begins, _)| begins)
}

fn number(id: &str) -> u32 {
    id.rsplit_once('_').and_then(|(_, number)| number.parse().ok()).unwrap_or(0)
}

/// What was seen, the trace, and whether it is right.
fn verdict(screen: &Screen, run: &Run, trace: Option<&str>) -> anyhow::Result<bool> {
    let mut faults = run.faults();
    let plural = |count: usize, what: &str| if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") };
    screen.say(&format!("\n{} in total", plural(run.made.len(), "call")))?;
    for (attempts, calls) in run.by_attempts() {
        screen.say(&format!("  {calls:>4} needed {}", plural(attempts, "attempt")))?;
    }
    for router in [EAST, WEST] {
        let (failures, disabled) = (run.failures(router), run.disabled(router));
        let failures = plural(failures, "attempt");
        screen.say(&format!("  {router:<12} failed {failures}, and was left out after each: {}", times(disabled)))?;
    }
    let back = run.served_by_west(Scene::WestIsBack);
    screen.say(&format!("  {WEST:<12} served {} again after it came back", plural(back, "call")))?;
    match trace {
        Some(trace) => screen
            .say(&format!("\nThe call with three attempts, as `broker watch --grouped` printed it:\n\n{trace}"))?,
        None => faults.push("`broker watch --grouped` printed no call with three attempts".to_owned()),
    }
    screen.judged("Targets failed, and no client noticed: every call was answered 200, and whole.", &faults)?;
    Ok(faults.is_empty())
}
