"""Tests of the oracle with results computed by hand. Each test is a sentence of the specification."""

from __future__ import annotations

import json
import subprocess
import sys
import unittest
import uuid
from decimal import Decimal as D
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from oracle import NAMESPACE, Change, Options, Oracle, canonical, group_id, read_records, tagged

T0 = 1_765_200_000  # a whole hour: 490333 * 3600 + 1200
STREAM = "arn:aws:dynamodb:eu-central-1:000000000000:table/t/stream/a"


def attr(value: Any) -> Any:
    """A Python value as an attribute. A dict is already a typed attribute."""
    if isinstance(value, dict):
        return value
    if isinstance(value, bool):
        return {"BOOL": value}
    return {"S": value} if isinstance(value, str) else {"N": str(value)}


def record(
    pk: str,
    at: int,
    new: Optional[Dict[str, Any]],
    old: Optional[Dict[str, Any]] = None,
    *,
    seq: Optional[int] = None,
    sk: Optional[int] = None,
    name: str = "",
    **more: Any,
) -> Dict[str, Any]:
    """A stream record created at T0 + `at`, with SK = that time unless given."""
    body: Dict[str, Any] = {
        "ApproximateCreationDateTime": T0 + at,
        "SequenceNumber": str(10**21 + at if seq is None else seq),
        "Keys": {"PK": {"S": pk}, "SK": {"N": str(T0 + at if sk is None else sk)}},
    }
    for key, image in (("NewImage", new), ("OldImage", old)):
        if image is not None:
            body[key] = {name: attr(value) for name, value in image.items()}
    body.update(more)
    return {
        "eventID": f"{pk}@{at}",
        "eventName": name or ("MODIFY" if old else "INSERT"),
        "dynamodb": body,
        "eventSourceARN": STREAM,
    }


def tvl(at: int, new: Dict[str, Any], old: Optional[Dict[str, Any]] = None, **more: Any) -> Dict[str, Any]:
    """A row of hourlyTvl#7."""
    return record("hourlyTvl#7", at, new, old, **more)


def price(at: int, value: Any, old: Any = None, **more: Any) -> Dict[str, Any]:
    """A row of coingecko#x, symbol X."""
    image = {"price": value, "symbol": "X", "timestamp": T0 + at}
    before = None if old is None else {"price": old, "symbol": "X"}
    return record("coingecko#x", at, image, before, sk=0, **more)


def meta(at: int, **fields: Any) -> Dict[str, Any]:
    """A row of protocol#7."""
    return record("protocol#7", at, fields)


def chain_list(*names: str) -> Dict[str, Any]:
    """A list of chain names."""
    return {"L": [{"S": name} for name in names]}


class Case(unittest.TestCase):
    """Runs records through one oracle."""

    def run_all(self, *records: Any, **options: Any) -> List[Tuple[str, Optional[str], List[Dict[str, Any]]]]:
        oracle = Oracle(Options(**options))
        return [oracle.process(r) for r in records]

    def outcomes(self, *records: Any, **options: Any) -> List[str]:
        return [outcome for outcome, _, _ in self.run_all(*records, **options)]

    def last(self, *records: Any, **options: Any) -> List[Dict[str, Any]]:
        return self.run_all(*records, **options)[-1][2]

    def outcome_and_reason(self, one: Any) -> Tuple[str, Optional[str]]:
        return self.run_all(one)[0][:2]

    def assert_dead(self, one: Any, words: str) -> None:
        outcome, reason = self.outcome_and_reason(one)
        self.assertEqual(outcome, "dead_letter")
        self.assertIn(words, reason or "")

    def assert_skipped(self, one: Any, reason: str) -> None:
        self.assertEqual(self.outcome_and_reason(one), ("skipped", reason))


