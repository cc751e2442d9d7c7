"""Checks of plans that a condition of `terraform test` cannot make: which resources a plan replaces, what is inside a module of an
example, and which versions each folder accepts. Part of check.sh, which has initialised the folders. Needs terraform.
"""
import json
import pathlib
import re
import subprocess
import unittest

INFRA = pathlib.Path(__file__).resolve().parent.parent


def plans(folder, test):
    """The plan of each run of a test with `command = plan`."""
    command = ["terraform", "test", f"-filter={test}", "-json", "-verbose"]
    done = subprocess.run(command, cwd=INFRA / folder, capture_output=True, text=True)
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode:
        problems = [m["@message"] + " " + m.get("diagnostic", {}).get("detail", "") for m in messages if m["@level"] == "error"]
        raise AssertionError(f"{folder}/{test}: {problems or done.stderr}")
    return {m["@testrun"]: m["test_plan"] for m in messages if m["type"] == "test_plan"}


def changed(plan):
    """The actions on each resource that a plan changes."""
    actions = {c["address"]: c["change"]["actions"] for c in plan["resource_changes"] if c["mode"] == "managed"}
    return {address: action for address, action in actions.items() if action != ["no-op"]}


def after(plan, address):
    """The planned values of a resource."""
    return next(c["change"]["after"] for c in plan["resource_changes"] if c["address"] == address)


