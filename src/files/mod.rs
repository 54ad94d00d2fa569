//! files: placeholder until its branch lands.

use crate::domain::AlertDraft;

/// Writes an alert.
pub fn alert_to_json(alert: &AlertDraft) -> serde_json::Value {
    let mut object = alert.content.clone();
    object.insert("id".into(), alert.id.as_str().into());
    serde_json::Value::Object(object)
}
