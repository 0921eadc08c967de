"""All agents of one application in one process, as far as the examples use them: programs run as slots, are
killed, and are started again as their replacements."""

from __future__ import annotations

import base64
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Tuple
from urllib.parse import parse_qsl, urlsplit

from tests.fake import FakeAgent

PACKAGE = os.path.join(os.path.dirname(__file__), "..")
MESSAGES = "GET /v1/self/messages"


@dataclass
class Slot:
    agent: FakeAgent
    directory: str
    program: Optional[subprocess.Popen[bytes]] = None
    at_hand: Optional[str] = None


@dataclass
class Tasks:
    collected: List[str] = field(default_factory=list)
    inputs: Dict[str, bytes] = field(default_factory=dict)
    results: Dict[str, bytes] = field(default_factory=dict)
    waiting: List[str] = field(default_factory=list)


class Refused(Exception):
    pass


class Agent(FakeAgent):
    """Of one slot of the grid."""

    def __init__(self, path: str, grid: Grid, slot: int):
        self.grid, self.slot = grid, slot
        super().__init__(path)

    def stream(self, request: str) -> Optional[queue.Queue[Optional[str]]]:
        with self.grid.lock:
            # Who asks for messages opens the mailbox.
            return self.streams.setdefault(request, queue.Queue()) if request == MESSAGES else None

    def answer(self, request: str, body: bytes) -> Tuple[int, bytes]:
        try:
            return 200, json.dumps(self.grid.serve(self.slot, request, body)).encode()
        except Refused as refused:
            status, error = refused.args
            return status, json.dumps({"error": error, "kind": "definite"}).encode()


