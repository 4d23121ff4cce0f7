//! Reading JSON the way Go decodes it into a struct, with every fault noted at its place.
//!
//! Missing and `null` give the zero value, unknown fields are ignored, the case of keys is too, and a wrong type is a fault
//! that does not end the reading, so that all faults are reported at once.

use std::cell::RefCell;
use std::fmt;

use serde_json::Value;

/// One thing that is wrong with a configuration, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The place as a path, such as `routers[2].outbound.url`; empty for the file as a whole.
    pub place: String,
    /// What is wrong there.
    pub problem: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place.is_empty() { f.write_str(&self.problem) } else { write!(f, "{}: {}", self.place, self.problem) }
    }
}

pub(super) type Faults = RefCell<Vec<Fault>>;

#[derive(Clone, Debug)]
pub(super) struct ConfigNode<'a> {
    value: &'a Value,
    path: String,
    faults: &'a Faults,
}

impl<'a> ConfigNode<'a> {
    pub(super) fn root(value: &'a Value, faults: &'a Faults) -> ConfigNode<'a> {
        ConfigNode { value, path: String::new(), faults }
    }

    /// The same place with another list of faults: the faults of a router only drop that router.
    pub(super) fn reporting_to<'b>(&'b self, faults: &'b Faults) -> ConfigNode<'b> {
        ConfigNode { value: self.value, path: self.path.clone(), faults }
    }

    fn inside(&self, value: &'a Value, path: String) -> ConfigNode<'a> {
        ConfigNode { value, path, faults: self.faults }
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn fault(&self, problem: impl Into<String>) {
        self.faults.borrow_mut().push(Fault { place: self.path.clone(), problem: problem.into() });
    }

    /// Reports `problem` unless `holds`.
    pub(super) fn require(&self, holds: bool, problem: &str) {
        if !holds {
            self.fault(problem);
        }
    }

    pub(super) fn is_absent(&self) -> bool {
        self.value.is_null()
    }

    pub(super) fn field(&self, name: &str) -> ConfigNode<'a> {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        let value = match self.value {
            Value::Object(map) => map
                .get(name)
                .or_else(|| map.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)),
            Value::Null => None,
            _ => return self.wrong_type("an object", self.inside(&Value::Null, path)),
        };
        self.inside(value.unwrap_or(&Value::Null), path)
    }

    pub(super) fn text(&self) -> &'a str {
        match self.value {
            Value::String(text) => text,
            Value::Null => "",
            _ => self.wrong_type("a string", ""),
        }
    }

    pub(super) fn flag(&self) -> bool {
        match self.value {
            Value::Bool(flag) => *flag,
            Value::Null => false,
            _ => self.wrong_type("true or false", false),
        }
    }

    pub(super) fn integer(&self) -> i64 {
        match self.value {
            Value::Null => 0,
            value => value.as_i64().unwrap_or_else(|| self.wrong_type("an integer", 0)),
        }
    }

    pub(super) fn list(&self) -> Vec<ConfigNode<'a>> {
        match self.value {
            Value::Array(values) => {
                let place = |(at, value)| self.inside(value, format!("{}[{at}]", self.path));
                values.iter().enumerate().map(place).collect()
            }
            Value::Null => Vec::new(),
            _ => self.wrong_type("an array", Vec::new()),
        }
    }

    pub(super) fn texts(&self) -> Vec<String> {
        self.list().iter().map(|item| item.text().to_owned()).collect()
    }

    /// The entries of an object whose keys mean something.
    pub(super) fn entries(&self) -> Vec<(&'a str, ConfigNode<'a>)> {
        match self.value {
            Value::Object(map) => {
                let place = |(key, value): (&'a String, _)| (key.as_str(), self.inside(value, self.path_to(key)));
                map.iter().map(place).collect()
            }
            Value::Null => Vec::new(),
            _ => self.wrong_type("an object", Vec::new()),
        }
    }

    fn path_to(&self, key: &str) -> String {
        format!("{}.{key}", self.path)
    }

    fn wrong_type<T>(&self, right: &str, zero: T) -> T {
        self.fault(format!("must be {right}"));
        zero
    }
}
