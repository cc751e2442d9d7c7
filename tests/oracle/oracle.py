#!/usr/bin/env python3
"""An independent reference for change detection: stream records in, expected events out.

  oracle.py [FILE|-] [--change-baseline previous|last_event] [--tvl-percent 1]
            [--tvl-absolute 10000] [--price-percent 0.1] [--price-absolute 0.01]
            [--protocol-always true|false] [--baseline-ttl 90000] [--meta-ttl 604800] [--now MS]
            [--outcomes FILE] > events.jsonl

Written from the specification alone, never from the source of the processor, so that the two
can be compared. The state starts empty and never expires. Records are processed in input order.

Input: JSON values separated by white space, each a stream record, a Lambda event
({"Records": [...]}) or an array of records. Output: one JSON object per event, in order.
--outcomes writes one line per record: {"recordId", "outcome", "reason"}.

`rows.py` decodes; this file compares. All comparisons are exact; floats appear only in what
is printed (rounded once, to nearest).
"""
from __future__ import annotations

import argparse
import json
import re
import sys
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from typing import Any, Dict, Iterator, List, Optional, Tuple

from rows import (EXACT, Attribute, DeadLetter, Image, Row, Skip, TvlValues, decode, number, plain,
                  text_or_none, value_of)

NOT_COMPARED = frozenset("PK SK SK_ORIGNAL SK_ORIG source sourceTag timestamp".split())
STATUS_FIELDS = frozenset("rugged deadUrl deadFrom deprecated status".split())
NAMESPACE = uuid.UUID("5b0f9d3a-6a5e-4c1b-9d57-2f7c0e61b8a4")
BLANK = re.compile(r"[ \t\r\n]*")

Event = Dict[str, Any]


@dataclass
class Change:
    """A previous and a current value."""
    previous: Decimal
    current: Decimal

    def __post_init__(self) -> None:
        self.delta = EXACT.subtract(self.current, self.previous)

    def reaches(self, percent: Decimal, absolute: Decimal) -> bool:
        """True if the change reaches the percent or the absolute threshold, inclusive.

        Equal values never do. A change from 0 reaches every percent threshold."""
        return bool(self.delta) and (self.delta.copy_abs() >= absolute or self._against(percent) >= 0)

    def exceeds(self, percent: int) -> bool:
        """True if the size of the change in percent is above a limit. The comparison is exact."""
        if not self.previous:
            return bool(self.delta) and percent < 100
        return self._against(Decimal(percent)) > 0

    def _against(self, percent: Decimal) -> Decimal:
        """The sign of |change in percent| - percent, without division. A change from 0 is above every percent."""
        return EXACT.compare(EXACT.multiply(self.delta.copy_abs(), Decimal(100)),
                             EXACT.multiply(percent, self.previous.copy_abs()))

    def percent(self) -> float:
        """The signed change in percent, rounded to a double."""
        if not self.previous:
            return 100.0 if self.delta > 0 else -100.0 if self.delta else 0.0
        return float(Fraction(self.delta) * 100 / abs(Fraction(self.previous)))


def confidence(own: Optional[Decimal], change: Optional[Change], named: bool) -> float:
    """The confidence of the row, or 0.9, minus the penalties, limited to 0.5 to 1."""
    value = Decimal("0.9") if own is None else own
    if change and change.exceeds(50):
        value = EXACT.subtract(value, Decimal("0.1"))
    if change and change.exceeds(100):
        value = EXACT.subtract(value, Decimal("0.2"))
    if not named:
        value = EXACT.subtract(value, Decimal("0.05"))
    value = min(max(value, Decimal("0.5")), Decimal(1))
    return float(value.quantize(Decimal("0.000001"), rounding=ROUND_HALF_EVEN))


def group_id(kind: str, ident: str) -> str:
    """The SQS message group, percent-encoded. It may exceed 128 characters: the specification defines no hash for that."""
    raw = f"{kind}:{ident}".encode("utf-8", "surrogatepass")
    return "".join(chr(b) if 0x21 <= b <= 0x7E and b != 0x25 else f"%{b:02X}" for b in raw)


