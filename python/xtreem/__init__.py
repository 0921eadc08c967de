"""What a program of an Xtreem application asks of its agent: who it is, who the others are, messages, and the
structured collections of its application (ranks, meshes, rings, farms, nearest).

    import xtreem
    slot = xtreem.Slot.from_env()
    print("slot", slot.whoami().slot, "rank", slot.ranks("row").settled().rank)

It needs nothing but Python's standard library and is one file on purpose: a program takes it along as one of
the files of its app.toml. Every call is a request of its own to the agent and may be made by any thread.
What may go wrong is an XtreemError.
"""

from __future__ import annotations

import base64
import collections
import dataclasses
import http.client
import json
import os
import queue
import secrets
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Generic, Iterable, Iterator, List, Mapping, Optional, Sequence
from typing import Tuple, Type, TypeVar, Union
from urllib.parse import quote, urlencode

__all__ = [
    "Address", "Application", "Chord", "Collection", "Event", "Farm", "Holder", "Item", "Keys", "Loaded",
    "Mesh", "Message", "Near", "Nearest", "Neighbour", "NotLoaded", "Outcome", "Outcomes", "Owner", "Peer",
    "Progress", "PubSub", "Published", "Ranks", "Ring", "Slot", "Standing", "Stream", "Task", "Whoami",
    "XtreemError", "persist",
]

# Until an answer is there: the agent has 30 s for a message, and looks up to 15 s for who has a rank; and the
# machine may be loaded.
TIMEOUT_S = 75.0
# For so long one request waits for tasks or outcomes; who waits longer asks again.
WAIT_S = 20.0
# Before something that failed for the moment is tried again.
AGAIN_S = 0.5
# For so long a send that is refused because too many are under way is tried again.
BUSY_S = 15.0
# The status of what is refused because too much of its kind is under way: nothing of it was done.
BUSY = 429
# Messages (of 1 MiB at most) or events that are read ahead of the program; beyond it the agent keeps them.
AHEAD_MAX = 64
# Of a failure's reason; the rest is cut, as the farm would.
WHY_MAX_BYTES = 256

T = TypeVar("T")
Bytes = Union[bytes, str]


class XtreemError(Exception):
    """A request was not answered with success.

    definite: it did not happen. Otherwise it may have: look before you repeat it.
    hint: what to do about it, if the agent knows. status: of the agent's answer, if there was one.
    passing: the same request may be answered with success later."""

    def __init__(
        self,
        error: str,
        definite: bool,
        hint: Optional[str] = None,
        status: Optional[int] = None,
        passing: bool = False,
    ):
        super().__init__(error)
        self.definite, self.hint, self.status, self.passing = definite, hint, status, passing


def persist(call: Callable[[], T], within: float = 60.0) -> T:
    """Calls until it succeeds, with pauses, while the failures are ones that pass. Only for what may safely
    happen twice: an indefinite failure is repeated, too."""
    until = time.monotonic() + within
    while True:
        try:
            return call()
        except XtreemError as error:
            if not error.passing or time.monotonic() >= until:
                raise
        time.sleep(AGAIN_S)


# What the agent tells.


@dataclass(frozen=True)
class Application:
    id: str
    name: str
    slots: int
    generation: int = 0
    wanted: str = "running"


@dataclass(frozen=True)
class Whoami:
    application: Application
    slot: int
    epoch: str
    node: str
    address: str
    ports: Dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Peer:
    """Another member; its slot and ports where they are known."""

    node: str
    address: str
    slot: Optional[int] = None
    ports: Dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Event:
    """name: slot, lost, record, collection, told or dropped."""

    name: str
    data: Dict[str, Any]


@dataclass(frozen=True)
class Address:
    """By what a message was addressed: a rank or a place of a collection under a numbering, or a key."""

    collection: str
    rank: Optional[int] = None
    at: Optional[List[int]] = None
    key: Optional[str] = None
    numbering: Optional[str] = None


@dataclass(frozen=True)
class Message:
    """From the member that is shown to hold the slot under the epoch. to: by what it was addressed, if not
    by this slot."""

    slot: int
    epoch: str
    body: bytes
    to: Optional[Address] = None


@dataclass(frozen=True)
class Standing:
    """A member without a rank is one that the numbering leaves out. settled: all ranks are there."""

    members: int
    numbering: str
    settled: bool
    rank: Optional[int] = None


@dataclass(frozen=True)
class Holder:
    rank: int
    slot: int
    numbering: str
    settled: bool


@dataclass(frozen=True)
class Neighbour:
    """way: 1 to higher coordinates of the dimension, -1 to lower ones."""

    dimension: int
    way: int
    rank: int
    slot: Optional[int] = None


@dataclass(frozen=True)
class Item:
    key: str
    value: bytes
    writer: str
    version: str
    left_s: int = 0


@dataclass(frozen=True)
class NotLoaded:
    key: str
    error: str
    # It was not written; else nobody knows.
    definite: bool


