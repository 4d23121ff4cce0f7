//! The log lines about changes, in the words of the documents: disabled for ejected, enabled for readmitted.

use types::transition::{Advisory, BrokerEvent, HealthState, ModelLimitChange, OperatorAction, Transition};

pub fn log_event(change: &BrokerEvent) {
    match change {
        BrokerEvent::HealthChanged(transition) => log_transition(transition),
        // Calls that reach a disabled router without a decision of ours can cause this many times a second, and so can pauses of
        // a few milliseconds.
        BrokerEvent::Extended(Transition { router, state: HealthState::Cooling { until, .. }, .. }) => {
            tracing::debug!(%router, until = %until, "router disabled for longer");
        }
        BrokerEvent::Extended(_) => {}
        BrokerEvent::AllDisabled { ingress, uses_disabled: true } => tracing::error!(
            %ingress,
            "all routers disabled or drained: until one is back, disabled ones get these calls, by \"when_all_disabled\""
        ),
        BrokerEvent::AllDisabled { ingress, uses_disabled: false } => tracing::error!(
            %ingress,
            "all routers disabled or drained: calls through the gateway go to the own endpoint of {ingress} until one is back; calls of the relay wait for one, or get 429 or 503"
        ),
        BrokerEvent::SomeEnabled(ingress) => tracing::info!(%ingress, "routers available again: {ingress} is balanced"),
        // The model is a client's text.
        BrokerEvent::ModelLimit(ModelLimitChange { router, model, until: Some(until) }) => {
            tracing::warn!(%router, ?model, until = %until, "rate limit of one model: its calls go elsewhere, others go on");
        }
        BrokerEvent::ModelLimit(ModelLimitChange { router, model, until: None }) => {
            tracing::info!(%router, ?model, "rate limit of one model is over");
        }
        BrokerEvent::Advisory(advisory) => log_advisory(advisory),
        BrokerEvent::OperatorAction(OperatorAction { router: about, action, until, by, reason, .. }) => {
            let until = until.map(|until| until.to_string());
            let what = action.to_string(); // a text, so that it is quoted
            tracing::info!(router = %about, what, until, by, reason, "command of an operator");
        }
    }
}

fn log_transition(transition: &Transition) {
    let Transition { router, epoch, state, at } = transition;
    match state {
        HealthState::Serving => tracing::info!(%router, epoch, "router enabled"),
        HealthState::Probing { .. } => {
            tracing::info!(%router, epoch, "router on probation: only probes until one succeeds");
        }
        HealthState::Cooling { until, cause } => {
            let cause = cause.to_string(); // a text, so that it is quoted
            tracing::warn!(%router, cause, epoch, seconds = until.since(*at).as_secs_f64(), until = %until, "router disabled");
        }
    }
}

fn log_advisory(advisory: &Advisory) {
    match advisory {
        Advisory::RefusesCredentials(router, status) => tracing::warn!(
            %router,
            status,
            "router refuses every call while another works: look at the key that clients send and whether this deployment takes it (a masked static key never leaves the gateway)"
        ),
        Advisory::OnlyNotFound(router) => tracing::warn!(
            %router,
            "router answers nothing but 404: look at its url and endpoint in gl_config.json, and whether the deployment exists"
        ),
        Advisory::KeepsFailing(router, times) => tracing::warn!(
            %router,
            times,
            "router fails right after each return: fix it, take it out (\"drained\": true in the pools file), or give it a longer DISABLED_TIME (\"health\": {{\"disabled_time\": 60}} in the pools file) so that it costs fewer calls"
        ),
        Advisory::StampsMissing => tracing::warn!(
            "no log entry shows a stamp of ours, so fastest and least_busy do not know which calls are in progress: let the processor on our subject write \"broker\" (two rows, output_fields_write), keep request.broker in the log (fields_exclude), and let BROKER_LOGGER_SUBJECT be the gateway's (logged once)"
        ),
        Advisory::RequestAtFault(first, second) => tracing::warn!(
            %first,
            %second,
            "a request failed on one router and then on another that answers other requests: the request itself is at fault, and it counts against neither router"
        ),
        Advisory::LogFiltered(field) => tracing::warn!(
            field,
            "the gateway's log comes without {field}: take it out of fields_exclude, or into fields_include, under \"logger\" in gl_config.json; until then we learn only from the processor messages"
        ),
    }
}
