//! What the programs are made of: licences, sources and hashes of the dependencies, the list beside the zip, and the workflows
//! of the public repository.
//!
//! `cargo deny` checks more (`make deny`), but is not on every machine. These tests need only cargo, python3 and sh.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use events_harness::servers::process::{read_workspace_file as read, workspace};
use serde_json::Value;

/// The only place that crates come from, as cargo names it.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The texts in quotes in the list `name` of deny.toml.
fn denied(name: &str) -> Vec<String> {
    let text = read("deny.toml");
    let list = text.split_once(&format!("\n{name} = [")).unwrap().1.split_once("\n]").unwrap().0;
    let lines = list.lines().filter(|line| !line.trim_start().starts_with('#'));
    lines.filter_map(|line| line.split('"').nth(1).map(str::to_owned)).collect()
}

/// The fields of each package in Cargo.lock.
fn locked() -> Vec<BTreeMap<String, String>> {
    let fields = |block: &str| {
        let pairs = block.lines().filter_map(|line| line.split_once(" = \""));
        pairs.map(|(name, value)| (name.to_owned(), value.trim_end_matches('"').to_owned())).collect()
    };
    read("Cargo.lock").split("\n[[package]]\n").skip(1).map(fields).collect()
}

/// All packages of the lock file. Cargo downloads those that only other platforms need.
fn packages() -> Vec<Value> {
    let arguments = ["metadata", "--locked", "--format-version", "1"];
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(workspace()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    serde_json::from_value(metadata["packages"].take()).unwrap()
}

/// True if the allowed licences satisfy an SPDX expression. Of alternatives, one is enough. Old crates write a slash for `OR`.
fn satisfies(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut left = words.as_slice();
    alternatives(&mut left, allowed) && left.is_empty()
}

fn alternatives(words: &mut &[&str], allowed: &[String]) -> bool {
    let mut satisfied = all_of(words, allowed);
    while let Some((&"OR", rest)) = words.split_first() {
        *words = rest;
        satisfied |= all_of(words, allowed);
    }
    satisfied
}

fn all_of(words: &mut &[&str], allowed: &[String]) -> bool {
    let mut satisfied = licence(words, allowed);
    while let Some((&"AND", rest)) = words.split_first() {
        *words = rest;
        satisfied &= licence(words, allowed);
    }
    satisfied
}

fn licence(words: &mut &[&str], allowed: &[String]) -> bool {
    let Some((&word, rest)) = words.split_first() else { return false };
    *words = rest;
    if word == "(" {
        let satisfied = alternatives(words, allowed);
        *words = words.strip_prefix(&[")"]).unwrap_or_default();
        return satisfied;
    }
    // An exception is part of the name of a licence.
    let with = words.strip_prefix(&["WITH"]).and_then(|rest| rest.split_first());
    let name = with.map_or(word.to_owned(), |(exception, _)| format!("{word} WITH {exception}"));
    *words = with.map_or(*words, |(_, rest)| rest);
    allowed.contains(&name)
}

#[test]
fn an_spdx_expression_needs_one_alternative_and_each_part_of_it() {
    let allowed = ["MIT", "ISC", "A WITH B"].map(str::to_owned);
    for expression in
        ["MIT", "GPL-3.0 OR MIT", "GPL-3.0/MIT", "MIT AND ISC", "(GPL-3.0 OR MIT) AND ISC", "A WITH B OR X"]
    {
        assert!(satisfies(expression, &allowed), "{expression}");
    }
    for expression in ["", "GPL-3.0", "MIT AND GPL-3.0", "MIT AND (GPL-3.0 OR X)", "A", "MIT WITH B", "MIT )"]
    {
        assert!(!satisfies(expression, &allowed), "{expression}");
    }
}

#[test]
fn every_dependency_has_an_allowed_licence() {
    let allowed = denied("allow");
    assert!(allowed.contains(&"MIT".to_owned()) && !allowed.iter().any(|name| name.contains("GPL")));
    for package in packages() {
        let licence = package["license"].as_str().unwrap_or_default();
        assert!(satisfies(licence, &allowed), "{} {}: {licence:?}", package["name"], package["version"]);
    }
}

#[test]
fn every_dependency_comes_from_the_registry_with_a_hash() {
    let packages = locked();
    assert!(packages.len() > 300);
    for package in packages {
        let Some(source) = package.get("source") else { continue };
        assert_eq!(source, REGISTRY, "{package:?}");
        assert!(package.get("checksum").is_some_and(|checksum| checksum.len() == 64), "{package:?}");
    }
}

#[test]
fn no_banned_crate_is_locked() {
    let banned: BTreeSet<String> = denied("deny").into_iter().collect();
    assert!(banned.contains("aws-lc-rs"), "{banned:?}");
    let locked: BTreeSet<String> = locked().iter().map(|package| package["name"].clone()).collect();
    assert_eq!(banned.intersection(&locked).collect::<Vec<_>>(), [""; 0]);
}

/// An exception whose crate is gone must go too.
#[test]
fn every_excepted_advisory_is_explained_and_its_crate_is_in_use() {
    let security = read("SECURITY.md");
    let advisories = denied("ignore");
    assert_eq!(advisories.len(), 2, "{advisories:?}");
    let locked = locked();
    for advisory in advisories {
        let start = format!("| {advisory} | `");
        let row = security.lines().find(|line| line.starts_with(&start));
        let row = row.unwrap_or_else(|| panic!("SECURITY.md does not explain {advisory}"));
        let name = row.split('`').nth(1).unwrap();
        assert!(locked.iter().any(|package| package["name"] == name), "{advisory}: {name} is not in use");
    }
    assert_eq!(security.matches("\n| RUSTSEC-").count(), 2, "SECURITY.md explains no other");
}

/// Runs infra/components.py for the Lambda, with any file as its binary.
fn component_list(folder: &Path) -> (Vec<u8>, Value) {
    let (binary, list) = (folder.join("bootstrap"), folder.join("list.json"));
    fs::write(&binary, "a program").unwrap();
    let output = Command::new("python3")
        .arg(workspace().join("infra/components.py"))
        .args(["events-lambda", "aarch64-unknown-linux-gnu"])
        .args([&binary, &list])
        .current_dir(workspace())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let bytes = fs::read(list).unwrap();
    let json = serde_json::from_slice(&bytes).unwrap();
    (bytes, json)
}

#[test]
fn the_list_of_components_is_that_of_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let (bytes, list) = component_list(folder.path());
    assert_eq!(component_list(folder.path()).0, bytes, "the same program gives the same bytes");
    assert!(!String::from_utf8(bytes).unwrap().contains(&*workspace().to_string_lossy()));
    assert_eq!((&list["bomFormat"], &list["specVersion"]), (&"CycloneDX".into(), &"1.5".into()));
    let program = &list["metadata"]["component"];
    assert_eq!((&program["name"], &program["type"]), (&"events-lambda".into(), &"application".into()));
    // printf 'a program' | sha256sum
    let digest = "d69ea8cda2433733c1ce02de65da8f48e6a3dbba6bb18876a2062908e54ef7cb";
    assert_eq!(program["hashes"][0]["content"], digest);

    let components = list["components"].as_array().unwrap();
    let scopes: BTreeMap<&str, &str> = components
        .iter()
        .map(|one| (one["name"].as_str().unwrap(), one["scope"].as_str().unwrap()))
        .collect();
    for name in ["fred", "aws-sdk-sqs", "ring", "events-core", "tokio"] {
        assert_eq!(scopes.get(name), Some(&"required"), "{name}");
    }
    for name in ["serde_derive", "syn"] {
        assert_eq!(scopes.get(name), Some(&"excluded"), "{name} runs in the compiler");
    }
    for name in ["sqlx", "tokio-tungstenite", "proptest", "schemars", "winapi", "clap"] {
        assert_eq!(
            scopes.get(name),
            None,
            "{name} is of another program, of the tests, or of another system"
        );
    }
    let locked = locked();
    for component in components {
        let checksum = locked.iter().find(|package| {
            component["name"] == *package["name"] && component["version"] == *package["version"]
        });
        let checksum = checksum.unwrap().get("checksum").map(String::as_str);
        assert_eq!(component["hashes"][0]["content"].as_str(), checksum, "{component}");
        assert!(component["licenses"][0]["expression"].is_string(), "{component}");
    }
    let refs: BTreeSet<&str> =
        components.iter().chain([program]).map(|one| one["bom-ref"].as_str().unwrap()).collect();
    for dependency in list["dependencies"].as_array().unwrap() {
        let needs = dependency["dependsOn"].as_array().unwrap();
        let named = needs.iter().chain([&dependency["ref"]]).map(|name| name.as_str().unwrap());
        assert!(named.into_iter().all(|name| refs.contains(name)), "{dependency}");
    }
}

