#!/usr/bin/env python3
"""Lists what a program consists of, as CycloneDX 1.5: infra/components.py PACKAGE TRIPLE BINARY FILE

The list has every crate that cargo links into the program for the target, with its licence, and with the hash that Cargo.lock
requires. Macros run in the compiler: they, and what only they need, are not in the program, and their scope is "excluded". The
same commit and program give the same bytes. Needs no network.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import uuid


def cargo(*arguments):
    """The output of cargo."""
    return subprocess.run(["cargo", *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def linked(package, triple):
    """Name and version of each crate of a program, and whether it is a macro. `cargo metadata` would add the features that
    only other programs of the workspace use."""
    tree = cargo("tree", "--locked", "--offline", "--package", package, "--target", triple, "--edges", "normal",
                 "--prefix", "none", "--format", "{p}")
    lines = (re.match(r"(\S+) v(\S+)(.*)", line) for line in tree.splitlines())
    return {(line[1], line[2]): "(proc-macro)" in line[3] for line in lines if line}


def checksums(lock):
    """The hash of each crate, by name and version."""
    crates = re.findall(r'\nname = "(.*)"\nversion = "(.*)"\nsource = ".*"\nchecksum = "(.*)"', lock)
    return {(name, version): checksum for name, version, checksum in crates}


def key(package):
    return package["name"], package["version"]


def reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def in_program(root, needs, macros):
    """What is reached from the program without a macro in between."""
    found, left = set(), [root]
    while left:
        ref = left.pop()
        if ref not in found and ref not in macros:
            found.add(ref)
            left += needs[ref]
    return found


def component(package, scope, checksum):
    """One crate. Old crates separate alternative licences with a slash."""
    licence = re.sub(r"\s*/\s*", " OR ", package["license"])
    entry = {
        "type": "library",
        "bom-ref": reference(package),
        "name": package["name"],
        "version": package["version"],
        "scope": scope,
        "licenses": [{"expression": licence}],
        "purl": reference(package),
    }
    if checksum:
        entry["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package["repository"]:
        entry["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return entry


def components(root, triple, binary):
    """The whole list, without its serial number."""
    metadata = json.loads(cargo("metadata", "--locked", "--offline", "--format-version", "1", "--filter-platform", triple))
    macros = linked(root, triple)
    packages = {package["id"]: package for package in metadata["packages"] if key(package) in macros}
    with open(os.path.join(metadata["workspace_root"], "Cargo.lock"), encoding="utf-8") as file:
        hashes = checksums(file.read())
    with open(binary, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    program = next(package for package in packages.values() if package["name"] == root)
    others = sorted((package for package in packages.values() if package is not program), key=key)
    needs = {
        reference(packages[node["id"]]): sorted(
            reference(packages[dependency["pkg"]])
            for dependency in node["deps"]
            if dependency["pkg"] in packages and any(kind["kind"] is None for kind in dependency["dep_kinds"])
        )
        for node in metadata["resolve"]["nodes"]
        if node["id"] in packages
    }
    run_by_compiler = {reference(package) for package in others if macros[key(package)]}
    inside = in_program(reference(program), needs, run_by_compiler)
    described = component(program, "required", None)
    described.update(type="application", hashes=[{"alg": "SHA-256", "content": digest}])
    del described["scope"]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": described, "properties": [{"name": "target", "value": triple}]},
        "components": [
            component(package, "required" if reference(package) in inside else "excluded", hashes.get(key(package)))
            for package in others
        ],
        "dependencies": [{"ref": ref, "dependsOn": needs[ref]} for ref in sorted(needs)],
    }


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    package, triple, binary, path = sys.argv[1:]
    entries = components(package, triple, binary)
    # The serial number names this content, so that it does not change with the time.
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(entries, sort_keys=True))
    entries = {**entries, "serialNumber": f"urn:uuid:{serial}"}
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(entries, file, indent=2)
        file.write("\n")
    os.replace(path + ".new", path)
    print(f"  list     {path}: {len(entries['components'])} components")


if __name__ == "__main__":
    main()