class LateByItself(Case):
    """Rows that are late whatever is cached, or because of their old image."""

    def test_the_old_image_judges_only_where_nothing_is_cached(self) -> None:
        late = tvl(60, {"tvl": 100, "SK_ORIGNAL": T0}, {"tvl": 50, "SK_ORIGNAL": T0 + 30})
        self.assertEqual(self.outcomes(late, late), ["late", "late"])
        first = tvl(0, {"tvl": 90, "SK_ORIGNAL": T0 - 60})
        self.assertEqual(self.outcomes(first, late), ["baseline", "events"])
        untimed = tvl(60, {"tvl": 100, "SK_ORIGNAL": T0}, {"tvl": 50})
        self.assertEqual(self.outcomes(untimed), ["events"])

    def test_history_is_late_and_no_baseline(self) -> None:
        day = 90_000
        edge, history = (tvl(0, {"tvl": 1, "SK_ORIGNAL": T0 - day - more}, seq=more + 1) for more in (0, 1))
        self.assertEqual(self.outcomes(history, edge), ["late", "baseline"])
        self.assertEqual(self.outcomes(edge, baseline_ttl=10), ["late"])
        old_name = record("protocol#7", 0, {"name": "A", "SK_ORIGNAL": T0 - 604_800})
        self.assertEqual(self.outcomes(old_name), ["baseline"])
        self.assertEqual(self.outcomes(old_name, meta_ttl=604_799), ["late"])

    def test_without_a_creation_time_now_clamps(self) -> None:
        row = price(0, 1)
        del row["dynamodb"]["ApproximateCreationDateTime"]
        row["dynamodb"]["NewImage"]["timestamp"] = {"N": str(T0 + 10**6)}
        later = price(60, 2)
        self.assertEqual(self.outcomes(row, later, now=T0 * 1000), ["baseline", "events"])


class Ids(Case):
    """The id names the change."""

    def ids(self, *records: Any) -> List[str]:
        return [event["eventId"] for event in self.last(*records)]

    def test_ids_of_the_worked_examples(self) -> None:
        # docs/events.md has the same examples.
        at = 1_767_229_202 - T0

        def row(when: int, image: Dict[str, Any]) -> Dict[str, Any]:
            return record("hourlyTvl#1599", when, image)

        moved = row(at, {"tvl": D("1600000.5"), "era": 25_000})
        self.assertEqual(self.ids(row(at - 60, {"tvl": 1_000_000, "era": 10_000}), moved),
                         ["adb66625-d223-5d62-adb6-2147acb9e846", "2b091c75-7a20-5322-8086-f33a224dc22d"])
        without = {"tvl": D("1600000.5"), "base": 1}
        self.assertEqual(self.ids(row(at - 60, without), row(at, {**without, "era": 25_000})),
                         ["3893a2b1-29fc-54ed-a8c8-d206da095636"])
        self.assertEqual(self.ids(row(at - 60, {**without, "era": 25_000}), row(at, without)),
                         ["3d8b1820-31b6-58b3-962b-763c84e7e681"])
        prices = [record("asset#xdai:0xee", when, {"price": D(price), "timestamp": T0 + when}, sk=0)
                  for when, price in ((at - 60, "1"), (at, "1.002"))]
        self.assertEqual(self.ids(*prices), ["650bd32e-eb69-5d04-9d4c-3a29c60ef6b7"])
        metadata = {"chains": chain_list("Base", "Aurora"), "name": 'Aave "V3"', "parentProtocol": {"NULL": True},
                    "oracles": {"M": {"fee": {"N": "0.10"}}}, "rugged": True}
        self.assertEqual(
            self.ids(record("protocol#1599", at - 60, {"name": "x"}), record("protocol#1599", at, metadata)),
            ["d1d00803-5975-54ed-88cf-dbc140dc5b48"])

    def test_sets_are_in_the_order_of_their_json(self) -> None:
        def order(kind: str, *members: Any) -> List[Any]:
            return [member[kind[0].lower()] for member in tagged((kind, frozenset(members)))["l"]]

        self.assertEqual(order("SS", "Polygon", "Polygon zkEVM"), ["Polygon zkEVM", "Polygon"])
        self.assertEqual(order("NS", D(9), D(10), D("1E+2")), ["1e1", "1e2", "9e0"])

    def named(self, pk: str, kind: str, chain: str, value: str, occurrence: int = 0) -> str:
        return str(uuid.uuid5(NAMESPACE, "\0".join([pk, "1767229202000", kind, chain, value, str(occurrence)])))

    def test_rows_of_one_data_time_are_counted(self) -> None:
        at = 1_767_229_202 - T0
        rows = [price(at, value, seq=10**21 + n) for n, value in enumerate((1, 2, 1))]
        events = [event["eventId"] for _, _, events in self.run_all(*rows) for event in events]
        self.assertEqual(events, [self.named("coingecko#x", "price_update", "", value, occurrence)
                                  for value, occurrence in (("2e0", 1), ("1e0", 2))])

    def test_canonical_numbers(self) -> None:
        for number, text in (("1234.50", "12345e-1"), ("1E+4", "1e4"), ("-0.03", "-3e-2"), ("0", "0e0"), ("7", "7e0")):
            self.assertEqual(canonical(D(number)), text)


