"""Stamped writes that outlive the server, and the check of what they promise.

  stamps.py write URI STATE VOLUME FIRST COUNT SEED [PAUSE]
                                                      writes blocks until the server goes away,
                                                      PAUSE seconds behind each handful of answers
  stamps.py verify URI STATE                          compares every block with the model in STATE

Every 512-byte sector of a block carries volume, block, sector and serial with a checksum, so a sector
that holds another volume's bytes, an older write's, or a torn one names itself.

Model (reliability.md, a mere kill of the process): a sector holds the serial that was last acknowledged
for its block, or that of a write still in flight when the server went away. A block has at most one
operation in flight, so the order of its operations is known; reads among the writes are compared as
well. Serial 0 stands for zeroes: never written, zeroed, or trimmed. Trims cover whole sub-blocks, which
varve promises to read as zeroes afterwards.

Progress is one line per 50 acknowledged operations, so that the test can kill at a known amount of work.
"""

import errno
import json
import os
import random
import struct
import sys
import time
import zlib

import nbd

SECTOR = 512
# Half a sub-block: neighbours share sub-blocks, which is where read-modify-write would lose data.
BLOCK = 2048
PER_SUB_BLOCK = 4096 // BLOCK
IN_FLIGHT = 16
ZERO = bytes(SECTOR)
# Blocks per request of the verification: one by one, most of its time would go into the round trips.
PER_READ = 128


