//! Reads `tests/drivers/checklist.yaml` and writes it in the form that programs read: JSON without any abbreviation.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// Where the checklist, the programs and the expectations are.
pub(super) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/drivers")
}

pub(super) struct Checklist {
    pub(super) tables: BTreeMap<String, String>,
    pub(super) behaviours: Vec<Behaviour>,
}

pub(super) struct Behaviour {
    pub(super) id: String,
    pub(super) given: Vec<String>,
    pub(super) steps: Vec<Step>,
}

pub(super) struct Step {
    pub(super) op: String,
    pub(super) by: String,
    pub(super) unordered: bool,
    pub(super) arg: Value,
}

impl Checklist {
    pub(super) fn read() -> Checklist {
        let path = folder().join("checklist.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        let whole: Value =
            serde_yaml_ng::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let tables = object(&whole["tables"])
            .map(|(name, definition)| (name.clone(), definition.as_str().unwrap().to_owned()))
            .collect();
        let fixtures = &whole["fixtures"];
        let behaviours: Vec<Behaviour> =
            list(&whole["behaviours"]).map(|behaviour| Behaviour::read(behaviour, fixtures)).collect();
        for (number, behaviour) in behaviours.iter().enumerate() {
            let again = behaviours[..number].iter().any(|before| before.id == behaviour.id);
            assert!(!again, "the checklist has {} twice", behaviour.id);
        }
        Checklist { tables, behaviours }
    }

    pub(super) fn behaviour(&self, id: &str) -> Option<&Behaviour> {
        self.behaviours.iter().find(|behaviour| behaviour.id == id)
    }

    /// The checklist for programs, about one database; files that steps load are written to `files`.
    pub(super) fn for_database(&self, database: &str, files: &Path) -> String {
        let behaviours: Vec<Value> = self
            .behaviours
            .iter()
            .map(|behaviour| {
                let steps: Vec<Value> = behaviour
                    .steps
                    .iter()
                    .enumerate()
                    .map(|(number, step)| {
                        let file = files.join(format!("{}.{number}.csv", behaviour.id));
                        if let Some(data) = step.arg["data"].as_str() {
                            std::fs::write(&file, data).unwrap();
                        }
                        let arg = filled(&step.arg, database, &file.display().to_string());
                        json!({ "op": step.op, "by": step.by, "arg": arg })
                    })
                    .collect();
                json!({ "id": behaviour.id, "given": behaviour.given, "steps": steps })
            })
            .collect();
        Value::from(behaviours).to_string()
    }
}

impl Behaviour {
    fn read(yaml: &Value, fixtures: &Value) -> Behaviour {
        let id = yaml["id"].as_str().expect("a behaviour has an id").to_owned();
        assert!(yaml["what"].is_string(), "{id} does not say what it is about");
        let given = list(&yaml["given"])
            .flat_map(|name| {
                let name = name.as_str().unwrap();
                assert!(fixtures[name].is_array(), "{id}: no fixture {name}");
                list(&fixtures[name])
            })
            .map(|sql| sql.as_str().unwrap().to_owned())
            .collect();
        let steps: Vec<Step> = list(&yaml["steps"]).map(|step| Step::read(&id, step)).collect();
        assert!(!steps.is_empty(), "{id} has no steps");
        Behaviour { id, given, steps }
    }
}

impl Step {
    fn read(id: &str, yaml: &Value) -> Step {
        let modifiers = ["by", "unordered"];
        let mut ops = object(yaml).filter(|(key, _)| !modifiers.contains(&key.as_str()));
        let (op, arg) = ops.next().unwrap_or_else(|| panic!("{id}: a step without a verb"));
        assert!(ops.next().is_none(), "{id}: a step with two verbs: {yaml}");
        Step {
            op: op.clone(),
            by: yaml["by"].as_str().unwrap_or("main").to_owned(),
            unordered: yaml["unordered"] == true,
            arg: arg.clone(),
        }
    }

    /// What the step does, for a reader of a failure.
    pub(super) fn shown(&self) -> String {
        let arg: String = self.arg.to_string().chars().take(160).collect();
        format!("{} {arg}", self.op)
    }
}

/// The argument with names filled in and `{repeat: [text, times]}` written out.
fn filled(value: &Value, database: &str, file: &str) -> Value {
    match value {
        Value::String(text) => text.replace("{database}", database).replace("{file}", file).into(),
        Value::Array(items) => items.iter().map(|item| filled(item, database, file)).collect(),
        Value::Object(fields) => {
            if let Some(repeat) = fields.get("repeat") {
                let times = usize::try_from(repeat[1].as_u64().unwrap()).unwrap();
                return repeat[0].as_str().unwrap().repeat(times).into();
            }
            fields.iter().map(|(key, value)| (key.clone(), filled(value, database, file))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// The elements of a list; none when there is no list.
pub(super) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn object(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}
