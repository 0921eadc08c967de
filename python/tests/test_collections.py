"""The structures."""

import json
import threading
import unittest
from typing import List
from unittest import mock
from urllib.parse import quote

import xtreem
from tests.fake import COLLECTIONS, WithAgent

STANDING = ',"standing":{"rank":2,"members":4,"numbering":"1-ab","settled":%s}'
HOLDER = '{"rank":5,"slot":7,"numbering":"1-ab","settled":true}'


class Opening(WithAgent):
    def test_a_collection_is_opened_as_what_it_is(self) -> None:
        self.opened("store", "ring")
        with self.assertRaises(xtreem.XtreemError) as caught:
            self.slot.farm("store")
        self.assertEqual(str(caught.exception), "collection 'store' is of kind ring, not farm")
        self.opened("plate", "mesh")
        self.slot.ranks("plate")

    def test_one_may_be_joined_left_and_listed(self) -> None:
        shown = '{"name":"a b","kind":"mesh","shape":[2,4],"known":0}'
        self.agent.says(f"PUT {COLLECTIONS}a%20b", 200, shown)
        self.slot.join("a b", "mesh", shape=[2, 4])
        self.assertEqual(self.agent.told(f"PUT {COLLECTIONS}a%20b"), b'{"kind": "mesh", "shape": [2, 4]}')
        listed = '{"collections":[{"name":"a","kind":"ranks","known":0}]}'
        self.agent.says("GET /v1/self/collections", 200, listed)
        self.assertEqual([shown["name"] for shown in self.slot.collections()], ["a"])
        self.opened("a", "ranks")
        self.agent.says(f"DELETE {COLLECTIONS}a", 200, "null")
        self.slot.ranks("a").leave()

    def test_changes_are_those_of_the_collection(self) -> None:
        self.opened("row", "ranks")
        told = self.follow("/v1/self/events")
        for name, change in [("another", "standing"), ("row", "neighbours")]:
            told.put(f'event: collection\ndata: {{"name":"{name}","change":"{change}"}}\n\n')
        with self.slot.ranks("row").changes() as changes:
            self.assertEqual(changes.get(timeout=20), "neighbours")


class RanksAndMeshes(WithAgent):
    def test_settled_waits(self) -> None:
        for settled in ["false", "false", "true"]:
            self.opened("row", "ranks", STANDING % settled)
        standing = self.slot.ranks("row").settled(within=20)
        self.assertEqual((standing.rank, standing.members, standing.settled), (2, 4, True))

    def test_settled_gives_up_and_says_why(self) -> None:
        self.opened("row", "ranks", STANDING % "false")
        self.opened("plate", "mesh", STANDING % "true" + ',"trouble":"9 do not fit"')
        for name, words in [("row", "3 other members known"), ("plate", "9 do not fit")]:
            with self.assertRaises(xtreem.XtreemError) as caught:
                self.slot.ranks(name).settled(within=0.01)
            self.assertIn(words, str(caught.exception))
            self.assertTrue(caught.exception.definite and caught.exception.hint)

    def test_ranks_and_places_lead_to_slots(self) -> None:
        place = ',"place":{"at":[1,1],"neighbours":[{"dimension":0,"way":-1,"rank":1,"slot":1},'
        self.opened("plate", "mesh", place + '{"dimension":1,"way":1,"rank":6}]}')
        self.agent.says(f"GET {COLLECTIONS}plate/ranks/5", 200, HOLDER)
        self.agent.says(f"GET {COLLECTIONS}plate/places?at=1%2C1", 200, HOLDER)
        renumbered = '{"members":7,"numbering":"2-cd","settled":false}'
        self.agent.says(f"POST {COLLECTIONS}plate/renumber", 200, renumbered)
        plate = self.slot.mesh("plate")
        self.assertIsNone(plate.standing())
        self.assertEqual(plate.at(), [1, 1])
        self.assertEqual([beside.slot for beside in plate.neighbours()], [1, None])
        self.assertEqual((plate.holder(5).slot, plate.place([1, 1]).slot), (7, 7))
        self.assertEqual(plate.renumber().rank, None)

    def test_messages_go_to_ranks_places_and_owners(self) -> None:
        self.opened("plate", "mesh")
        self.opened("store", "ring")
        for to in ["collection=plate&rank=5", "collection=plate&at=1%2C2", "collection=store&key=a%2Fb"]:
            self.agent.says(f"POST /v1/self/send?{to}", 200, "null")
        plate = self.slot.mesh("plate")
        plate.send(5, b"x")
        plate.send_at((1, 2), b"x")
        self.slot.ring("store").send("a/b", b"x")


