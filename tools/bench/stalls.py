"""A guest's view of its server: how long nothing was answered.

  stalls.py URI      reads and writes 4 KiB blocks at random, 8 at a time, a flush in 64; connects again when the connection is lost

Prints a line of JSON for every stretch of 10 ms and more without an answer ({"from", "to": seconds of the epoch, "connections"}), and
{"answers"} every 100 answers. Ends with its standard input.
"""

import json
import os
import random
import select
import sys
import time

import nbd

SIZE = 4096
IN_FLIGHT = 8
PER_FLUSH = 64
SHORTEST_S = 0.010


class Guest:
    def __init__(self, uri):
        self.uri = uri
        self.answers = 0
        self.busy = 0
        self.connections = 0
        self.answered_at = time.time()
        self.data = nbd.Buffer.from_bytearray(bytearray(os.urandom(SIZE)))

    def run(self):
        while not ended():
            try:
                self.connect()
                while not ended():
                    while self.busy < IN_FLIGHT:
                        self.submit()
                    self.handle.poll(100)
            except nbd.Error:
                time.sleep(0.001)

    def connect(self):
        self.busy = 0
        self.handle = nbd.NBD()
        self.handle.connect_uri(self.uri)
        self.blocks = self.handle.get_size() // SIZE
        self.connections += 1

    def submit(self):
        self.busy += 1
        offset = random.randrange(self.blocks) * SIZE
        kind = random.random()
        if kind < 1 / PER_FLUSH:
            self.handle.aio_flush(self.complete)
        elif kind < 0.5:
            self.handle.aio_pread(nbd.Buffer(SIZE), offset, self.complete)
        else:
            self.handle.aio_pwrite(self.data, offset, self.complete)

    def complete(self, error):
        self.busy -= 1
        if error.value != 0:
            return 1
        now = time.time()
        if now - self.answered_at >= SHORTEST_S:
            say({"from": self.answered_at, "to": now, "connections": self.connections})
        self.answered_at = now
        self.answers += 1
        if self.answers % 100 == 0:
            say({"answers": self.answers})
        return 1


def say(document):
    print(json.dumps(document), flush=True)


def ended():
    return select.select([sys.stdin], [], [], 0)[0] != []


Guest(sys.argv[1]).run()
