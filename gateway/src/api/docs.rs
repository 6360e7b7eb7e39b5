//! The API for people: a page without any script, made once of `openapi.json`, and the table of problems.

use std::{fmt::Write as _, sync::LazyLock};

use axum::response::Response;
use serde_json::Value;

use super::{openapi, problem};
use crate::server;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#222;background:#fff}\
h1,h2,h3{line-height:1.2}h3{margin-top:2.5rem;font-size:1.1rem}code{font-family:ui-monospace,monospace;background:#f3f3f3;padding:.1em .3em}\
table{border-collapse:collapse;margin:.5rem 0 1rem}td,th{border-bottom:1px solid #ddd;padding:.3rem .8rem .3rem 0;text-align:left;vertical-align:top}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}code{background:#2a2a2a}td,th{border-color:#444}a{color:#8bf}}";

/// `GET /api/v1/docs`.
pub(super) async fn page() -> Response {
    static PAGE: LazyLock<String> = LazyLock::new(|| {
        let described: Value = serde_json::from_str(&openapi::TEXT).unwrap_or_default();
        routes(&described)
    });
    server::page(&PAGE)
}

/// `GET /api/v1/problems`: where the `type` of a problem leads.
pub(super) async fn problems() -> Response {
    static PAGE: LazyLock<String> = LazyLock::new(problem_table);
    server::page(&PAGE)
}

fn routes(described: &Value) -> String {
    let mut body = String::from(
        "<h1>Frontdesk: HTTP API</h1>\n<p>For programs: <a href=\"openapi.json\">openapi.json</a> (OpenAPI 3.1). What is not done is answered with <a href=\"problems\">problem details</a>. Who asks is said by <code>Authorization: Bearer</code>; in open mode by the query, as for a socket.</p>\n",
    );
    for (path, methods) in fields(&described["paths"]) {
        for (method, route) in fields(methods) {
            put_route(&mut body, path, method, route);
        }
    }
    body.push_str("<h2>Bodies and answers</h2>\n");
    for (name, schema) in fields(&described["components"]["schemas"]) {
        put_schema(&mut body, name, schema);
    }
    document("Frontdesk: HTTP API", &body)
}

fn put_route(body: &mut String, path: &str, method: &str, route: &Value) {
    let (method, path) = (method.to_uppercase(), escaped(path));
    let _ = writeln!(body, "<h3><code>{method} {path}</code></h3>");
    for text in ["summary", "description"] {
        if let Some(text) = route[text].as_str() {
            let _ = writeln!(body, "<p>{}</p>", escaped(text));
        }
    }
    let parameters = route["parameters"].as_array().into_iter().flatten();
    let mut rows = String::new();
    for parameter in parameters {
        let text = |name: &str| escaped(parameter[name].as_str().unwrap_or_default());
        let must = if parameter["required"] == true {
            ""
        } else {
            "optional"
        };
        let _ = writeln!(
            rows,
            "<tr><td><code>{}</code></td><td>{} {must}</td><td>{}</td></tr>",
            text("name"),
            text("in"),
            text("description")
        );
    }
    if !rows.is_empty() {
        let _ = writeln!(body, "<table>\n{rows}</table>");
    }
    let asked = &route["requestBody"]["content"]["application/json"]["schema"];
    if let Some(shape) = shape(asked) {
        let _ = writeln!(body, "<p>Body: {shape}</p>");
    }
    for (status, answer) in fields(&route["responses"]) {
        let what = escaped(answer["description"].as_str().unwrap_or_default());
        let content = fields(&answer["content"]).next();
        let shape = content.and_then(|(_, content)| shape(&content["schema"]));
        let shape = shape.map_or_else(String::new, |shape| format!(": {shape}"));
        let _ = writeln!(
            body,
            "<p><code>{}</code> {what}{shape}</p>",
            escaped(status)
        );
    }
}

fn put_schema(body: &mut String, name: &str, schema: &Value) {
    let _ = writeln!(body, "<h3 id=\"{0}\">{0}</h3>", escaped(name));
    if let Some(text) = schema["description"].as_str() {
        let _ = writeln!(body, "<p>{}</p>", escaped(text));
    }
    let required: Vec<&str> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    body.push_str("<table>\n");
    for (name, field) in fields(&schema["properties"]) {
        let must = if required.contains(&name) {
            ""
        } else {
            "optional"
        };
        let _ = writeln!(
            body,
            "<tr><td><code>{}</code></td><td>{} {must}</td><td>{}</td></tr>",
            escaped(name),
            shape(field).unwrap_or_default(),
            escaped(field["description"].as_str().unwrap_or_default())
        );
    }
    body.push_str("</table>\n");
}

/// A kind of value in short, with a link to what it is made of.
fn shape(schema: &Value) -> Option<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let name = escaped(name.rsplit('/').next().unwrap_or_default());
        return Some(format!("<a href=\"#{name}\">{name}</a>"));
    }
    for several in ["oneOf", "anyOf", "allOf"] {
        if let Some(kinds) = schema[several].as_array() {
            return kinds.iter().find_map(shape);
        }
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().find(|kind| *kind != "null")?.as_str()?,
        kind => kind.as_str()?,
    };
    match kind {
        "array" => Some(format!("list of {}", shape(&schema["items"])?)),
        "null" => None,
        kind => Some(escaped(kind)),
    }
}

fn problem_table() -> String {
    let mut body = String::from(
        "<h1>Frontdesk: problems</h1>\n<p>What is not done is answered with <code>application/problem+json</code> (RFC 9457): <code>type</code> leads here, <code>code</code> is for programs, <code>detail</code> for people; <code>field</code>, <code>retry_after_ms</code> and <code>idempotency_key</code> where they help.</p>\n<table>\n",
    );
    for kind in problem::KINDS {
        let (code, status) = (kind.code, kind.status.as_u16());
        let _ = writeln!(
            body,
            "<tr id=\"{code}\"><td><code>{code}</code></td><td>{status}</td><td>{}</td></tr>",
            escaped(kind.title)
        );
    }
    body.push_str("</table>\n");
    document("Frontdesk: problems", &body)
}

fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head>\n<body>\n{body}</body>\n</html>\n"
    )
}

fn fields(object: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let fields = object.as_object().into_iter().flatten();
    fields.map(|(name, value)| (name.as_str(), value))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
