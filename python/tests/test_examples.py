"""The examples, as slots of a grid in which programs are killed."""

import contextlib
import functools
import hashlib
import io
import os
import runpy
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from typing import Any, Callable, Dict
from unittest import mock

import xtreem
from tests.grid import PACKAGE, Grid

EXAMPLES = os.path.join(PACKAGE, "..", "examples")
SOON_S = 120


class Examples(unittest.TestCase):
    def wait(self, what: str, grid: Grid, is_so: Callable[[], bool]) -> None:
        until = time.monotonic() + SOON_S
        while not is_so():
            if time.monotonic() > until:
                logs = "\n".join(f"{number}| {grid.log(number)}" for number in range(len(grid.slots)))
                self.fail(f"not {what}:\n{logs}")
            time.sleep(0.01)

    def picture(self, grid: Grid, name: str) -> str:
        path = os.path.join(grid.slots[0].directory, name)
        self.wait(f"{name} is written", grid, lambda: os.path.exists(path))
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()

    def example(self, program: str, **environment: str) -> Dict[str, Any]:
        """What a program defines, without running it as a slot."""
        with mock.patch.dict(os.environ, environment):
            return runpy.run_path(program)

    def alone(self, name: str, draw: Callable[[], None]) -> str:
        """The picture that is drawn in one process, without neighbours and farmers."""
        before = os.getcwd()
        with tempfile.TemporaryDirectory() as directory, contextlib.redirect_stdout(io.StringIO()):
            os.chdir(directory)
            self.addCleanup(os.chdir, before)
            draw()
            with open(name, "rb") as file:
                picture = hashlib.sha256(file.read()).hexdigest()
            os.chdir(before)
        return picture

    def test_the_picture_of_a_farm_is_right_whoever_is_killed(self) -> None:
        program = os.path.abspath(os.path.join(EXAMPLES, "mandelbrot", "mandelbrot.py"))
        grid = Grid(4, {"tiles": {"kind": "farm"}})
        self.addCleanup(grid.stop)
        for number in range(4):
            grid.start(number, program, DEPTH="30")
        results = grid.farms["tiles"].results
        self.wait("tiles are drawn", grid, lambda: len(results) > 20)
        # The one that puts the picture together, and a worker that never comes back.
        grid.kill(0)
        grid.kill(2)
        grid.start(0, program, DEPTH="30")

        class Farm:
            def add(self, id: str, input: str) -> None:
                pass

            def outcome(self, id: str, wait: float) -> xtreem.Outcome:
                return xtreem.Outcome(id, "done", example["draw"](xtreem.Task(id, id.encode())))

        example = self.example(program, DEPTH="30")
        expected = self.alone("mandelbrot.png", lambda: example["put_together"](Farm()))
        self.assertEqual(self.picture(grid, "mandelbrot.png"), expected)

    def test_the_picture_of_a_mesh_is_right_whoever_is_killed(self) -> None:
        program = os.path.abspath(os.path.join(EXAMPLES, "heat", "heat.py"))
        grid = Grid(8, {"plate": {"kind": "mesh", "shape": [2, 4]}, "saved": {"kind": "ring", "copies": 2}})
        self.addCleanup(grid.stop)
        for number in range(8):
            grid.start(number, program, STEPS="75")
        for victims, step in [((0, 5), "part/000025/"), ((1, 2), "part/000050/")]:
            is_saved = functools.partial(grid.has, "saved", step)
            self.wait(f"{step} is saved", grid, is_saved)
            for victim in victims:
                grid.kill(victim)
            for victim in victims:
                grid.start(victim, program, STEPS="75")

        def draw() -> None:
            part = example["Part"]((1, 1), (0, 0))
            cells = part.first()
            for _ in range(75):
                cells = part.next(cells, {})
            example["write_picture"]({(0, 0): cells}, part)

        example = self.example(program)
        expected = self.alone("heat.png", draw)
        self.assertEqual(self.picture(grid, "heat.png"), expected)
        # Nobody is at step 50 before all have saved step 25: a replacement begins there, or later.
        self.assertRegex(grid.log(1), "from step [257]")

    def test_what_the_store_acknowledged_is_there_whoever_is_killed(self) -> None:
        program, grid = os.path.join(EXAMPLES, "store", "store.py"), Grid(3, {"items": {"kind": "ring"}})
        self.addCleanup(grid.stop)
        ports = []
        for number in range(3):
            with socket.create_server(("127.0.0.1", 0)) as listener:
                ports.append(listener.getsockname()[1])
        def start(number: int) -> None:
            grid.start(number, program, XTREEM_ADDRESS="127.0.0.1", XTREEM_PORT_STORE=str(ports[number]))
        for number in range(3):
            start(number)
        for number in range(3):
            self.wait("it serves", grid, lambda: "serves at" in grid.log(number))
        command = [sys.executable, os.path.join(EXAMPLES, "store", "check.py"), "--seconds", "3"]
        command += [f"127.0.0.1:{port}" for port in ports]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as check:
            self.wait("something is written", grid, lambda: len(grid.keys("items")) > 5)
            grid.kill(0)
            grid.kill(1)
            start(1)
            said, _ = check.communicate(timeout=SOON_S)
        self.assertEqual(check.returncode, 0, said)
        self.assertRegex(said, r"\b0 of \d+ acknowledged are lost\n")
        self.assertGreater(len(grid.keys("items")), 20)

    def test_the_first_program_of_the_page_for_newcomers_runs(self) -> None:
        with open(os.path.join(PACKAGE, "..", "docs", "use", "structures.md"), encoding="utf-8") as page:
            program = page.read().split("```python\n")[1].split("```")[0]
        self.assertLessEqual(len(program.splitlines()), 20)
        grid = Grid(3, {"work": {"kind": "farm"}})
        self.addCleanup(grid.stop)
        path = os.path.join(grid.directory.name, "squares.py")
        with open(path, "w", encoding="utf-8") as file:
            file.write(program)
        for number in range(3):
            grid.start(number, path)
        self.wait("all are done", grid, lambda: "all are done" in grid.log(0))
        lines = [line for line in grid.log(0).splitlines() if line.startswith("square/")]
        self.assertEqual(sorted(int(line.split()[1]) for line in lines), [number**2 for number in range(100)])


if __name__ == "__main__":
    unittest.main()
