"""Fills a volume with stamped blocks, reads and overwrites what it has filled meanwhile, and ends with the first error that the server answers.

  filling.py URI SEED BLOCKS

Blocks of 64 KiB, each of which names seed, block and serial all over. New ones are written several at a time, so that in a full pool several
wait; one request at a time goes to a block that is filled already, and is answered whatever waits. Each progress is a line of JSON,
{"filled": blocks, "probed": requests}; when every block is filled and was read back, {"verified": blocks} is the last. Behind the first block it
waits for a line on stdin, so that several may be begun before one takes all the space.
"""

import json
import os
import random
import struct
import sys
import time

import nbd

BLOCK = 64 * 1024
IN_FLIGHT = 8
PROBE_SECONDS = 0.01


def content(seed, block, serial):
    return struct.pack("<QQQQ", seed, block, serial, seed ^ block) * (BLOCK // 32)


class Filler:
    def __init__(self, uri, seed, blocks):
        self.seed = seed
        self.blocks = blocks
        self.random = random.Random(seed)
        self.left = list(range(blocks))
        self.random.shuffle(self.left)
        self.filling = 0
        self.serials = {}  # of blocks that are filled
        self.probing = False
        self.probe_due = 0.0
        self.probed = 0
        self.handle = nbd.NBD()
        self.handle.connect_uri(uri)

    def run(self):
        self.fill(self.left.pop())
        while self.filling:
            self.handle.poll(-1)
        sys.stdin.readline()
        while self.left or self.filling:
            while self.left and self.filling < IN_FLIGHT:
                self.fill(self.left.pop())
            if self.serials and not self.probing and time.monotonic() >= self.probe_due:
                self.probe()
            self.handle.poll(int(PROBE_SECONDS * 1000))
        while self.probing:
            self.handle.poll(-1)
        self.handle.flush()
        for block, serial in self.serials.items():
            self.compare(block, serial, self.handle.pread(BLOCK, block * BLOCK))
        tell(verified=len(self.serials))

    def fill(self, block):
        self.filling += 1

        def filled(error):
            expect_no(error.value)
            self.filling -= 1
            self.serials[block] = 0
            tell(filled=len(self.serials), probed=self.probed)
            return 1

        self.write(block, 0, filled)

    def probe(self):
        self.probing = True
        block = self.random.choice(list(self.serials))
        serial = self.serials[block]
        if self.probed % 2:
            self.write(block, serial + 1, lambda error: self.overwritten(block, serial + 1, error))
        else:
            buffer = nbd.Buffer(BLOCK)
            self.handle.aio_pread(buffer, block * BLOCK, lambda error: self.read(block, serial, buffer, error))

    def read(self, block, serial, buffer, error):
        expect_no(error.value)
        self.compare(block, serial, buffer.to_bytearray())
        return self.probe_ended()

    def overwritten(self, block, serial, error):
        expect_no(error.value)
        self.serials[block] = serial
        return self.probe_ended()

    def probe_ended(self):
        self.probing = False
        self.probe_due = time.monotonic() + PROBE_SECONDS
        self.probed += 1
        tell(filled=len(self.serials), probed=self.probed)
        return 1

    def write(self, block, serial, done):
        data = nbd.Buffer.from_bytearray(bytearray(content(self.seed, block, serial)))
        self.handle.aio_pwrite(data, block * BLOCK, done)

    def compare(self, block, serial, found):
        if bytes(found) != content(self.seed, block, serial):
            fail(f"seed {self.seed}: block {block} is not what was written there as number {serial}")


def tell(**progress):
    print(json.dumps(progress), flush=True)


def expect_no(error):
    if error != 0:
        fail(f"the server answered with error {error}")


def fail(message):
    # Not an exception: it would be raised in a callback of the library, which cannot pass it on.
    print(message, file=sys.stderr, flush=True)
    os._exit(1)


if __name__ == "__main__":
    try:
        Filler(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])).run()
    except nbd.Error as error:
        fail(f"the connection ended: {error}")
