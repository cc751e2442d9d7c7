#!/usr/bin/env python3
"""Writes the part of Terraform's plan that the rehearsal uses to tests/plan.snapshot.json.

plan-snapshot.py           writes it anew
plan-snapshot.py --check   says whether it still is what Terraform plans

Needs terraform and the AWS provider; everything is planned with the defaults, and nothing is made.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

INFRA = pathlib.Path(__file__).resolve().parent
SNAPSHOT = INFRA / "tests" / "plan.snapshot.json"
KEPT = {
    "aws_dynamodb_table": [
        "name", "hash_key", "range_key", "attribute", "billing_mode", "stream_enabled", "stream_view_type",
    ],
    "aws_sqs_queue": [
        "name", "fifo_queue", "content_based_deduplication", "deduplication_scope", "fifo_throughput_limit",
        "message_retention_seconds", "visibility_timeout_seconds", "receive_wait_time_seconds", "max_message_size",
        "sqs_managed_sse_enabled", "redrive_policy",
    ],
    "aws_lambda_function": ["function_name", "handler", "runtime", "timeout", "memory_size", "environment"],
    "aws_lambda_event_source_mapping": [
        "starting_position", "batch_size", "maximum_batching_window_in_seconds", "parallelization_factor",
        "function_response_types", "bisect_batch_on_function_error", "maximum_retry_attempts",
        "maximum_record_age_in_seconds", "tumbling_window_in_seconds", "filter_criteria", "destination_config",
    ],
}
VARIABLES = ["queue_max_receive_count"]


def terraform(*arguments, folder):
    environment = dict(os.environ, TF_DATA_DIR=f"{folder}/data", AWS_REGION=os.environ.get("AWS_REGION", "eu-central-1"))
    done = subprocess.run(["terraform", *arguments], cwd=INFRA, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"terraform {arguments[0]}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def plan():
    with tempfile.TemporaryDirectory() as folder:
        terraform("init", "-backend=false", "-input=false", "-no-color", folder=folder)
        state = f"-state={folder}/none"
        terraform("plan", "-input=false", "-no-color", "-lock=false", state, f"-out={folder}/plan", folder=folder)
        return json.loads(terraform("show", "-json", f"{folder}/plan", folder=folder))


def kept(kind, values):
    return {name: values[name] for name in KEPT[kind] if values.get(name) not in (None, [], {})}


def excerpt(full):
    ours = lambda resource: resource["type"] in KEPT and resource.get("mode", "managed") == "managed"
    resources = [
        {key: resource[key] for key in ("address", "type", "name", "index") if key in resource}
        | {"values": kept(resource["type"], resource["values"])}
        for resource in full["planned_values"]["root_module"]["resources"]
        if ours(resource)
    ]
    changes = [
        {"address": c["address"], "change": {"after_unknown": kept(c["type"], c["change"]["after_unknown"])}}
        for c in full["resource_changes"]
        if ours(c)
    ]
    return {
        "variables": {name: {"value": full["variables"][name]["value"]} for name in VARIABLES},
        "planned_values": {"root_module": {"resources": sorted(resources, key=lambda r: r["address"])}},
        "resource_changes": sorted(changes, key=lambda c: c["address"]),
    }


text = json.dumps(excerpt(plan()), indent=2, sort_keys=True) + "\n"
if sys.argv[1:] == ["--check"]:
    if not SNAPSHOT.exists() or SNAPSHOT.read_text() != text:
        sys.exit(f"infra/tests/{SNAPSHOT.name} is not what Terraform plans now: run make plan-snapshot, and look at the difference")
else:
    SNAPSHOT.write_text(text)
