//! The file of `--faults`: what the fake LLMs suffer, and when.
//!
//! A fault belongs to a fake LLM, and more than one router may lead to it (`/azure/` and `/azure/gpt4/` do), so all of them
//! suffer. It rejects what cannot happen here: a router without a fake LLM, a wait longer than a caller waits.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use gateway_sim::script::{Episode, Fault, Script};
use serde_json::Value;

use crate::calls::CALL_TIMEOUT;
use crate::document::{self, Document, Item};

/// An example, for who wrote something else.
const LIKE: &str = r#"{"fault": "outage", "from": 2, "to": 6}"#;
/// The kinds of faults, and the keys that each has beside `fault`, `from` and `to`.
const KINDS: [(&str, &[&str]); 4] =
    [("outage", &[]), ("errors", &["rate", "status"]), ("latency", &["add"]), ("rate_limit", &["requests", "per"])];
/// No demo is longer, in seconds.
const MAX_SECONDS: f64 = 86_400.0;
/// How long is looked on after the last that is scripted.
const AFTER: Duration = Duration::from_secs(3);
/// Windows of a rate limit that must be seen.
const WINDOWS: u32 = 3;

/// What one fake LLM suffers.
#[derive(Debug, Clone)]
pub(crate) struct Scripted {
    /// The router that the file names.
    pub(crate) router: String,
    /// The others that lead to the same fake LLM.
    pub(crate) beside: Vec<String>,
    deployment: String,
    pub(crate) episodes: Vec<Episode>,
}

/// All that is scripted.
#[derive(Debug, Clone)]
pub(crate) struct Faults {
    pub(crate) seed: u64,
    pub(crate) scripted: Vec<Scripted>,
}

/// Which fake LLM each router of the gateway leads to, if any.
type Deployments = BTreeMap<String, Option<String>>;

impl Faults {
    /// Reads the file. `routers` are those of the pools; `gateway` is the gateway's configuration.
    pub(crate) fn read(file: &Path, routers: &[&str], gateway: &str) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let name = file.display().to_string();
        match parse(&name, &text, routers, &deployments(gateway)) {
            Ok(faults) => Ok(faults),
            Err(faults) => bail!("nothing is started, {name} has to be fixed first:\n  {}", faults.join("\n  ")),
        }
    }

    /// One fault of one router, for tests of what comes of it.
    #[cfg(test)]
    pub(crate) fn just(router: &str, episode: Episode) -> Self {
        let (router, beside, deployment) = (router.to_owned(), Vec::new(), "one".to_owned());
        Self { seed: 0, scripted: vec![Scripted { router, beside, deployment, episodes: vec![episode] }] }
    }

    /// For the fake LLMs, by deployment.
    pub(crate) fn scripts(&self) -> impl Iterator<Item = (String, Script)> {
        let script = |scripted: &Scripted| Script { seed: self.seed, episodes: scripted.episodes.clone() };
        self.scripted.iter().map(move |scripted| (scripted.deployment.clone(), script(scripted)))
    }

    /// What is scripted for a router, itself or one beside it.
    pub(crate) fn of(&self, router: &str) -> Option<&Scripted> {
        self.scripted
            .iter()
            .find(|scripted| scripted.router == router || scripted.beside.iter().any(|one| one == router))
    }

    /// What happens when, earliest first.
    pub(crate) fn moments(&self) -> Vec<(Duration, String)> {
        let mut moments = Vec::new();
        for (scripted, episode) in self.episodes() {
            let name = scripted.name();
            moments.push((
                episode.from,
                format!("from {} s: {name} {}", episode.from.as_secs_f64(), words(&episode.fault)),
            ));
            let over = |to: Duration| (to, format!("from {} s: {name} {}", to.as_secs_f64(), over(&episode.fault)));
            moments.extend(episode.to.map(over));
        }
        moments.sort();
        moments
    }

    fn episodes(&self) -> impl Iterator<Item = (&Scripted, &Episode)> {
        self.scripted.iter().flat_map(|scripted| scripted.episodes.iter().map(move |episode| (scripted, episode)))
    }

    /// How long there must be calls so that all of it can be seen, a return after each outage too.
    pub(crate) fn length(&self, disabled_time: Duration) -> Duration {
        let needs = |episode: &Episode| {
            let last = episode.to.unwrap_or(episode.from);
            last + match episode.fault {
                Fault::Outage => 2 * disabled_time,
                Fault::RateLimit { per, .. } if episode.to.is_none() => per * WINDOWS,
                Fault::RateLimit { per, .. } => per,
                Fault::Errors { .. } | Fault::Latency { .. } => {
                    if episode.to.is_none() {
                        AFTER
                    } else {
                        Duration::ZERO
                    }
                }
            }
        };
        self.episodes().map(|(_, episode)| needs(episode)).max().unwrap_or_default() + AFTER
    }
}

