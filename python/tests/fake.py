"""An agent for tests: it answers each request as it was told to, and tells events."""

from __future__ import annotations

import http.server
import os
import queue
import socketserver
import tempfile
import threading
import unittest
from typing import Any, Dict, List, Optional, Tuple

import xtreem

TOKEN = "s3cret"
COLLECTIONS = "/v1/self/collections/"


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64
    agent: FakeAgent

    def handle_error(self, *_: Any) -> None:
        """Clients leave when a test lets them: their errors are what is tested."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def address_string(self) -> str:
        # There is none on a Unix socket.
        return "client"

    def log_message(self, *_: Any) -> None:
        pass

    def _serve(self) -> None:
        agent = self.server.agent
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        request = f"{self.command} {self.path}"
        agent.asked.append((request, body, self.headers.get("Authorization")))
        events = agent.stream(request)
        if events is not None:
            self._stream(events)
            return
        status, answer = agent.answer(request, body)
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_PUT = do_POST = do_DELETE = _serve

    def _stream(self, events: queue.Queue[Optional[str]]) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while True:
            event = events.get()
            text = b"" if event is None else event.encode()
            try:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))
            except OSError:
                return
            if event is None:
                return


class FakeAgent:
    def __init__(self, path: str):
        self.path = path
        self.asked: List[Tuple[str, bytes, Optional[str]]] = []
        self.streams: Dict[str, queue.Queue[Optional[str]]] = {}
        self._answers: Dict[str, List[Tuple[int, bytes]]] = {}
        self._server = _Server(path, _Handler)
        self._server.agent = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def says(self, request: str, status: int, body: str) -> None:
        """After what was said before; the last answer is given again and again."""
        self._answers.setdefault(request, []).append((status, body.encode()))

    def stream(self, request: str) -> Optional[queue.Queue[Optional[str]]]:
        return self.streams.get(request)

    def answer(self, request: str, body: bytes) -> Tuple[int, bytes]:
        """A pattern that ends in * fits whatever begins so."""
        for pattern, answers in self._answers.items():
            if pattern == request or pattern.endswith("*") and request.startswith(pattern[:-1]):
                return answers.pop(0) if len(answers) > 1 else answers[0]
        return 400, b'{"error":"the test does not answer %s","kind":"definite"}' % request.encode()

    def told(self, request: str) -> Optional[bytes]:
        """The body of the last such request."""
        return next((body for asked, body, _ in reversed(self.asked) if asked == request), None)

    def stop(self) -> None:
        for events in self.streams.values():
            events.put(None)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class WithAgent(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.agent = FakeAgent(os.path.join(directory.name, "s.sock"))
        self.addCleanup(self.agent.stop)
        self.slot = xtreem.Slot(self.agent.path, TOKEN)

    def opened(self, name: str, kind: str, more: str = "") -> None:
        shown = f'{{"name":"{name}","kind":"{kind}","known":3{more}}}'
        self.agent.says(f"GET {COLLECTIONS}{name}", 200, shown)

    def follow(self, path: str) -> queue.Queue[Optional[str]]:
        return self.agent.streams.setdefault(f"GET {path}", queue.Queue())
