"""Follows events of the gateway, and resumes after a break. Needs `pip install websockets`.

    python3 examples/subscribe.py ws://127.0.0.1:8080/ws events:tvl events:token:bitcoin
"""

import asyncio
import json
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed


def show(event):
    data = event["data"]
    name = data.get("protocolName") or data.get("symbol") or data.get("protocolId") or data.get("tokenId")
    change = f'{data["changePercent"]:.2f} %' if "changePercent" in data else data["updateType"]
    print(event["eventType"], name, data.get("chain", ""), change, flush=True)


async def main(url="ws://127.0.0.1:8080/ws", *channels):
    since = None  # the position of the last event that was seen
    async for socket in connect(url):  # connects again, with growing pauses
        try:
            request = {"action": "subscribe", "channels": channels or ["events:*"]}
            await socket.send(json.dumps(request | ({"since": since} if since else {})))
            async for text in socket:
                message = json.loads(text)
                # Only events and snapshots have arrived: the position of another message is ahead of what was delivered.
                if "eventType" in message or message["type"] == "snapshot":
                    since = message["position"]
                if "eventType" in message:
                    show(message)
                elif message["type"] == "snapshot":
                    for event in message["events"]:
                        show(event)
                elif message["type"] in ("gap", "dropped", "error"):
                    print(message, file=sys.stderr)
        except ConnectionClosed as error:
            print(error, file=sys.stderr)


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        pass