def sector(volume, block, index, serial):
    if serial == 0:
        return ZERO
    body = struct.pack("<8sQQIQ", b"varvestm", volume, block, index, serial)
    body = body + struct.pack("<I", zlib.crc32(body))
    return (body * (SECTOR // len(body) + 1))[:SECTOR]


def content(volume, block, serial):
    return b"".join(sector(volume, block, i, serial) for i in range(BLOCK // SECTOR))


class Model:
    """Which serials each block of one client may hold. `allowed[block]` ends with the newest."""

    def __init__(self, path):
        self.path = path
        self.volume, self.first, self.count, self.serial = 0, 0, 0, 0
        self.allowed = {}
        if os.path.exists(path):
            with open(path) as file:
                saved = json.load(file)
            self.__dict__.update(saved)
            self.path = path
            self.allowed = {int(block): serials for block, serials in saved["allowed"].items()}

    def save(self):
        with open(self.path, "w") as file:
            json.dump(self.__dict__, file)

    def begin(self, block, serial):
        self.allowed.setdefault(block, [0]).append(serial)

    def acknowledge(self, block):
        self.allowed[block] = self.allowed[block][-1:]


class Writer:
    def __init__(self, uri, model, seed, pause):
        self.model = model
        self.pause = pause
        self.random = random.Random(seed)
        self.busy = set()
        self.acknowledged = 0
        self.failures = []
        self.handle = nbd.NBD()
        self.handle.connect_uri(uri)

    def run(self):
        try:
            while True:
                while len(self.busy) < IN_FLIGHT:
                    self.submit()
                self.handle.poll(-1)
                time.sleep(self.pause)
        except nbd.Error:
            # The server is gone; what was not acknowledged stays "in flight" in the model.
            return

    def submit(self):
        block = self.model.first + self.random.randrange(self.model.count)
        kind = self.random.random()
        if kind < 0.02:
            self.handle.aio_flush(lambda error: self.expect_no_reply_of_failure(error.value))
        elif kind < 0.10:
            self.submit_read(block)
        elif kind < 0.85:
            self.submit_write(block)
        elif kind < 0.93:
            self.submit_zeroes([block], self.handle.aio_zero)
        else:
            first = block - block % PER_SUB_BLOCK
            self.submit_zeroes(list(range(first, first + PER_SUB_BLOCK)), self.handle.aio_trim)

    def submit_write(self, block):
        if block in self.busy:
            return
        self.model.serial += 1
        data = nbd.Buffer.from_bytearray(bytearray(content(self.model.volume, block, self.model.serial)))
        done = self.begin([block], self.model.serial)
        self.handle.aio_pwrite(data, block * BLOCK, done)

    def submit_read(self, block):
        if block in self.busy:
            return
        self.busy.add(block)
        buffer = nbd.Buffer(BLOCK)

        def compare(error):
            self.busy.discard(block)
            found = bytes(buffer.to_bytearray())
            if error.value == 0 and None in held_serials(self.model, block, found):
                allowed = self.model.allowed.get(block, [0])
                self.failures.append(f"block {block} read {describe(found)}, allowed {allowed}")
            return self.expect_no_reply_of_failure(error.value)

        self.handle.aio_pread(buffer, block * BLOCK, compare)

    def submit_zeroes(self, blocks, request):
        if self.busy.isdisjoint(blocks):
            request(len(blocks) * BLOCK, blocks[0] * BLOCK, self.begin(blocks, 0))

    def begin(self, blocks, serial):
        """Notes the operation as in flight; returns what to call at its end."""
        self.busy.update(blocks)
        for block in blocks:
            self.model.begin(block, serial)
        return lambda error: self.complete(blocks, error.value)

    def complete(self, blocks, error):
        self.busy.difference_update(blocks)
        if error == 0:
            for block in blocks:
                self.model.acknowledge(block)
            self.acknowledged += 1
            if self.acknowledged % 50 == 0:
                print(self.acknowledged, flush=True)
        return self.expect_no_reply_of_failure(error)

    def expect_no_reply_of_failure(self, error):
        # A lost connection fails what is in flight with ENOTCONN; anything else the server has answered.
        if error not in (0, errno.ENOTCONN):
            self.failures.append(errno.errorcode.get(error, error))
        return 1


def write(uri, path, volume, first, count, seed, pause=0):
    model = Model(path)
    model.volume, model.first, model.count = int(volume), int(first), int(count)
    failures = []
    try:
        writer = Writer(uri, model, int(seed), float(pause))
        failures = writer.failures
        writer.run()
    except nbd.Error:
        # Refused while the server was being killed: nothing was sent.
        pass
    model.save()
    if failures:
        sys.exit(f"the server answered with errors: {failures}")


def verify(uri, path):
    model = Model(path)
    handle = nbd.NBD()
    handle.connect_uri(uri)
    wrong = []
    for first in range(model.first, model.first + model.count, PER_READ):
        blocks = range(first, min(first + PER_READ, model.first + model.count))
        data = bytes(handle.pread(len(blocks) * BLOCK, first * BLOCK))
        for block in blocks:
            found = data[(block - first) * BLOCK : (block - first + 1) * BLOCK]
            held = held_serials(model, block, found)
            allowed = model.allowed.get(block, [0])
            if None in held:
                wrong.append({"block": block, "allowed": allowed, "found": describe(found)})
            # What survived is the past of the next round: later in-flight candidates are decided now.
            model.allowed[block] = sorted(set(serial for serial in held if serial is not None)) or allowed
    model.save()
    handle.shutdown()
    print(json.dumps({"blocks": model.count, "wrong": wrong[:20], "wrong_count": len(wrong)}))


def held_serials(model, block, found):
    """Of each sector, the serial that it holds of those allowed; None for anything else."""
    serials = model.allowed.get(block, [0])
    return [sector_serial(model, found, block, index, serials) for index in range(BLOCK // SECTOR)]


def sector_serial(model, found, block, index, serials):
    part = found[index * SECTOR : (index + 1) * SECTOR]
    for serial in reversed(serials):
        if part == sector(model.volume, block, index, serial):
            return serial
    return None


def describe(found):
    seen = []
    for index in range(BLOCK // SECTOR):
        part = found[index * SECTOR : (index + 1) * SECTOR]
        if part == ZERO:
            seen.append("zeroes")
        elif part.startswith(b"varvestm"):
            _, volume, block, at, serial = struct.unpack_from("<8sQQIQ", part)
            seen.append(f"volume {volume} block {block} sector {at} serial {serial}")
        else:
            seen.append(part[:16].hex())
    return seen


if __name__ == "__main__":
    {"write": write, "verify": verify}[sys.argv[1]](*sys.argv[2:])
