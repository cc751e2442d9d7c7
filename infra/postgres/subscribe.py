"""Prints a line for each event on the Redis at PORT. Ends after COUNT events; fails if they do not come within 10 s."""

import json
import socket
import sys
import time

port, count = int(sys.argv[1]), int(sys.argv[2])
connection = socket.create_connection(("127.0.0.1", port))
connection.settimeout(10)
channels = ["events:prices", "events:tvl", "events:protocols"]
connection.sendall("SUBSCRIBE {}\r\n".format(" ".join(channels)).encode())
lines = connection.makefile("rb")


def text():
    """A text of the reply: its length, then itself."""
    length = int(lines.readline()[1:])
    value = lines.read(length).decode()
    lines.read(2)
    return value


def change(data):
    """What changed, in a few words."""
    if "changes" in data:
        return "; ".join("{field}: {previousValue} -> {currentValue}".format(**field) for field in data["changes"])
    name = "Price" if "currentPrice" in data else "Tvl"
    values = (data["previous" + name], data["current" + name], data["changePercent"])
    return "{:,.2f} -> {:,.2f} USD ({:+.2f} %)".format(*values)


try:
    for _ in channels:
        lines.readline()
        text(), text(), lines.readline()
    print("subscribed", flush=True)
    for _ in range(count):
        lines.readline()
        text(), text()
        event = json.loads(text())
        data = event["data"]
        subject = data.get("tokenId") or data["protocolId"]
        age = time.time() * 1000 - event["timestamp"]
        line = "  event after {:3.0f} ms: {} {} {:9} {}"
        print(line.format(age, event["eventType"], subject, data.get("chain") or "", change(data)), flush=True)
except TimeoutError:
    sys.exit("an event is missing")
