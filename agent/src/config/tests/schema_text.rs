//! What `sealtail schema` prints.

use super::*;

#[test]
fn it_knows_every_key_with_words_and_defaults() {
    let schema: serde_json::Value = serde_json::from_str(&schema()).unwrap();
    let config = &schema["oneOf"][0];
    assert_eq!(config["additionalProperties"], false);
    assert_eq!(config["properties"]["journal"]["properties"]["max_bytes"]["default"], "1GiB");
    let sink = &config["properties"]["sinks"]["items"];
    assert_eq!(sink["required"], serde_json::json!(["name", "type"]));
    assert!(schema["oneOf"][1]["properties"]["retention_policy"].is_object());
    undescribed(config, "");
}

fn undescribed(schema: &serde_json::Value, path: &str) {
    assert!(!schema.to_string().contains("\"null\""), "null is refused, so it is not in it");
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{key}");
        assert!(property["description"].is_string(), "{path} has no description");
        undescribed(property, &path);
        undescribed(&property["items"], &path);
    }
}
