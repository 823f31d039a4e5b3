//! The JSON Schema of the configuration, derived from the types that read it.

use super::document::{DEFAULTS, RawConfig};
use super::error::Problems;
use super::governance::RawGovernance;
use super::structure;
use super::tree::{self, Source};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

/// The JSON Schema (draft 2020-12) as text, for editors: of a configuration,
/// or of a governance document alone.
#[must_use]
pub fn schema() -> String {
    let mut config = document();
    if let Some(defaults) = defaults(&config) {
        describe_defaults(&mut config, &defaults);
    }
    let title = config["title"].take();
    let description = config["description"].take();
    let meta = config["$schema"].take();
    for key in ["title", "description", "$schema"] {
        config.as_object_mut().map(|c| c.remove(key));
    }
    config["anyOf"] = json!([{"required": ["sinks"]}, {"required": ["governance"]}]);
    let mut alone = of::<RawGovernance>();
    alone.as_object_mut().map(|c| c.remove("$schema"));
    alone["anyOf"] = json!([{"required": ["compliance_logging"]}]);
    let whole = json!({
        "$schema": meta,
        "title": title,
        "description": description,
        "oneOf": [config, alone],
    });
    format!("{whole:#}\n")
}

/// The schema of a configuration, which [`structure`] reads.
pub(super) fn document() -> Value {
    of::<RawConfig>()
}

/// The keys that a configuration has at its top.
pub(super) fn keys(document: &Value) -> Vec<&str> {
    let properties = document.get("properties").and_then(Value::as_object);
    properties.into_iter().flat_map(|p| p.keys().map(String::as_str)).collect()
}

fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    without_null(&mut schema);
    schema
}

/// The twins have `Option` for what may be left out; a written `null` is refused.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Array(types)) = map.get_mut("type") {
                types.retain(|t| t != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    map.insert("type".into(), only);
                }
            }
            for key in ["anyOf", "oneOf"] {
                let Some(Value::Array(variants)) = map.get_mut(key) else {
                    continue;
                };
                variants.retain(|v| v.get("type").is_none_or(|t| t != "null"));
                if let [Value::Object(only)] = variants.as_slice() {
                    let only = only.clone();
                    map.remove(key);
                    for (k, v) in only {
                        map.entry(k).or_insert(v);
                    }
                }
            }
            if let Some(Value::Array(words)) = map.get_mut("enum") {
                words.retain(|w| !w.is_null());
            }
            map.values_mut().for_each(without_null);
        }
        Value::Array(items) => items.iter_mut().for_each(without_null),
        _ => {}
    }
}

/// The built-in defaults as they stand (variables not substituted).
fn defaults(document: &Value) -> Option<Value> {
    let mut problems = Problems::new("");
    let tree = tree::read(DEFAULTS, Source::Defaults, &mut problems)?;
    structure::check(&tree, document, "", &mut problems)
}

fn describe_defaults(schema: &mut Value, defaults: &Value) {
    let Value::Object(defaults) = defaults else {
        return;
    };
    for (key, default) in defaults {
        let property = &mut schema["properties"][key];
        if default.is_object() && property.get("x-secret").is_none() {
            describe_defaults(property, default);
        } else {
            property["default"] = default.clone();
        }
    }
}
