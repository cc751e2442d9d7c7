"""A client of the gateway with the library `websockets` alone. The contract is docs/live.md.

    client.py URL CHANNEL COUNT

Prints the snapshot, then COUNT events, one JSON value a line. After each 10 events it drops its connection, without a
close frame, and asks a new one for what came since the last event. The last line says how it resumed.
"""

import asyncio
import json
import sys

import websockets

BREAK_AFTER = 10
# No message takes longer than this.
PATIENCE_SECONDS = 15


def show(value):
    print(json.dumps(value), flush=True)


async def receive(connection):
    return json.loads(await asyncio.wait_for(connection.recv(), PATIENCE_SECONDS))


async def main(url, channel, count):
    since, got = None, 0
    while got < count:
        connection = await websockets.connect(url)
        assert (await receive(connection))["type"] == "welcome"
        request = {"action": "subscribe", "channel": channel}
        if since is not None:
            request["since"] = since
        await connection.send(json.dumps(request))
        answer = await receive(connection)
        if since is None:
            assert answer["type"] == "snapshot", answer
            since = answer["position"]
            show(answer)
        else:
            assert answer["type"] == "resumed" and answer["since"] == since, answer
        for _ in range(min(BREAK_AFTER, count - got)):
            event = await receive(connection)
            assert "eventType" in event, event
            since = event["position"]
            got += 1
            show(event)
        connection.transport.abort()
    show({"resumed": f"after each {BREAK_AFTER} events"})


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