class Grid:
    def __init__(self, slots: int, collections: Dict[str, Dict[str, Any]]):
        self.directory = tempfile.TemporaryDirectory()
        self.collections = collections
        self.lock = threading.Lock()
        self.rings: Dict[str, Dict[str, Dict[str, Any]]] = {name: {} for name in collections}
        self.farms: Dict[str, Tasks] = {name: Tasks() for name in collections}
        self.slots: List[Slot] = []
        for number in range(slots):
            directory = os.path.join(self.directory.name, f"slot{number}")
            os.mkdir(directory)
            agent = Agent(os.path.join(self.directory.name, f"{number}.sock"), self, number)
            self.slots.append(Slot(agent, directory))

    def start(self, number: int, program: str, **environment: str) -> None:
        slot = self.slots[number]
        environment = dict(
            os.environ,
            PYTHONPATH=os.path.abspath(PACKAGE),
            PYTHONUNBUFFERED="1",
            XTREEM_SOCKET=slot.agent.path,
            XTREEM_TOKEN="token",
            XTREEM_SLOT=str(number),
            XTREEM_SLOTS=str(len(self.slots)),
            **environment,
        )
        log = open(os.path.join(slot.directory, "log"), "ab")
        command, at = [sys.executable, os.path.abspath(program)], slot.directory
        slot.program = subprocess.Popen(command, env=environment, cwd=at, stdout=log, stderr=log)
        log.close()

    def kill(self, number: int) -> None:
        """With all that was on its way to it."""
        slot = self.slots[number]
        if slot.program is not None:
            slot.program.kill()
            slot.program.wait()
        with self.lock:
            slot.program = None
            mailbox = slot.agent.streams.pop(MESSAGES, None)
            if mailbox is not None:
                mailbox.put(None)
            if slot.at_hand is not None:
                for tasks in self.farms.values():
                    if slot.at_hand in tasks.inputs and slot.at_hand not in tasks.results:
                        tasks.waiting.append(slot.at_hand)
                slot.at_hand = None

    def keys(self, ring: str) -> List[str]:
        with self.lock:
            return list(self.rings[ring])

    def has(self, ring: str, prefix: str) -> bool:
        return any(key.startswith(prefix) for key in self.keys(ring))

    def log(self, number: int) -> str:
        with open(os.path.join(self.slots[number].directory, "log"), encoding="utf-8") as log:
            return log.read()

    def stop(self) -> None:
        for number in range(len(self.slots)):
            self.kill(number)
        for slot in self.slots:
            slot.agent.stop()
        self.directory.cleanup()

    def serve(self, number: int, request: str, body: bytes) -> Any:
        method, target = request.split(" ", 1)
        url = urlsplit(target)
        asked = dict(parse_qsl(url.query, keep_blank_values=True))
        parts = url.path.split("/")[3:]
        with self.lock:
            if parts == ["send"]:
                return self._send(number, asked, body)
            name, what = parts[1], parts[2] if len(parts) > 2 else ""
            if what == "":
                return self._show(number, name)
            if what in ("items", "scan"):
                return self._ring(number, method, self.rings[name], asked, body, what)
            told = self._farm(number, method, self.farms[name], asked, body, what)
        is_idle = method == "GET" and (told == {} or told.get("state") == "open" or told.get("ids") == [])
        if is_idle:
            # As an agent that waits for something, and much shorter.
            time.sleep(0.02)
        return told

    def _is_whole(self) -> bool:
        return all(slot.program is not None for slot in self.slots)

    def _send(self, sender: int, asked: Dict[str, str], body: bytes) -> None:
        if "slot" in asked:
            to = int(asked["slot"])
        else:
            row, column = (int(coordinate) for coordinate in asked["at"].split(","))
            to = row * int(self.collections[asked["collection"]]["shape"][1]) + column
        mailbox = self.slots[to].agent.streams.get(MESSAGES)
        if mailbox is None:
            raise Refused(503, f"slot {to} has opened no mailbox")
        message = {"slot": sender, "epoch": "1", "body": base64.b64encode(body).decode()}
        mailbox.put(f"event: message\ndata: {json.dumps(message)}\n\n")

    def _show(self, number: int, name: str) -> Dict[str, Any]:
        shown = {"name": name, "known": len(self.slots) - 1, **self.collections[name]}
        if shown["kind"] == "mesh":
            settled = self._is_whole()
            standing = {"rank": number, "members": len(self.slots), "numbering": "1-a", "settled": settled}
            at = divmod(number, shown["shape"][1])
            shown.update(standing=standing, place={"at": at, "neighbours": []})
        return shown

    def _ring(
        self, number: int, method: str, items: Dict[str, Any], asked: Dict[str, str], body: bytes, what: str
    ) -> Any:
        if what == "scan":
            keys = sorted(key for key in items if key.startswith(asked.get("prefix", "")))
            keys = [key for key in keys if key >= asked.get("from", "")]
            # Small pages, so that there is more than one.
            page = {"items": [items[key] for key in keys[:5]]}
            return page if len(keys) <= 5 else {**page, "next": keys[5]}
        key = asked["key"]
        if method == "GET":
            if key not in items:
                raise Refused(404, "nothing lies there")
            return items[key]
        if key in items and items[key]["writer"] != str(number):
            raise Refused(409, f"slot {items[key]['writer']} wrote this key")
        if method == "DELETE":
            items.pop(key, None)
        else:
            value = base64.b64encode(body).decode()
            items[key] = {"key": key, "value": value, "writer": str(number), "version": "1.1", "left_s": 9}
        return {"version": "1.1"}

    def _farm(
        self, number: int, method: str, tasks: Tasks, asked: Dict[str, str], body: bytes, what: str
    ) -> Any:
        id, slot = asked.get("id", ""), self.slots[number]
        if what == "outcomes":
            ids = [id for id in tasks.results if id not in tasks.collected]
            open = len(tasks.inputs) - len(tasks.results)
            return {"ids": ids, "open": open, "whole": self._is_whole()}
        if what == "tasks":
            if method == "DELETE":
                tasks.collected.append(id)
            if method == "PUT" and id not in tasks.inputs:
                tasks.inputs[id] = body
                tasks.waiting.append(id)
            if id in tasks.results:
                return {"id": id, "state": "done", "result": base64.b64encode(tasks.results[id]).decode()}
            return {"id": id, "state": "open"}
        if method == "PUT":
            tasks.results.setdefault(id, body)
            slot.at_hand = None
            return None
        # A question that a program asked before it was killed gets nothing.
        if slot.at_hand is None and tasks.waiting and slot.program is not None:
            slot.at_hand = tasks.waiting.pop(0)
        if slot.at_hand is None:
            return {}
        return {"task": {"id": slot.at_hand, "input": base64.b64encode(tasks.inputs[slot.at_hand]).decode()}}