class Rings(WithAgent):
    ITEMS = f"{COLLECTIONS}store/items?key=a%2Fb"
    ITEM = '{"key":"a/b","value":"Ymx1ZQ==","writer":"3","version":"3.1","left_s":9}'
    NOTHING = '{"error":"nothing lies there","kind":"definite"}'

    def test_items_are_written_read_and_removed(self) -> None:
        self.opened("store", "ring")
        self.agent.says(f"PUT {self.ITEMS}", 200, '{"version":"3.1"}')
        self.agent.says(f"PUT {self.ITEMS}&copies=1&lease_s=60&expected=none", 409, self.NOTHING)
        self.agent.says(f"DELETE {self.ITEMS}", 200, '{"version":"3.2"}')
        self.agent.says(f"GET {COLLECTIONS}store/owner?key=a%2Fb", 200, '{"slot":4,"epoch":3,"hops":1}')
        ring = self.slot.ring("store")
        self.assertEqual(ring.put("a/b", b"blue"), "3.1")
        self.assertEqual(self.agent.told(f"PUT {self.ITEMS}"), b"blue")
        with self.assertRaises(xtreem.XtreemError) as caught:
            ring.put("a/b", "blue", copies=1, lease_s=60, expected="none")
        self.assertEqual((caught.exception.status, caught.exception.definite), (409, True))
        self.assertEqual(ring.remove("a/b"), "3.2")
        self.assertEqual(ring.owner("a/b").slot, 4)

    def test_a_ring_is_used_as_a_mapping(self) -> None:
        self.opened("store", "chord")
        self.agent.says(f"GET {self.ITEMS}", 200, self.ITEM)
        self.agent.says(f"GET {COLLECTIONS}store/items?key=none", 404, self.NOTHING)
        self.agent.says(f"PUT {self.ITEMS}", 200, '{"version":"3.1"}')
        self.agent.says(f"DELETE {self.ITEMS}", 200, '{"version":"3.2"}')
        ring = self.slot.chord("store")
        ring["a/b"] = "blue"
        self.assertEqual((ring["a/b"], ring.get("none")), (b"blue", None))
        self.assertTrue("a/b" in ring and "none" not in ring)
        del ring["a/b"]
        with self.assertRaises(KeyError):
            ring["none"]
        item = ring.item("a/b")
        self.assertEqual(item and (item.writer, item.version), ("3", "3.1"))

    def test_a_bulk_load_says_what_was_not_written_and_of_what_nobody_knows(self) -> None:
        self.opened("store", "ring")
        load = f"POST {COLLECTIONS}store/load"
        failed = (
            '{"key":"a","error":"slot 3 wrote this key","kind":"definite"},'
            '{"key":"b","error":"it may yet be done","kind":"indefinite"}'
        )
        self.agent.says(load, 200, '{"written":2}')
        self.agent.says(load, 200, f'{{"written":0,"failed":[{failed}]}}')
        ring = self.slot.ring("store")
        self.assertEqual(ring.load({"a": "1", "b": b"2"}), xtreem.Loaded(2))
        items = [{"key": "a", "value": "MQ=="}, {"key": "b", "value": "Mg=="}]
        self.assertEqual(json.loads(self.agent.told(load)), {"items": items})
        loaded = ring.load([("a", "1"), ("b", "2")], copies=1, lease_s=60)
        self.assertEqual([(it.key, it.definite) for it in loaded.failed], [("a", True), ("b", False)])
        told = {"items": items, "copies": 1, "lease_s": 60}
        self.assertEqual(json.loads(self.agent.told(load)), told)

    def test_the_owners_of_some_keys_are_told(self) -> None:
        self.opened("store", "ring")
        tell = f"POST {COLLECTIONS}store/broadcast?"
        self.agent.says(tell + "from=a&to=b", 200, "null")
        self.agent.says(tell + "prefix=", 504, '{"error":"no owner took it","kind":"indefinite"}')
        ring = self.slot.ring("store")
        ring.broadcast_to("count", start="a", end="b")
        self.assertEqual(self.agent.told(tell + "from=a&to=b"), b"count")
        with self.assertRaises(xtreem.XtreemError) as caught:
            ring.broadcast_to("count")
        self.assertFalse(caught.exception.definite)

    def test_a_scan_goes_over_all_pages(self) -> None:
        self.opened("store", "ring")
        scan = f"GET {COLLECTIONS}store/scan?"
        self.agent.says(scan + "prefix=a", 200, f'{{"items":[{self.ITEM}],"next":"a/c"}}')
        self.agent.says(scan + "prefix=a&from=a%2Fc", 200, '{"items":[],"next":"a/d"}')
        self.agent.says(scan + "prefix=a&from=a%2Fd", 200, f'{{"items":[{self.ITEM}]}}')
        self.agent.says(scan + "from=b&to=c", 200, '{"items":[]}')
        ring = self.slot.ring("store")
        self.assertEqual([item.value for item in ring.scan("a")], [b"blue", b"blue"])
        self.assertEqual(list(ring.scan(start="b", end="c")), [])


