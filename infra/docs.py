#!/usr/bin/env python3
"""Writes the tables of inputs and outputs into the README.md of each module, and the table and descriptions of the alarms into
its runbook, from its .tf files.

With --check it changes nothing and fails if a document is out of date. It relies on the layout of `terraform fmt`, which
indents a block's own attributes by two spaces. It uses only Python's standard library.
"""
import difflib
import json
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
MODULES = [HERE, HERE / "task", HERE / "relay", HERE / "gateway"]
# Where the alarms of a module have their sections, if not in its README.md.
RUNBOOKS = {HERE: HERE.parent / "docs" / "operations.md"}


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


# The parts of a source of metrics: an alarm on it exists once for each. With more replicas there are more nodes.
PARTS = {
    "local.sources.streams": ["events", "coins"],
    "local.sources.cache_nodes": ["001", "002"],
}


def alarms(module):
    """The alarms of a module: names in the mail, severity and text of each, by its section of the runbook.

    An alarm is an entry of the map that one resource reads. Its section is its name in the mail, without the part of its source.
    """
    if not (module / "alarms.tf").exists():
        return {}
    entry = re.compile(r"^    (\w+) = \{\n      description += (.*)\n(?:      source += (.*)\n)?", re.M)
    found = {}
    for name, description, source in entry.findall((module / "alarms.tf").read_text()):
        section = name.replace("_", "-")
        names = [f"{section}-{part}" for part in PARTS[source]] if source in PARTS else [section]
        found[section] = (names, string(description))
    return {section: (names, *severity(section, text)) for section, (names, text) in found.items()}


def severity(section, text):
    match = re.fullmatch(r"Severity ([123])\. (.*)", text)
    if not match:
        sys.exit(f"alarms.tf: the description of {section} must begin with its severity")
    return match[1], match[2]


def alarm_table(alarms):
    yield row("severity", "alarm", "in the mail, after `<name>-<stage>-`")
    yield row("---", "---", "---")
    for section, (names, level, _) in sorted(alarms.items(), key=lambda item: item[1][1]):
        yield row(level, f"[{section}](#{section})", ", ".join(map(code, names)))


def replace(text, name, lines):
    """Replaces a generated part."""
    begin, end = f"<!-- {name}: written by docs.py -->\n", f"<!-- end of {name} -->\n"
    head, rest = text.split(begin)
    _, tail = rest.split(end)
    return head + begin + "\n" + "\n".join(lines) + "\n\n" + end + tail


def with_tables(module, text):
    """The README with its tables replaced."""
    tables = {"inputs": inputs(module / "variables.tf"), "outputs": outputs(module / "outputs.tf")}
    if (module / "variables_settings.tf").exists():
        tables["settings"] = inputs(module / "variables_settings.tf")
    for name, lines in tables.items():
        text = replace(text, name, lines)
    return text


def with_alarms(alarms, text):
    """The runbook with its table of alarms replaced, and with the description quoted below the heading of each alarm. The
    checks that follow it are written by hand."""
    text = replace(text, "alarms", alarm_table(alarms))
    for section, (_, level, description) in alarms.items():
        quote = f"> **Severity {level}.** {description}\n"
        text = re.sub(rf"(^### {section}\n\n)(?:> .*\n)?", lambda m: m[1] + quote, text, flags=re.M)
    headings = re.findall(r"^### (\S+)\n\n> ", text, re.M)
    if sorted(headings) != sorted(alarms):
        sys.exit(f"the runbook and alarms.tf differ in these alarm headings: {sorted(set(headings) ^ set(alarms))}")
    return text


def update(file, write, check):
    """Writes the generated parts of a document, or checks them."""
    name = file.relative_to(HERE.parent)
    before = file.read_text()
    after = write(before)
    if not check:
        file.write_text(after)
    elif before != after:
        sides = before.splitlines(True), after.splitlines(True)
        sys.stdout.writelines(difflib.unified_diff(*sides, str(name), f"{name} as docs.py writes it"))
        sys.exit(f"{name} is out of date: run infra/docs.py")


def main():
    check = "--check" in sys.argv
    for module in MODULES:
        update(module / "README.md", lambda text: with_tables(module, text), check)
        if found := alarms(module):
            runbook = RUNBOOKS.get(module, module / "README.md")
            update(runbook, lambda text: with_alarms(found, text), check)


if __name__ == "__main__":
    main()
