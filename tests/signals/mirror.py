"""The rule of the signals for one value, a second time: crates/core/src/signal/rule.rs in Python's whole numbers.

Reads lines "unit previous current previous_ms current_ms market_cap hint id meter" from standard input, where meter is the text that
is stored, with blanks as commas, or "-". Writes "meter|signal" for each, to be compared with what the Rust code gives.
"""

import math
import sys

KINDS = [
    "dust", "depeg", "flap", "negative", "unit-error", "chain-outage", "chain-back", "proportional", "drain", "crash",
    "surge", "move", "drift", "reverted",
]
CREDIBILITY = {
    "dust": 0, "reverted": 0, "flap": 8, "negative": 15, "unit-error": 15, "chain-back": 30, "chain-outage": 40,
    "proportional": 60, "drift": 80, "surge": 85, "depeg": 100, "drain": 100, "crash": 100, "move": 100,
}
HOUR, DAY = 3_600_000, 86_400_000
MOST = 10**12
ONE = (10**11, -11)
FIRST = {"rows": 0, "variance": 4000**2, "anchor": None, "next": None, "pegged": 0, "jump": None}


def quotient(a, b):
    """Divides towards zero, as the processor does."""
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def amount(text):
    """(mantissa of twelve digits or 0, exponent) of a decimal text."""
    mantissa, _, exponent = text.lower().partition("e")
    negative = mantissa.startswith("-")
    whole, _, fraction = mantissa.lstrip("-+").partition(".")
    digits = (whole + fraction).lstrip("0")
    exponent = int(exponent or 0) - len(fraction)
    if not digits:
        return 0, 0
    exponent += len(digits) - 12
    value = int(digits[:12].ljust(12, "0"))
    return (-value if negative else value), exponent


def amount_text(value):
    mantissa, exponent = value
    return f"{mantissa}e{exponent}"


def aligned(*amounts):
    exponents = [exponent for mantissa, exponent in amounts if mantissa]
    top = max(exponents, default=0)
    return [quotient(m, 10 ** (top - e)) if m and top - e < 12 else 0 for m, e in amounts], top


def as_dollars(mantissa, exponent):
    if exponent >= 0:
        return min(abs(mantissa) * 10**exponent, 10**18)
    return abs(mantissa) // 10**-exponent


def ppm(a, b):
    (a, b), _ = aligned(a, b)
    largest = max(abs(a), abs(b))
    return 0 if largest == 0 else max(-(10**6), min(10**6, quotient((b - a) * 10**6, largest)))


def size_of(a, b):
    return abs(ppm(a, b))


def dollars_between(a, b):
    (a, b), exponent = aligned(a, b)
    return as_dollars(b - a, exponent)


def reaches_tenths(a, b, tenths):
    (a, b), _ = aligned(a, b)
    change, least = (b - a) * 10, a * tenths
    return a > 0 and (change <= least if tenths < 0 else change >= least)


