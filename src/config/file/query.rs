//! Parses queries and fields of requests for [`balancer::strategy::query`].
//!
//! A query that could never match is a fault: a header compared with a number, a list without `$in`, an empty query.

use jsonc_parser::ast::Value;
use regex::{Regex, RegexBuilder};

use super::MAX_DEPTH;
use super::reader::{Item, Reader, nearest};
use super::schema::Operators;
use crate::config::keys::keys;
use balancer::strategy::{Field, Query, Test};

/// The operators around queries. Those inside a field are the keys of [`Operators`]; here any other name is a field.
pub(super) const AROUND: [&str; 3] = ["$and", "$or", "$not"];

const LIKE: &str = "{\"params.model\": {\"$eq\": \"gpt-4\"}}";
const FIELDS: &str = "a field is params.<name>, headers.<Name>, path or session";
/// Limit of a compiled pattern, in bytes: enough for any that a person writes.
const MAX_PATTERN_BYTES: usize = 1 << 20;

pub(super) fn read(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<Query> {
    query(reader, item, 1)
}

/// A field of a request, as the key of a `sticky` strategy.
pub(super) fn key(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<Field> {
    let text = reader.text(item)?;
    let field = match field(text) {
        Ok(Field::Path) => {
            Err("is the same for every request of a pool; use headers.<Name>, params.<name> or session".to_owned())
        }
        field => field,
    };
    field.map_err(|problem| reader.fault(item, problem)).ok()
}

fn query(reader: &mut Reader<'_>, item: &Item<'_>, depth: usize) -> Option<Query> {
    if depth > MAX_DEPTH {
        reader.fault(item, format!("is nested deeper than {MAX_DEPTH} levels"));
        return None;
    }
    if !reader.map(item, LIKE) {
        return None;
    }
    let mut parts: Vec<_> = item.fields().map(|(name, part)| self::part(reader, name, &part, depth)).collect();
    match parts.len() {
        0 => {
            reader.fault(item, "is empty and would match every request; for all other requests use \"default\"");
            None
        }
        1 => parts.pop().flatten(),
        _ => parts.into_iter().collect::<Option<_>>().map(Query::All),
    }
}

fn part(reader: &mut Reader<'_>, name: &str, item: &Item<'_>, depth: usize) -> Option<Query> {
    match name {
        "$and" => queries(reader, item, depth).map(Query::All),
        "$or" => queries(reader, item, depth).map(Query::Any),
        "$not" => query(reader, item, depth + 1).map(|query| Query::Not(Box::new(query))),
        _ if name.starts_with('$') => {
            reader
                .key_fault(item, no_such_operator(name, &AROUND, keys::<Operators>(), "goes inside a field, such as"));
            None
        }
        _ => {
            let field = field(name).map_err(|problem| reader.key_fault(item, problem)).ok()?;
            tests(reader, &field, item).map(|tests| Query::Field(field, tests))
        }
    }
}

fn queries(reader: &mut Reader<'_>, item: &Item<'_>, depth: usize) -> Option<Vec<Query>> {
    if !reader.list(item, "queries") {
        return None;
    }
    let queries: Vec<_> = item.elements().map(|element| query(reader, &element, depth + 1)).collect();
    queries.into_iter().collect()
}

fn field(text: &str) -> Result<Field, String> {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    match Field::parse(text) {
        Some(Field::Header(name)) if !name.chars().all(token) => Err(format!("{name:?} cannot be a header's name")),
        Some(field) => Ok(field),
        None => Err(no_such_field(text)),
    }
}

fn no_such_field(text: &str) -> String {
    let (first, rest) = text.split_once('.').unwrap_or((text, ""));
    let instead = match first {
        "metadata" => Some("; the gateway carries no metadata: send a header and ask for headers.<Name>".to_owned()),
        "url" => Some("; did you mean path?".to_owned()),
        "model" => Some("; did you mean params.model?".to_owned()),
        _ => nearest(first, &["params", "headers", "path", "session"]).map(|near| match near {
            "params" | "headers" if rest.is_empty() => format!("; {near} needs a name: {near}.<name>"),
            "params" | "headers" if first != near => format!("; did you mean {near}.{rest}?"),
            _ if first != near => format!("; did you mean {near}?"),
            _ => format!("; {FIELDS}"),
        }),
    };
    format!("no such field{}", instead.unwrap_or_else(|| format!("; {FIELDS}")))
}

fn no_such_operator(name: &str, here: &[&str], there: &[&str], then: &str) -> String {
    if there.contains(&name) {
        let like = if there.contains(&"$and") { "{\"$not\": {\"params.model\": \"gpt-4\"}}" } else { LIKE };
        return format!("{then} {like}");
    }
    let near = nearest(name, here).or_else(|| nearest(name, there));
    let instead = near.map_or_else(|| format!("there are {}", here.join(", ")), |near| format!("did you mean {near}?"));
    format!("no such operator; {instead}")
}

fn tests(reader: &mut Reader<'_>, field: &Field, item: &Item<'_>) -> Option<Vec<Test>> {
    match item.value {
        Value::Object(object) if object.properties.is_empty() => {
            reader.fault(item, format!("is empty; it must contain a test, such as {LIKE}"));
            None
        }
        Value::Object(_) => {
            let tests: Vec<_> = item.fields().map(|(name, test)| self::test(reader, field, name, &test)).collect();
            tests.into_iter().collect()
        }
        Value::Array(_) => {
            reader.fault(item, "must be a value or an object of tests; for any one of these: {\"$in\": [...]}");
            None
        }
        _ => operand(reader, field, item).map(|value| vec![Test::Eq(value)]),
    }
}

fn test(reader: &mut Reader<'_>, field: &Field, name: &str, item: &Item<'_>) -> Option<Test> {
    match name {
        "$eq" => operand(reader, field, item).map(Test::Eq),
        "$ne" => operand(reader, field, item).map(Test::Ne),
        "$gt" => ordered(reader, field, item).map(Test::Gt),
        "$gte" => ordered(reader, field, item).map(Test::Gte),
        "$lt" => ordered(reader, field, item).map(Test::Lt),
        "$lte" => ordered(reader, field, item).map(Test::Lte),
        "$in" => operands(reader, field, item).map(Test::In),
        "$nin" => operands(reader, field, item).map(Test::Nin),
        "$regex" => pattern(reader, item).map(Test::Regex),
        _ => {
            reader
                .key_fault(item, no_such_operator(name, keys::<Operators>(), &AROUND, "goes around a query, such as"));
            None
        }
    }
}

/// A value that the field can have: only a field of the JSON body can be anything but a text.
fn operand(reader: &mut Reader<'_>, field: &Field, item: &Item<'_>) -> Option<serde_json::Value> {
    match (field, item.value) {
        (Field::Param(_), _) | (_, Value::StringLit(_)) => reader.json(item),
        _ => {
            reader.fault(item, format!("must be a text in quotes: {field} is never anything else"));
            None
        }
    }
}

fn ordered(reader: &mut Reader<'_>, field: &Field, item: &Item<'_>) -> Option<serde_json::Value> {
    match item.value {
        Value::StringLit(_) | Value::NumberLit(_) => operand(reader, field, item),
        _ => {
            reader.fault(item, "must be a number or a text: nothing else has an order");
            None
        }
    }
}

fn operands(reader: &mut Reader<'_>, field: &Field, item: &Item<'_>) -> Option<Vec<serde_json::Value>> {
    if !reader.list(item, "values") {
        return None;
    }
    let values: Vec<_> = item.elements().map(|element| operand(reader, field, &element)).collect();
    values.into_iter().collect()
}

fn pattern(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<Regex> {
    let text = reader.text(item)?;
    match RegexBuilder::new(text).size_limit(MAX_PATTERN_BYTES).build() {
        Ok(regex) => Some(regex),
        Err(error) => {
            // The first lines draw the place, which a value of one line cannot show.
            let error = error.to_string();
            let reason = error.lines().last().unwrap_or_default();
            reader.fault(item, format!("is not a regular expression: {}", reason.trim_start_matches("error: ")));
            None
        }
    }
}