@dataclass(frozen=True)
class Loaded:
    written: int
    failed: List[NotLoaded] = field(default_factory=list)


@dataclass(frozen=True)
class Owner:
    slot: int
    epoch: int
    hops: int = 0


@dataclass(frozen=True)
class Task:
    id: str
    input: bytes


@dataclass(frozen=True)
class Outcome:
    """state: open, done, given_up or collected."""

    id: str
    state: str
    result: Optional[bytes] = None
    why: Optional[str] = None

    @property
    def done(self) -> bool:
        return self.state == "done"


@dataclass(frozen=True)
class Outcomes:
    """ids: tasks that are done or given up and not collected. open: how many are not. whole: whether these
    are all; not while members are missing, as on one side of a cut, nor for up to a minute after that."""

    ids: List[str]
    open: int
    whole: bool = True


@dataclass(frozen=True)
class Progress:
    open: int = 0
    in_hand: int = 0
    done: int = 0
    given_up: int = 0
    collected: int = 0
    duplicates: int = 0
    whole: bool = True
    oldest_s: Optional[int] = None


@dataclass(frozen=True)
class Near:
    slot: int
    profile: Union[int, List[int]]


def _made(kind: Type[T], data: Dict[str, Any], blobs: Sequence[str] = (), **more: Any) -> T:
    """A value of a class from its JSON; what this version does not know is left out."""
    names = {f.name for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    known = {name: value for name, value in data.items() if name in names}
    for name in blobs:
        if known.get(name) is not None:
            known[name] = base64.b64decode(known[name])
    known.update(more)
    try:
        return kind(**known)
    except TypeError as error:
        raise XtreemError(f"the agent's answer is not understood: {error}", definite=True) from error


def _bytes(content: Bytes) -> bytes:
    if isinstance(content, str):
        return content.encode()
    if isinstance(content, (bytes, bytearray, memoryview)):
        return bytes(content)
    raise TypeError(f"want bytes or text, not {type(content).__name__}: json.dumps makes text of most things")


def _text(content: Bytes) -> str:
    return base64.b64encode(_bytes(content)).decode()


# The way to the agent.


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float):
        super().__init__("localhost", timeout=timeout)
        self._path = path
        # The base class forgets its socket once an answer has begun.
        self.raw = socket.socket(socket.AF_UNIX)

    def connect(self) -> None:
        self.sock = self.raw
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)

    def close(self) -> None:
        super().close()
        self.raw.close()


class _Agent:
    def __init__(self, path: str, token: str):
        self.path, self.token = path, token

    def open(self, method: str, path: str, body: bytes = b"") -> Tuple[_Connection, http.client.HTTPResponse]:
        """The answer's head says success; its body may still come."""
        connection = _Connection(self.path, TIMEOUT_S)
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            what = f"no agent answers at {self.path}: {error}"
            raise XtreemError(what, definite=True, passing=True) from error
        try:
            headers = {"Authorization": "Bearer " + self.token, "Content-Type": "application/json"}
            connection.request(method, path, body or None, headers)
            answer = connection.getresponse()
            if not 200 <= answer.status < 300:
                raise _refused(answer.status, answer.read())
            return connection, answer
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise _broken(method, error) from error
        except XtreemError:
            connection.close()
            raise

    def send(self, body: Bytes, **to: Any) -> None:
        """Sends a message, as soon as not too many others are under way."""
        until = time.monotonic() + BUSY_S
        while True:
            try:
                self.ask("POST", "/v1/self/send", _bytes(body), **to)
                return
            except XtreemError as error:
                if error.status != BUSY or time.monotonic() >= until:
                    raise
            time.sleep(AGAIN_S)

    def ask(self, method: str, path: str, body: bytes = b"", **asked: Any) -> Any:
        """The JSON that is answered. Arguments that are None are not asked for."""
        pairs = [(name, value) for name, value in asked.items() if value is not None]
        if pairs:
            path += "?" + urlencode(pairs, quote_via=quote, safe="")
        connection, answer = self.open(method, path, body)
        try:
            return json.loads(answer.read() or b"null")
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _broken(method, error) from error
        finally:
            connection.close()


def _broken(method: str, error: Exception) -> XtreemError:
    # Before Python 3.10 the second is no case of the first.
    is_late = isinstance(error, (TimeoutError, socket.timeout))
    what = "did not come in time" if is_late else f"broke off: {error or type(error).__name__}"
    # A question changes nothing, whether it was answered or not.
    return XtreemError(f"the agent's answer {what}", definite=method == "GET", passing=True)


def _refused(status: int, body: bytes) -> XtreemError:
    passing = status == 429 or status >= 500
    try:
        told = json.loads(body)
        return XtreemError(told["error"], told["kind"] == "definite", told.get("hint"), status, passing)
    except (ValueError, KeyError, TypeError):
        text = body.decode(errors="replace").strip()
        error = f"status {status}: {text}" if text else f"status {status}"
        return XtreemError(error, status < 500, None, status, passing)