class Farms(WithAgent):
    TASKS = f"{COLLECTIONS}work/tasks?id=t%201"
    WORK = f"{COLLECTIONS}work/work"

    def setUp(self) -> None:
        super().setUp()
        patched = mock.patch.object(xtreem, "AGAIN_S", 0.01)
        patched.start()
        self.addCleanup(patched.stop)
        self.opened("work", "farm")

    def test_tasks_are_added_watched_and_collected(self) -> None:
        self.agent.says(f"PUT {self.TASKS}", 200, '{"id":"t 1","state":"open"}')
        self.agent.says(f"GET {self.TASKS}&wait_ms=0", 200, '{"id":"t 1","state":"done","result":"NDI="}')
        self.agent.says(f"DELETE {self.TASKS}", 200, '{"id":"t 1","state":"collected"}')
        progress = '{"open":3,"in_hand":2,"done":0,"given_up":0,"collected":1,"duplicates":0,"oldest_s":9}'
        self.agent.says(f"GET {COLLECTIONS}work/progress", 200, progress)
        farm = self.slot.farm("work")
        self.assertEqual(farm.add("t 1", "input").state, "open")
        self.assertEqual(self.agent.told(f"PUT {self.TASKS}"), b"input")
        outcome = farm.outcome("t 1")
        self.assertEqual((outcome.done, outcome.result), (True, b"42"))
        self.assertEqual(farm.collect("t 1").state, "collected")
        self.assertEqual((farm.progress().open, farm.progress().oldest_s), (3, 9))

    def test_results_come_once_each_and_are_collected(self) -> None:
        outcomes = f"GET {COLLECTIONS}work/outcomes?wait_ms=*"
        self.agent.says(outcomes, 503, '{"error":"no farmer is known","kind":"definite"}')
        # On one side of a cut, where the task lies on the other.
        self.agent.says(outcomes, 200, '{"ids":[],"open":0,"whole":false}')
        self.agent.says(outcomes, 200, '{"ids":["t 1"],"open":1,"whole":true}')
        self.agent.says(outcomes, 200, '{"ids":[],"open":0,"whole":true}')
        unsure = '{"error":"not all members are there","kind":"definite"}'
        self.agent.says(f"GET {self.TASKS}&wait_ms=*", 503, unsure)
        self.agent.says(f"GET {self.TASKS}&wait_ms=*", 200, '{"id":"t 1","state":"given_up","why":"no"}')
        self.agent.says(f"DELETE {self.TASKS}", 200, '{"id":"t 1","state":"collected"}')
        found = []
        for outcome in self.slot.farm("work").results():
            self.assertIsNone(self.agent.told(f"DELETE {self.TASKS}"))
            found.append((outcome.id, outcome.why))
        self.assertEqual(found, [("t 1", "no")])
        self.assertIsNotNone(self.agent.told(f"DELETE {self.TASKS}"))

    def test_who_is_gone_for_good_is_not_waited_for(self) -> None:
        renumbered = '{"rank":0,"members":3,"numbering":"1-cd","settled":false}'
        self.agent.says(f"POST {COLLECTIONS}work/renumber", 200, renumbered)
        self.assertEqual(self.slot.farm("work").renumber().members, 3)

    def test_a_worker_does_tasks_and_survives_what_passes(self) -> None:
        work = f"GET {self.WORK}?wait_ms=*"
        self.agent.says(work, 503, '{"error":"no farmer is known","kind":"definite"}')
        self.agent.says(work, 200, '{"task":{"id":"a","input":"Ng=="}}')
        self.agent.says(work, 200, '{"task":{"id":"b","input":"eA=="}}')
        self.agent.says(work, 410, '{"error":"this slot runs elsewhere","kind":"definite"}')
        self.agent.says(f"PUT {self.WORK}?id=a", 503, '{"error":"busy","kind":"definite"}')
        self.agent.says(f"PUT {self.WORK}?id=a", 200, "null")
        # Somebody else did it meanwhile.
        self.agent.says(f"DELETE {self.WORK}?id=b*", 409, '{"error":"not at hand","kind":"definite"}')
        with self.assertRaises(xtreem.XtreemError) as caught:
            self.slot.farm("work").run(lambda task: str(int(task.input) * 7))
        self.assertEqual(caught.exception.status, 410)
        self.assertEqual(self.agent.told(f"PUT {self.WORK}?id=a"), b"42")
        self.assertTrue(any("why=ValueError%3A%20invalid" in asked for asked, _, _ in self.agent.asked))

    def test_a_result_that_is_refused_is_a_failure_and_long_reasons_are_cut(self) -> None:
        work = f"GET {self.WORK}?wait_ms=*"
        self.agent.says(work, 200, '{"task":{"id":"a","input":""}}')
        self.agent.says(work, 200, '{"task":{"id":"b","input":""}}')
        self.agent.says(work, 410, '{"error":"this slot runs elsewhere","kind":"definite"}')
        self.agent.says(f"PUT {self.WORK}?id=a", 413, '{"error":"too long","kind":"definite"}')
        self.agent.says(f"DELETE {self.WORK}?id=a&why=too%20long", 200, "null")
        self.agent.says(f"DELETE {self.WORK}?id=b&why=ValueError%3A%20{'x' * (256 - 12)}", 200, "null")

        def function(task: xtreem.Task) -> str:
            if task.id == "b":
                raise ValueError("x" * 1_000)
            return "long"

        with self.assertRaises(xtreem.XtreemError) as caught:
            self.slot.farm("work").run(function)
        self.assertEqual(caught.exception.status, 410, str(caught.exception))

    def test_whatever_a_task_raises_is_a_failure_and_the_worker_goes_on(self) -> None:
        class Broken(Exception):
            def __str__(self) -> str:
                raise ValueError("no text")

        raised = [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), Broken(), OSError("\udcff.png"), None]
        whys = ["SystemExit: 3", "KeyboardInterrupt: ", "GeneratorExit: ", "Broken", "OSError: ?.png"]
        whys.append("TypeError: want bytes or text, not dict: json.dumps makes text of most things")
        for number, why in enumerate(whys):
            task = f'{{"task":{{"id":"{number}","input":""}}}}'
            self.agent.says(f"GET {self.WORK}?wait_ms=*", 200, task)
            self.agent.says(f"DELETE {self.WORK}?id={number}&why={quote(why, safe='')}", 200, "null")
        self.agent.says(f"GET {self.WORK}?wait_ms=*", 410, '{"error":"over","kind":"definite"}')
        ended: List[BaseException] = []

        def function(task: xtreem.Task) -> str:
            error = raised[int(task.id)]
            if error is not None:
                raise error
            return {"a": 1}  # type: ignore[return-value]

        def work() -> None:
            try:
                self.slot.farm("work").run(function)
            except BaseException as error:
                ended.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        self.assertEqual([str(error) for error in ended], ["over"])

    def test_who_ends_the_main_thread_from_a_task_has_told_the_failure(self) -> None:
        self.agent.says(f"GET {self.WORK}?wait_ms=*", 200, '{"task":{"id":"a","input":""}}')
        failed = f"DELETE {self.WORK}?id=a&why=SystemExit%3A%203"
        self.agent.says(failed, 200, "null")

        def function(task: xtreem.Task) -> str:
            raise SystemExit(3)

        with self.assertRaises(SystemExit):
            self.slot.farm("work").run(function)
        self.assertIsNotNone(self.agent.told(failed))

    def test_where_too_many_wait_a_worker_looks_now_and_then(self) -> None:
        work = f"GET {self.WORK}?wait_ms="
        self.agent.says(work + "0", 200, "{}")
        self.agent.says(work + "0", 200, '{"task":{"id":"a","input":""}}')
        self.agent.says(work + "*", 429, '{"error":"POLLS_MAX","kind":"definite"}')
        with mock.patch.object(xtreem, "AGAIN_S", 0.01):
            task = self.slot.farm("work").task(20.0)
        self.assertEqual(task, xtreem.Task("a", b""))

    def test_a_task_that_is_not_there_is_none(self) -> None:
        self.agent.says(f"GET {self.WORK}?wait_ms=0", 200, "{}")
        self.assertIsNone(self.slot.farm("work").task())