@dataclass
class Options:
    """Thresholds and modes, with their default values."""
    change_baseline: str = "previous"
    tvl_percent: Decimal = Decimal(1)
    tvl_absolute: Decimal = Decimal(10000)
    price_percent: Decimal = Decimal("0.1")
    price_absolute: Decimal = Decimal("0.01")
    protocol_always: bool = True
    baseline_ttl: int = 90_000
    meta_ttl: int = 604_800
    now: Optional[int] = None


@dataclass
class Baseline:
    """The content of `cache:{pk}`, which the next row is compared with. `value` is the total TVL or the price.

    `occurrence` counts the earlier rows of the key with the same data time."""
    row: Row
    occurrence: int = 0
    value: Optional[Decimal] = None
    chains: Dict[str, Decimal] = field(default_factory=dict)
    fields: Image = field(default_factory=dict)


class Oracle:
    """Processes one record after another and keeps the state between them."""

    def __init__(self, options: Optional[Options] = None) -> None:
        self.options = options or Options()
        self.baselines: Dict[str, Baseline] = {}
        self.meta: Dict[str, Tuple[Optional[str], Optional[str]]] = {}
        self.occurrence = 0  # of the row that is compared

    def process(self, record: Any) -> Tuple[str, Optional[str], List[Event]]:
        """Processes a record. Returns its outcome, the reason, and its events."""
        try:
            row = decode(record, now_ms() if self.options.now is None else self.options.now)
        except DeadLetter as error:
            return "dead_letter", str(error), []
        except Skip as skip:
            return "skipped", str(skip), []
        cached = self.baselines.get(row.pk)
        if self._is_late(row, cached) or (cached and row.data_ms < cached.row.data_ms):
            return "late", None, []
        if cached and row.data_ms == cached.row.data_ms and row.stream == cached.row.stream \
                and row.order() <= cached.row.order():
            return "already_applied", None, []
        same_time = cached is not None and cached.row.data_ms == row.data_ms
        self.occurrence = cached.occurrence + 1 if cached and same_time else 0
        compare = {"tvl": self._tvl, "price": self._price, "protocol": self._protocol}[row.kind]
        compared, events = compare(row, cached)
        self.baselines[row.pk].occurrence = self.occurrence
        return ("events" if events else "unchanged" if compared else "baseline"), None, events

    def _is_late(self, row: Row, cached: Optional[Baseline]) -> bool:
        """True for a row older than its old image, where nothing is cached, and for a row of history."""
        if cached is None and row.old_ms is not None and has_values(row) and row.data_ms < row.old_ms:
            return True
        ttl = self.options.meta_ttl if row.kind == "protocol" else self.options.baseline_ttl
        return row.created_ms is not None and row.created_ms - row.data_ms > 1000 * ttl

    def _next(self, base: Optional[Decimal], current: Decimal, announced: bool) -> Decimal:
        """The value the next row is compared with."""
        if base is None or announced or self.options.change_baseline == "previous":
            return current
        return base

    def _price(self, row: Row, cached: Optional[Baseline]) -> Tuple[bool, List[Event]]:
        current: Decimal = row.new["price"][1]
        base = cached.value if cached else value_of(row.old or {}, "price", "N")
        if base is not None and base < 0:
            base = None  # Only an OldImage can have a negative price. As a row it would be a dead letter.
        events: List[Event] = []
        if base is not None:
            change = Change(base, current)
            if change.reaches(self.options.price_percent, self.options.price_absolute):
                chain = row.ident.partition(":")[0] if row.pk.startswith("asset#") else None
                events.append(self._event(row, "price_update", chain, change))
        self.baselines[row.pk] = Baseline(row, value=self._next(base, current, bool(events)))
        return base is not None, events

    def _tvl(self, row: Row, cached: Optional[Baseline]) -> Tuple[bool, List[Event]]:
        new, old = TvlValues.of(row.new), TvlValues.of(row.old or {})
        assert new is not None, "a row without values was skipped"
        base = cached.value if cached else None
        if base is None and old:
            base = old.total
        if base is None:
            base = value_of(row.new, "tvlPrev1Hour", "N") or None  # 0 means unknown here
        base_chains = cached.chains if cached else old.chains if old else None
        compared = base_chains is not None or (base is not None and new.total is not None)
        events: List[Event] = []
        if base is not None and new.total is not None:
            change = Change(base, new.total)
            if change.reaches(self.options.tvl_percent, self.options.tvl_absolute):
                breakdown = {chain: float(new.chains[chain]) for chain in sorted(new.chains)}
                events.append(self._event(row, "tvl_change", None, change, breakdown=breakdown))
        total = base if new.total is None else self._next(base, new.total, bool(events))
        chains = dict(new.chains)
        if base_chains is not None:
            chain_events, chains = self._chains(row, new, base_chains)
            events += chain_events
        self.baselines[row.pk] = Baseline(row, value=total, chains=chains)
        return compared, events

    def _chains(self, row: Row, new: TvlValues, base: Dict[str, Decimal]) -> Tuple[List[Event], Dict[str, Decimal]]:
        """The events of changed chains, then of appeared and vanished chains, and the chains of the next baseline."""
        changes: List[Event] = []
        kept = {chain: base[chain] for chain in new.unknown if chain in base}
        for chain, current in sorted(new.chains.items()):
            announced = False
            if chain in base:
                change = Change(base[chain], current)
                announced = change.reaches(self.options.tvl_percent, self.options.tvl_absolute)
                if announced:
                    changes.append(self._event(row, "tvl_change", chain, change))
            kept[chain] = self._next(base.get(chain), current, announced)
        for chain in sorted(new.chains.keys() ^ base.keys()):
            added = chain in new.chains
            amount = new.chains[chain] if added else base[chain]
            if chain not in new.unknown and amount.copy_abs() >= self.options.tvl_absolute:
                before, after = (None, chain) if added else (chain, None)
                listed = [{"field": "chains", "previousValue": before, "currentValue": after}]
                kind = "chain_added" if added else "chain_removed"
                changes.append(self._event(row, "protocol_update", chain, None, update=kind, changes=listed))
        return changes, kept

    def _protocol(self, row: Row, cached: Optional[Baseline]) -> Tuple[bool, List[Event]]:
        name, slug = (text_or_none(value_of(row.new, key, "S")) for key in ("name", "slug"))
        self.meta[row.ident] = (name, slug)
        fields = compared_fields(row.new)
        base = cached.fields if cached else compared_fields(row.old) if row.old else None
        self.baselines[row.pk] = Baseline(row, fields=fields)
        if base is None:
            return False, []
        differing = [key for key in sorted(base.keys() | fields.keys()) if base.get(key) != fields.get(key)]
        important = STATUS_FIELDS | {"category", "chains"}
        if not differing or not (self.options.protocol_always or important & set(differing)):
            return True, []
        changes = [{"field": key, "previousValue": plain(base.get(key)), "currentValue": plain(fields.get(key))}
                   for key in differing]
        kind = update_type(differing, base.get("chains"), fields.get("chains"))
        return True, [self._event(row, "protocol_update", None, None, update=kind, changes=changes)]

    def _event(self, row: Row, event_type: str, chain: Optional[str], change: Optional[Change], *,
               update: Optional[str] = None, changes: Optional[List[Dict[str, Any]]] = None,
               breakdown: Optional[Dict[str, float]] = None) -> Event:
        price = event_type == "price_update"
        name, slug = self.meta.get(row.ident, (None, None))
        label = text_or_none(value_of(row.new, "symbol", "S")) if price else name
        if change:
            small = event_type == "tvl_change" and change.delta.copy_abs() < self.options.tvl_absolute
            priority = "low" if small or not change.exceeds(10) else "high" if change.exceeds(50) else "medium"
        else:
            priority = "high" if update == "status" else "medium"
        tags = [event_type.partition("_")[0], row.ident] + ([chain] if chain else [])
        tags += ["large-change"] if change and change.exceeds(10) else []
        tags += ["extreme-change"] if change and change.exceeds(50) else []
        event: Event = {
            "recordId": row.record_id, "eventId": self._id(row, event_type, chain, change, update),
            "eventType": event_type,
            "group": group_id("token" if price else "protocol", row.ident), "chain": chain,
            "tokenId" if price else "protocolId": row.ident,
            "previous": float(change.previous) if change else None,
            "current": float(change.current) if change else None,
            "changePercent": change.percent() if change else None,
            "changeAbsolute": float(change.delta) if change else None,
            "priority": priority, "tags": tags,
            "confidence": confidence(value_of(row.new, "confidence", "N"), change, label is not None),
            "timestamp": row.data_ms if row.created_ms is None else row.created_ms,
            "correlationId": f"{row.pk}-{row.data_ms // 3_600_000}",
            "channels": channels(event_type, row.ident, slug, chain, priority)}
        optional = {"updateType": update, "changes": changes, "breakdown": breakdown}
        event.update({key: value for key, value in optional.items() if value is not None})
        return event


    def _id(self, row: Row, event_type: str, chain: Optional[str], change: Optional[Change],
            update: Optional[str]) -> str:
        """The id, which names the change: row key, data time, type, chain, new value, and which row of that time."""
        if change:
            value = canonical(change.current)
        elif row.kind == "protocol":
            value = json.dumps({name: tagged(field) for name, field in compared_fields(row.new).items()},
                               ensure_ascii=False, separators=(",", ":"), sort_keys=True)
        else:
            assert chain is not None
            value = canonical(TvlValues.of(row.new).chains[chain]) if update == "chain_added" else ""  # type: ignore
        parts = [row.pk, str(row.data_ms), event_type, chain or "", value, str(self.occurrence)]
        return str(uuid.uuid5(NAMESPACE, "\0".join(part.replace("\0", "\0\0") for part in parts)))


