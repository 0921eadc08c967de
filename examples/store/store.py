"""Serves a store of keys and values that lie on a ring of all slots.

Any slot reads any key. A key of the ring is written again only by the slot that wrote it, or by its
replacement: so each key has a home, a slot that follows from the key, and puts go there as messages."""

import concurrent.futures
import json
import os
import queue
import socket
import socketserver
import threading
import uuid
import zlib

import xtreem

SLOT, SLOTS = int(os.environ["XTREEM_SLOT"]), int(os.environ["XTREEM_SLOTS"])
# The home of a key may be lost, and replaced, before it answers.
ANSWER_S = 30.0

slot = xtreem.Slot.from_env()
ring = xtreem.persist(lambda: slot.ring("items"))
# Where the answers to what was sent to other homes are awaited, by the number of the question.
waiting = {}


def put(key, value):
    """What to answer to whoever wants to put."""
    home = zlib.crc32(key.encode()) % SLOTS
    if home == SLOT:
        return put_here(key, value)
    number, answer = uuid.uuid4().hex, queue.Queue()
    waiting[number] = answer
    try:
        slot.send(home, json.dumps({"number": number, "key": key, "value": value}))
        return answer.get(timeout=ANSWER_S)
    except queue.Empty:
        return f"error indefinite: slot {home} did not answer"
    except xtreem.XtreemError as error:
        return refusal(error)
    finally:
        waiting.pop(number, None)


def put_here(key, value):
    try:
        return "ok " + ring.put(key, value)
    except xtreem.XtreemError as error:
        return refusal(error)


def get(key):
    try:
        value = ring.get(key)
        return "none" if value is None else "value " + value.decode()
    except xtreem.XtreemError as error:
        return refusal(error)


def refusal(error):
    return f"error {'definite' if error.definite else 'indefinite'}: {error}"


def answer(message):
    """A message of another slot: a key whose home is here, or the answer to one that was sent."""
    told = json.loads(message.body)
    if "key" not in told:
        if told["number"] in waiting:
            waiting[told["number"]].put(told["answer"])
        return
    done = json.dumps({"number": told["number"], "answer": put_here(told["key"], told["value"])})
    try:
        slot.send(message.slot, done)
    except xtreem.XtreemError as error:
        # Whoever asked says that it does not know.
        print("no answer to slot", message.slot, error)


def take_messages():
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        while True:
            messages = xtreem.persist(slot.messages, within=float("inf"))
            try:
                for message in messages:
                    pool.submit(answer, message)
            except xtreem.XtreemError as error:
                print("messages:", error)


class Client(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            words = line.decode(errors="replace").rstrip("\r\n").split(" ", 2)
            if words[0] == "put" and len(words) == 3:
                said = put(words[1], words[2])
            elif words[0] == "get" and len(words) == 2:
                said = get(words[1])
            else:
                said = "error definite: say put KEY VALUE, or get KEY"
            self.wfile.write(said.replace("\n", " ").encode() + b"\n")


class Server(socketserver.ThreadingTCPServer):
    address_family = socket.AF_INET6 if ":" in os.environ["XTREEM_ADDRESS"] else socket.AF_INET
    allow_reuse_address = True
    daemon_threads = True


threading.Thread(target=take_messages, daemon=True).start()
address = (os.environ["XTREEM_ADDRESS"], int(os.environ["XTREEM_PORT_STORE"]))
print("slot", SLOT, "serves at", *address)
Server(address, Client).serve_forever()
