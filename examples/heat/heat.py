"""Heat on a plate. Each member of a mesh has a part of the plate, and tells its neighbours its borders at
each step.

Every so many steps each member saves its part on a ring. A replacement goes on from the last step that all
have saved. Borders may be lost with the member that sent them, so whoever waits for one asks for it: a member
keeps its borders of past steps for longer than anybody may be behind. All numbers are whole, and each step
follows from the one before, so that it does not matter how often a part of it was done."""

import hashlib
import json
import os
import queue
import struct
import threading
import time
import zlib

import xtreem

SIDE, SCALE, HOT = 64, 4, 1 << 20
# Saved every so many steps. Members are at most as many steps apart as the mesh is wide, which is less.
EVERY = 25
STEPS = int(os.environ.get("STEPS", "1000")) // EVERY * EVERY
KEPT = 3 * EVERY
ASK_S = 1.0
PICTURE = "heat.png"


class Part:
    """The part of the plate that lies at one place of the mesh."""

    def __init__(self, shape, at):
        self.at, self.height, self.width = at, SIDE // shape[0], SIDE // shape[1]
        # Where a neighbour stands, and whether there is one.
        beside = {"up": (at[0] - 1, at[1]), "down": (at[0] + 1, at[1]),
                  "left": (at[0], at[1] - 1), "right": (at[0], at[1] + 1)}
        self.beside = {side: place for side, place in beside.items()
                       if 0 <= place[0] < shape[0] and 0 <= place[1] < shape[1]}

    def first(self):
        """A hot spot on a cold plate."""
        top, left = self.at[0] * self.height, self.at[1] * self.width
        return [[HOT if (top + y - 20) ** 2 + (left + x - 24) ** 2 < 100 else 0 for x in range(self.width)]
                for y in range(self.height)]

    def border(self, cells, side):
        if side in ("up", "down"):
            return cells[0 if side == "up" else -1]
        return [row[0 if side == "left" else -1] for row in cells]

    def next(self, cells, borders):
        """One step later. The left edge of the plate is heated, the others are cooled."""
        up, down = (borders.get(side, [0] * self.width) for side in ("up", "down"))
        left, right = borders.get("left", [HOT] * self.height), borders.get("right", [0] * self.height)
        rows = [up] + cells + [down]
        return [[(4 * rows[y + 1][x] + rows[y][x] + rows[y + 2][x]
                  + (rows[y + 1][x - 1] if x else left[y])
                  + (rows[y + 1][x + 1] if x + 1 < self.width else right[y])) // 8
                 for x in range(self.width)] for y in range(self.height)]


class Saved:
    """What the members saved on the ring: under the step, and under the place of each."""

    def __init__(self, ring, shape):
        self.ring, self.members = ring, shape[0] * shape[1]

    def save(self, step, at, cells):
        packed = b"".join(struct.pack(f">{len(row)}I", *row) for row in cells)
        xtreem.persist(lambda: self.ring.put(self._key(step, at), zlib.compress(packed)), within=600)
        # At step 0 nothing was saved.
        if step > 2 * EVERY:
            # All have saved the step between. What is not removed does no harm.
            try:
                self.ring.remove(self._key(step - 2 * EVERY, at))
            except xtreem.XtreemError as error:
                print("not removed:", error)

    def last(self):
        """The last step that all have saved, and what they saved; 0 and nothing when there is none."""
        steps = {}
        for item in xtreem.persist(lambda: list(self.ring.scan("part/")), within=600):
            _, step, place = item.key.split("/")
            steps.setdefault(int(step), {})[tuple(int(number) for number in place.split(","))] = item.value
        whole = [step for step, parts in steps.items() if len(parts) == self.members]
        return (max(whole), steps[max(whole)]) if whole else (0, {})

    @staticmethod
    def cells(packed, width):
        numbers = [number for number, in struct.iter_unpack(">I", zlib.decompress(packed))]
        return [numbers[start:start + width] for start in range(0, len(numbers), width)]

    @staticmethod
    def _key(step, at):
        return f"part/{step:06}/{at[0]},{at[1]}"


