#!/usr/bin/env python3
"""Writes the tables of inputs and outputs and the descriptions of the alarms into the README.md of each module, from its .tf
files.

With --check it changes nothing and fails if a README.md is out of date. It relies on the layout of `terraform fmt`, which
indents a block's own attributes by two spaces. It uses only Python's standard library.
"""
import difflib
import json
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
MODULES = [HERE, HERE / "task", HERE / "relay", HERE / "gateway"]


def blocks(kind, file):
    """Every block of a kind: its labels and the first line of each attribute. Descriptions and defaults fit on one line."""
    text = file.read_text()
    for match in re.finditer(rf'^{kind} ((?:"\w+" ?)+)\{{\n(.*?)^\}}', text, re.M | re.S):
        attributes = dict(re.findall(r"^  (\w+)\s+= (.*)$", match[2], re.M))
        yield re.findall(r'"(\w+)"', match[1]), attributes


def string(value):
    return json.loads(value)


def row(*cells):
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def code(value):
    return "`" + re.sub(r"\s+", " ", value).strip() + "`"


def inputs(file):
    yield row("name", "type", "default", "description")
    yield row("---", "---", "---", "---")
    for (name,), attributes in blocks("variable", file):
        if attributes.get("default") != "null" and attributes.get("nullable") != "false":
            sys.exit(f"{file}: {name} has a default that an explicit null would override: add nullable = false")
        default = code(attributes["default"]) if "default" in attributes else "required"
        kind = attributes["type"]
        kind = code("object" if kind.startswith("object") else kind)
        yield row(code(name), kind, default, string(attributes["description"]))


def outputs(file):
    yield row("name", "description")
    yield row("---", "---")
    for (name,), attributes in blocks("output", file):
        yield row(code(name), string(attributes["description"]))


def alarms(module):
    """The description of each alarm. It is in a resource of its own, or in an entry of the map that one resource reads."""
    if not (module / "alarms.tf").exists():
        return {}
    resources = {name: a for (kind, name), a in blocks("resource", module / "alarms.tf") if kind == "aws_cloudwatch_metric_alarm"}
    if "for_each" not in resources.get("this", {}):
        return {name: string(a["alarm_description"]) for name, a in resources.items()}
    entries = re.findall(r"^    (\w+) = \{\n      description += (.*)$", (module / "alarms.tf").read_text(), re.M)
    return {name: string(description) for name, description in entries}


def written(module, text):
    """The README with every generated part replaced."""
    tables = {"inputs": inputs(module / "variables.tf"), "outputs": outputs(module / "outputs.tf")}
    if (module / "variables_settings.tf").exists():
        tables["settings"] = inputs(module / "variables_settings.tf")
    for name, lines in tables.items():
        begin, end = f"<!-- {name}: written by docs.py -->\n", f"<!-- end of {name} -->\n"
        head, rest = text.split(begin)
        _, tail = rest.split(end)
        text = head + begin + "\n" + "\n".join(lines) + "\n\n" + end + tail
    for name, description in alarms(module).items():
        # Quotes the description below the alarm's heading. The checks that follow it are written by hand.
        text = re.sub(rf"(^### {name}\n\n)(?:> .*\n)?", lambda m: f"{m[1]}> {description}\n", text, flags=re.M)
    return text


def update(module, check):
    """Writes the README of a module, or checks it."""
    readme = module / "README.md"
    name = readme.relative_to(HERE)
    before = readme.read_text()
    after = written(module, before)
    headings = re.findall(r"^### (\w+)\n\n>", after, re.M)
    if sorted(headings) != sorted(alarms(module)):
        sys.exit(f"{name} and alarms.tf differ in these alarm headings: {sorted(set(headings) ^ set(alarms(module)))}")
    if not check:
        readme.write_text(after)
    elif before != after:
        sides = before.splitlines(True), after.splitlines(True)
        sys.stdout.writelines(difflib.unified_diff(*sides, str(name), f"{name} as docs.py writes it"))
        sys.exit(f"{name} is out of date: run infra/docs.py")


def main():
    for module in MODULES:
        update(module, "--check" in sys.argv)


if __name__ == "__main__":
    main()
