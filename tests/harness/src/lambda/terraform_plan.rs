//! The Terraform plan of `infra`: as JSON (`terraform show -json`), or a committed excerpt of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::servers::process::workspace;

/// A Terraform plan.
#[derive(Clone, Debug)]
pub struct TerraformPlan {
    json: Value,
    path: PathBuf,
}

impl TerraformPlan {
    /// The plan that `PLAN_JSON` names, otherwise the excerpt in `infra/tests`.
    pub fn load() -> Self {
        let named = std::env::var_os("PLAN_JSON").filter(|name| !name.is_empty());
        let path = named.map_or_else(|| PathBuf::from("infra/tests/plan.snapshot.json"), PathBuf::from);
        Self::read(&workspace().join(path))
    }

    fn read(path: &Path) -> Self {
        let text =
            std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { json, path: path.to_owned() }
    }

    /// The file it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The planned values of one resource, such as `aws_sqs_queue.events`.
    pub fn values(&self, address: &str) -> &Value {
        let found = self.resources().find(|resource| resource["address"] == address);
        &found.unwrap_or_else(|| panic!("{}: the plan has no resource {address}", self.path.display()))["values"]
    }

    /// The values of every resource of a type, by key (`for_each`) or name.
    pub fn of_type(&self, kind: &str) -> BTreeMap<String, &Value> {
        let of_kind = self.resources().filter(|resource| resource["type"] == kind);
        let name = |resource: &Value| {
            resource["index"].as_str().or(resource["name"].as_str()).unwrap_or_default().to_owned()
        };
        of_kind.map(|resource| (name(resource), &resource["values"])).collect()
    }

    /// The values of a resource that are known only after `apply`: each is `true` instead of its value.
    pub fn unknown(&self, address: &str) -> &Value {
        let changes = self.json["resource_changes"].as_array().into_iter().flatten();
        let found = changes.into_iter().find(|change| change["address"] == address);
        &found.unwrap_or_else(|| panic!("{}: the plan has no resource {address}", self.path.display()))["change"]
            ["after_unknown"]
    }

    /// The value of an input variable.
    pub fn variable(&self, name: &str) -> &Value {
        let value = self.json["variables"].get(name).map(|variable| &variable["value"]);
        value.unwrap_or_else(|| panic!("{}: the plan has no variable {name}", self.path.display()))
    }

    fn resources(&self) -> impl Iterator<Item = &Value> {
        self.json["planned_values"]["root_module"]["resources"].as_array().into_iter().flatten()
    }
}
