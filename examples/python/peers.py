"""Says who it is, who the others are, and what changes. Needs nothing but Python's standard library."""

import http.client
import json
import os
import signal
import socket
import sys


class Agent(http.client.HTTPConnection):
    """The agent of this slot: HTTP over the Unix socket that XTREEM_SOCKET names."""

    def __init__(self):
        super().__init__("localhost")

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(os.environ["XTREEM_SOCKET"])

    def ask(self, path):
        self.request("GET", path, headers={"Authorization": "Bearer " + os.environ["XTREEM_TOKEN"]})
        answer = self.getresponse()
        if answer.status != 200:
            sys.exit(f"{path}: {answer.status} {answer.read().decode()}")
        return answer


def ask(path):
    return json.load(Agent().ask(path))


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

me = ask("/v1/self")
app = me["application"]
print(f"slot {me['slot']} of {app['slots']} of {app['name']}, epoch {me['epoch'][:10]}")
for peer in ask("/v1/self/peers?count=3")["peers"]:
    print("peer", peer["node"][:8], "at", peer["address"], "slot", peer.get("slot"))
for slot in ask("/v1/self/application")["slots"]:
    print("slot", slot["slot"], slot["state"], "on", slot.get("node", "nobody")[:8])
sys.stdout.flush()

for line in Agent().ask("/v1/self/events"):
    text = line.decode().strip()
    if text.startswith("event: "):
        event = text[len("event: "):]
    elif text.startswith("data: "):
        print(event, text[len("data: "):], flush=True)