impl Scripted {
    /// What it is called on the screen.
    pub(crate) fn name(&self) -> String {
        if self.beside.is_empty() {
            return self.router.clone();
        }
        format!("{} (and {}, the same fake LLM)", self.router, self.beside.join(", "))
    }

    /// Whether a fault of it makes calls fail.
    pub(crate) fn fails(&self) -> bool {
        self.episodes.iter().any(|episode| !matches!(episode.fault, Fault::Latency { .. }))
    }
}

/// What a fault is, said of a router.
pub(crate) fn words(fault: &Fault) -> String {
    match fault {
        Fault::Outage => "is down".to_owned(),
        Fault::Errors { rate, status } => {
            format!("answers {} % of its calls with {status}", (1e4 * rate).round() / 100.0)
        }
        Fault::Latency { add } => format!("answers {} ms later", add.as_millis()),
        Fault::RateLimit { requests, per } => {
            format!("takes {requests} calls per {} s, and says 429 with Retry-After to more", per.as_secs_f64())
        }
    }
}

const fn over(fault: &Fault) -> &'static str {
    match fault {
        Fault::Outage => "works again",
        Fault::Errors { .. } => "makes no errors any more",
        Fault::Latency { .. } => "is as fast as before",
        Fault::RateLimit { .. } => "takes all calls again",
    }
}

/// Reads what the routers of a gateway's configuration lead to.
fn deployments(gateway: &str) -> Deployments {
    let config: Value = serde_json::from_str(gateway).unwrap_or_default();
    let routers = config["routers"].as_array().into_iter().flatten();
    let deployment = |router: &Value| {
        let outbound = &router["outbound"];
        let fake = outbound["url"].as_str()?.contains("AISERVICE_API_BASE");
        let (_, behind) = outbound["endpoint"].as_str().filter(|_| fake)?.split_once("deployments/")?;
        behind.split('/').next().map(str::to_owned)
    };
    routers.filter_map(|router| Some((router["path"].as_str()?.to_owned(), deployment(router)))).collect()
}

