#!/usr/bin/env python3
"""Writes the part of Terraform's plan that the rehearsal uses to tests/plan.snapshot.json.

plan-snapshot.py           writes the file
plan-snapshot.py --check   fails if the file differs from what Terraform plans

Needs terraform and the AWS provider, but no account: the plan comes from tests/plan.tftest.hcl, where AWS is mocked.
"""

import json
import pathlib
import subprocess
import sys

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


def terraform(*arguments):
    done = subprocess.run(["terraform", *arguments], cwd=INFRA, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"terraform {arguments[0]}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def plans():
    """The plan of each run of the test."""
    terraform("init", "-backend=false", "-input=false", "-no-color")
    lines = terraform("test", "-filter=tests/plan.tftest.hcl", "-json", "-verbose").splitlines()
    messages = [json.loads(line) for line in lines]
    return {message["@testrun"]: message["test_plan"] for message in messages if message["type"] == "test_plan"}


def kept(kind, values):
    return {name: values[name] for name in KEPT[kind] if values.get(name) not in (None, [], {})}


def excerpt(unanswered, answered):
    ours = lambda change: change["type"] in KEPT and change.get("mode", "managed") == "managed"
    changes = sorted((c for c in unanswered["resource_changes"] if ours(c)), key=lambda c: c["address"])
    resources = [
        {key: c[key] for key in ("address", "type", "name", "index") if key in c}
        | {"values": kept(c["type"], c["change"]["after"])}
        for c in changes
    ]
    unknown = [
        {"address": c["address"], "change": {"after_unknown": kept(c["type"], c["change"]["after_unknown"])}}
        for c in changes
    ]
    # The rehearsal builds the redrive policy itself: the policy names a queue that does not exist in the plan.
    events = next(c for c in answered["resource_changes"] if c["address"] == "aws_sqs_queue.events")
    receives = json.loads(events["change"]["after"]["redrive_policy"])["maxReceiveCount"]
    return {
        "variables": {"queue_max_receive_count": {"value": receives}},
        "planned_values": {"root_module": {"resources": resources}},
        "resource_changes": unknown,
    }


text = json.dumps(excerpt(**plans()), indent=2, sort_keys=True) + "\n"
if sys.argv[1:] == ["--check"]:
    if not SNAPSHOT.exists() or SNAPSHOT.read_text() != text:
        sys.exit(f"infra/tests/{SNAPSHOT.name} differs from what Terraform plans: run make plan-snapshot and review the difference")
else:
    SNAPSHOT.write_text(text)