def now_ms() -> int:
    """Now, ms since 1970."""
    return int(time.time() * 1000)


def has_values(row: Row) -> bool:
    """True if the old image has values of the row's kind."""
    old = row.old or {}
    price = value_of(old, "price", "N")
    return {"tvl": TvlValues.of(old) is not None, "price": price is not None and price >= 0}.get(row.kind, bool(old))


def canonical(value: Decimal) -> str:
    """A number as its significant digits and exponent: 1234.5 is 12345e-1."""
    if not value:
        return "0e0"
    sign, digits, exponent = value.as_tuple()
    text = "".join(map(str, digits)).lstrip("0")
    kept = text.rstrip("0")
    return f"{'-' if sign else ''}{kept}e{int(exponent) + len(text) - len(kept)}"


def set_order(member: Any) -> bytes:
    """The sort key of a set's member: the bytes of its JSON. For this order, numbers are plain decimals."""
    text = f"{member.normalize(EXACT):f}" if isinstance(member, Decimal) else member
    return json.dumps(text, ensure_ascii=False).encode()


def tagged(attr: Attribute) -> Any:
    """A field as JSON with its type. Sets are lists, in the order of the JSON of their elements."""
    kind, value = attr
    if kind == "NULL":
        return "z"
    if kind == "N":
        return {"n": canonical(value)}
    if kind in ("SS", "BS", "NS"):
        return {"l": [tagged((kind[0], member)) for member in sorted(value, key=set_order)]}
    if kind == "L":
        return {"l": [tagged(member) for member in value]}
    if kind == "M":
        return {"m": {name: tagged(member) for name, member in value.items()}}
    return {"b" if kind == "BOOL" else "s": value}


