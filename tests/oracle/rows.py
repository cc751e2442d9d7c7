"""Decodes stream records into rows: attributes, allow-list and times.

Values are exact: every number is a decimal, and the context `EXACT` raises an exception if a
result would have to be rounded.
"""
from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Clamped, Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow, Rounded
from typing import Any, Dict, FrozenSet, List, Optional, Tuple

EXACT = Context(prec=2000, traps=[Inexact, Rounded, Clamped, Overflow, DivisionByZero, InvalidOperation])
ZERO = Decimal(0)

ENVELOPE = frozenset("PK SK SK_ORIGNAL SK_ORIG source sourceTag subType totalCirculating timestamp".split())
SECTIONS = frozenset(
    "staking pool2 offers borrowed treasury vesting ownTokens doublecounted liquidstaking dcAndLsOverlap "
    "Stake oec treasury_bsc Earn eth WooPP bscStaking avaxStaking pool3 masterchef staking_eth staking_bsc".split())
NOT_FINITE = frozenset(["nan", "infinity", "+infinity", "-infinity"])
NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
SEQUENCE = re.compile(r"[0-9]{1,40}")
PYTHON_TYPES: Dict[str, Any] = {"S": str, "B": str, "BOOL": bool, "NULL": bool, "L": list, "M": dict}
KINDS = {"hourlyTvl": "tvl", "dailyTvl": "daily", "coingecko": "price", "asset": "price", "protocol": "protocol"}

Attribute = Tuple[str, Any]  # (DynamoDB type, Python value): equal if and only if the fields are equal
Image = Dict[str, Attribute]


class DeadLetter(ValueError):
    """The record can never be decoded. The text is the reason."""


class Skip(Exception):
    """The record is skipped. The text is the name of the reason."""


def number(text: Any) -> Decimal:
    """A DynamoDB number: at most 38 significant digits, magnitude 1E-130 to 9.99...E+125."""
    if not isinstance(text, str) or not NUMBER.fullmatch(text):
        raise DeadLetter("not a DynamoDB number")
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise DeadLetter("number out of range") from None
    if not value:
        return ZERO  # Drops an exponent, as in 0E999.
    if not value.is_finite() or not -130 <= value.adjusted() <= 125:
        raise DeadLetter("number out of range")
    if len(text) > 38:
        digits = "".join(map(str, value.as_tuple().digits))
        if len(digits.rstrip("0")) > 38:
            raise DeadLetter("number of more than 38 significant digits")
    return value


def strings(value: Any) -> FrozenSet[str]:
    """The members of a string or binary set."""
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise DeadLetter("attribute value does not fit its type")
    return frozenset(value)


def attribute(raw: Any) -> Attribute:
    """One typed attribute value, `{"N": "1"}`."""
    if not isinstance(raw, dict) or len(raw) != 1:
        raise DeadLetter("attribute is not an object of one type")
    (kind, value), = raw.items()
    if kind == "N":
        return kind, number(value)
    if kind in ("SS", "BS"):
        return kind, strings(value)
    if kind == "NS":
        return kind, frozenset(map(number, strings(value)))
    if kind not in PYTHON_TYPES:
        raise DeadLetter("unknown attribute type")
    if not isinstance(value, PYTHON_TYPES[kind]):
        raise DeadLetter("attribute value does not fit its type")
    if kind == "L":
        return kind, [attribute(v) for v in value]
    return kind, image(value) if kind == "M" else value


def image(raw: Dict[str, Any]) -> Image:
    """All attributes of an image or map."""
    return {name: attribute(value) for name, value in raw.items()}


def value_of(row: Image, name: str, kind: str) -> Any:
    """The value of an attribute if it exists and has this type, otherwise None."""
    found = row.get(name)
    return found[1] if found and found[0] == kind else None


def plain(attr: Optional[Attribute]) -> Any:
    """An attribute as plain JSON. Sets, and lists of chains, are sorted."""
    if attr is None or attr[0] == "NULL":
        return None
    kind, value = attr
    if kind == "N":
        return int(value) if value == value.to_integral_value() and value.copy_abs() < 2**53 else float(value)
    if kind in ("SS", "BS", "NS"):
        return [plain((kind[0], v)) for v in sorted(value)]
    if kind == "L":
        return [plain(v) for v in value]
    return {k: plain(v) for k, v in value.items()} if kind == "M" else value


@dataclass
class Row:
    """A decoded record of a row kind that the processor handles."""
    record_id: Optional[str]
    kind: str
    pk: str
    ident: str
    new: Image
    old: Optional[Image]
    created_ms: Optional[int]
    data_ms: int
    old_ms: Optional[int]
    stream: Optional[str]
    sequence: str

    def order(self) -> Tuple[int, str]:
        """The sort key of the sequence number, which may exceed 64 bits: by length, then by text."""
        return len(self.sequence), self.sequence


def milliseconds(seconds: Decimal) -> int:
    """Seconds to whole milliseconds, truncated."""
    return int(EXACT.multiply(seconds, Decimal(1000)))


def creation_ms(raw: Any) -> Optional[int]:
    """The creation time of the record. The input is in seconds, or in milliseconds if above 1e11."""
    if isinstance(raw, bool) or not isinstance(raw, (int, Decimal)) or raw <= 0:
        return None
    return int(raw) if raw > 10**11 else milliseconds(Decimal(raw))


