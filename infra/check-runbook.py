#!/usr/bin/env python3
"""Checks that the commands in the documents exist: operations and options of the AWS CLI, variables of Terraform, targets of make,
and the saved queries. It does not check values. It also checks that the programs write the lines that queries and filters look for.

Needs botocore, which knows the operations of AWS. Part of check.sh.
"""
import pathlib
import re
import shlex
import sys

import botocore
import botocore.exceptions
import botocore.session

INFRA = pathlib.Path(__file__).resolve().parent
ROOT = INFRA.parent
DOCUMENTS = ["docs/operations.md", "infra/README.md", "infra/relay/README.md", "infra/gateway/README.md"]
# Options of every command of the AWS CLI, and of `aws lambda invoke`.
EVERYWHERE = {"region", "output", "query", "profile", "cli-binary-format", "cli-input-json"}
# Commands that the AWS CLI adds to the operations of AWS, with the options that the documents may use.
CUSTOM = {
    ("logs", "tail"): {"since", "filter-pattern", "follow"},
    ("s3", "ls"): {"recursive"},
    ("s3", "cp"): set(),
    ("ecr", "get-login-password"): set(),
}
SESSION = botocore.session.Session()


def lines(text):
    """The lines of shell blocks, and the pieces of code in the text."""
    block = re.compile(r"^ *```sh\n(.*?)^ *```", re.M | re.S)
    for match in block.finditer(text):
        yield from match[1].replace("\\\n", " ").splitlines()
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"^ *```.*?^ *```", "", text, flags=re.M | re.S))


def commands(line):
    """The commands of a line, as words."""
    for match in re.finditer(r"(?:^|[|&;({!] ?|\$\(|\b(?:do|while|then|run|if) )\s*(aws|terraform|make) ", line):
        shell = shlex.shlex(line[match.start(1) :], posix=True, punctuation_chars="|&;()<>")
        shell.whitespace_split = True
        found = []
        try:
            for word in shell:
                if set(word) <= set("|&;()<>"):
                    break
                found.append(word)
        except ValueError:  # a quote that ends after the command
            found = line[match.start(1) :].split("|")[0].split("&&")[0].rstrip(')"').split()
        yield found


def cli_name(name):
    return botocore.xform_name(name, "-")


def aws(words):
    if len(words) < 2 or "…" in words[1]:
        return None
    service, operation, *rest = words
    used = {word[2:].split("=")[0] for word in rest if re.match(r"--[a-z]", word)} - EVERYWHERE
    try:
        model = SESSION.get_service_model(service)
    except botocore.exceptions.UnknownServiceError:
        return f"no service {service}"
    if (service, operation) in CUSTOM:
        known = CUSTOM[service, operation]
    elif operation == "wait":
        waiters = {cli_name(name): name for name in SESSION.get_waiter_model(service).waiter_names}
        if rest[0] not in waiters:
            return f"no waiter {rest[0]}"
        known = members(model, SESSION.get_waiter_model(service).get_waiter(waiters[rest[0]]).operation)
    else:
        operations = {cli_name(name): name for name in model.operation_names}
        if operation not in operations:
            return f"no operation {service} {operation}"
        known = members(model, operations[operation])
    return f"no options {sorted(used - known)}" if used - known else None


def members(model, operation):
    """The options of an operation."""
    shape = model.operation_model(operation).input_shape
    found = shape.members if shape else {}
    return {cli_name(name) for name in found} | {f"no-{cli_name(name)}" for name, m in found.items() if m.type_name == "boolean"}


def variables():
    """The variables of the examples, and of the module itself."""
    files = [*INFRA.glob("examples/*/main.tf"), *INFRA.glob("variables*.tf")]
    return {name for file in files for name in re.findall(r'^variable "(\w+)"', file.read_text(), re.M)}


def terraform(words):
    names = {after.split("=")[0] for word, after in zip(words, words[1:]) if word == "-var"}
    return f"no variables {sorted(names - variables())}" if names - variables() else None


def make(words):
    targets = re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.M)
    wanted = next((w for w in words if re.fullmatch(r"[a-z][a-z-]*", w)), None)
    return None if wanted in targets else f"no target {wanted}"


def unwritten():
    """The messages that a query, a metric filter or a filter in a document looks for, and that no program writes."""
    code = "".join(file.read_text() for file in (ROOT / "crates").rglob("*.rs"))
    queries = (INFRA / "queries.tf").read_text()
    wanted = set(re.findall(r'message = "(.+?)"', queries))
    for alternatives in re.findall(r"[^@]message like /(.+?)/", queries):
        wanted |= {part.removeprefix("^") for part in alternatives.split("|")}
    for module in ["relay", "gateway"]:
        text = (INFRA / module / "alarms.tf").read_text()
        wanted |= set(re.findall(r'message += "(\w[\w ]+)"', text)) | set(re.findall(r'message = \\"(\w[\w ]+)\\"', text))
    for document in DOCUMENTS:
        wanted |= set(re.findall(r"""--filter-pattern '"([a-z ]+)"'""", (ROOT / document).read_text()))
    if len(wanted) < 8:
        return [f"only {len(wanted)} messages were found"]
    return [f"no program writes {message!r}" for message in sorted(wanted) if f'"{message}' not in code]


def main():
    tools = {"aws": aws, "terraform": terraform, "make": make}
    checked, wrong = 0, []
    for document in DOCUMENTS:
        for line in lines((ROOT / document).read_text()):
            for tool, *words in commands(line):
                checked += 1
                if problem := tools[tool](words):
                    wrong.append(f"{document}: {line.strip()}: {problem}")
    runbook = (ROOT / DOCUMENTS[0]).read_text()
    saved = set(re.findall(r"^    ([a-z-]+) = <<-EOT", (INFRA / "queries.tf").read_text(), re.M))
    listed = set(re.findall(r"^\| `([a-z-]+)` \|", runbook.split("### Queries")[1].split("## Troubleshooting")[0], re.M))
    if saved != listed:
        wrong.append(f"{DOCUMENTS[0]} and queries.tf differ in these queries: {sorted(saved ^ listed)}")
    wrong += unwritten()
    if checked < 60:
        wrong.append(f"only {checked} commands were found")
    sys.exit("\n".join(wrong) if wrong else 0)


if __name__ == "__main__":
    main()
