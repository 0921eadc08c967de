"""What a slot asks, and what can go wrong."""

import os
import socket
import tempfile
import threading
import time
import unittest
from unittest import mock

import xtreem
from tests.fake import TOKEN, WithAgent

SELF = """{"application":{"id":"0a","name":"web","slots":6,"generation":1,"wanted":"running","later":1},
           "slot":2,"epoch":"0001-ab","node":"ab","address":"fd00::1","ports":{"http":8080},"later":1}"""


class Slot(WithAgent):
    def test_it_is_found_by_the_environment(self) -> None:
        self.agent.says("GET /v1/self", 200, SELF)
        told = {"XTREEM_SOCKET": self.agent.path, "XTREEM_TOKEN": TOKEN}
        with mock.patch.dict(os.environ, told):
            me = xtreem.Slot.from_env().whoami()
        self.assertEqual((me.slot, me.application.slots, me.ports), (2, 6, {"http": 8080}))
        self.assertEqual(self.agent.asked[0][2], "Bearer s3cret")
        with mock.patch.dict(os.environ, clear=True), self.assertRaises(xtreem.XtreemError) as caught:
            xtreem.Slot.from_env()
        self.assertIn("XTREEM_SOCKET is not set", str(caught.exception))

    def test_peers_may_have_a_slot(self) -> None:
        peers = '{"peers":[{"node":"ab","address":"a:1"},{"node":"cd","address":"b:1","slot":3}]}'
        self.agent.says("GET /v1/self/peers?count=2", 200, peers)
        self.assertEqual([peer.slot for peer in self.slot.peers(2)], [None, 3])

    def test_messages_are_sent_and_taken(self) -> None:
        self.agent.says("POST /v1/self/send?slot=3", 200, "null")
        self.slot.send(3, "hello")
        self.assertEqual(self.agent.told("POST /v1/self/send?slot=3"), b"hello")
        told = self.follow("/v1/self/messages")
        with self.slot.messages() as messages:
            self.assertIsNone(messages.get(timeout=0.01))
            told.put(": alive\n\n")
            # However the bytes are cut.
            told.put('event: message\ndata: {"slot":1,"epoch":"0001",')
            told.put('"body":"aGVsbG8="}\n\n')
            self.assertEqual(messages.get(timeout=20), xtreem.Message(1, "0001", b"hello"))
            told.put(
                'event: message\ndata: {"slot":1,"epoch":"0001","body":"aGVsbG8=",'
                '"to":{"collection":"row","rank":3,"numbering":"1.ab"}}\n\n'
            )
            to = xtreem.Address("row", rank=3, numbering="1.ab")
            self.assertEqual(messages.get(timeout=20), xtreem.Message(1, "0001", b"hello", to))
            told.put(None)
            with self.assertRaises(xtreem.XtreemError):
                messages.get(timeout=20)

    def test_events_end_when_the_agent_ends_them(self) -> None:
        told = self.follow("/v1/self/events")
        told.put('event: lost\r\ndata: {"node":"ab",\r\ndata: "slot":2}\r\n\r\n')
        told.put('event: dropped\ndata: {"dropped":7}\n\n')
        told.put(None)
        expected = [xtreem.Event("lost", {"node": "ab", "slot": 2}), xtreem.Event("dropped", {"dropped": 7})]
        self.assertEqual(list(self.slot.events()), expected)

    def test_closing_a_stream_ends_its_thread_and_connection(self) -> None:
        self.follow("/v1/self/events")
        events = self.slot.events()
        threading.Thread(target=list, args=(events,), name="xtreem").start()
        events.close()
        until = time.monotonic() + 20
        while any(thread.name == "xtreem" for thread in threading.enumerate()) and time.monotonic() < until:
            time.sleep(0.01)
        self.assertFalse(any(thread.name == "xtreem" for thread in threading.enumerate()))