def compared_fields(row: Image) -> Image:
    """The fields of a protocol row that are compared. A list of chain names counts as a set."""
    fields = {key: value for key, value in row.items() if key not in NOT_COMPARED}
    chains = value_of(row, "chains", "L")
    if chains is not None and all(kind == "S" for kind, _ in chains):
        fields["chains"] = ("SS", frozenset(value for _, value in chains))
    return fields


def update_type(differing: List[str], before: Optional[Attribute], after: Optional[Attribute]) -> str:
    """The most important kind of change in a protocol row."""
    if STATUS_FIELDS & set(differing):
        return "status"
    was, now = (chains[1] if chains and chains[0] == "SS" else frozenset() for chains in (before, after))
    if was - now:
        return "chain_removed"
    if now - was:
        return "chain_added"
    return "category" if "category" in differing else "metadata"


def channels(event_type: str, ident: str, slug: Optional[str], chain: Optional[str], priority: str) -> List[str]:
    """The channels of an event, in order."""
    what = {"price_update": "prices", "tvl_change": "tvl", "protocol_update": "protocols"}[event_type]
    names = [f"events:{what}"]
    if what == "prices":
        names.append(f"events:token:{ident}")
    else:
        names.append(f"events:protocol:{ident}")
        names += [f"events:protocol:{slug}"] if slug and slug != ident else []
    names += [f"events:chain:{chain}:{what}"] if chain and what != "protocols" else []
    return names + (["events:alerts"] if priority == "high" else [])