class Bodies(WithAgent):
    def test_what_is_neither_bytes_nor_text_is_refused_before_it_is_sent(self) -> None:
        self.opened("store", "ring")
        store = self.slot.ring("store")
        with self.assertRaisesRegex(TypeError, "bytes or text, not dict"):
            self.slot.send(0, {"a": 1})  # type: ignore[arg-type]
        with self.assertRaisesRegex(TypeError, "bytes or text, not int"):
            store.put("k", 5)  # type: ignore[arg-type]


class NearestOnes(WithAgent):
    def test_profiles_are_given_and_the_nearest_told(self) -> None:
        self.opened("taste", "nearest", ',"nearest":[{"slot":4,"profile":{"items":[1,2]}}]')
        self.agent.says(f"PUT {COLLECTIONS}taste/profile", 200, "null")
        taste = self.slot.nearest("taste")
        taste.set_profile([1, 2, 3])
        self.assertEqual(self.agent.told(f"PUT {COLLECTIONS}taste/profile"), b'{"items": [1, 2, 3]}')
        taste.set_profile(7)
        self.assertEqual(self.agent.told(f"PUT {COLLECTIONS}taste/profile"), b'{"number": 7}')
        self.assertEqual(taste.nearest(), [xtreem.Near(4, [1, 2])])
        with self.assertRaisesRegex(TypeError, "whole numbers of items, not 'jazz'"):
            taste.set_profile(["jazz"])  # type: ignore[list-item]


class Threads(WithAgent):
    def test_any_thread_may_ask(self) -> None:
        self.opened("store", "ring")
        self.agent.says(f"GET {Rings.ITEMS}", 200, Rings.ITEM)
        ring, found = self.slot.ring("store"), []
        threads = [threading.Thread(target=lambda: found.append(ring.get("a/b"))) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(found, [b"blue"] * 16)


if __name__ == "__main__":
    unittest.main()
