"""Writes to the store, one key after the other, and then reads everything that was acknowledged.

    python3 check.py [--seconds 60] [ADDRESS:PORT ...]

Without an address it runs beside a slot (`xtreem exec`), and asks its agent where the store is served. It
goes on to another slot when one does not answer. Exits 1 when something that was acknowledged is lost."""

import argparse
import os
import socket
import sys
import time

# Puts a second: a slot may have 4,096 keys at each node.
RATE = 20
# So long what was acknowledged may be unreachable: its owner is lost, and not replaced yet.
PATIENCE_S = 120


class Store:
    def __init__(self, places):
        self.places, self.lines = places, None

    def ask(self, line):
        """The answer of the slot; None when it gave none, so that it may have been done."""
        try:
            if self.lines is None:
                self.lines = self.connected()
            self.lines.write(line + "\n")
            self.lines.flush()
            answer = self.lines.readline()
            if answer.endswith("\n"):
                return answer.rstrip("\n")
        except OSError:
            pass
        # Another one, the next time.
        self.lines, self.places = None, self.places[1:] + self.places[:1]
        return None

    def connected(self):
        for place in list(self.places):
            try:
                return socket.create_connection(place, timeout=45).makefile("rw")
            except OSError:
                self.places = self.places[1:] + self.places[:1]
        raise OSError("no slot answers")


def places(texts):
    if texts:
        return [(host(text), int(text.rpartition(":")[2])) for text in texts]
    import xtreem
    peers = xtreem.Slot.from_env().peers(64)
    others = [(host(peer.address), peer.ports["store"]) for peer in peers if peer.ports]
    return [(os.environ["XTREEM_ADDRESS"], int(os.environ["XTREEM_PORT_STORE"]))] + others


def host(address):
    return address.rpartition(":")[0].strip("[]")


def read(store, key, value):
    """Whether it is there. An error says nothing about that, and neither does a slot that does not answer."""
    until = time.monotonic() + PATIENCE_S
    while True:
        answer = store.ask(f"get {key}")
        if answer == f"value {value}":
            return True
        if answer is not None and not answer.startswith("error") or time.monotonic() > until:
            print(f"lost: {key} is {value!r}, answered {answer!r}")
            return False
        time.sleep(0.5)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("places", nargs="*", metavar="ADDRESS:PORT")
    arguments = parser.parse_args()
    store, run = Store(places(arguments.places)), os.urandom(4).hex()
    acknowledged, unsure, refused = {}, 0, 0
    begun, number = time.monotonic(), 0
    while time.monotonic() - begun < arguments.seconds:
        key, value = f"check/{run}/{number}", f"value {number} of {run}"
        answer = store.ask(f"put {key} {value}")
        if answer is not None and answer.startswith("ok "):
            acknowledged[key] = value
        elif answer is not None and answer.startswith("error definite"):
            refused += 1
        else:
            unsure += 1
        number += 1
        time.sleep(max(0.0, begun + number / RATE - time.monotonic()))
    print(f"{len(acknowledged)} acknowledged, {refused} refused, {unsure} without an answer that says which")
    lost = [key for key, value in acknowledged.items() if not read(store, key, value)]
    print(f"{len(lost)} of {len(acknowledged)} acknowledged are lost")
    sys.exit(bool(lost) or not acknowledged)


main()