def times(a, b):
    if a[0] <= 0 or b[0] <= 0:
        return 0
    shift = b[1] - a[1]
    if shift > 12:
        return MOST
    if shift >= 0:
        return min(b[0] * 10**shift // a[0], MOST)
    return b[0] // (a[0] * 10 ** min(-shift, 12))


def is_shifted(a, b):
    if a[0] == 0 or b[0] == 0 or (a[0] < 0) != (b[0] < 0):
        return False
    one, two, shift = abs(a[0]), abs(b[0]), a[1] - b[1]

    def like(x, y):
        return abs(x - y) * 50 <= max(x, y)

    return (like(one, two) and shift >= 3) or (like(one * 10, two) and shift >= 4) or (like(one, two * 10) and shift >= 2)


def place(at, jump):
    (at, start, end), _ = aligned(at, jump["from"], jump["to"])
    return at, start, end


def is_back(at, jump):
    at, start, end = place(at, jump)
    return abs(at - start) * 4 <= abs(end - start)


def is_there_again(at, jump):
    at, start, end = place(at, jump)
    return abs(at - end) * 4 <= abs(end - start)


def sign(x):
    return (x > 0) - (x < 0)


def stays(at, jump):
    at, start, end = place(at, jump)
    return sign(at - start) == sign(end - start) and abs(at - start) * 2 >= abs(end - start)


def root_of_hours(ms):
    return math.isqrt(max(900_000, min(DAY, ms)) * 10**6 // HOUR)


class Rule:
    def __init__(self, meter, unit, previous, current, previous_ms, current_ms, cap, hint, event_id):
        self.cap = cap
        self.meter, self.unit, self.previous, self.current = meter, unit, previous, current
        self.current_ms, self.hint, self.event_id = current_ms, hint, event_id
        self.took = max(0, current_ms - previous_ms)
        self.size = size_of(previous, current)
        self.root = root_of_hours(self.took)
        self.deviation = math.isqrt(meter["variance"])
        self.typical = self.deviation * self.root // 1000

    def z(self, size):
        return 100 * size // (self.typical + 5000)

    def signal(self, score, kind, stage, z, about, start, rows, typical=None, took=None):
        return [score, kind, stage, self.typical if typical is None else typical, z, about or "-", amount_text(start),
                self.took if took is None else took, rows]

    def step(self):
        after = dict(self.meter)
        if after["jump"]:
            after["jump"] = dict(after["jump"], rows=after["jump"]["rows"] + 1)
        signal = self.returned(after) or self.jumped(after) or self.waited(after)
        if after["jump"] and after["jump"]["rows"] >= 48:
            after["jump"] = None
        if not signal or signal[1] not in ("reverted", "flap"):
            self.learn(after)
        signal = signal or self.drifted(after)
        self.move_anchor(after, bool(signal))
        if self.unit == "price":
            off = size_of(ONE, self.current)
            if off <= 5000:
                after["pegged"] = min(after["pegged"] + 1, 48)
            elif off >= 10000:
                after["pegged"] = 0
        return after, signal

    def returned(self, after):
        jump = after["jump"]
        if not jump or jump["state"] == "r" or not is_back(self.current, jump) or is_back(self.previous, jump):
            return None
        z = self.z(size_of(jump["to"], jump["from"]))
        signal = self.signal(0, "reverted", "reverted", z, jump["id"], jump["to"], jump["rows"])
        if jump["state"] == "p":
            after["variance"] = jump["variance"]
        jump["state"], jump["rows"] = "r", 0
        return signal

    def jumped(self, after):
        off_peg = self.unit == "price" and self.meter["pegged"] == 48 and size_of(ONE, self.current) >= 10000
        is_jump = (self.z(self.size) >= 400 and self.size >= 20000) or self.size >= 333333
        if not off_peg and not is_jump:
            return None
        start = ONE if off_peg else self.previous
        size = size_of(start, self.current)
        kind = self.kind(after["jump"], off_peg)

        def score(bonus):
            if kind == "depeg":
                return min(100, 60 + 4 * (size - 10000) // 10000 + bonus)
            return min(100, self.score(self.z(size), start, min(CREDIBILITY[kind] + bonus, 100)))

        def signal(about):
            return self.signal(score(0), kind, "new", self.z(size), about, start, 0)

        if kind == "dust":
            return signal(None)
        jump, confirmed = after["jump"], score(15)
        if jump and kind == "flap":
            jump.update(state="p", rows=0, kind=kind, score=confirmed)
            return signal(jump["id"])
        if jump and jump["state"] == "p" and sign(ppm(jump["from"], jump["to"])) == sign(ppm(self.previous, self.current)):
            jump.update(to=self.current, rows=0, score=max(jump["score"], confirmed))
            return signal(jump["id"])
        after["jump"] = {
            "id": self.event_id, "from": start, "to": self.current, "kind": kind, "score": confirmed, "rows": 0,
            "state": "p", "variance": self.meter["variance"],
        }
        return signal(None)

    def kind(self, last, off_peg):
        previous, current = self.previous, self.current
        if self.unit == "tvl" and max(as_dollars(*previous), as_dollars(*current)) < 10000:
            return "dust"
        if off_peg:
            return "depeg"
        if last and last["state"] == "r" and is_there_again(current, last):
            return "flap"
        if previous[0] < 0 or current[0] < 0:
            return "negative"
        if times(previous, current) >= 50 or is_shifted(previous, current):
            return "unit-error"
        if self.hint != "none":
            return self.hint
        if reaches_tenths(previous, current, -3):
            return "drain" if self.unit == "tvl" else "crash"
        return "surge" if reaches_tenths(previous, current, 3) else "move"

    def score(self, z, start, credibility):
        unusual = 1000 * z // (z + 400)
        parts = size_of(start, self.current)
        dollars = dollars_between(start, self.current) if self.unit == "tvl" else (self.cap or 0) * parts // 10**6
        known = self.unit == "tvl" or self.cap is not None
        dollars = 1000 * dollars // (dollars + 250_000) if known else 500
        size = 400 + 600 * min(parts, 200_000) // 200_000
        return unusual * dollars * size * credibility // 10**9

    def waited(self, after):
        jump = after["jump"]
        if not jump or jump["state"] != "p" or jump["rows"] < 3:
            return None
        jump["state"] = "s"
        if not stays(self.current, jump):
            return None
        z = self.z(size_of(jump["from"], self.current))
        return self.signal(jump["score"], jump["kind"], "confirmed", z, jump["id"], jump["from"], jump["rows"])

    def since(self, anchor):
        return max(0, self.current_ms - anchor[1] * 1000)

    def drifted(self, after):
        anchor = self.meter["anchor"]
        if not anchor or (after["jump"] and after["jump"]["state"] == "p"):
            return None
        start, took = anchor[0], self.since(anchor)
        size = size_of(start, self.current)
        dust = self.unit == "tvl" and max(as_dollars(*start), as_dollars(*self.current)) < 10000
        recent = 3 * HOUR <= took < 36 * HOUR
        if size < 50000 or self.size * 2 > size or not recent or dust:
            return None
        typical = self.deviation * root_of_hours(took) // 1000
        z = 100 * size // (typical + 10000)
        if z < 200:
            return None
        return self.signal(self.score(z, start, 80), "drift", "new", z, None, start, 0, typical, took)

    def move_anchor(self, after, has_signal):
        here = (self.current, self.current_ms // 1000)
        age = self.since(after["next"]) if after["next"] else None
        if has_signal or age is None or age >= 36 * HOUR:
            after["anchor"] = after["next"] = here
        elif age >= 12 * HOUR:
            after["anchor"], after["next"] = after["next"], here

    def learn(self, after):
        deviation = math.isqrt(after["variance"])
        taught = min(self.size * 1000 // self.root, 8 * (deviation + 5000))
        weight = after["rows"] + 8
        after["variance"] = (after["variance"] * (weight - 1) + taught * taught) // weight
        after["rows"] = min(after["rows"] + 1, 40)


def read(text):
    if text == "-":
        return dict(FIRST)
    parts = iter(text.split(","))
    meter = {"rows": int(next(parts)), "variance": int(next(parts))}
    for name in ("anchor", "next"):
        value = next(parts)
        meter[name] = None if value == "-" else (amount(value), int(next(parts)))
    meter["pegged"] = int(next(parts))
    rest = list(parts)
    meter["jump"] = None
    if rest:
        event_id, start, end, kind, score, rows, state, variance = rest
        meter["jump"] = {
            "id": event_id, "from": amount(start), "to": amount(end), "kind": KINDS[int(kind)], "score": int(score),
            "rows": int(rows), "state": state, "variance": int(variance),
        }
    return meter


def text_of(meter):
    parts = [meter["rows"], meter["variance"]]
    for anchor in (meter["anchor"], meter["next"]):
        parts += ["-"] if anchor is None else [amount_text(anchor[0]), anchor[1]]
    parts.append(meter["pegged"])
    if meter["jump"]:
        jump = meter["jump"]
        parts += [jump["id"], amount_text(jump["from"]), amount_text(jump["to"]), KINDS.index(jump["kind"]), jump["score"],
                  jump["rows"], jump["state"], jump["variance"]]
    return " ".join(map(str, parts))


def main():
    for line in sys.stdin:
        unit, previous, current, before, now, cap, hint, event_id, meter = line.split()
        cap = None if cap == "-" else int(cap)
        rule = Rule(read(meter), unit, amount(previous), amount(current), int(before), int(now), cap, hint, event_id)
        after, signal = rule.step()
        sys.stdout.write(f"{text_of(after)}|{' '.join(map(str, signal)) if signal else '-'}\n")


if __name__ == "__main__":
    main()