/// Checks packages as infra/debian-unpack.sh does before it unpacks them.
fn check_pins(root: &Path, packages: &Path) -> Output {
    let mut command = Command::new("sh");
    command.arg(root.join("infra/debian-unpack.sh")).arg("tool").env("CHECK_ONLY", packages);
    command.output().unwrap()
}

#[test]
fn a_debian_package_with_another_hash_is_not_unpacked() {
    let folder = tempfile::tempdir().unwrap();
    let (root, packages) = (folder.path().join("root"), folder.path().join("packages"));
    fs::create_dir_all(root.join("infra/pins")).unwrap();
    fs::create_dir(&packages).unwrap();
    fs::copy(workspace().join("infra/debian-unpack.sh"), root.join("infra/debian-unpack.sh")).unwrap();
    fs::write(packages.join("a_1%3a2_amd64.deb"), "a program").unwrap();
    let pin = |name: &str| {
        let pins = format!("d69ea8cda2433733c1ce02de65da8f48e6a3dbba6bb18876a2062908e54ef7cb  {name}\n");
        fs::write(root.join("infra/pins/tool.sha256"), pins).unwrap();
    };
    let accepted = || check_pins(&root, &packages).status.success();
    pin("a_1%3a2_amd64.deb");
    assert!(accepted());
    pin("a_1%3a3_amd64.deb");
    assert!(!accepted(), "another version");
    pin("a_1%3a2_amd64.deb");
    fs::write(packages.join("b.deb"), "").unwrap();
    assert!(!accepted(), "a package without a pin");
    fs::remove_file(packages.join("b.deb")).unwrap();
    fs::write(packages.join("a_1%3a2_amd64.deb"), "another program").unwrap();
    assert!(!accepted(), "another content");
}

