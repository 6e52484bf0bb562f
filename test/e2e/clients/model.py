"""Random requests through libnbd against a byte-exact model.

  model.py URI SEED OPERATIONS

Strict mode on; every kind of request that the server advertises, of any alignment, over two connections
(multi-conn's promise: what one connection was told, the other sees). Ends with a whole read of the export.
Prints one JSON object; a difference ends with status 1 and names seed and operation.
"""

import json
import random
import sys

import nbd

LIMIT = 2 * 1024 * 1024


class Client:
    def __init__(self, uri, seed):
        self.handles = [self.connect(uri) for _ in range(2)]
        self.size = self.handles[0].get_size()
        self.model = bytearray(self.size)
        self.random = random.Random(seed)
        self.counts = {}

    @staticmethod
    def connect(uri):
        handle = nbd.NBD()
        handle.set_strict_mode((1 << 5) - 1)
        handle.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
        handle.connect_uri(uri)
        assert handle.can_multi_conn()
        assert handle.can_df()
        assert handle.can_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
        return handle

    def step(self):
        kind = self.random.choice(["write", "write", "read", "structured", "zero", "trim", "cache", "flush", "status"])
        self.counts[kind] = self.counts.get(kind, 0) + 1
        length = self.random.choice([512, 4096, 65536, self.random.randrange(1, LIMIT)])
        offset = self.random.randrange(0, self.size - length + 1)
        if self.random.random() < 0.5:
            offset -= offset % 4096
        getattr(self, kind)(self.random.choice(self.handles), offset, length)

    def fua(self):
        return nbd.CMD_FLAG_FUA if self.random.random() < 0.2 else 0

    def write(self, handle, offset, length):
        data = self.random.randbytes(length)
        handle.pwrite(data, offset, self.fua())
        self.model[offset : offset + length] = data

    def read(self, handle, offset, length):
        self.compare(offset, handle.pread(length, offset))

    def structured(self, handle, offset, length):
        chunks = bytearray(b"\xff" * length)

        def chunk(data, at, status, error):
            assert status in (nbd.READ_DATA, nbd.READ_HOLE), status
            chunks[at - offset : at - offset + len(data)] = data
            return 0

        flags = nbd.CMD_FLAG_DF if self.random.random() < 0.5 else 0
        handle.pread_structured(length, offset, chunk, flags)
        self.compare(offset, chunks)

    def zero(self, handle, offset, length):
        hole = nbd.CMD_FLAG_NO_HOLE if self.random.random() < 0.3 else 0
        handle.zero(length, offset, hole | self.fua())
        self.model[offset : offset + length] = bytes(length)

    def trim(self, handle, offset, length):
        handle.trim(length, offset, self.fua())
        # NBD leaves the content of trimmed bytes open. varve promises zeroes for whole 4 KiB blocks; the
        # edges are zeroes or what they were, and from then on what is read now.
        found = handle.pread(length, offset)
        first, end = -(-offset // 4096) * 4096 - offset, (offset + length) // 4096 * 4096 - offset
        for at in range(length):
            edge = at < first or at >= end
            assert found[at] == 0 or (edge and found[at] == self.model[offset + at]), f"trimmed byte {offset + at}"
        self.model[offset : offset + length] = found

    def cache(self, handle, offset, length):
        if handle.can_cache():
            handle.cache(length, offset)

    def flush(self, handle, _offset, _length):
        handle.flush()

    def status(self, handle, offset, length):
        at = offset

        def extents(_context, start, entries, error):
            nonlocal at
            assert start == offset
            for run, flags in zip(entries[::2], entries[1::2]):
                end = min(at + run, self.size)
                if flags & nbd.STATE_ZERO:
                    assert not any(self.model[at:end]), f"data reported as zeroes at {at}+{run}"
                at = end
            return 0

        handle.block_status(length, offset, extents)
        assert at > offset

    def compare(self, offset, found):
        expected = self.model[offset : offset + len(found)]
        if expected == found:
            return
        at = next(i for i in range(len(found)) if found[i] != expected[i])
        raise AssertionError(f"byte {offset + at}: {found[at]:#x} instead of {expected[at]:#x}")

    def finish(self):
        for offset in range(0, self.size, LIMIT):
            self.read(self.handles[1], offset, min(LIMIT, self.size - offset))
        for handle in self.handles:
            handle.shutdown()


def main(uri, seed, operations):
    client = Client(uri, int(seed))
    for number in range(int(operations)):
        try:
            client.step()
        except (AssertionError, nbd.Error) as error:
            print(f"seed {seed}, operation {number}: {error}", file=sys.stderr)
            raise
    client.finish()
    print(json.dumps(client.counts))


if __name__ == "__main__":
    main(*sys.argv[1:])