class SmallChanges(Case):
    """A TVL change below the absolute threshold has priority low."""

    def test_dust_is_low_and_no_alert(self) -> None:
        for before, after, priority in ((0, "0.000001", "low"), (1, 9_999, "low"), (1, 10_001, "high")):
            event = self.last(tvl(0, {"tvl": before}), tvl(60, {"tvl": after if isinstance(after, int) else D(after)}))[0]
            self.assertEqual((event["priority"], "events:alerts" in event["channels"]), (priority, priority == "high"))
            self.assertIn("extreme-change", event["tags"])


class Outcomes(Case):
    """Dead letters, skips, late and already applied rows."""

    def test_records_that_cannot_be_decoded(self) -> None:
        good = price(0, 1)
        self.assert_dead(5, "not an object")
        self.assert_dead({}, "no dynamodb")
        self.assert_dead({**good, "eventName": "UPSERT"}, "eventName")
        self.assert_dead(price(0, 1, SequenceNumber=None), "SequenceNumber")
        self.assert_dead(price(0, 1, SequenceNumber="1" * 41), "SequenceNumber")
        self.assert_dead(price(0, 1, SequenceNumber="12x"), "SequenceNumber")
        self.assert_dead(price(0, 1, Keys={"PK": {"S": "coingecko#x"}}), "Keys")
        self.assert_dead(price(0, 1, Keys={"PK": {"N": "1"}, "SK": {"N": "0"}}), "Keys")
        self.assert_dead(price(0, 1, NewImage=None), "NewImage")
        self.assert_dead(price(0, {"X": "1"}), "unknown attribute type")
        self.assert_dead(price(0, -1), "negative price")

    def test_numbers_of_dynamodb(self) -> None:
        for text in ("1" * 39, "1E126", "1E-131", "NaN", "", "0x1", " 1", "1E99999999999999999999"):
            self.assert_dead(price(0, {"N": text}), "umber")
        for text in ("9" * 38, "9.99E125", "1E-130", "1E+21", "0E999", "1" + "0" * 50):
            self.assertEqual(self.outcome_and_reason(price(0, {"N": text}))[0], "baseline", text)

    def test_a_record_without_any_time(self) -> None:
        self.assert_dead(record("coingecko#x", 0, {"price": 1}, sk=0, ApproximateCreationDateTime=None), "no time")

    def test_rows_off_the_allow_list_are_skipped_without_decoding_the_image(self) -> None:
        for pk in (
            "daily#fees#1",
            "dimTokenBreakdown#1",
            "delete#1",
            "hourlyTvl#",
            "hourlyTvl",
            "asset#ethereum",
            "asset#:0x1",
            "coingecko#xdai:0xee",
        ):
            self.assert_skipped(record(pk, 0, {"odd": {"X": "1"}}), "other_row")

    def test_a_removed_row_is_skipped(self) -> None:
        gone = tvl(0, {"odd": {"X": "1"}}, name="REMOVE")
        self.assert_skipped(gone, "removed")
        gone["userIdentity"] = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
        self.assert_skipped(gone, "removed_by_ttl")

    def test_rows_of_a_known_kind_without_a_value_are_skipped(self) -> None:
        self.assert_skipped(record("dailyTvl#7", 0, {"tvl": 1}), "daily_tvl")
        self.assert_skipped(record("coingecko#x", 0, {"price": 1}, sk=T0), "price_history")
        self.assert_skipped(record("asset#bsc:0x1", 0, {"redirect": "coingecko#x"}, sk=0), "price_redirect")
        both = {"redirect": "coingecko#x", "price": 1}
        self.assertEqual(self.outcome_and_reason(record("asset#bsc:0x1", 0, both, sk=0))[0], "baseline")
        self.assert_skipped(price(0, "NaN"), "no_value")
        self.assert_skipped(tvl(0, {"tvl": "NaN", "staking": 5}), "no_value")

    def test_an_older_data_time_is_late_and_leaves_the_baseline(self) -> None:
        results = self.run_all(price(0, 100), price(60, 200), price(30, 300), price(90, 200))
        self.assertEqual([r[0] for r in results], ["baseline", "events", "late", "unchanged"])

    def test_same_time_and_stream_and_sequence_not_above_is_already_applied(self) -> None:
        self.assertEqual(
            self.outcomes(price(0, 1, seq=9), price(0, 2, seq=9), price(0, 2, seq=8), price(0, 2, seq=10)),
            ["baseline", "already_applied", "already_applied", "events"],
        )

    def test_sequence_numbers_of_different_streams_are_not_compared(self) -> None:
        self.assertEqual(
            self.outcomes(price(0, 1, seq=9), {**price(0, 2, seq=8), "eventSourceARN": "b"}), ["baseline", "events"]
        )

    def test_a_dead_letter_does_not_affect_later_records(self) -> None:
        self.assertEqual(self.outcomes(price(0, 1), price(1, -1), price(2, 2)), ["baseline", "dead_letter", "events"])


