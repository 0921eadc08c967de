"""Slot 0 keeps a query, slot 1 is the monitor, and all others are storage servers. Any of them may be killed:
its replacement goes on from what is retained."""

import json
import signal
import sys
import time

import xtreem

# A server of which so much is used, of 100, is an answer to the query.
FULL = 80
STATUS_S = 1.0
# How often the monitor asks all servers.
ROUND_S = 3.0


def storage(bus, slot):
    """Says each second how much is used: retained, so whoever subscribes later knows it at once."""
    bus.subscribe(f"storage/osd/{slot}/ask")
    used = 10 * slot
    while True:
        used = (used + 20) % 100
        status = json.dumps({"used": used})
        bus.publish(f"storage/osd/{slot}/status", status, retain=True)
        end = time.monotonic() + STATUS_S
        while time.monotonic() < end:
            event = bus.get(end - time.monotonic())
            if event and not event.lost:
                bus.reply(event, status)


def query(bus):
    """Who is full? The answer is retained, and its clients are told of each change."""
    full = set()
    bus.subscribe("storage/osd/**")
    for event in bus:
        if event.lost or not event.topic.endswith("/status"):
            continue
        slot, is_full = int(event.topic.split("/")[2]), json.loads(event.payload)["used"] >= FULL
        if is_full == (slot in full):
            continue
        full ^= {slot}
        bus.publish("query/full/changes", json.dumps({"added" if is_full else "removed": slot}))
        bus.publish("query/full", json.dumps(sorted(full)), retain=True)


def monitor(bus, application):
    """Prints what changes in the query's answer, what the agents say of the slots, and who answers."""
    bus.subscribe("query/full/changes")
    bus.subscribe(f"app/{application['id']}/slot/**")
    while True:
        end = time.monotonic() + ROUND_S
        while time.monotonic() < end:
            event = bus.get(end - time.monotonic())
            if event and event.topic.startswith("query/"):
                print("query", event.payload.decode())
            elif event and not event.lost:
                said = json.loads(event.payload)
                print("slot", said["slot"], event.topic.rsplit("/", 1)[1])
        for slot in range(2, application["slots"]):
            try:
                answer = bus.request(f"storage/osd/{slot}/ask", timeout=1.0)
                print("server", slot, answer.payload.decode())
            except xtreem.XtreemError as error:
                print("server", slot, "does not answer:", error)


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
me = xtreem.Slot.from_env().whoami()
part = {0: query, 1: lambda bus: monitor(bus, {"id": me.application.id, "slots": me.application.slots})}
while True:
    try:
        with xtreem.Slot.from_env().pubsub() as connection:
            part.get(me.slot, lambda bus: storage(bus, me.slot))(connection)
    except xtreem.XtreemError as error:
        # The agent has just started, or the grid does not keep anything for a moment.
        print("again:", error)
        time.sleep(1)
