"""Calls AWS services with botocore for the Rust tests: aws_client.py ENDPOINT PORT

Serves a line protocol on loopback. A request is {"service", "operation", "parameters"}, with the names of botocore. The
reply is {"result"} or {"error"}. A connection handles one request at a time.
"""

import base64
import datetime
import json
import socketserver
import sys
import threading

import botocore.session
from botocore.exceptions import BotoCoreError, ClientError

ENDPOINT, PORT = sys.argv[1], int(sys.argv[2])
SESSION = botocore.session.get_session()
SESSION.set_credentials("test", "test")
CLIENTS = {}
LOCK = threading.Lock()


def client(service):
    with LOCK:
        if service not in CLIENTS:
            CLIENTS[service] = SESSION.create_client(service, region_name="eu-central-1", endpoint_url=ENDPOINT)
        return CLIENTS[service]


def plain(value):
    """Times and bytes, for which JSON has no type, in the form that the services use."""
    if isinstance(value, datetime.datetime):
        seconds = value.timestamp()
        return int(seconds) if seconds.is_integer() else seconds
    return base64.b64encode(value).decode()


class Connection(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self):
        for line in self.rfile:
            request = json.loads(line)
            call = getattr(client(request["service"]), request["operation"])
            try:
                reply = {"result": call(**request["parameters"])}
            except (BotoCoreError, ClientError) as error:
                reply = {"error": str(error)}
            self.wfile.write(json.dumps(reply, default=plain).encode() + b"\n")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


with Server(("127.0.0.1", PORT), Connection) as server:
    server.serve_forever()