class Times(Case):
    """Creation time, data time, correlationId."""

    def test_the_timestamp_is_the_creation_time_in_any_form(self) -> None:
        for created, expected in (
            (T0 + 9, T0 * 1000 + 9000),
            (D(f"{T0 + 9}.1239"), T0 * 1000 + 9123),
            (T0 * 1000 + 9001, T0 * 1000 + 9001),
            (None, T0 * 1000 + 5000),
        ):
            (event,) = self.last(price(0, 1), price(5, 2, ApproximateCreationDateTime=created))
            self.assertEqual(event["timestamp"], expected)

    def test_the_data_time_comes_from_the_row_and_names_the_hour(self) -> None:
        base = tvl(-90000, {"tvl": 1})
        for row, sk, hour in (
            ({"SK_ORIGNAL": T0 - 3600, "timestamp": 1}, None, 490332),
            ({"SK_ORIGNAL": 490333 * 3600}, None, 490333),
            ({"SK_ORIGNAL": 490333 * 3600 - 1}, None, 490332),
            ({"SK_ORIGNAL": str(T0 - 7200)}, None, 490331),
            ({"timestamp": T0 - 3600}, None, 490332),
            ({}, T0 - 10800, 490330),
            ({}, 0, 490333),
        ):
            (event,) = self.last(base, tvl(0, {"tvl": 10**6, **row}, sk=sk))
            self.assertEqual(event["correlationId"], f"hourlyTvl#7-{hour}")

    def test_a_data_time_after_creation_is_clamped_and_does_not_freeze_the_key(self) -> None:
        self.assertEqual(
            self.outcomes(tvl(0, {"tvl": 1, "SK_ORIGNAL": T0 + 10**6}), tvl(9, {"tvl": 10**6})),
            ["baseline", "events"],
        )


