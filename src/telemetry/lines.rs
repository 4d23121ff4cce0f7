//! The log lines that tell of changes, in the users' words: disabled and enabled.

use types::event::{Change, Notice, Ordered, Standing, Transition};

/// Logs a change.
pub fn tell(change: &Change) {
    match change {
        Change::Standing(transition) => standing(transition),
        // Calls that reach a disabled router past us (directly, say) can do this many times a second, and so can delays of
        // a few milliseconds.
        Change::Extended(Transition { router, standing: Standing::Cooling { until, .. }, .. }) => {
            tracing::debug!(%router, until = %until, "router disabled for longer");
        }
        Change::Extended(_) => {}
        Change::AllDisabled { ingress, tried: true } => tracing::error!(
            %ingress,
            "all routers disabled: until one is back, disabled ones get these calls, as \"when_all_disabled\" says"
        ),
        Change::AllDisabled { ingress, tried: false } => tracing::error!(
            %ingress,
            "all routers disabled: until one is back, the gateway serves these calls by the own endpoint of {ingress}, the last resort; those of the relay wait for it or get 503"
        ),
        Change::SomeEnabled(ingress) => tracing::info!(%ingress, "routers available again: {ingress} is balanced"),
        Change::Notice(notice) => say(notice),
        Change::Ordered(Ordered { about, what, until, by, reason, .. }) => {
            let until = until.map(|until| until.to_string());
            tracing::info!(router = %about, what, until, by, reason, "an operator's word");
        }
    }
}

fn standing(transition: &Transition) {
    let Transition { router, epoch, standing, at } = transition;
    match standing {
        Standing::Serving => tracing::info!(%router, epoch, "router enabled"),
        Standing::Probing { .. } => {
            tracing::info!(%router, epoch, "router on probation: one request at a time until one succeeds");
        }
        Standing::Cooling { until, cause } => {
            let cause = cause.to_string(); // a text, so that its spaces stand between quotes
            tracing::warn!(%router, cause, epoch, seconds = until.since(*at).as_secs_f64(), until = %until, "router disabled");
        }
    }
}

fn say(notice: &Notice) {
    match notice {
        Notice::RefusesCredentials(router, status) => tracing::warn!(
            %router,
            status,
            "router refuses every call while another works: look at the key that clients send and whether this deployment takes it (a masked static key never leaves the gateway)"
        ),
        Notice::OnlyNotFound(router) => tracing::warn!(
            %router,
            "router answers nothing but 404: look at its url and endpoint in gl_config.json, and whether the deployment exists"
        ),
        Notice::KeepsFailing(router, times) => tracing::warn!(
            %router,
            times,
            "router fails right after each return: mend it, take it out (\"drained\": true in the pools file), or give it a longer DISABLED_TIME (\"health\": {{\"disabled_time\": 60}} in the pools file) so that it costs fewer calls"
        ),
        Notice::StampsUnseen => tracing::warn!(
            "no log entry shows a stamp of ours, so fastest and least_busy do not know which calls are under way: let the processor on our subject write \"broker\" (two rows, output_fields_write), keep request.broker in the log (fields_exclude), and let BROKER_LOGGER_SUBJECT be the gateway's (said once)"
        ),
        Notice::RequestAtFault(first, second) => tracing::warn!(
            %first,
            %second,
            "a request failed on one router and then on another that answers others: taken for at fault itself, and counted against neither"
        ),
        Notice::LogFiltered(field) => tracing::warn!(
            field,
            "the gateway's log comes without {field}: take it out of fields_exclude, or into fields_include, under \"logger\" in gl_config.json; until then we learn only from the processor messages"
        ),
    }
}
