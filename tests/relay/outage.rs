//! An outage of a minute, in its own time: a call every four seconds meets a primary that is dead, silent where it is called
//! directly and closing every connection behind the gateway. All ways through it run in the same minute.

use std::time::Duration;

use gateway_sim::llm::Behaviour;
use serde_json::Value;

use super::super::support::scripted::{Move, Scripted};
use super::super::support::{Broker, GPT35, Setup, http, soon};
use super::gateway::Through;
use super::{CHAT, HI, Harness, good, pools, stalling_target, target};

const OPERATORS: &str = "the-operators-own-token";
const EVERY: Duration = Duration::from_secs(4);
const CALLS: u32 = 15;

/// How a primary is let back in, and what it may cost until then.
#[derive(Clone, Copy)]
enum Rule {
    /// As shipped: it is left alone for ten minutes, unless an operator knows better.
    Shipped,
    /// The same with `DISABLED_TIME=1`: it is back by itself when the minute is over.
    OneMinute,
    /// `BROKER_HEALTH=resilient`: three failures, and then a probe after about 5, 10, 20 seconds; an operator knows better.
    Resilient,
}

impl Rule {
    fn set(self, setup: Setup) -> Setup {
        let setup = setup.set("BROKER_ADMIN_TOKEN", OPERATORS).secret(OPERATORS);
        match self {
            Self::Shipped => setup,
            Self::OneMinute => setup.set("DISABLED_TIME", "1"),
            Self::Resilient => setup.set("BROKER_HEALTH", "resilient"),
        }
    }

    /// How many calls meet the dead primary: those that do not know yet, and probes.
    const fn costs(self) -> (usize, usize) {
        match self {
            Self::Shipped | Self::OneMinute => (1, 0),
            Self::Resilient => (3, 3),
        }
    }
}

/// What one stream of calls needs to know.
struct Way<'a> {
    rule: Rule,
    broker: &'a Broker,
    path: &'static str,
    primary: &'static str,
}

impl Way<'_> {
    /// One call that no client sees fail: who answered it, and whether the primary was met, as a probe or not.
    async fn call(&self) -> (String, Option<bool>) {
        let headers = [
            ("Content-Type", "application/json"),
            ("Api-Key", "key-of-the-client"),
            ("X-Broker-Explain", "1"),
            ("X-Broker-Token", OPERATORS),
        ];
        let relay = self.broker.relay().await;
        let answer = http::send(relay, "POST", self.path, &headers, HI.as_bytes()).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let trace: Value = serde_json::from_str(answer.header("x-broker-trace").unwrap()).unwrap();
        let mut attempts = trace.as_array().unwrap().iter();
        let met = attempts.find(|attempt| attempt["router"] == self.primary);
        let probe = met.map(|attempt| attempt["why"].as_str().unwrap().contains("on probation"));
        (answer.header("x-broker-router").unwrap().to_owned(), probe)
    }

    async fn through(self, touches: impl Fn() -> usize, mend: impl FnOnce()) {
        let mut pace = tokio::time::interval(EVERY);
        let (mut unknowing, mut probes) = (0, 0);
        for call in 0..CALLS {
            pace.tick().await;
            let known = self.broker.count(&["router disabled"]) > 0;
            let (served, met) = self.call().await;
            assert_ne!(served, self.primary, "it is dead");
            match met {
                Some(true) => probes += 1,
                Some(false) => unknowing += 1,
                None => {}
            }
            assert!(!known || met != Some(false), "call {call}: none after its detection but probes");
        }
        pace.tick().await;
        let (most_unknowing, most_probes) = self.rule.costs();
        assert!(unknowing <= most_unknowing && probes <= most_probes, "{unknowing} and {probes} probes");
        assert_eq!(touches(), unknowing + probes, "the trace lists each");
        mend();
        match self.rule {
            Rule::OneMinute => drop(self.broker.until(&["router on probation", self.primary]).await),
            Rule::Shipped | Rule::Resilient => self.enable().await,
        }
        // A resilient one gets its share back little by little.
        soon("the primary", async { while self.call().await.0 != self.primary {} }).await;
    }

    async fn enable(&self) {
        let path = format!("/api/v1/routers/{}/enable", self.primary.replace('/', "%2F"));
        let bearer = format!("Bearer {OPERATORS}");
        let headers = [("Authorization", bearer.as_str())];
        let answer = http::send(self.broker.http().await, "POST", &path, &headers, b"").await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

async fn directly(rule: Rule) {
    let (a, b) = (Scripted::start(vec![Move::Hold]).await, Scripted::start(good()).await);
    // Shorter than the time between two calls, and longer than a busy machine takes for the answer once it is back.
    let first = stalling_target("a", &a.url()).replace("400ms", "2s");
    let both = pools(&[first, target("b", &b.url())]);
    let harness = Harness::with(&both, |setup| rule.set(setup)).await;
    let way = Way { rule, broker: &harness.broker, path: CHAT, primary: "/llm/a/" };
    way.through(|| a.calls(), || a.always(good())).await;
}

async fn through_the_gateway(rule: Rule) {
    let harness = Through::with(|setup| rule.set(setup)).await;
    harness.llms.behave("gpt35turbo", Behaviour { close: true, ..Behaviour::default() });
    let way = Way { rule, broker: &harness.broker, path: "/llm/", primary: GPT35 };
    let touches = || usize::try_from(harness.llms.calls("gpt35turbo")).unwrap();
    way.through(touches, || harness.llms.answer("gpt35turbo", 200)).await;
}

#[tokio::test]
async fn a_primary_that_is_dead_for_a_minute_is_noticed_by_no_client_and_left_alone_until_it_is_back() {
    tokio::join!(
        directly(Rule::Shipped),
        directly(Rule::OneMinute),
        directly(Rule::Resilient),
        through_the_gateway(Rule::Shipped),
        through_the_gateway(Rule::OneMinute),
        through_the_gateway(Rule::Resilient),
    );
}