class Thresholds(Case):
    """What counts as a change of a number."""

    def test_tvl_percent_is_inclusive_and_exact(self) -> None:
        self.assertEqual(
            self.outcomes(tvl(0, {"tvl": D("0.7")}), tvl(1, {"tvl": D("0.707")})), ["baseline", "events"]
        )
        self.assertEqual(
            self.outcomes(tvl(0, {"tvl": D("0.7")}), tvl(1, {"tvl": D("0.7069999999999999999999999999999999")})),
            ["baseline", "unchanged"],
        )

    def test_tvl_absolute_is_inclusive(self) -> None:
        self.assertEqual(
            self.outcomes(tvl(0, {"tvl": 10**9}), tvl(1, {"tvl": 10**9 + 10**4}), tvl(2, {"tvl": 10**9 + 1})),
            ["baseline", "events", "unchanged"],
        )

    def test_price_defaults_are_a_tenth_of_a_percent_or_a_cent(self) -> None:
        self.assertEqual(
            self.outcomes(price(0, 1), price(1, D("1.001")), price(2, D("1.002"))),
            ["baseline", "events", "unchanged"],
        )
        self.assertEqual(
            self.outcomes(price(0, 1000), price(1, D("1000.01")), price(2, D("1000.0199"))),
            ["baseline", "events", "unchanged"],
        )

    def test_equal_values_never_pass(self) -> None:
        self.assertEqual(
            self.outcomes(price(0, D("1.50")), price(1, D("1.5")), price_percent=D(0), price_absolute=D(0)),
            ["baseline", "unchanged"],
        )

    def test_percent_of_a_zero_and_of_a_negative_previous(self) -> None:
        self.assertEqual(Change(D(0), D(5)).percent(), 100)
        self.assertEqual(Change(D(0), D(-5)).percent(), -100)
        self.assertEqual(Change(D(-50), D(-25)).percent(), 50)
        self.assertTrue(Change(D(0), D("1e-20")).reaches(D(1), D(10000)))

    def test_the_largest_range_gives_finite_numbers(self) -> None:
        (event,) = self.last(tvl(0, {"tvl": D("1E-130")}), tvl(1, {"tvl": D("9.99E125")}))
        self.assertEqual((event["changePercent"], event["changeAbsolute"]), (9.99e257, 9.99e125))

    def test_without_a_baseline_there_is_no_event(self) -> None:
        self.assertEqual(
            self.outcomes(tvl(0, {"tvl": 10**9, "bsc": 10**9}), price(0, 5), meta(0, name="A")), ["baseline"] * 3
        )

    def test_previous_forgets_slow_drift_and_last_event_adds_it_up(self) -> None:
        rows = [tvl(i, {"tvl": v, "bsc": v}) for i, v in enumerate([1000, 1006, 1012, 1018, 1022])]
        self.assertEqual(self.outcomes(*rows), ["baseline"] + ["unchanged"] * 4)
        results = self.run_all(*rows, change_baseline="last_event")
        self.assertEqual([r[0] for r in results], ["baseline", "unchanged", "events", "unchanged", "unchanged"])
        self.assertEqual(
            [(e["chain"], e["previous"], e["current"]) for e in results[2][2]],
            [(None, 1000, 1012), ("bsc", 1000, 1012)],
        )


