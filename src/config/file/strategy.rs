//! `strategy`: how a branch chooses among its targets.

use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::StrDeserializer;

use super::query;
use super::reader::{Item, Reader, nearest};
use super::schema::{self, Mode};
use crate::config::keys::keys;
use balancer::strategy::{Condition, Policy};

/// The names of a branch's targets, in their order.
pub(super) type Names<'n> = [Option<&'n str>];

/// The strategy of a branch; without one: `loadbalance`.
pub(super) fn read(reader: &mut Reader<'_>, item: Option<Item<'_>>, names: &Names<'_>) -> Option<Policy> {
    let Some(item) = item else { return Some(Policy::LoadBalance) };
    if !reader.object::<schema::Strategy>(&item, "{\"mode\": \"fallback\"}") {
        return None;
    }
    let (mode, name) = match item.get("mode") {
        None => (Mode::LoadBalance, Policy::LoadBalance.as_str()),
        Some(mode) => reader.text(&mode).and_then(|text| Some((known(reader, &mode, text)?, text)))?,
    };
    belongs(reader, &item, name);
    match mode {
        Mode::LoadBalance => Some(Policy::LoadBalance),
        Mode::RoundRobin => Some(Policy::RoundRobin),
        Mode::Fallback => Some(Policy::Fallback),
        Mode::Fastest => Some(Policy::Fastest),
        Mode::LeastBusy => Some(Policy::LeastBusy),
        Mode::Sticky => sticky(reader, &item),
        Mode::Conditional => conditional(reader, &item, names),
    }
}

fn known(reader: &mut Reader<'_>, item: &Item<'_>, mode: &str) -> Option<Mode> {
    let name: StrDeserializer<'_, serde::de::value::Error> = mode.into_deserializer();
    if let Ok(mode) = Mode::deserialize(name) {
        return Some(mode);
    }
    let modes = keys::<Mode>();
    let problem = match nearest(mode, modes) {
        Some(near) => format!("no such mode; did you mean {near}?"),
        None if mode == "single" => "no such mode; a branch with one target needs none".to_owned(),
        None => format!("no such mode; there are {}", modes.join(", ")),
    };
    reader.choice_fault(item, problem);
    None
}

/// Keys of other modes are faults, because they would silently have no effect.
fn belongs(reader: &mut Reader<'_>, item: &Item<'_>, mode: &str) {
    for (name, field) in item.fields() {
        let of = match name {
            "key" => "sticky",
            "conditions" | "default" => "conditional",
            _ => continue,
        };
        if of != mode {
            reader.key_fault(&field, format!("belongs to the mode {of}, and this is {mode}"));
        }
    }
}

fn sticky(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<Policy> {
    let needs = "needs a \"key\", such as headers.X-User, params.user or session";
    let key = reader.needed(item, "key", needs)?;
    query::key(reader, &key).map(Policy::Sticky)
}

fn conditional(reader: &mut Reader<'_>, item: &Item<'_>, names: &Names<'_>) -> Option<Policy> {
    let default = item.get("default").map(|default| target(reader, &default, names));
    let needs = "needs \"conditions\": [{\"query\": {...}, \"then\": \"<name of a target>\"}]";
    let list = reader.needed(item, "conditions", needs)?;
    if !reader.list(&list, "conditions, each with a query and a then") {
        return None;
    }
    let conditions: Vec<_> = list.elements().map(|element| condition(reader, &element, names)).collect();
    let conditions = conditions.into_iter().collect::<Option<Vec<_>>>()?.into();
    let default = match default {
        Some(target) => Some(target?),
        None => None,
    };
    Some(Policy::Conditional { conditions, default })
}

fn condition(reader: &mut Reader<'_>, item: &Item<'_>, names: &Names<'_>) -> Option<Condition> {
    if !reader.object::<schema::Condition>(item, "{\"query\": {\"params.model\": \"gpt-4\"}, \"then\": \"big\"}") {
        return None;
    }
    let query = reader.needed(item, "query", "needs a \"query\"");
    let query = query.and_then(|query| query::read(reader, &query));
    let then = reader.needed(item, "then", "needs a \"then\", the name of a target of this branch");
    let then = then.and_then(|then| target(reader, &then, names));
    Some(Condition { query: query?, then: then? })
}

/// The place of the target that is named.
fn target(reader: &mut Reader<'_>, item: &Item<'_>, names: &Names<'_>) -> Option<u16> {
    let name = reader.text(item)?;
    let place = names.iter().position(|other| *other == Some(name)).and_then(|place| u16::try_from(place).ok());
    if place.is_none() {
        let names: Vec<_> = names.iter().copied().flatten().collect();
        let problem = match nearest(name, &names) {
            Some(near) => format!("no target of this branch has this \"name\"; did you mean {near}?"),
            None if names.is_empty() => "no target of this branch has a \"name\"".to_owned(),
            None => format!("no target of this branch has this \"name\"; there are {}", names.join(", ")),
        };
        reader.fault(item, problem);
    }
    place
}