#[test]
fn what_builds_the_production_binary_is_pinned() {
    let pins = read("infra/pins/python.txt");
    for package in ["cargo-zigbuild==", "ziglang=="] {
        let hashes = pins.split_once(&format!("\n{package}")).unwrap().1;
        let hashes = hashes.lines().skip(1).take_while(|line| line.starts_with("    --hash=sha256:"));
        assert!(hashes.count() >= 2, "{package} for x86-64 and arm64");
    }
    assert!(read("tests/install-tools.sh").contains("--require-hashes"));
    let build = read("infra/cross-build.sh");
    let packages = build.split_once("debian-unpack.sh debian-rustc ").unwrap().1.split_once("||").unwrap().0;
    let packages = packages.split_whitespace().filter(|word| *word != "\\").count();
    assert_eq!(read("infra/pins/debian-rustc.sha256").lines().count(), packages);
    assert!(
        read("infra/image/Dockerfile.dockerignore").contains("\n!infra/pins\n"),
        "the images need the pins too"
    );
}

/// `infra/check.sh` parses the workflows, and its scanner looks at them.
#[test]
fn workflows_use_versions_and_no_secrets() {
    for name in ["ci", "advisories"] {
        let text = read(&format!(".github/workflows/{name}.yml"));
        assert!(text.contains("\npermissions:\n  contents: read\n"), "{name}: rights are given job by job");
        for action in text.lines().filter_map(|line| line.split_once("uses: ")).map(|(_, action)| action) {
            let version = action.split_once("@v").map(|(_, version)| version.split('.').count());
            assert_eq!(version, Some(3), "{name}: {action} is not pinned by version");
        }
        assert!(!text.contains("secrets."), "{name} needs no secret");
        let number = |word: &str| word.len() >= 12 && word.bytes().all(|byte| byte.is_ascii_digit());
        assert!(!text.split(|letter: char| !letter.is_alphanumeric()).any(number), "{name} names an account");
        for host in [".io/", ".amazonaws.com", "docker.io", "ghcr.io"] {
            assert!(!text.contains(host), "{name} names a registry");
        }
    }
    let ci = read(".github/workflows/ci.yml");
    for step in
        [".ci/run", "make package", "make relay-image", "make gateway-image", "gh release create", "tags: "]
    {
        assert!(ci.contains(step), "{step}");
    }
    let advisories = read(".github/workflows/advisories.yml");
    assert!(advisories.contains("cron: ") && advisories.contains("check advisories"));
}
