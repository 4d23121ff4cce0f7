//! What a target changes in a request: `override_params`, `model` and `model_map`.

use std::sync::Arc;

use super::reader::{Item, Reader};
use types::request::Patch;

/// The changes to a request, inherited ones included.
pub(super) fn read(reader: &mut Reader<'_>, target: &Item<'_>, above: &Arc<Patch>) -> Arc<Patch> {
    let (merge, model_map) = (target.get("override_params"), target.get("model_map"));
    let model = target.get("model");
    if merge.is_none() && model_map.is_none() && model.is_none() {
        return Arc::clone(above);
    }
    let mut patch = Patch::clone(above);
    if let Some(model) = model.and_then(|model| reader.word(&model)) {
        patch.merge.insert("model".to_owned(), model.into());
    }
    if let Some(merge) = merge
        && reader.map(&merge, "{\"max_tokens\": 200}")
    {
        patch.merge.extend(reader.json_map(&merge).unwrap_or_default());
    }
    if let Some(map) = model_map
        && reader.map(&map, "{\"gpt-4\": \"gpt4\"}")
    {
        for (name, item) in map.fields() {
            if let Some(model) = reader.word(&item) {
                patch.model_map.insert(name.to_owned(), model.to_owned());
            }
        }
    }
    Arc::new(patch)
}