class Errors(WithAgent):
    def test_refusals_keep_the_agents_words(self) -> None:
        said = '{"error":"too many","kind":"definite","hint":"wait"}'
        for status, body, words, definite, hint, passing in [
            (429, said, "too many", True, "wait", True),
            (409, '{"error":"another","kind":"indefinite"}', "another", False, None, False),
            (404, "what?", "status 404: what?", True, None, False),
            (500, "", "status 500", False, None, True),
            (500, '["no"]', 'status 500: ["no"]', False, None, True),
        ]:
            with self.subTest(status=status, body=body):
                path = f"/v1/self/send?slot={status}{len(body)}"
                self.agent.says(f"POST {path}", status, body)
                with mock.patch.object(xtreem, "BUSY_S", 0), self.assertRaises(xtreem.XtreemError) as caught:
                    self.slot.send(int(f"{status}{len(body)}"), b"x")
                error = caught.exception
                self.assertEqual((str(error), error.status), (words, status))
                self.assertEqual((error.definite, error.hint, error.passing), (definite, hint, passing))

    def test_a_missing_agent_is_definite(self) -> None:
        with self.assertRaises(xtreem.XtreemError) as caught:
            xtreem.Slot("/nowhere/s.sock", TOKEN).send(1, b"x")
        self.assertTrue(caught.exception.definite and caught.exception.passing)
        self.assertIn("/nowhere/s.sock", str(caught.exception))

    def test_an_answer_that_breaks_off_is_indefinite_unless_nothing_was_asked_to_be_done(self) -> None:
        for answer in [b"", b"garbage\r\n\r\n", b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"a"']:
            with self.subTest(answer=answer), tempfile.TemporaryDirectory() as directory:
                path = os.path.join(directory, "s.sock")
                with socket.socket(socket.AF_UNIX) as listener:
                    listener.bind(path)
                    listener.listen()
                    serving = threading.Thread(target=self._break_off, args=(listener, answer, 2))
                    serving.start()
                    slot = xtreem.Slot(path, TOKEN)
                    for call, definite in [(slot.whoami, True), (lambda: slot.send(1, b"x"), False)]:
                        with self.assertRaises(xtreem.XtreemError) as caught:
                            call()
                        self.assertEqual(caught.exception.definite, definite, str(caught.exception))
                    serving.join()

    @staticmethod
    def _break_off(listener: socket.socket, answer: bytes, times: int) -> None:
        for _ in range(times):
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

    def test_an_agent_that_does_not_answer_in_time_is_indefinite(self) -> None:
        with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX) as listener:
            path = os.path.join(directory, "s.sock")
            listener.bind(path)
            listener.listen()
            with mock.patch.object(xtreem, "TIMEOUT_S", 0.05):
                with self.assertRaises(xtreem.XtreemError) as caught:
                    xtreem.Slot(path, TOKEN).send(1, b"x")
            self.assertFalse(caught.exception.definite)
            self.assertIn("in time", str(caught.exception))

    def test_a_send_waits_while_too_many_are_under_way(self) -> None:
        self.agent.says("POST /v1/self/send?slot=1", 429, '{"error":"too many","kind":"definite"}')
        self.agent.says("POST /v1/self/send?slot=1", 200, "null")
        with mock.patch.object(xtreem, "AGAIN_S", 0.01):
            self.slot.send(1, b"x")
        self.assertEqual(len(self.agent.asked), 2)

    def test_persist_repeats_what_passes_and_nothing_else(self) -> None:
        self.agent.says("POST /v1/self/send?slot=1", 503, '{"error":"not now","kind":"definite"}')
        self.agent.says("POST /v1/self/send?slot=1", 200, "null")
        self.agent.says("POST /v1/self/send?slot=2", 404, '{"error":"nobody","kind":"definite"}')
        with mock.patch.object(xtreem, "AGAIN_S", 0.01):
            xtreem.persist(lambda: self.slot.send(1, b"x"))
            with self.assertRaises(xtreem.XtreemError):
                xtreem.persist(lambda: self.slot.send(2, b"x"))
        self.assertEqual(len(self.agent.asked), 3)


if __name__ == "__main__":
    unittest.main()