class Baselines(Case):
    """Where the value to compare with comes from."""

    def test_the_old_image_stands_in_for_a_missing_cache(self) -> None:
        (event,) = self.last(price(0, 2, old=1))
        self.assertEqual((event["previous"], event["current"], event["changePercent"]), (1, 2, 100))

    def test_the_cache_goes_before_the_old_image(self) -> None:
        self.assertEqual(self.outcomes(price(0, 5), price(1, 5, old=1)), ["baseline", "unchanged"])

    def test_tvl_prev_1_hour_is_a_baseline_for_the_total_only(self) -> None:
        (event,) = self.last(tvl(0, {"tvl": 2000, "bsc": 2000, "tvlPrev1Hour": 1000}))
        self.assertEqual((event["chain"], event["previous"]), (None, 1000))
        self.assertEqual(self.outcomes(tvl(0, {"tvl": 2000, "tvlPrev1Hour": 0})), ["baseline"])
        self.assertEqual(self.outcomes(tvl(0, {"tvl": 2000, "tvlPrev1Hour": 2000})), ["unchanged"])

    def test_the_old_image_goes_before_tvl_prev_1_hour(self) -> None:
        self.assertEqual(self.outcomes(tvl(0, {"tvl": 2000, "tvlPrev1Hour": 1000}, {"tvl": 2000})), ["unchanged"])

    def test_a_cached_baseline_without_total_falls_through(self) -> None:
        (event,) = self.last(tvl(0, {"bsc": 50}), tvl(1, {"tvl": 20, "bsc": 50, "tvlPrev1Hour": 10}))
        self.assertEqual(event["previous"], 10)

    def test_an_old_image_of_another_kind_is_no_baseline(self) -> None:
        one = record("asset#bsc:0x1", 0, {"price": 1}, {"redirect": "coingecko#x"}, sk=0)
        self.assertEqual(self.outcomes(one), ["baseline"])

    def test_an_unknown_value_keeps_the_baseline(self) -> None:
        rows = (
            tvl(0, {"tvl": 100, "bsc": 50000}),
            tvl(1, {"tvl": "nan", "bsc": "-Infinity", "era": 5}),
            tvl(2, {"tvl": 100, "bsc": 50000, "era": 5}),
        )
        self.assertEqual(self.outcomes(*rows), ["baseline", "unchanged", "unchanged"])


class Chains(Case):
    """Which attributes are chains, and what happens to them."""

    def test_only_flat_numbers_that_are_no_section_are_chains(self) -> None:
        image = {
            "ethereum": 5,
            "xdai": 1,
            "bsc": 1,
            "bsc-staking": 1,
            "staking": 9,
            "pool2": 9,
            "tvlPrev1Day": 9,
            "tvlX": 9,
            "totalCirculating": 9,
            "timestamp": T0,
            "treasury_bsc": 9,
            "era": "5",
            "ethereum-foo": 3,
            "foo": 3,
            "SK_ORIG": 1,
        }
        (event,) = self.last(tvl(0, {"tvl": 1, "tvlPrev1Hour": 2, **image}))
        self.assertEqual(event["breakdown"], {"ethereum": 5, "xdai": 1, "bsc": 1})

    def test_events_of_a_row_come_in_order(self) -> None:
        old = {"tvl": 10, "xdai": 1, "bsc": 1, "arbitrum": 20000, "zora": 9999}
        new = {"tvl": 20, "xdai": 2, "bsc": 2, "zksync": 20000, "base": 10000, "era": 9999}
        events = self.last(tvl(0, new, old))
        self.assertEqual(
            [(e["eventType"], e.get("updateType"), e["chain"]) for e in events],
            [
                ("tvl_change", None, None),
                ("tvl_change", None, "bsc"),
                ("tvl_change", None, "xdai"),
                ("protocol_update", "chain_removed", "arbitrum"),
                ("protocol_update", "chain_added", "base"),
                ("protocol_update", "chain_added", "zksync"),
            ],
        )
        self.assertEqual(
            events[3]["changes"], [{"field": "chains", "previousValue": "arbitrum", "currentValue": None}]
        )
        self.assertEqual(events[4]["changes"], [{"field": "chains", "previousValue": None, "currentValue": "base"}])
        self.assertEqual(
            (events[4]["priority"], events[4]["previous"], events[4]["changePercent"]), ("medium", None, None)
        )
        self.assertNotIn("breakdown", events[1])

    def test_a_vanished_chain_leaves_the_baseline(self) -> None:
        small, none = {"tvl": 9, "bsc": 9}, {"tvl": 9}
        self.assertEqual(
            self.outcomes(tvl(0, small), tvl(1, none), tvl(2, {"tvl": 9, "bsc": 8})),
            ["baseline", "unchanged", "unchanged"],
        )

    def test_a_negative_chain_counts_by_its_size(self) -> None:
        (event,) = self.last(tvl(0, {"tvl": 1}), tvl(1, {"tvl": 1, "bsc": -10000}))
        self.assertEqual(event["updateType"], "chain_added")