def stated_ms(row: Image, latest: int) -> Optional[int]:
    """The data time that an image states: SK_ORIGNAL (N or S), else timestamp. It is never later than `latest`."""
    seconds = value_of(row, "SK_ORIGNAL", "N")
    text = value_of(row, "SK_ORIGNAL", "S")
    if text is not None:
        try:
            seconds = number(text)
        except DeadLetter:
            pass
    if seconds is None:
        seconds = value_of(row, "timestamp", "N")
    return None if seconds is None else min(milliseconds(seconds), latest)


def data_ms(row: Image, sk: Decimal, created: Optional[int], now: int) -> int:
    """The data time: the one that the image states, else a positive SK, else the creation time.

    It is never later than the creation time, or than now if the creation time is missing."""
    latest = now if created is None else created
    stated = stated_ms(row, latest)
    if stated is not None:
        return stated
    if sk > 0:
        return min(milliseconds(sk), latest)
    if created is None:
        raise DeadLetter("no time at all")
    return created


def classify(pk: str) -> Tuple[str, str]:
    """Kind and id of a PK, which is split at the first '#'. Skips keys that are not on the allow-list."""
    prefix, _, ident = pk.partition("#")
    kind = KINDS.get(prefix)
    if kind is None or not ident:
        raise Skip("other_row")
    if prefix == "asset" and not all(ident.partition(":")[::2]):
        raise Skip("other_row")
    if prefix == "coingecko" and ":" in ident:  # It would have the token id of an asset.
        raise Skip("other_row")
    return kind, ident


def decode_keys(keys: Any) -> Tuple[str, Decimal]:
    """The partition key (S) and the sort key (N)."""
    try:
        pk, sk = keys["PK"]["S"], keys["SK"]["N"]
    except (KeyError, TypeError):
        raise DeadLetter("no PK (S) or SK (N) in Keys") from None
    if not isinstance(pk, str):
        raise DeadLetter("no PK (S) in Keys")
    return pk, number(sk)


def decode(record: Any, now: int) -> Row:
    """Decodes a record. Raises DeadLetter or Skip if it makes no row. `now` is in ms since 1970."""
    if not isinstance(record, dict):
        raise DeadLetter("not an object")
    body, name = record.get("dynamodb"), record.get("eventName")
    if not isinstance(body, dict):
        raise DeadLetter("no dynamodb part")
    if name not in ("INSERT", "MODIFY", "REMOVE"):
        raise DeadLetter("unknown eventName")
    sequence = body.get("SequenceNumber")
    if not isinstance(sequence, str) or not SEQUENCE.fullmatch(sequence):
        raise DeadLetter("no SequenceNumber of 1 to 40 digits")
    pk, sort_key = decode_keys(body.get("Keys"))
    if name == "REMOVE":
        who = record.get("userIdentity")
        ttl = isinstance(who, dict) and who.get("principalId") == "dynamodb.amazonaws.com"
        raise Skip("removed_by_ttl" if ttl else "removed")
    kind, ident = classify(pk)
    new, old = body.get("NewImage"), body.get("OldImage")
    if new is None:
        raise DeadLetter("no NewImage")
    if not isinstance(new, dict):
        raise DeadLetter("image is not an object")
    created = creation_ms(body.get("ApproximateCreationDateTime"))
    attributes, before = image(new), None
    try:
        before = image(old) if old and isinstance(old, dict) else None
    except DeadLetter:
        pass  # A broken old image counts as missing, because the new image replaces it.
    row = Row(text_or_none(record.get("eventID")), kind, pk, ident, attributes, before, created,
              data_ms(attributes, sort_key, created, now),
              stated_ms(before, now if created is None else created) if before else None, text_or_none(record.get("eventSourceARN")), sequence)
    price = value_of(attributes, "price", "N")
    if kind == "price" and price is not None and price < 0:
        raise DeadLetter("negative price")
    skip_by_kind(row, sort_key)
    return row


def skip_by_kind(row: Row, sort_key: Decimal) -> None:
    """Skips rows that have a known kind but no value to compare."""
    if row.kind == "daily":
        raise Skip("daily_tvl")
    if row.kind == "price":
        if sort_key != 0:
            raise Skip("price_history")
        if "redirect" in row.new and "price" not in row.new:
            raise Skip("price_redirect")
        if value_of(row.new, "price", "N") is None:
            raise Skip("no_value")
    if row.kind == "tvl" and TvlValues.of(row.new) is None:
        raise Skip("no_value")


def text_or_none(value: Any) -> Optional[str]:
    """A non-empty string, or None."""
    return value if isinstance(value, str) and value else None


@dataclass
class TvlValues:
    """The values of a TVL image: the finite total and chains, and the chains whose value is unknown (NaN)."""
    total: Optional[Decimal]
    chains: Dict[str, Decimal]
    unknown: List[str]

    @staticmethod
    def of(row: Image) -> Optional["TvlValues"]:
        """The values of an image, or None if it has neither a total nor a chain."""
        with_sections = {name.rpartition("-")[2] for name in row if "-" in name}
        chains: Dict[str, Decimal] = {}
        unknown: List[str] = []
        for name, (kind, value) in row.items():
            if kind not in ("N", "S") or name.startswith("tvl") or "-" in name:
                continue
            if name in ENVELOPE or name in SECTIONS or name in with_sections:
                continue
            if kind == "N":
                chains[name] = value
            elif value.lower() in NOT_FINITE:
                unknown.append(name)
        total = value_of(row, "tvl", "N")
        return TvlValues(total, chains, unknown) if total is not None or chains else None
