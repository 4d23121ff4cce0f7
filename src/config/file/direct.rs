//! Targets with a `url` or a `provider`: called by the relay, without the gateway.
//!
//! `${NAME}` in their texts is a variable of the environment as it was at the start, `${file:/path}` the content of a file; a
//! missing one is a fault. Values are never shown, nor is a header written out in the file, which may be a secret too.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::provider;
use super::reader::{Item, Location, Reader};
use super::variables::Variables;
use crate::config::secret;
use crate::relay::{Base, DirectUpstream, ProviderTarget};
use types::router::RouterPath;

/// The keys of a target that need `url`.
pub(super) const KEYS: [&str; 5] = ["endpoint", "query", "headers", "remove_headers", "forward_credentials"];

/// The direct targets of a file, by their router paths.
#[derive(Debug, Default)]
pub(super) struct Directs {
    variables: Variables,
    found: BTreeMap<RouterPath, (Location, Arc<DirectUpstream>)>,
}

impl Directs {
    pub(super) fn new(variables: Variables) -> Self {
        Self { variables, ..Self::default() }
    }

    /// The direct targets found so far.
    pub(super) fn into_found(self) -> BTreeMap<RouterPath, Arc<DirectUpstream>> {
        self.found.into_iter().map(|(path, (_, direct))| (path, direct)).collect()
    }

    /// The place of the target with this router path.
    pub(super) fn place(&self, path: &RouterPath) -> Option<&Location> {
        self.found.get(path).map(|(place, _)| place)
    }

    /// Reads a target; returns its router path.
    pub(super) fn read(
        &mut self,
        reader: &mut Reader<'_>,
        target: &Item<'_>,
        ingress: &RouterPath,
    ) -> Option<RouterPath> {
        let forwards = target.get("forward_credentials").map_or(Some(false), |flag| reader.flag(&flag));
        if let Some(named) = target.get("provider") {
            let (base, provider) = self.provider(reader, target, forwards == Some(true))?;
            let path = path(reader, target, ingress, &base);
            let mut direct = DirectUpstream::of_provider(base, provider, forwards?);
            self.read_query_and_headers(reader, target, &mut direct)?;
            return self.add_target(reader, &named, path?, direct);
        }
        let url = target.get("url")?;
        // It may contain a password, so it is not shown.
        let base = self
            .text(reader, &url)
            .and_then(|text| text.parse::<Base>().inspect_err(|fault| reader.missing(&url, fault.to_string())).ok());
        let endpoint = target.get("endpoint").map_or(Some(None), |item| self.endpoint(reader, &item).map(Some));
        let (base, endpoint, forwards) = (base?, endpoint?, forwards?);
        let path = path(reader, target, ingress, &base);
        let mut direct = DirectUpstream::new(base, endpoint, forwards);
        self.read_query_and_headers(reader, target, &mut direct)?;
        self.add_target(reader, &url, path?, direct)
    }

    fn provider(&self, reader: &mut Reader<'_>, target: &Item<'_>, forwards: bool) -> Option<(Base, ProviderTarget)> {
        if let Some(endpoint) = target.get("endpoint") {
            reader.key_fault(
                &endpoint,
                "belongs to a target with \"url\" and no \"provider\", which has paths of its own",
            );
        }
        let brings_key = forwards || target.get("headers").is_some();
        provider::read(reader, target, &self.variables, |reader, item| self.text(reader, item), brings_key)
    }

