//! What the Rust programs share: arguments, the checklist, the form of values, the lines they print.

use std::collections::HashMap;
use std::fmt::Display;

use md5::{Digest, Md5};
use serde_json::{Value, json};

/// The arguments by name, without their dashes.
pub struct Given(HashMap<String, String>);

impl Given {
    pub fn read() -> Given {
        let pair = |argument: String| {
            let (name, value) = argument.strip_prefix("--")?.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        };
        Given(std::env::args().filter_map(pair).collect())
    }

    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).unwrap_or_else(|| panic!("--{name}= is missing"))
    }

    pub fn port(&self) -> u16 {
        self.get("port").parse().expect("a port")
    }

    pub fn behaviours(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.get("checklist")).expect("the checklist");
        serde_json::from_str(&text).expect("the checklist is JSON")
    }
}

/// Why a step gave no answer.
pub enum Failed<E> {
    /// The driver has no means for it.
    Unsupported(String),
    Error(E),
}

impl<E> From<E> for Failed<E> {
    fn from(error: E) -> Failed<E> {
        Failed::Error(error)
    }
}

/// A value with its type as the driver gave it.
pub fn tagged(kind: &str, text: impl Display) -> Value {
    let text = text.to_string();
    if text.len() > 100 {
        return format!("{kind}:{}:{}", text.len(), hex::encode(Md5::digest(text))).into();
    }
    format!("{kind}:{text}").into()
}

/// Bytes as text where they are text.
pub fn bytes(found: &[u8]) -> Value {
    match std::str::from_utf8(found) {
        Ok(text) => tagged("bytes", text),
        Err(_) => tagged("bytes", hex::encode(found)),
    }
}

/// A parameter of the checklist.
pub enum Parameter {
    Null,
    Integer(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
}

/// The parameters of one run.
pub fn parameters(row: &Value) -> Vec<Parameter> {
    row.as_array().into_iter().flatten().map(parameter).collect()
}

fn parameter(given: &Value) -> Parameter {
    match given {
        Value::Number(number) => match number.as_i64() {
            Some(number) => Parameter::Integer(number),
            None => Parameter::Float(number.as_f64().expect("a number")),
        },
        Value::String(text) => Parameter::Text(text.clone()),
        Value::Object(fields) => {
            let (kind, text) = fields.iter().next().expect("a kind");
            let text = text.as_str().expect("text");
            match kind.as_str() {
                "bytes" => Parameter::Bytes(hex::decode(text).expect("hexadecimal digits")),
                "unsigned" => Parameter::Unsigned(text.parse().expect("a number")),
                _ => Parameter::Text(text.to_owned()),
            }
        }
        Value::Null | Value::Bool(_) | Value::Array(_) => Parameter::Null,
    }
}

pub fn digest(lines: &[Value]) -> Value {
    let mut digest = Md5::new();
    for line in lines {
        digest.update(line.to_string());
    }
    json!({ "digest": hex::encode(digest.finalize()) })
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub fn ok() -> Value {
    json!({ "ok": true })
}