class Protocols(Case):
    """Protocol metadata."""

    def test_an_equal_rewrite_is_no_change(self) -> None:
        rows = (
            meta(0, name="A", chains=chain_list("bsc", "era"), n=1, tags={"SS": ["a", "b"]}, source="x"),
            meta(1, name="A", chains={"SS": ["era", "bsc"]}, n={"N": "1.0"}, tags={"SS": ["b", "a"]}, source="y"),
        )
        self.assertEqual(self.outcomes(*rows), ["baseline", "unchanged"])

    def test_the_most_important_change_names_the_update(self) -> None:
        old = {"name": "A", "category": "Dexes", "chains": chain_list("bsc")}
        for new, kind, priority in (
            ({"rugged": True, "chains": chain_list("era")}, "status", "high"),
            ({"category": "Lending", "chains": chain_list("era")}, "chain_removed", "medium"),
            ({"category": "Lending", "chains": chain_list("era", "bsc")}, "chain_added", "medium"),
            ({"category": "Lending", "name": "B"}, "category", "medium"),
            ({"name": "B"}, "metadata", "medium"),
        ):
            (event,) = self.last(meta(0, **old), meta(1, **{**old, **new}))
            self.assertEqual((event["updateType"], event["priority"]), (kind, priority))

    def test_changes_list_all_differing_fields_by_name(self) -> None:
        (event,) = self.last(
            meta(0, name="A", url="u", chains=chain_list("b")),
            meta(1, name="B", deadFrom=5, chains=chain_list("c", "b")),
        )
        self.assertEqual(
            event["changes"],
            [
                {"field": "chains", "previousValue": ["b"], "currentValue": ["b", "c"]},
                {"field": "deadFrom", "previousValue": None, "currentValue": 5},
                {"field": "name", "previousValue": "A", "currentValue": "B"},
                {"field": "url", "previousValue": "u", "currentValue": None},
            ],
        )
        self.assertEqual(event["channels"], ["events:protocols", "events:protocol:7", "events:alerts"])
        self.assertEqual((event["tags"], event["confidence"]), (["protocol", "7"], 0.9))

    def test_without_always_trigger_only_status_category_and_chains_count(self) -> None:
        rows = (meta(0, name="A"), meta(1, name="B"), meta(2, name="C", category="Dexes"))
        results = self.run_all(*rows, protocol_always=False)
        self.assertEqual([r[0] for r in results], ["baseline", "unchanged", "events"])
        self.assertEqual([c["field"] for c in results[2][2][0]["changes"]], ["category", "name"])

    def test_tvl_events_take_name_and_slug_from_the_latest_metadata(self) -> None:
        (event,) = self.last(meta(0, name="A", slug="aa"), tvl(0, {"tvl": 100}), tvl(1, {"tvl": 105}))
        self.assertEqual(
            (event["confidence"], event["channels"]), (0.9, ["events:tvl", "events:protocol:7", "events:protocol:aa"])
        )

    def test_a_slug_that_is_the_id_gets_no_second_channel(self) -> None:
        (event,) = self.last(meta(0, slug="7"), tvl(0, {"tvl": 100}), tvl(1, {"tvl": 105}))
        self.assertEqual((event["confidence"], event["channels"]), (0.85, ["events:tvl", "events:protocol:7"]))


