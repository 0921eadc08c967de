"""The examples, as slots of a grid in which programs are killed."""

import hashlib
import os
import socket
import subprocess
import sys
import time
import unittest
from typing import Callable

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

    def mandelbrot(self, kill: bool) -> str:
        program = os.path.join(EXAMPLES, "mandelbrot", "mandelbrot.py")
        grid = Grid(4, {"tiles": {"kind": "farm"}})
        self.addCleanup(grid.stop)
        for number in range(4):
            grid.start(number, program, DEPTH="30")
        if kill:
            results = grid.farms["tiles"].results
            self.wait("tiles are drawn", grid, lambda: len(results) > 20)
            # The one that puts the picture together, and a worker that never comes back.
            grid.kill(0)
            grid.kill(2)
            grid.start(0, program, DEPTH="30")
        return self.picture(grid, "mandelbrot.png")

    def test_the_picture_of_a_farm_is_the_same_whoever_is_killed(self) -> None:
        self.assertEqual(self.mandelbrot(kill=True), self.mandelbrot(kill=False))

    def heat(self, kill: bool) -> str:
        program = os.path.join(EXAMPLES, "heat", "heat.py")
        grid = Grid(8, {"plate": {"kind": "mesh", "shape": [2, 4]}, "saved": {"kind": "ring", "copies": 2}})
        self.addCleanup(grid.stop)
        for number in range(8):
            grid.start(number, program, STEPS="75")
        if kill:
            saved = grid.rings["saved"]
            for victims, step in [((0, 5), "part/000025/"), ((1, 2), "part/000050/")]:
                begun = step
                self.wait(f"{step} is saved", grid, lambda: any(key.startswith(begun) for key in list(saved)))
                for victim in victims:
                    grid.kill(victim)
                for victim in victims:
                    grid.start(victim, program, STEPS="75")
        return self.picture(grid, "heat.png")

    def test_the_picture_of_a_mesh_is_the_same_whoever_is_killed(self) -> None:
        self.assertEqual(self.heat(kill=True), self.heat(kill=False))

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
            self.wait("something is written", grid, lambda: len(grid.rings["items"]) > 5)
            grid.kill(0)
            grid.kill(1)
            start(1)
            said, _ = check.communicate(timeout=SOON_S)
        self.assertEqual(check.returncode, 0, said)
        self.assertRegex(said, r"\b0 of \d+ acknowledged are lost\n")
        self.assertGreater(len(grid.rings["items"]), 20)


if __name__ == "__main__":
    unittest.main()