fn parse(name: &str, text: &str, routers: &[&str], deployments: &Deployments) -> Result<Faults, Vec<String>> {
    Document::read(name, text, |document, root| {
        let like = format!(r#"{{"routers": {{{:?}: [{LIKE}]}}}}"#, routers.first().unwrap_or(&"/azure/gpt4/"));
        if !document.object(root, &["seed", "routers"], &like) {
            return None;
        }
        let whole = |number: f64| number >= 0.0 && number.fract() == 0.0 && number < 1e15;
        let seed = document.optional(root, "seed", "a whole number such as 1", whole).unwrap_or_default() as u64;
        let Some(item) = root.get("routers") else {
            document.fault(root, &format!("\"routers\" is missing; it must be like {like}"));
            return None;
        };
        document.filled(&item, &format!(r#"{{{:?}: [{LIKE}]}}"#, routers.first().unwrap_or(&"/azure/gpt4/")));
        let mut faults = Faults { seed, scripted: Vec::new() };
        for (path, item) in item.fields() {
            let episodes = document.list(&item, &format!("[{LIKE}]"));
            let episodes = episodes.iter().filter_map(|item| episode(document, item)).collect();
            match scripted(path, routers, deployments, &faults) {
                Ok((deployment, beside)) => {
                    faults.scripted.push(Scripted { router: path.to_owned(), beside, deployment, episodes });
                }
                Err(problem) => document.fault(&item, &problem),
            }
        }
        Some(faults)
    })
}

/// The router's fake LLM, and the other routers that lead there.
fn scripted(
    path: &str,
    routers: &[&str],
    deployments: &Deployments,
    before: &Faults,
) -> Result<(String, Vec<String>), String> {
    let played = |path: &str| deployments.get(path).and_then(Option::as_ref);
    let able: Vec<_> = routers.iter().copied().filter(|path| played(path).is_some()).collect();
    if !routers.contains(&path) {
        return Err(format!("is no router behind an ingress of this demo; {}", document::those(path, &able)));
    }
    let Some(deployment) = played(path) else {
        let able = able.join(", ");
        return Err(format!("leads to no fake LLM, so nothing can be scripted for it; use one of {able}"));
    };
    if let Some(other) = before.of(path) {
        return Err(format!("leads to the same fake LLM as {}; put all its faults there", other.router));
    }
    let beside = deployments.iter().filter(|(other, to)| other.as_str() != path && to.as_ref() == Some(deployment));
    Ok((deployment.clone(), beside.map(|(other, _)| other.clone()).collect()))
}

fn episode(document: &mut Document<'_>, item: &Item<'_>) -> Option<Episode> {
    let kinds = KINDS.map(|(kind, _)| kind);
    if !document.filled(item, LIKE) {
        return None;
    }
    let Some(named) = item.get("fault") else {
        document.fault(item, &format!("lacks \"fault\", one of {}", kinds.join(", ")));
        return None;
    };
    let word = document.word(&named, &kinds)?;
    let own = KINDS.iter().find(|(kind, _)| *kind == word).map(|(_, keys)| *keys).unwrap_or_default();
    document.object(item, &[&["fault", "from", "to"], own].concat(), LIKE);
    let moment = |number: f64| (0.0..=MAX_SECONDS).contains(&number);
    let from = document.optional(item, "from", "seconds since the first call, such as 2", moment).unwrap_or_default();
    let later = |to: f64| moment(to) && to > from;
    let to =
        document.optional(item, "to", &format!("seconds since the first call, and more than \"from\" ({from})"), later);
    let fault = fault(document, item, word);
    Some(Episode { from: Duration::from_secs_f64(from), to: to.map(Duration::from_secs_f64), fault: fault? })
}

fn fault(document: &mut Document<'_>, item: &Item<'_>, kind: &str) -> Option<Fault> {
    Some(match kind {
        "outage" => Fault::Outage,
        "errors" => {
            let rate = document
                .number(item, "rate", "the part of the calls, above 0 and at most 1", |rate| rate > 0.0 && rate <= 1.0);
            let is_error = |status: f64| status.fract() == 0.0 && (400.0..600.0).contains(&status);
            let status = document.optional(item, "status", "a status from 400 to 599, such as 500", is_error);
            Fault::Errors { rate: rate?, status: status.map_or(500, |status| status as u16) }
        }
        "latency" => {
            let most = CALL_TIMEOUT.as_secs_f64() / 2.0;
            let wanted = format!("seconds, above 0 and at most {most}, such as 0.3");
            let add = document.number(item, "add", &wanted, |add| add >= 0.001 && add <= most);
            Fault::Latency { add: Duration::from_secs_f64(add?) }
        }
        _ => {
            let whole = |number: f64| number.fract() == 0.0 && (0.0..=1e6).contains(&number);
            let requests = document.number(
                item,
                "requests",
                "a whole number of calls that pass in each window, such as 10",
                whole,
            );
            let wanted = "seconds, at least 0.1: how long a window is, such as 2";
            let per = document.number(item, "per", wanted, |per| (0.1..=MAX_SECONDS).contains(&per));
            Fault::RateLimit { requests: requests? as u32, per: Duration::from_secs_f64(per?) }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATEWAY: &str = include_str!("../../gl_config.json");
    const ROUTERS: [&str; 3] = ["/azure/gpt35turbo/", "/azure/gpt4/", "/azure/dud/"];

    fn read(text: &str) -> Result<Faults, Vec<String>> {
        parse("f.json", text, &ROUTERS, &deployments(GATEWAY))
    }

    #[test]
    fn a_good_file_says_what_happens_when() {
        let faults = read(
            r#"{ // a comment
              "seed": 7,
              "routers": {
                "/azure/gpt4/": [{"fault": "outage", "from": 2, "to": 6.5}, {"fault": "latency", "add": 0.25, "to": 1}],
                "/azure/gpt35turbo/": [{"fault": "errors", "rate": 0.125}, {"fault": "rate_limit", "requests": 10, "per": 2}]
              } }"#,
        );
        let faults = faults.unwrap();
        assert_eq!(faults.seed, 7);
        let moments: Vec<_> = faults.moments().into_iter().map(|(_, text)| text).collect();
        let gpt4 = "/azure/gpt4/ (and /azure/, the same fake LLM)";
        assert_eq!(
            moments,
            [
                "from 0 s: /azure/gpt35turbo/ answers 12.5 % of its calls with 500".to_owned(),
                "from 0 s: /azure/gpt35turbo/ takes 10 calls per 2 s, and says 429 with Retry-After to more".to_owned(),
                format!("from 0 s: {gpt4} answers 250 ms later"),
                format!("from 1 s: {gpt4} is as fast as before"),
                format!("from 2 s: {gpt4} is down"),
                format!("from 6.5 s: {gpt4} works again"),
            ]
        );
        assert_eq!(faults.of("/azure/").map(|scripted| scripted.deployment.as_str()), Some("gpt4"));
        assert_eq!(faults.length(Duration::from_secs(3)), Duration::from_millis(15_500));
    }

    #[test]
    fn every_fault_is_reported_with_its_place_and_its_remedy() {
        let all = r#"{
  "sed": 7,
  "seed": 1.5,
  "routers": {
    "/azure/gpt5/": [{"fault": "outage"}],
    "/azure/dud/": [{"fault": "outage"}],
    "/azure/gpt4/": [
      {"fault": "outage", "from": 5, "to": 2, "status": 500},
      {"fault": "errors", "rate": 2, "status": 200},
      {"fault": "latency"},
      {"fault": "rate_limit", "requests": 1.5, "per": "2s"},
      {"fault": "outrage"},
      {"from": 1},
      7
    ],
    "/azure/gpt35turbo/": [],
    "/azure/gpt4/": [{"fault": "outage"}]
  }
}"#;
        let faults = read(all).unwrap_err();
        let expected = [
            ("f.json:2:3 sed: no such key", "did you mean \"seed\"?"),
            ("f.json:3:3 seed: must be a whole number", "is 1.5"),
            ("f.json:5:5 routers[\"/azure/gpt5/\"]: is no router", "did you mean \"/azure/gpt4/\"?"),
            (
                "f.json:6:5 routers[\"/azure/dud/\"]: leads to no fake LLM",
                "use one of /azure/gpt35turbo/, /azure/gpt4/",
            ),
            ("f.json:8:38 routers[\"/azure/gpt4/\"][0].to: must be seconds", "more than \"from\" (5), and is 2"),
            ("f.json:8:47 routers[\"/azure/gpt4/\"][0].status: no such key", "there are fault, from, to"),
            ("f.json:9:27 routers[\"/azure/gpt4/\"][1].rate: must be the part", "at most 1, and is 2"),
            ("f.json:9:38 routers[\"/azure/gpt4/\"][1].status: must be a status", "and is 200"),
            ("f.json:10:7 routers[\"/azure/gpt4/\"][2]: lacks \"add\"", "such as 0.3"),
            ("f.json:11:31 routers[\"/azure/gpt4/\"][3].requests: must be a whole", "and is 1.5"),
            ("f.json:11:48 routers[\"/azure/gpt4/\"][3].per: must be seconds", "and is \"2s\""),
            ("f.json:12:8 routers[\"/azure/gpt4/\"][4].fault: \"outrage\" is none", "did you mean \"outage\"?"),
            ("f.json:13:7 routers[\"/azure/gpt4/\"][5]: lacks \"fault\"", "one of outage, errors"),
            ("f.json:14:7 routers[\"/azure/gpt4/\"][6]: must be an object", "and is 7"),
            ("f.json:16:5 routers[\"/azure/gpt35turbo/\"]: must be a list", "and is []"),
            ("f.json:17:5 routers[\"/azure/gpt4/\"]: is here a second time", "leave one"),
            ("f.json:17:5 routers[\"/azure/gpt4/\"]: leads to the same fake LLM", "put all its faults there"),
        ];
        assert_eq!(faults.len(), expected.len(), "{faults:#?}");
        for ((begin, end), fault) in expected.iter().zip(&faults) {
            assert!(fault.starts_with(begin) && fault.contains(end), "{begin:?} … {end:?}: {fault}");
        }
    }

    #[test]
    fn what_is_no_such_file_at_all_is_said() {
        for (text, words) in [
            ("", "is empty"),
            ("// nothing", "is empty"),
            ("{", "f.json:1:1 is not JSON"),
            ("[]", "must be an object such as {\"routers\""),
            ("{\"seed\": 1}", "\"routers\" is missing"),
            ("{\"routers\": {}}", "routers: must be an object such as {\"/azure/gpt35turbo/\""),
        ] {
            let faults = read(text).unwrap_err();
            assert!(faults.len() == 1 && faults[0].contains(words), "{text}: {faults:?}");
        }
    }
}
