//! The caller of `--requests` and `--faults`: one call after the other at a steady pace, as a client would make them.
//!
//! Sequential on purpose: what a call finds out must be known before the next one, so there is nothing to excuse.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

/// What a client says.
pub(crate) const BODY: &str = r#"{"messages":[{"role":"user","content":"Hello"}]}"#;
/// How long it waits for an answer.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// How many calls there are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Amount {
    /// So many.
    Number(u32),
    /// The calls of this time.
    Time(Duration),
}

/// What a client gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Status of the answer.
    pub(crate) status: u16,
    /// The gateway's id of the call.
    pub(crate) transaction: String,
}

/// So many users call in turn.
const USERS: usize = 20;
/// Models that they ask for in turn.
const MODELS: [&str; 2] = ["gpt-4", "gpt-3.5-turbo"];

/// Makes the calls, to each address in turn; each has an answer, or the reason why there is none.
pub(crate) async fn make(urls: Vec<String>, amount: Amount, rate: u32) -> Vec<Result<Answer, String>> {
    let config = ureq::Agent::config_builder().timeout_global(Some(CALL_TIMEOUT)).http_status_as_error(false).build();
    let agent = ureq::Agent::new_with_config(config);
    let mut pace = interval(Duration::from_secs(1) / rate.max(1));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut answers = Vec::new();
    // Each address gets every user and every model.
    let turns = (0_usize..).flat_map(|turn| urls.iter().map(move |url| (turn, url)));
    let (number, end) = match amount {
        Amount::Number(number) => (number, None),
        Amount::Time(time) => (u32::MAX, Some(Instant::now() + time)),
    };
    for (_, (turn, url)) in (0..number).zip(turns) {
        pace.tick().await;
        if end.is_some_and(|end| Instant::now() >= end) {
            break;
        }
        let (agent, url) = (agent.clone(), url.clone());
        let called = tokio::task::spawn_blocking(move || call(&agent, &url, turn)).await;
        answers.push(called.unwrap_or_else(|error| Err(error.to_string())));
    }
    answers
}

fn call(agent: &ureq::Agent, url: &str, turn: usize) -> Result<Answer, String> {
    let request = agent.post(url).header("Content-Type", "application/json").header("Api-Key", "any-key");
    let request = request.header("X-User", format!("user-{}", turn % USERS));
    let model = MODELS[turn / USERS % MODELS.len()];
    let body = BODY.replacen('{', &format!("{{\"model\":\"{model}\","), 1);
    let mut response = request.send(body).map_err(|error| error.to_string())?;
    // Only a whole answer is one.
    response.body_mut().read_to_vec().map_err(|error| error.to_string())?;
    let transaction = response.headers().get("Session-Id").and_then(|id| id.to_str().ok()).unwrap_or_default();
    Ok(Answer { status: response.status().as_u16(), transaction: transaction.to_owned() })
}