    fn endpoint(&self, reader: &mut Reader<'_>, item: &Item<'_>) -> Option<String> {
        let text = self.text(reader, item)?;
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'\\'));
        if !plain {
            reader.missing(item, "must be a path such as chat/completions; parameters belong into \"query\"");
        }
        plain.then_some(text)
    }

    fn read_query_and_headers(
        &self,
        reader: &mut Reader<'_>,
        target: &Item<'_>,
        direct: &mut DirectUpstream,
    ) -> Option<()> {
        let mut good = true;
        if let Some(query) = target.get("query")
            && reader.map(&query, "{\"api-version\": \"2024-02-01\"}")
        {
            for (name, item) in query.fields() {
                match self.text(reader, &item) {
                    Some(value) => direct.set_query(name, &value),
                    None => good = false,
                }
            }
        }
        if let Some(headers) = target.get("headers")
            && reader.map(&headers, "{\"Authorization\": [\"Bearer ${OPENAI_API_KEY}\"]}")
        {
            for (name, item) in headers.fields() {
                good &= self.header(reader, name, &item, direct).is_some();
            }
        }
        if let Some(removed) = target.get("remove_headers")
            && reader.list(&removed, "names of headers")
        {
            for item in removed.elements() {
                let withheld = reader.word(&item).map(|name| direct.remove_header(name));
                if let Some(Err(fault)) = withheld {
                    reader.fault(&item, fault.to_string());
                }
            }
        }
        good.then_some(())
    }

    fn header(&self, reader: &mut Reader<'_>, name: &str, item: &Item<'_>, direct: &mut DirectUpstream) -> Option<()> {
        if item.value.as_string_lit().is_some() {
            return self.set_header_value(reader, name, item, direct);
        }
        if !reader.list(item, "values, such as \"Bearer ${OPENAI_API_KEY}\"") {
            return None;
        }
        let said: Vec<_> = item.elements().map(|value| self.set_header_value(reader, name, &value, direct)).collect();
        said.into_iter().collect()
    }

    fn set_header_value(
        &self,
        reader: &mut Reader<'_>,
        name: &str,
        item: &Item<'_>,
        direct: &mut DirectUpstream,
    ) -> Option<()> {
        let value = self.text(reader, item)?;
        let set = direct.set_header(name, &value);
        set.map_err(|fault| reader.missing(item, format!("the header {:?} {fault}", secret::shown_name(name)))).ok()
    }

    /// A text, with its variables replaced.
    fn text(&self, reader: &mut Reader<'_>, item: &Item<'_>) -> Option<String> {
        let mut rest = reader.word(item)?;
        let mut whole = String::new();
        let mut good = true;
        while let Some((before, behind)) = rest.split_once("${") {
            whole.push_str(before);
            let Some((name, after)) = behind.split_once('}') else {
                reader.missing(item, "has a ${ without its }");
                return None;
            };
            match self.variables.value(name) {
                Ok(value) => whole.push_str(value),
                Err(problem) => {
                    reader.missing(item, problem);
                    good = false;
                }
            }
            rest = after;
        }
        whole.push_str(rest);
        good.then_some(whole)
    }

    fn add_target(
        &mut self,
        reader: &mut Reader<'_>,
        url: &Item<'_>,
        path: RouterPath,
        direct: DirectUpstream,
    ) -> Option<RouterPath> {
        match self.found.get(&path) {
            Some((_, other)) if **other == direct => {}
            Some((place, _)) => {
                let place = reader.location(place);
                reader.missing(
                    url,
                    format!("would be called {path}, as another target is ({place}): give them names that differ"),
                );
                return None;
            }
            None => drop(self.found.insert(path.clone(), (url.place(), Arc::new(direct)))),
        }
        Some(path)
    }
}

/// The path of a target in logs and headers: the ingress, and the letters and digits of its name, else of its provider, else of
/// its host.
fn path(reader: &mut Reader<'_>, target: &Item<'_>, ingress: &RouterPath, base: &Base) -> Option<RouterPath> {
    let (name, provider) = (target.get("name"), target.get("provider"));
    let said = name.as_ref().or(provider.as_ref()).and_then(|name| name.value.as_string_lit());
    let said = said.map_or(base.host(), |name| &name.value);
    let word: String = said.chars().filter(char::is_ascii_alphanumeric).collect();
    let path = RouterPath::parse(&format!("{ingress}{word}/"));
    let fault = |fault| {
        let problem = format!("is called {ingress}{word}/ in logs, which {fault}: give it a short name of letters");
        reader.missing(name.as_ref().unwrap_or(target), problem);
    };
    path.map_err(fault).ok()
}
