"""Draws the Mandelbrot set with a farm: slot 0 adds a task for each tile and puts the tiles together; all
slots but the farmer draw. Kill any of them: its tile is drawn by another one, and the replacement of slot 0
adds the same tasks again, which changes nothing, and finds the tiles that are done."""

import hashlib
import os
import struct
import sys
import threading
import zlib

import xtreem

SIDE, TILE = 512, 32
DEPTH = int(os.environ.get("DEPTH", "1000"))
PICTURE = "mandelbrot.png"


def draw(task):
    """The tile at the place that the task names: a byte for each of its points."""
    left, top = (int(number) for number in task.input.split())
    return bytes(colour(x, y) for y in range(top, top + TILE) for x in range(left, left + TILE))


def colour(x, y):
    c = complex(3.0 * x / SIDE - 2.25, 3.0 * y / SIDE - 1.5)
    z = 0j
    for round in range(DEPTH):
        z = z * z + c
        if z.real * z.real + z.imag * z.imag > 4.0:
            return 255 - round * 7 % 224
    return 0


def png(rows):
    """A picture in shades of grey (RFC 2083)."""
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 0, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def tile_of(farm, place):
    """Waits until a tile is drawn. It is not collected: it is there for a replacement of this slot, too."""
    while True:
        outcome = xtreem.persist(lambda: farm.outcome(place, wait=20), within=600)
        if outcome.done:
            return outcome.result
        if outcome.state != "open":
            sys.exit(f"tile {place} is {outcome.state}: {outcome.why}")


def put_together(farm):
    places = [f"{left} {top}" for top in range(0, SIDE, TILE) for left in range(0, SIDE, TILE)]
    for place in places:
        xtreem.persist(lambda: farm.add(place, place), within=600)
    print(len(places), "tiles to draw")
    tiles = {place: tile_of(farm, place) for place in places}
    rows = []
    for y in range(SIDE):
        top, row = y - y % TILE, y % TILE * TILE
        rows.append(b"".join(tiles[f"{left} {top}"][row:row + TILE] for left in range(0, SIDE, TILE)))
    picture = png(rows)
    with open(PICTURE + ".new", "wb") as file:
        file.write(picture)
    # So that nobody fetches half of it.
    os.rename(PICTURE + ".new", PICTURE)
    print(PICTURE, "is done:", hashlib.sha256(picture).hexdigest())


def main():
    slot = xtreem.Slot.from_env()
    farm = xtreem.persist(lambda: slot.farm("tiles"))
    worker = threading.Thread(target=farm.run, args=(draw,), daemon=True)
    worker.start()
    if os.environ["XTREEM_SLOT"] == "0":
        put_together(farm)
    # It works on as long as there may be work, and keeps the picture.
    worker.join()
    sys.exit("the farm has no use for this slot any more")


if __name__ == "__main__":
    main()
