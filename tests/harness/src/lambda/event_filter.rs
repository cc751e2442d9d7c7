//! The filters of an event source mapping, as Lambda applies them to stream records.

use serde_json::Value;

/// True if a record matches any of the patterns, or if there are no patterns.
pub fn passes(patterns: &[Value], record: &Value) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, Some(record)))
}

/// Matches an object if all its keys match, and a list of rules if one rule holds.
fn matches(pattern: &Value, value: Option<&Value>) -> bool {
    match pattern {
        Value::Object(keys) => keys.iter().all(|(key, inner)| matches(inner, value.and_then(|v| v.get(key)))),
        Value::Array(rules) => rules.iter().any(|rule| holds(rule, value)),
        other => panic!("a filter pattern must hold objects and lists of rules, not {other}"),
    }
}

fn holds(rule: &Value, value: Option<&Value>) -> bool {
    let text = value.and_then(Value::as_str);
    let Value::Object(operator) = rule else { return value == Some(rule) };
    let (name, operand) = operator.iter().next().expect("a rule object has an operator");
    let operand_text =
        || operand.as_str().unwrap_or_else(|| panic!("the operator {name} takes a string: {rule}"));
    match name.as_str() {
        "prefix" => text.is_some_and(|text| text.starts_with(operand_text())),
        "suffix" => text.is_some_and(|text| text.ends_with(operand_text())),
        "exists" => value.is_some() == (operand == &Value::Bool(true)),
        "anything-but" => {
            let excluded = operand.as_array().map_or(std::slice::from_ref(operand), Vec::as_slice);
            value.is_some_and(|value| !excluded.contains(value))
        }
        _ => panic!("the harness does not model this filter operator: {rule}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_keys_and_one_rule_of_each_list_must_match() {
        let pattern = json!({
            "eventName": ["INSERT", "MODIFY"],
            "dynamodb": {"Keys": {"PK": {"S": [{"prefix": "asset#"}]}, "SK": {"N": ["0"]}}},
        });
        let record = |name: &str, pk: &str, sk: &str| json!({"eventName": name, "dynamodb": {"Keys": {"PK": {"S": pk}, "SK": {"N": sk}}}});
        let passes = |record: Value| passes(std::slice::from_ref(&pattern), &record);
        assert!(passes(record("MODIFY", "asset#base:0x1", "0")));
        assert!(!passes(record("REMOVE", "asset#base:0x1", "0")));
        assert!(!passes(record("INSERT", "assets#base:0x1", "0")));
        assert!(!passes(record("INSERT", "asset#base:0x1", "1700000000")));
        assert!(!passes(json!({"eventName": "INSERT"})));
    }

    #[test]
    fn one_matching_pattern_is_enough_and_without_patterns_every_record_passes() {
        let patterns =
            [json!({"a": ["x"]}), json!({"b": [{"exists": false}]}), json!({"c": [{"suffix": "z"}]})];
        assert!(passes(&patterns, &json!({"a": "x", "b": 1})));
        assert!(passes(&patterns, &json!({"a": "y"})));
        assert!(passes(&patterns, &json!({"b": 1, "c": "xyz"})));
        assert!(!passes(&patterns, &json!({"a": "y", "b": 1})));
        assert!(passes(&[], &json!({})));
        let other = [json!({"a": [{"anything-but": ["x", "y"]}]})];
        assert!(passes(&other, &json!({"a": "z"})) && !passes(&other, &json!({"a": "y"})));
        assert!(!passes(&other, &json!({})));
    }
}