class LaterApplies(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.plans = plans(".", "tests/later-applies.tftest.hcl")

    def test_a_second_apply_changes_nothing(self):
        self.assertEqual(changed(self.plans["again"]), {})

    def test_a_snapshot_changes_nothing_in_a_cache_that_exists(self):
        self.assertEqual(changed(self.plans["with_a_snapshot"]), {})

    def test_a_higher_version_replaces_the_token_and_updates_what_holds_it(self):
        self.assertEqual(
            changed(self.plans["rotated"]),
            {
                "terraform_data.auth_token_version": ["update"],
                "aws_ssm_parameter.auth_token[0]": ["delete", "create"],
                "aws_elasticache_replication_group.this[0]": ["update"],
                "aws_secretsmanager_secret_version.redis_url[0]": ["update"],
            },
        )


class Examples(unittest.TestCase):
    def test_the_second_stage_may_decrypt_the_tables_of_the_first(self):
        (plan,) = plans("examples/second-stage", "tests/plan.tftest.hcl").values()
        policy = json.loads(after(plan, "module.events.aws_iam_role_policy.function")["policy"])
        (keys,) = [s["Resource"] for s in policy["Statement"] if s["Sid"] == "UseKeys"]
        first = "arn:aws:kms:eu-central-1:000000000000:key/11111111-1111-1111-1111-111111111111"
        self.assertIn(first, keys)


    def test_every_variable_of_the_first_example_reaches_the_module(self):
        plan = plans("examples/new", "tests/plan.tftest.hcl")["with_every_variable"]
        module = {c["address"].removeprefix("module.events."): c["change"]["after"] for c in plan["resource_changes"]}
        alarms = {name: values for name, values in module.items() if name.startswith("aws_cloudwatch_metric_alarm.")}
        muted = {alarm["alarm_name"].removeprefix("defillama-events-prod-") for alarm in alarms.values() if alarm["actions_enabled"] is False}
        streams = {"polled-records-events", "polled-records-coins"}
        self.assertEqual(muted, {"queue-depth", "oldest-message-age", "no-events"} | streams)
        self.assertTrue(all("https://wiki.example.org/operations.md#" in a["alarm_description"] for a in alarms.values()))
        mail = module["aws_sns_topic_subscription.email[\"ops@example.org\"]"]
        self.assertEqual(mail["topic_arn"], "arn:aws:sns:eu-central-1:000000000000:on-call")
        function = module["aws_lambda_function.processor"]
        self.assertEqual((function["filename"], function["reserved_concurrent_executions"]), ("main.tf", -1))
        self.assertEqual(module["aws_iam_role.function"]["permissions_boundary"], "arn:aws:iam::000000000000:policy/boundary")
        self.assertEqual(module["terraform_data.auth_token_version"]["input"], 5)
        self.assertEqual(module["aws_elasticache_replication_group.this[0]"]["snapshot_name"], "restore")
        self.assertFalse(module["aws_dynamodb_table.this[\"events\"]"]["deletion_protection_enabled"])

    def test_the_runbook_names_every_alarm_as_its_mail_does(self):
        plan = plans("examples/new", "tests/plan.tftest.hcl")["plans_everything"]
        alarms = [c["change"]["after"] for c in plan["resource_changes"] if c["type"] == "aws_cloudwatch_metric_alarm"]
        names = {alarm["alarm_name"].removeprefix("defillama-events-prod-") for alarm in alarms}
        runbook = (INFRA.parent / "docs" / "operations.md").read_text()
        rows = re.findall(r"^\| ([123]) \| \[(.+)\]\(#(.+)\) \| (.+) \|$", runbook, re.M)
        self.assertEqual({name for row in rows for name in re.findall("`(.+?)`", row[3])}, names)
        for alarm in alarms:
            severity, anchor = re.fullmatch(r"Severity ([123])\. .*#(.*)", alarm["alarm_description"]).groups()
            self.assertIn((severity, anchor, anchor), [row[:3] for row in rows], alarm["alarm_name"])
            self.assertEqual(runbook.count(f"\n### {anchor}\n"), 1, anchor)


class Moves(unittest.TestCase):
    """Every alarm was once a resource of its own. An installation of that time must keep each of them, also those of six nodes."""

    def test_every_alarm_of_an_earlier_installation_keeps_its_name(self):
        address = r"aws_cloudwatch_metric_alarm\."
        text = (INFRA / "moved.tf").read_text()
        moves = re.findall(rf'from = {address}(\w+?)(?:\["(\w+)"\])?\n +to += {address}this\["(\w+)"\]\n', text)
        self.assertEqual((text.count("moved {"), len(moves), len(set(moves))), (43, 43, 43))
        plan = plans(".", "tests/plan.tftest.hcl")["answered"]
        names = {c["index"] for c in plan["resource_changes"] if c["type"] == "aws_cloudwatch_metric_alarm"}
        for name, part, to in moves:
            self.assertEqual(to, f"{name}_{part}" if part else name)
            # This plan has two nodes.
            self.assertIn(re.sub("_00[3-6]$", "_002", to), names)


class Lifecycles(unittest.TestCase):
    """A rule of a lifecycle matters only in a later apply, of which AWS's own reasons to replace a resource are a part."""

    def test_every_lifecycle_is_one_of_these(self):
        found = {}
        for file in INFRA.rglob("*.tf"):
            if ".terraform" in file.parts:
                continue
            for kind, name, body in re.findall(r'^resource "(\w+)" "(\w+)" \{\n(.*?)^\}', file.read_text(), re.M | re.S):
                for rules in re.findall(r"^  lifecycle \{\n(.*?)^  \}", body, re.M | re.S):
                    folder = str(file.parent.relative_to(INFRA))
                    rules = re.sub(r" +", " ", re.sub(r" *#.*", "", rules)).strip()
                    found[f"{folder}/{kind}.{name}"] = [rule.strip() for rule in rules.splitlines()]
        # What others use must exist before they can let go of the old one.
        first = ["create_before_destroy = true"]
        self.assertEqual(
            found,
            {
                "./aws_elasticache_parameter_group.this": first,
                "./aws_security_group.function": first,
                "./aws_security_group.endpoints": first,
                "./aws_security_group.cache": first,
                "relay/aws_security_group.relay": first,
                "gateway/aws_security_group.balancer": first,
                "gateway/aws_security_group.gateway": first,
                "./aws_ssm_parameter.auth_token": [
                    "ignore_changes = [value]",
                    "replace_triggered_by = [terraform_data.auth_token_version]",
                ],
                "./aws_elasticache_replication_group.this": ["ignore_changes = [snapshot_name]"],
                # The scaling changes the count.
                "gateway/aws_ecs_service.this": ["ignore_changes = [desired_count]"],
                "examples/remote-state/aws_s3_bucket.state": ["prevent_destroy = true"],
            },
        )


class Versions(unittest.TestCase):
    """6.8 is the first version of the provider that accepts a max_message_size of 1 MiB, 1.11 that of Terraform whose tests can
    mock values while planning."""

    def test_every_folder_accepts_the_same_versions(self):
        found = {}
        for file in INFRA.rglob("*.tf"):
            text = file.read_text()
            if ".terraform" not in file.parts and "required_providers" in text:
                found[str(file.relative_to(INFRA))] = (
                    re.findall(r"required_version = \"(.*)\"", text),
                    re.findall(r"source  = \"(.*)\"\n +version = \"(.*?)\"", text),
                )
        self.assertGreaterEqual(len(found), 9)
        for file, versions in found.items():
            self.assertEqual(versions, ([">= 1.11"], [("hashicorp/aws", ">= 6.8, < 7.0")]), file)


if __name__ == "__main__":
    unittest.main()
