"""Publish/subscribe against a socket that says what an agent says."""

import os
import socket
import tempfile
import threading
import unittest
from typing import List

import xtreem


class Scripted:
    """Answers each request that begins as expected; what was asked can be looked at."""

    def __init__(self, script: List[bytes]):
        self.directory = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.directory.name, "socket")
        self.asked: List[bytes] = []
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.path)
        listener.listen()
        self.thread = threading.Thread(target=self.serve, args=(listener, script))
        self.thread.start()

    def serve(self, listener: socket.socket, script: List[bytes]) -> None:
        connection, _ = listener.accept()
        listener.close()
        with connection:
            for answer in script:
                self.asked.append(connection.recv(65536))
                connection.sendall(answer)

    def end(self) -> None:
        self.thread.join()
        self.directory.cleanup()


class Answering(Scripted):
    """Two requests: one that is answered, twice, and one that is not."""

    def __init__(self) -> None:
        super().__init__([])

    def serve(self, listener: socket.socket, script: List[bytes]) -> None:
        connection, _ = listener.accept()
        listener.close()
        with connection:
            taken = b"OK PUBLISH a\r\n"
            for answer in [b"OK CONNECT\r\n", b"OK SUBSCRIBE\r\n", b"", taken, taken]:
                self.asked.append(connection.recv(65536))
                if not answer:
                    reply_to = self.asked[-1].split(b'Reply-to: ')[1].split(b"\r\n")[0]
                    head = b"EVENT " + reply_to + b" 0123\r\n"
                    answer = head + b"Payload-length: 4\r\nfine\r\n" + EVENT
                    answer += head + b"Payload-length: 4\r\nlate\r\nOK PUBLISH a\r\n"
                connection.sendall(answer)


EVENT = (
    b'EVENT "a/b" 0123\r\nRetained: yes\r\nSequence: 7\r\nReply-to: "in/\\"1"\r\nPublisher: me\r\n'
    b"Payload-length: 4\r\n\r\n\xff\n\r\n"
)


class PubSub(unittest.TestCase):
    def test_events_losses_and_answers_come_to_whom_they_belong(self) -> None:
        script = [b"OK CONNECT\r\n", b"OK AUTH\r\n"]
        script += [EVENT + b'OK SUBSCRIBE "a/**" late\r\n', b'LOST "a/b" 3\r\nOK PUBLISH a\r\n']
        agent = Scripted(script)
        with xtreem.PubSub(agent.path, "token") as bus:
            bus.subscribe("a/**", group="g")
            bus.publish('say "hi"', "body", reply_to="in", sequence=5, retain=True)
            first, second = bus.get(), bus.get()
        agent.end()
        event = xtreem.Published("a/b", b"\r\n\xff\n", "0123", "me", 7, 'in/"1', retained=True)
        self.assertEqual((first, second), (event, xtreem.Published("a/b", lost=3)))
        self.assertEqual(agent.asked[1:3], [b"AUTH token\r\n", b'SUBSCRIBE "a/**" group=g\r\n'])
        publish = b'PUBLISH "say \\"hi\\""\r\nRetain: yes\r\nReply-to: "in"\r\nSequence: 5\r\nAck: a\r\n'
        publish += b"Payload-length: 4\r\nbody\r\n"
        self.assertEqual(agent.asked[3], publish)

    def test_a_request_gets_the_first_answer_to_it_and_other_events_stay(self) -> None:
        agent = Answering()
        with xtreem.PubSub(agent.path) as bus:
            answer = bus.request("services/web", "status?")
            with self.assertRaisesRegex(xtreem.XtreemError, "services/none"):
                bus.request("services/none", timeout=0.05)
            other = bus.get(1.0)
            assert other is not None
            self.assertEqual((answer.payload, other.topic), (b"fine", "a/b"))
            self.assertTrue(bus.reply(other, "seen"))
            self.assertFalse(bus.reply(xtreem.Published("a")))
        agent.end()
        self.assertIn(b'PUBLISH "in/\\"1"\r\n', agent.asked[-1])

    def test_what_is_refused_is_an_error_and_the_end_is_told(self) -> None:
        agent = Scripted([b"OK CONNECT\r\n", b'ERROR forbidden "not \\"x\\""\r\n'])
        bus = xtreem.PubSub(agent.path)
        with self.assertRaises(xtreem.XtreemError) as caught:
            bus.subscribe("x")
        self.assertEqual(str(caught.exception), 'not "x" (forbidden)')
        with self.assertRaises(xtreem.XtreemError):
            bus.get()
        bus.close()
        agent.end()

    def test_a_topic_with_a_line_end_is_refused_here(self) -> None:
        agent = Scripted([b"OK CONNECT\r\n"])
        bus = xtreem.PubSub(agent.path)
        with self.assertRaises(xtreem.XtreemError):
            bus.publish("a\r\nPUBLISH", b"")
        bus.close()
        agent.end()


if __name__ == "__main__":
    unittest.main()

    def test_values_are_read_and_updated_by_their_versions(self) -> None:
        value = EVENT.replace(b"EVENT", b"VALUE")
        script = [b"OK CONNECT\r\n", value, b'OK READ "b" absent\r\n']
        script += [b'ERROR overtaken "old: read it"\r\nOK UPDATE op 0456 absent 0123\r\n']
        script += [b'ERROR conflict "op2: \\"a\\" 0123"\r\n', b'ERROR indefinite "op2: repeat it"\r\n']
        agent = Scripted(script)
        with xtreem.PubSub(agent.path) as bus:
            read = bus.read("a/b")
            assert read is not None
            self.assertEqual((read.id, read.payload, bus.read("b")), ("0123", b"\r\n\xff\n", None))
            made = bus.update("op", {"b": (None, "new"), "c": ("any", ""), "a/b": (read.id, None)})
            self.assertEqual(made, {"b": "0456", "c": None, "a/b": "0123"})
            self.assertEqual(bus.get(), xtreem.Published("", overtaken="old: read it"))
            for definite in (True, False):
                with self.assertRaises(xtreem.XtreemError) as raised:
                    bus.update("op2", {"a": ("0456", b"x")})
                self.assertEqual(raised.exception.definite, definite)
        agent.end()
        update = b'UPDATE op\r\nPayload-length: 57\r\n'
        update += b'"b" absent 3\r\nnew\r\n"c" any 0\r\n\r\n"a/b" 0123 keep\r\n\r\n'
        self.assertEqual(agent.asked[1:4], [b'READ "a/b"\r\n', b'READ "b"\r\n', update])