class Stream(Generic[T]):
    """What the agent tells from now on, one thing after the other: to be iterated, or taken with get. It ends
    when the agent ends it, and with an XtreemError when the connection breaks."""

    def __init__(self, agent: _Agent, path: str, parse: Callable[[str, Dict[str, Any]], Optional[T]]):
        # The agent says something every 15 s, were it only a comment: who is silent for longer than the
        # connection's timeout is gone.
        self._connection, self._answer = agent.open("GET", path)
        self._parse = parse
        self._told: queue.Queue[Union[T, XtreemError, None]] = queue.Queue(AHEAD_MAX)
        self._closed = False
        threading.Thread(target=self._read, name="xtreem", daemon=True).start()

    def get(self, timeout: Optional[float] = None) -> Optional[T]:
        """The next; None when there is none for so many seconds."""
        try:
            told = self._told.get(timeout=timeout)
        except queue.Empty:
            return None
        if told is None:
            told = XtreemError("the agent ended the stream", definite=True, passing=True)
        if isinstance(told, XtreemError):
            # For whoever asks again.
            self._tell(told)
            raise told
        return told

    def __iter__(self) -> Iterator[T]:
        while True:
            told = self._told.get()
            if told is None or isinstance(told, XtreemError):
                self._tell(told)
            if told is None:
                return
            if isinstance(told, XtreemError):
                raise told
            yield told

    def close(self) -> None:
        self._closed = True
        try:
            self._connection.raw.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        # Who waits for room or for something to come finds that it is over.
        while True:
            try:
                self._told.put_nowait(None)
                break
            except queue.Full:
                self._told.get_nowait()

    def __enter__(self) -> Stream[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tell(self, told: Union[T, XtreemError, None]) -> None:
        while not self._closed:
            try:
                return self._told.put(told, timeout=AGAIN_S)
            except queue.Full:
                pass

    def _read(self) -> None:
        end: Optional[XtreemError] = None
        try:
            for name, data in _events(iter(self._answer.readline, b"")):
                told = self._parse(name, data)
                if told is not None:
                    self._tell(told)
        except XtreemError as error:
            end = error
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
            end = _broken("GET", error)
        self._tell(end)
        self._answer.close()
        self._connection.close()


def _events(lines: Iterable[bytes]) -> Iterator[Tuple[str, Dict[str, Any]]]:
    """Names and data of server-sent events (WHATWG HTML, section 9.2.6)."""
    name = ""
    data: List[str] = []
    for line in lines:
        text = line.decode().rstrip("\r\n")
        key, _, value = text.partition(":")
        value = value[1:] if value.startswith(" ") else value
        if not text:
            if data:
                yield name, json.loads("\n".join(data))
            name, data = "", []
        elif key == "event":
            name = value
        elif key == "data":
            data.append(value)


# The toolbox.


@dataclass(frozen=True)
class Published:
    """An event of publish/subscribe; a retained one was kept from before the subscription. Where lost is not
    0, so many events of the topic did not come, as this program read too slowly, and there is no payload."""

    topic: str
    payload: bytes = b""
    id: str = ""
    publisher: Optional[str] = None
    sequence: Optional[int] = None
    reply_to: Optional[str] = None
    lost: int = 0
    retained: bool = False
    #: In words: while the grid was split, a topic of an update was changed elsewhere, and that has won.
    overtaken: str = ""


class PubSub:
    """One connection that publishes and subscribes. Any thread may use it; iterate it, or take events with
    get. It ends with close, and with an XtreemError when the connection breaks."""

    def __init__(self, path: str, token: Optional[str] = None):
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            what = f"no agent answers at {path}: {error}"
            raise XtreemError(what, definite=True, passing=True) from error
        self._asking = threading.Lock()
        self._writing = threading.Lock()
        self._changed = threading.Condition()
        self._told: collections.deque[Published] = collections.deque()
        self._answers: collections.deque[Union[XtreemError, Published, str]] = collections.deque()
        self._awaited = 0
        self._end: Optional[XtreemError] = None
        self._inbox, self._has_inbox, self._requests = "inbox/" + secrets.token_hex(16), False, 0
        self._opening = threading.Lock()
        self._replies: Dict[str, Optional[Published]] = {}
        threading.Thread(target=self._read, daemon=True, name="xtreem pubsub").start()
        self._ask("CONNECT ok lost headers")
        if token is not None:
            self._ask("AUTH " + token)

    def subscribe(self, topics: str, group: Optional[str] = None, replay: Optional[str] = None) -> None:
        """To a topic, `a/*` (one level below), `a/**` (all below, and a) or `**`. When it returns, whatever is
        published from now on comes, behind what is retained. Of a group each event comes to one. With replay
        past events come first, so many of each topic, as in "50", or so old at most, as in "10s", of topics
        for which agents keep them."""
        options = (f" group={group}" if group else "") + (f" replay={replay}" if replay else "")
        self._ask("SUBSCRIBE " + _quoted(topics) + options)

    def cancel(self, topics: str) -> None:
        self._ask("CANCEL " + _quoted(topics))

    def publish(self, topic: str, payload: Bytes = b"", reply_to: Optional[str] = None,
                sequence: Optional[int] = None, retain: bool = False) -> None:
        """To a topic, or to all that a pattern means. Returns when the agent has taken it. With retain the
        grid keeps it as the topic's last value, for those who subscribe later, when this returns; an empty
        payload ends that."""
        body = _bytes(payload)
        lines = ["PUBLISH " + _quoted(topic)]
        if retain:
            lines.append("Retain: yes")
        if reply_to is not None:
            lines.append("Reply-to: " + _quoted(reply_to))
        if sequence is not None:
            lines.append(f"Sequence: {sequence}")
        lines += ["Ack: a", f"Payload-length: {len(body)}"]
        self._ask("\r\n".join(lines), b"\r\n" + body)

    def read(self, topic: str) -> Optional[Published]:
        """The last value of a topic; its id is the version that update expects."""
        answer = self._ask("READ " + _quoted(topic))
        return answer if isinstance(answer, Published) else None

    def update(self, operation: str,
               changes: Mapping[str, Tuple[Optional[str], Optional[Bytes]]]) -> Dict[str, Optional[str]]:
        """Changes the last values of all these topics, or of none: of each the id of the event that is
        expected there (None: no value; "any": whatever it is), and the new value (empty: none any more; None:
        it stays). Returns the ids from now on. The same operation again, also by another agent, is the same
        update: repeat it when the error is not definite."""
        parts = []
        for topic, (expected, value) in changes.items():
            line = f"{_quoted(topic)} {'absent' if expected is None else expected} "
            body = b"" if value is None else _bytes(value)
            end = b"keep\r\n" if value is None else str(len(body)).encode() + b"\r\n" + body + b"\r\n"
            parts.append(line.encode() + end)
        body = b"".join(parts)
        answer = self._ask(f"UPDATE {operation}\r\nPayload-length: {len(body)}", b"\r\n" + body)
        ids = answer.split()[2:] if isinstance(answer, str) else []
        return {topic: None if id == "absent" else id for topic, id in zip(changes, ids)}

    def request(self, topic: str, payload: Bytes = b"", timeout: float = 5.0) -> Published:
        """Publishes an event and waits so many seconds for the first answer to it. An XtreemError when none
        came in time: somebody may have heard it all the same."""
        with self._opening:
            if not self._has_inbox:
                self.subscribe(self._inbox + "/*")
                self._has_inbox = True
        with self._changed:
            self._requests += 1
            reply_to = f"{self._inbox}/{self._requests}"
            self._replies[reply_to] = None
        try:
            self.publish(topic, payload, reply_to=reply_to)
            with self._changed:
                self._changed.wait_for(lambda: bool(self._replies[reply_to] or self._end), timeout)
                answer = self._replies[reply_to]
        finally:
            with self._changed:
                del self._replies[reply_to]
        if answer is None:
            raise self._end or XtreemError(f"nobody has answered the request to {topic} in time", False)
        return answer

    def reply(self, to: Published, payload: Bytes = b"") -> bool:
        """Answers whoever published this; False where no answer is awaited."""
        if to.reply_to is None:
            return False
        self.publish(to.reply_to, payload)
        return True

    def get(self, timeout: Optional[float] = None) -> Optional[Published]:
        """The next event; None when none came in time."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._told or self._end), timeout)
            if self._told:
                event = self._told.popleft()
                self._changed.notify_all()
                return event
            if self._end:
                raise self._end
            return None

    def __iter__(self) -> Iterator[Published]:
        while True:
            event = self.get()
            if event is not None:
                yield event

    def close(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._socket.close()

    def __enter__(self) -> PubSub:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, request: str, body: bytes = b"") -> Union[Published, str]:
        with self._asking:
            with self._changed:
                self._awaited += 1
                self._changed.notify_all()
            try:
                with self._writing:
                    self._socket.sendall(request.encode() + body + b"\r\n")
            except OSError as error:
                raise XtreemError(f"the connection to the agent broke: {error}", False, passing=True) from error
            with self._changed:
                self._changed.wait_for(lambda: bool(self._answers or self._end), TIMEOUT_S)
                self._awaited -= 1
                if not self._answers:
                    raise self._end or XtreemError("the agent did not answer in time", False, passing=True)
                answer = self._answers.popleft()
            if isinstance(answer, XtreemError):
                raise answer
            return answer

    def _read(self) -> None:
        end = "the agent has ended the connection"
        try:
            with self._socket.makefile("rb") as lines:
                while True:
                    line = lines.readline()
                    if not line:
                        break
                    self._take(line.decode().rstrip(), lines)
        except (OSError, ValueError) as error:
            end = f"the connection to the agent broke: {error}"
        with self._changed:
            self._end = XtreemError(end, definite=False, passing=True)
            self._changed.notify_all()

    def _take(self, line: str, lines: Any) -> None:
        verb, _, rest = line.partition(" ")
        event: Optional[Published] = None
        answer: Union[XtreemError, Published, str] = line[len("OK "):]
        if verb in ("EVENT", "VALUE"):
            head, _, id = rest.rpartition(" ")
            headers: Dict[str, str] = {}
            while "payload-length" not in headers:
                name, _, value = lines.readline().decode().strip().partition(":")
                headers[name.lower()] = value.strip()
            payload = lines.read(int(headers["payload-length"]))
            lines.readline()
            sequence, reply_to = headers.get("sequence"), headers.get("reply-to")
            event = Published(
                _unquoted(head), payload, id, headers.get("publisher"), int(sequence) if sequence else None,
                _unquoted(reply_to) if reply_to else None, retained=headers.get("retained") == "yes",
            )
            if verb == "VALUE":
                answer, event = event, None
        elif verb == "LOST":
            head, _, count = rest.rpartition(" ")
            event = Published(_unquoted(head), lost=int(count))
        elif verb == "ERROR":
            code, _, words = rest.partition(" ")
            if code == "overtaken":
                event = Published("", overtaken=_unquoted(words))
            answer = XtreemError(f"{_unquoted(words)} ({code})", definite=code != "indefinite")
        with self._changed:
            if event is None:
                self._answers.append(answer)
            elif event.topic.startswith(self._inbox + "/"):
                # The first answer counts, and only while it is awaited.
                if event.topic in self._replies and not event.lost:
                    self._replies[event.topic] = self._replies[event.topic] or event
            else:
                # Beyond so many the agent keeps them; but an answer that is awaited stands behind them.
                self._changed.wait_for(lambda: len(self._told) < AHEAD_MAX or self._awaited > 0)
                self._told.append(event)
            self._changed.notify_all()


def _quoted(text: str) -> str:
    if any(ord(character) < 32 for character in text):
        raise XtreemError(f"{text!r} is no topic: it has a control character", definite=True)
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _unquoted(text: str) -> str:
    if not (text.startswith('"') and text.endswith('"')):
        return text
    parts, rest = [], iter(text[1:-1])
    for character in rest:
        parts.append(next(rest, "") if character == "\\" else character)
    return "".join(parts)


class Slot:
    """This program's slot of its application."""

    def __init__(self, path: str, token: str):
        self._agent = _Agent(path, token)

    @classmethod
    def from_env(cls) -> Slot:
        """By the environment that the agent gave to this program."""
        for name in ("XTREEM_SOCKET", "XTREEM_TOKEN"):
            if name not in os.environ:
                raise XtreemError(f"{name} is not set: this program was not started by an xtreem agent", True)
        return cls(os.environ["XTREEM_SOCKET"], os.environ["XTREEM_TOKEN"])

    def whoami(self) -> Whoami:
        told = self._agent.ask("GET", "/v1/self")
        return _made(Whoami, told, application=_made(Application, told["application"]))

    def peers(self, count: int = 8) -> List[Peer]:
        """So many other members at random."""
        return [_made(Peer, peer) for peer in self._agent.ask("GET", "/v1/self/peers", count=count)["peers"]]

    def application(self) -> Dict[str, Any]:
        """What this node knows of the slots, as docs/use/programs.md has it."""
        told: Dict[str, Any] = self._agent.ask("GET", "/v1/self/application")
        return told

    def events(self) -> Stream[Event]:
        """What changes from now on."""
        return Stream(self._agent, "/v1/self/events", Event)

    def send(self, slot: int, body: Bytes) -> None:
        """Sends a message; once this returns, the other member's mailbox has it. Status 429: too many are
        under way, to this slot (whose program may take none) or to all, and nothing was sent."""
        self._agent.send(body, slot=slot)

    def messages(self) -> Stream[Message]:
        """What other members send. Nobody can send to this slot before it is called once."""

        def parse(name: str, data: Dict[str, Any]) -> Optional[Message]:
            if name != "message":
                return None
            to = data.get("to")
            return _made(Message, data, blobs=["body"], to=None if to is None else _made(Address, to))

        return Stream(self._agent, "/v1/self/messages", parse)

    def pubsub(self) -> PubSub:
        """Publishes events and subscribes to them, as this slot."""
        return PubSub(self._agent.path, self._agent.token)

    def collections(self) -> List[Dict[str, Any]]:
        """All collections that this member is in, as they are shown."""
        told: List[Dict[str, Any]] = self._agent.ask("GET", "/v1/self/collections")["collections"]
        return told

    def join(self, name: str, kind: str, **options: Any) -> Dict[str, Any]:
        """Enters a collection that app.toml does not declare, as join("plate", "mesh", shape=[2, 4])."""
        spec = json.dumps({"kind": kind, **options}).encode()
        shown: Dict[str, Any] = self._agent.ask("PUT", "/v1/self/collections/" + quote(name, safe=""), spec)
        return shown

    def ranks(self, name: str) -> Ranks:
        return Ranks(self._agent, name, ["ranks", "mesh"])

    def mesh(self, name: str) -> Mesh:
        return Mesh(self._agent, name, ["mesh"])

    def ring(self, name: str) -> Ring:
        return Ring(self._agent, name, ["ring"])

    def chord(self, name: str) -> Chord:
        return Chord(self._agent, name, ["chord"])

    def farm(self, name: str) -> Farm:
        return Farm(self._agent, name, ["farm"])

    def nearest(self, name: str) -> Nearest:
        return Nearest(self._agent, name, ["nearest"])


class Collection:
    """What all kinds have."""

    def __init__(self, agent: _Agent, name: str, kinds: Sequence[str]):
        self._agent, self.name = agent, name
        self._path = "/v1/self/collections/" + quote(name, safe="")
        kind = self.show()["kind"]
        if kind not in kinds:
            raise XtreemError(f"collection {name!r} is of kind {kind}, not {kinds[0]}", definite=True)

    def show(self) -> Dict[str, Any]:
        """The collection as this member sees it now."""
        shown: Dict[str, Any] = self._ask("GET", "")
        return shown

    def changes(self) -> Stream[str]:
        """standing, neighbours, range, farmer, outcomes or stop, as they happen from now on."""

        def parse(name: str, data: Dict[str, Any]) -> Optional[str]:
            return data["change"] if name == "collection" and data["name"] == self.name else None

        return Stream(self._agent, "/v1/self/events", parse)

    def leave(self) -> None:
        self._ask("DELETE", "")

    def _ask(self, method: str, what: str, body: bytes = b"", **asked: Any) -> Any:
        return self._agent.ask(method, self._path + what, body, **asked)

    def _send(self, body: Bytes, **to: Any) -> None:
        self._agent.send(body, collection=self.name, **to)


class Ranks(Collection):
    """Each member a number from 0 on. Whoever replaces a member has its rank."""

    def standing(self) -> Optional[Standing]:
        """Where this member stands now; None while it knows no numbering."""
        told = self.show().get("standing")
        return None if told is None else _made(Standing, told)

    def settled(self, within: float = 60.0) -> Standing:
        """Waits until all that have a rank are known to be there."""
        until = time.monotonic() + within
        while True:
            try:
                shown = self.show()
                why = shown.get("trouble") or f"{shown['known']} other members known"
                told = shown.get("standing")
                if told is not None and told["settled"] and "trouble" not in shown:
                    return _made(Standing, told)
            except XtreemError as error:
                if not error.passing:
                    raise
                why = str(error)
            if time.monotonic() >= until:
                what = f"collection {self.name!r} is not settled after {within:g} s: {why}"
                hint = "some slots may not run yet, or be lost: wait longer, or number anew"
                raise XtreemError(what, True, hint, passing=True)
            time.sleep(AGAIN_S / 2)

    def holder(self, rank: int) -> Holder:
        """Who has a rank. Status 404: nobody has; 503 or 504: it is not known just now."""
        return _made(Holder, self._ask("GET", f"/ranks/{rank}"))

    def renumber(self) -> Standing:
        """Ranks close up over those that are gone for good."""
        return _made(Standing, self._ask("POST", "/renumber"))

    def send(self, rank: int, body: Bytes) -> None:
        """Sends a message to whoever has a rank. Who has another one by now does not take it, and whoever
        has it then is asked for again, for some seconds."""
        self._send(body, rank=rank)


class Mesh(Ranks):
    """Ranks in rows and columns."""

    def at(self) -> Optional[List[int]]:
        """Where this member stands; None while it has no place."""
        place = self.show().get("place")
        return None if place is None else list(place["at"])

    def neighbours(self) -> List[Neighbour]:
        """Who stands beside this member: at most two in each dimension."""
        place = self.show().get("place") or {"neighbours": []}
        return [_made(Neighbour, neighbour) for neighbour in place["neighbours"]]

    def place(self, at: Sequence[int]) -> Holder:
        """Who stands at a place."""
        return _made(Holder, self._ask("GET", "/places", at=_place(at)))

    def send_at(self, at: Sequence[int], body: Bytes) -> None:
        """Sends a message to whoever stands at a place."""
        self._send(body, at=_place(at))


def _place(at: Sequence[int]) -> str:
    return ",".join(str(number) for number in at)


class Keys(Collection):
    """Items under keys, and the members that own them. As a mapping: ring["a"] = b"1", ring["a"],
    del ring["a"], "a" in ring."""

    def put(
        self,
        key: str,
        value: Bytes,
        copies: Optional[int] = None,
        lease_s: Optional[int] = None,
        expected: Optional[str] = None,
    ) -> str:
        """Writes a value and returns its version; once this returns, it lies at all its copies. Only the slot
        that wrote a key writes it again (409). expected: only if that version lies there, or "none" does."""
        asked: Dict[str, Any] = dict(key=key, copies=copies, lease_s=lease_s, expected=expected)
        return str(self._ask("PUT", "/items", _bytes(value), **asked)["version"])

    def item(self, key: str) -> Optional[Item]:
        """What lies under a key, with its writer and version; None when nothing does."""
        try:
            return _made(Item, self._ask("GET", "/items", key=key), blobs=["value"])
        except XtreemError as error:
            if error.status == 404:
                return None
            raise

    def get(self, key: str) -> Optional[bytes]:
        """The value under a key; None when there is none."""
        item = self.item(key)
        return None if item is None else item.value

    def remove(self, key: str, expected: Optional[str] = None) -> str:
        """Removes what lies under a key, or only if it is that version."""
        return str(self._ask("DELETE", "/items", key=key, expected=expected)["version"])

    def load(
        self,
        items: Union[Mapping[str, Bytes], Iterable[Tuple[str, Bytes]]],
        copies: Optional[int] = None,
        lease_s: Optional[int] = None,
    ) -> Loaded:
        """Writes many items at once, 1,024 at most, much faster than one by one: a mapping, or pairs of key
        and value, each key once. What it returns names those that were not written, or of which nobody can
        say it."""
        pairs = items.items() if isinstance(items, Mapping) else items
        told: Dict[str, Any] = {"items": [{"key": key, "value": _text(value)} for key, value in pairs]}
        told.update({} if copies is None else {"copies": copies})
        told.update({} if lease_s is None else {"lease_s": lease_s})
        answer = self._ask("POST", "/load", json.dumps(told).encode())
        failed = [
            NotLoaded(item["key"], item["error"], item["kind"] == "definite")
            for item in answer.get("failed", [])
        ]
        return Loaded(answer["written"], failed)

    def broadcast(self, body: Bytes) -> None:
        """Tells all members something, 16 KiB at most; each hears it once, as an event named "told"."""
        self._ask("POST", "/broadcast", body=_bytes(body))

    def owner(self, key: str) -> Owner:
        """The member that owns a key now."""
        return _made(Owner, self._ask("GET", "/owner", key=key))

    def send(self, key: str, body: Bytes) -> None:
        """Sends a message to the owner of a key."""
        self._send(body, key=key)

    def __setitem__(self, key: str, value: Bytes) -> None:
        self.put(key, value)

    def __getitem__(self, key: str) -> bytes:
        value = self.get(key)
        if value is None:
            raise KeyError(key)
        return value

    def __delitem__(self, key: str) -> None:
        self.remove(key)

    def __contains__(self, key: str) -> bool:
        return self.item(key) is not None


class Ring(Keys):
    """Keys in their order, spread over the members by load."""

    def scan(
        self, prefix: Optional[str] = None, start: Optional[str] = None, end: Optional[str] = None
    ) -> Iterator[Item]:
        """Items whose keys begin so, from one key on and before another one, in the order of the keys."""
        while True:
            asked: Dict[str, Any] = {"prefix": prefix, "from": start, "to": end}
            page = self._ask("GET", "/scan", **asked)
            for item in page["items"]:
                yield _made(Item, item, blobs=["value"])
            start = page.get("next")
            if start is None:
                return


    def broadcast_to(
        self,
        body: Bytes,
        prefix: Optional[str] = None,
        start: Optional[str] = None,
        end: Optional[str] = None,
    ) -> None:
        """Tells the owners of such keys something, 16 KiB at most; each hears it once, as an event named
        "told". Once this returns, the owner of the first key has it and sees to the rest."""
        asked: Dict[str, Any] = {"prefix": prefix, "from": start, "to": end}
        if prefix is None and start is None and end is None:
            asked["prefix"] = ""
        self._ask("POST", "/broadcast", _bytes(body), **asked)


class Chord(Keys):
    """Keys by their hash, and members at random places; keys have no order."""


class Farm(Collection):
    """A table of tasks that outlives its farmer. Any member adds tasks, does them, takes their outcomes."""

    def renumber(self) -> Standing:
        """Members that are gone for good are not waited for any more."""
        return _made(Standing, self._ask("POST", "/renumber"))

    def add(self, id: str, input: Bytes = b"") -> Outcome:
        """Adds a task; once this returns, it is not lost any more. To add it again changes nothing."""
        return self._outcome(self._ask("PUT", "/tasks", _bytes(input), id=id))

    def outcome(self, id: str, wait: float = 0.0) -> Outcome:
        """Where a task stands, with its result once that is there; waits so many seconds while it is open."""
        until = time.monotonic() + wait
        while True:
            outcome = self._outcome(self._poll("/tasks", until, id=id))
            if outcome.state != "open" or time.monotonic() >= until:
                return outcome

    def collect(self, id: str) -> Outcome:
        """Takes an outcome out of the table, once it is safe elsewhere."""
        return self._outcome(self._ask("DELETE", "/tasks", id=id))

    def outcomes(self, wait: float = 0.0) -> Outcomes:
        """Which tasks are done or given up and not collected; waits so many seconds while there are none."""
        until = time.monotonic() + wait
        while True:
            outcomes = _made(Outcomes, self._poll("/outcomes", until))
            if outcomes.ids or time.monotonic() >= until:
                return outcomes

    def results(self) -> Iterator[Outcome]:
        """Each outcome as it comes, until no task is open and all members are there. It is collected when the
        next one is asked for: to who dies before that it comes again."""
        wait = 0.0
        while True:
            found = persist(lambda: self.outcomes(wait))
            if not found.ids and not found.open:
                if found.whole:
                    return
                # Nobody tells when it is.
                time.sleep(AGAIN_S)
            wait = WAIT_S if found.open and not found.ids else 0.0
            for id in found.ids:
                outcome = persist(lambda: self.outcome(id))
                if outcome.state in ("done", "given_up"):
                    yield outcome
                    persist(lambda: self.collect(id))

    def progress(self) -> Progress:
        """How many tasks stand where, as the farmer counts."""
        return _made(Progress, self._ask("GET", "/progress"))

    def task(self, wait: float = 0.0) -> Optional[Task]:
        """The task that this member shall do; None when there is none for so many seconds. A member has one
        at a time: until it is done or failed the same one is handed out again."""
        until = time.monotonic() + wait
        while True:
            task = self._poll("/work", until).get("task")
            if task is not None:
                return _made(Task, task, blobs=["input"])
            if time.monotonic() >= until:
                return None

    def work(self) -> Iterator[Task]:
        """The tasks of this member, one after the other, for ever. Say done or failed of each."""
        while True:
            task = persist(lambda: self.task(WAIT_S), within=float("inf"))
            if task is not None:
                yield task

    def done(self, task: Task, result: Bytes = b"") -> None:
        """The task at hand is done; the result is kept by the agent until the farm has it."""
        self._report("PUT", _bytes(result), id=task.id)

    def failed(self, task: Task, why: str) -> None:
        """The task at hand failed. After some such attempts it is given up."""
        # A text with half characters, as names of files may have, must not end the worker.
        why = why.encode(errors="replace")[:WHY_MAX_BYTES].decode(errors="ignore")
        self._report("DELETE", b"", id=task.id, why=why)

    def run(self, function: Callable[[Task], Bytes]) -> None:
        """Does tasks for ever: the result is what the function returns; what it raises is a failure, and so
        is a result that is neither bytes nor text, or too long.

        sys.exit and KeyboardInterrupt are failures, too. After them the next task is done, as after any other
        failure; in the main thread they are raised again once the failure is told, so that they end the
        program. A thread that they ended would leave its member without a worker, and nobody would see it."""
        for task in self.work():
            try:
                result = _bytes(function(task))
            except BaseException as error:
                self.failed(task, _why(error))
                is_end = isinstance(error, (KeyboardInterrupt, SystemExit))
                if is_end and threading.current_thread() is threading.main_thread():
                    raise
                continue
            try:
                self.done(task, result)
            except XtreemError as error:
                if error.status not in (400, 413):
                    raise
                self.failed(task, str(error))

    def _poll(self, what: str, until: float, **asked: Any) -> Any:
        """Asks, and lets the agent wait for the answer; where as many wait as may, looks now and then."""
        try:
            return self._ask("GET", what, **asked, wait_ms=_slice(until))
        except XtreemError as error:
            if error.status != BUSY:
                raise
        time.sleep(min(max(until - time.monotonic(), 0.0), AGAIN_S))
        return self._ask("GET", what, **asked, wait_ms=0)

    def _report(self, method: str, body: bytes, **asked: Any) -> None:
        try:
            persist(lambda: self._ask(method, "/work", body, **asked), within=float("inf"))
        except XtreemError as error:
            # It is not at hand any more: somebody else did it.
            if error.status not in (404, 409, 410):
                raise

    @staticmethod
    def _outcome(told: Dict[str, Any]) -> Outcome:
        return _made(Outcome, told, blobs=["result"])


def _why(error: BaseException) -> str:
    """What a task raised, as text."""
    name = type(error).__name__
    try:
        return f"{name}: {error}"
    except Exception:
        # Of a class whose own text fails.
        return name


def _slice(until: float) -> int:
    """For how many milliseconds one request waits."""
    return int(min(max(until - time.monotonic(), 0.0), WAIT_S) * 1000)


class Nearest(Collection):
    """Members that find those which are most like them."""

    def set_profile(self, profile: Union[int, Iterable[int]]) -> None:
        """By what this member is near to others: a number, or numbers of items, as the metric is."""
        told = {"number": profile} if isinstance(profile, int) else {"items": list(profile)}
        for number in told.get("items", []):
            if not isinstance(number, int):
                raise TypeError(f"want whole numbers of items, not {number!r}: give each item a number")
        self._ask("PUT", "/profile", json.dumps(told).encode())

    def nearest(self) -> List[Near]:
        """Those that are most like it, nearest first."""
        found = self.show().get("nearest", [])
        return [Near(near["slot"], next(iter(near["profile"].values()))) for near in found]
