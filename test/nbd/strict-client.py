# A libnbd client with every check on: strict mode, sanity of chunks and extents, many requests in
# flight in any order against a model. Prints "ok", or fails with the seed.
#
#   strict-client.py URI [SEED]
import random
import sys

import nbd

uri = sys.argv[1]
seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 32)
rng = random.Random(seed)
ROUNDS, DEPTH, SLOT = 60, 16, 1 << 20


def connect():
    handle = nbd.NBD()
    handle.set_strict_mode(nbd.STRICT_MASK)
    handle.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
    handle.set_request_structured_replies(True)
    handle.connect_uri(uri)
    return handle


def random_range():
    offset = rng.randrange(SLOT - 1)
    return offset, rng.randrange(1, min(SLOT - offset, 200_000) + 1)


# Each slot of the disk has at most one request in flight, so the model is exact.
def start(handle, model, slot):
    offset, length = random_range()
    base = slot * SLOT
    kind = rng.choice(["write", "write", "read", "zero", "zero-no-hole", "trim", "structured"])
    flags = rng.choice([0, nbd.CMD_FLAG_FUA])
    if kind == "write":
        data = bytes([rng.randrange(1, 256)]) * length
        model[base + offset : base + offset + length] = data
        return handle.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(data)), base + offset, flags=flags), None
    if kind.startswith("zero"):
        model[base + offset : base + offset + length] = bytes(length)
        hole = nbd.CMD_FLAG_NO_HOLE if kind == "zero-no-hole" else nbd.CMD_FLAG_FAST_ZERO
        return handle.aio_zero(length, base + offset, flags=flags | hole), None
    if kind == "trim":
        begin, end = -(-(base + offset) // 4096) * 4096, (base + offset + length) // 4096 * 4096
        if begin < end:
            model[begin:end] = bytes(end - begin)
        return handle.aio_trim(length, base + offset, flags=flags), None
    buffer = nbd.Buffer(length)
    expected = bytes(model[base + offset : base + offset + length])
    if kind == "read":
        return handle.aio_pread(buffer, base + offset), (buffer, expected)
    covered = []

    def chunk(data, at, status, error):
        covered.append((at, len(data)))

    def check():
        covered.sort()
        at = base + offset
        for begin, size in covered:
            assert begin == at, "chunks leave a gap or overlap"
            at += size
        assert at == base + offset + length

    cookie = handle.aio_pread_structured(buffer, base + offset, chunk)
    return cookie, (buffer, expected, check)


def finish(handle, cookie, check):
    while not handle.aio_command_completed(cookie):
        handle.poll(-1)
    if check:
        assert check[0].to_bytearray() == check[1], "content differs"
        for rest in check[2:]:
            rest()


def check_extents(handle, model):
    at = 0
    while at < len(model):
        entries = []
        handle.block_status(len(model) - at, at, lambda m, o, e, err: entries.extend(e))
        assert entries
        for length, flags in zip(entries[::2], entries[1::2]):
            if flags & nbd.STATE_ZERO:
                assert not any(model[at : at + length]), "zero over data"
            at += length
    assert at == len(model)


def main():
    handles = [connect(), connect()]
    model = bytearray(handles[0].get_size())
    for _ in range(ROUNDS):
        slots = rng.sample(range(len(model) // SLOT), DEPTH)
        pending = []
        for index, slot in enumerate(slots):
            handle = handles[index % 2]
            pending.append((handle, *start(handle, model, slot)))
        for handle, cookie, check in pending:
            finish(handle, cookie, check)
        handles[0].flush()
    check_extents(handles[1], model)
    assert handles[1].pread(len(model) // 2, 0) == model[: len(model) // 2]
    for handle in handles:
        handle.shutdown()


try:
    main()
except BaseException:
    print("seed", seed, file=sys.stderr)
    raise
print("ok")