class Details(Case):
    """Confidence, tags, priority, channels, groups."""

    def test_tags_and_priority_at_the_exact_limits(self) -> None:
        for now, tags, priority in (
            (110, [], "low"),
            (D("110.000000000000000000001"), ["large-change"], "medium"),
            (150, ["large-change"], "medium"),
            (D("49.999999999999999999"), ["large-change", "extreme-change"], "high"),
        ):
            (event,) = self.last(price(0, 100), price(1, now))
            self.assertEqual((event["tags"], event["priority"]), (["price", "x"] + tags, priority))

    def test_confidence_falls_with_the_size_of_the_change(self) -> None:
        for now, own, expected in (
            (150, {}, 0.9),
            (151, {}, 0.8),
            (200, {}, 0.8),
            (201, {}, 0.6),
            (151, {"confidence": "0.99"}, 0.89),
            (201, {"confidence": "0.7"}, 0.5),
            (110, {"confidence": 7}, 1),
            (201, {"symbol": ""}, 0.55),
        ):
            new = {
                "price": now,
                "symbol": "X",
                **{k: attr(v) if k == "symbol" else {"N": str(v)} for k, v in own.items()},
            }
            (event,) = self.last(price(0, 100), record("coingecko#x", 1, new, sk=0))
            self.assertEqual(event["confidence"], expected)

    def test_a_rise_from_zero_is_one_of_exactly_100_percent(self) -> None:
        (event,) = self.last(price(0, 0), price(1, 5))
        self.assertEqual((event["changePercent"], event["confidence"], event["priority"]), (100, 0.8, "high"))

    def test_an_asset_has_a_chain(self) -> None:
        rows = [record("asset#bsc:0xA:b", i, {"price": v}, sk=0) for i, v in enumerate((1, 3))]
        (event,) = self.last(*rows)
        self.assertEqual((event["tokenId"], event["chain"], event["group"]), ("bsc:0xA:b", "bsc", "token:bsc:0xA:b"))
        self.assertEqual(
            event["channels"], ["events:prices", "events:token:bsc:0xA:b", "events:chain:bsc:prices", "events:alerts"]
        )
        self.assertEqual(event["tags"], ["price", "bsc:0xA:b", "bsc", "large-change", "extreme-change"])
        self.assertEqual(event["confidence"], 0.55)

    def test_a_key_is_split_at_the_first_hash_only(self) -> None:
        (event,) = self.last(record("hourlyTvl#parent#aave-treasury", 0, {"tvl": 1, "tvlPrev1Hour": 2}))
        self.assertEqual(
            (event["protocolId"], event["group"]), ("parent#aave-treasury", "protocol:parent#aave-treasury")
        )

    def test_chain_events_have_a_chain_channel(self) -> None:
        (event,) = self.last(tvl(0, {"tvl": 1, "bsc": 100}), tvl(1, {"tvl": 1, "bsc": 105}))
        self.assertEqual(
            (event["channels"], event["tags"]),
            (["events:tvl", "events:protocol:7", "events:chain:bsc:tvl"], ["tvl", "7", "bsc"]),
        )
        self.assertEqual((event["confidence"], event["changeAbsolute"], event["changePercent"]), (0.85, 5, 5))

    def test_groups_are_percent_encoded(self) -> None:
        self.assertEqual(group_id("token", "a b%é"), "token:a%20b%25%C3%A9")


class CommandLine(unittest.TestCase):
    """The script itself."""

    def test_records_events_and_arrays_may_follow_each_other(self) -> None:
        self.assertEqual(
            list(read_records(' {"a":1}{"Records":[2,{"b":3}]}\n[4,5]\n6 ')), [{"a": 1}, 2, {"b": 3}, 4, 5, 6]
        )

    def test_it_prints_events_and_counts(self) -> None:
        values: List[Any] = [{**price(0, 100), "expect": "x"}, [price(1, 101)], {"Records": [price(2, D("101.05"))]}]
        text = "\n".join(map(json.dumps, values))
        script = str(Path(__file__).with_name("oracle.py"))
        done = subprocess.run(
            [sys.executable, "-B", script, "-", "--price-absolute", "1"],
            input=text,
            capture_output=True,
            text=True,
            check=True,
        )
        self.assertEqual([json.loads(line)["changePercent"] for line in done.stdout.splitlines()], [1.0])
        self.assertIn("outcome unchanged: 1", done.stderr)


if __name__ == "__main__":
    unittest.main()