def refuse_constant(name: str) -> Any:
    """Refuses NaN and Infinity, which Python's parser would accept."""
    raise ValueError(f"{name} is not valid JSON")


def read_records(text: str) -> Iterator[Any]:
    """All records in a sequence of JSON values. Raises ValueError if the text is not JSON."""
    decoder = json.JSONDecoder(parse_float=Decimal, parse_constant=refuse_constant)
    at = BLANK.match(text, 0).end()  # type: ignore[union-attr]  # it always matches
    while at < len(text):
        value, at = decoder.raw_decode(text, at)
        if isinstance(value, dict) and isinstance(value.get("Records"), list):
            value = value["Records"]
        if isinstance(value, list):
            yield from value
        else:
            yield value
        at = BLANK.match(text, at).end()  # type: ignore[union-attr]


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="The events that stream records must give.")
    parser.add_argument("file", nargs="?", default="-")
    parser.add_argument("--change-baseline", choices=["previous", "last_event"], default="previous")
    for name in ("tvl-percent", "tvl-absolute", "price-percent", "price-absolute"):
        parser.add_argument(f"--{name}", type=number, default=getattr(Options, name.replace("-", "_")))
    parser.add_argument("--protocol-always", choices=["true", "false"], default="true")
    parser.add_argument("--baseline-ttl", type=int, default=Options.baseline_ttl, metavar="SECONDS")
    parser.add_argument("--meta-ttl", type=int, default=Options.meta_ttl, metavar="SECONDS")
    parser.add_argument("--now", type=int, metavar="MS", help="the current time, ms since 1970")
    parser.add_argument("--outcomes", metavar="FILE")
    return parser.parse_args()


def main() -> None:
    """Processes every record of the input. The summary goes to stderr."""
    given = arguments()
    oracle = Oracle(Options(given.change_baseline, given.tvl_percent, given.tvl_absolute, given.price_percent,
                            given.price_absolute, given.protocol_always == "true", given.baseline_ttl, given.meta_ttl,
                            given.now))
    source = sys.stdin.buffer if given.file == "-" else open(given.file, "rb")
    counts: Counter[str] = Counter()
    outcomes: List[str] = []
    try:
        for record in read_records(source.read().decode("utf-8")):
            outcome, reason, events = oracle.process(record)
            counts.update(["records", f"outcome {outcome} {reason or ''}".strip()])
            for event in events:
                counts.update(["events", f"event {event['eventType']} {event.get('updateType', '')}".strip()])
                sys.stdout.write(json.dumps(event) + "\n")
            record_id = text_or_none(record.get("eventID")) if isinstance(record, dict) else None
            outcomes.append(json.dumps({"recordId": record_id, "outcome": outcome, "reason": reason}) + "\n")
    except ValueError as error:
        sys.exit(f"oracle.py: the input is not valid JSON: {error}")
    if given.outcomes:
        with open(given.outcomes, "w", encoding="utf-8") as file:
            file.writelines(outcomes)
    for name, count in sorted(counts.items()):
        print(f"{name}: {count}", file=sys.stderr)


if __name__ == "__main__":
    main()