class Neighbours:
    """Borders of this member and of those beside it, by step."""

    def __init__(self, slot, mesh, part):
        self.slot, self.mesh, self.part = slot, mesh, part
        self.messages = xtreem.persist(slot.messages)
        self.own, self.theirs = {}, {}
        self.out = {}
        for place in part.beside.values():
            # A neighbour that is lost must not keep others waiting.
            self.out[place] = queue.SimpleQueue()
            threading.Thread(target=self._send, args=(place,), daemon=True).start()

    def tell(self, step, cells):
        self.own[step] = {place: self.part.border(cells, side) for side, place in self.part.beside.items()}
        self.own.pop(step - KEPT, None)
        for place in self.out:
            self.out[place].put({"borders": {step: self.own[step][place]}})

    def missing(self, step):
        return [place for place in self.out if (place, step) not in self.theirs]

    def borders(self, step):
        self.theirs = {(place, of): border for (place, of), border in self.theirs.items() if of >= step}
        return {side: self.theirs[place, step] for side, place in self.part.beside.items()}

    def ask(self, step):
        for place in self.missing(step):
            self.out[place].put({"need": step})

    def listen(self, wait):
        """Takes a message, if one comes in time."""
        try:
            message = self.messages.get(wait)
        except xtreem.XtreemError as error:
            print("messages:", error)
            self.messages = xtreem.persist(self.slot.messages, within=600)
            return
        if message is None:
            return
        told = json.loads(message.body)
        place = tuple(told["at"])
        for step, border in told.get("borders", {}).items():
            self.theirs[place, int(step)] = border
        if "need" in told and place in self.out:
            kept = {step: borders[place] for step, borders in self.own.items() if step >= told["need"]}
            if kept:
                self.out[place].put({"borders": kept})

    def _send(self, place):
        while True:
            body = json.dumps({"at": self.part.at, **self.out[place].get()})
            try:
                self.mesh.send_at(place, body)
            except xtreem.XtreemError as error:
                # It asks again when it needs it.
                print("to", place, error)


def png(rows):
    """A picture in shades of grey (RFC 2083)."""
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 0, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def write_picture(cells, part):
    rows = []
    for y in range(SIDE):
        shades = b""
        for x in range(SIDE):
            number = cells[y // part.height, x // part.width][y % part.height][x % part.width]
            shades += bytes([number * 255 // HOT]) * SCALE
        rows += [shades] * SCALE
    picture = png(rows)
    with open(PICTURE + ".new", "wb") as file:
        file.write(picture)
    # So that nobody fetches half of it.
    os.rename(PICTURE + ".new", PICTURE)
    print(PICTURE, "is done:", hashlib.sha256(picture).hexdigest())


def main():
    slot = xtreem.Slot.from_env()
    mesh, ring = xtreem.persist(lambda: slot.mesh("plate")), xtreem.persist(lambda: slot.ring("saved"))
    mesh.settled(within=300)
    shape, at = mesh.show()["shape"], tuple(mesh.at())
    part, saved = Part(shape, at), Saved(ring, shape)
    neighbours = Neighbours(slot, mesh, part)

    def go_on(step, parts):
        return step, Saved.cells(parts[at], part.width) if step else part.first()

    step, cells = go_on(*saved.last())
    print("at", at, "from step", step)
    while step < STEPS:
        neighbours.tell(step, cells)
        asked = time.monotonic()
        while neighbours.missing(step):
            neighbours.listen(ASK_S)
            if time.monotonic() - asked < ASK_S:
                continue
            neighbours.ask(step)
            asked = time.monotonic()
            # A neighbour that began later than this step never has its border: but then all have saved more.
            last, parts = saved.last()
            if last > step:
                step, cells = go_on(last, parts)
                neighbours.tell(step, cells)
        cells = part.next(cells, neighbours.borders(step))
        step += 1
        if step % EVERY == 0:
            saved.save(step, at, cells)
    # Those that are behind still ask.
    is_done = at != (0, 0)
    while True:
        neighbours.listen(ASK_S)
        if not is_done:
            last, parts = saved.last()
            if last == STEPS:
                cells = {place: Saved.cells(packed, part.width) for place, packed in parts.items()}
                write_picture(cells, part)
                is_done = True


if __name__ == "__main__":
    main()
