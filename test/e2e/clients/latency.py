"""One client's latencies by kind of request, as JSON, for as long as it is told.

  latency.py URI SECONDS

Each turn reads what is there, overwrites it, writes 4 KiB of fresh space and flushes, one request at a time;
prints {"read": {"count", "max_ms"}, "overwrite": …, "fresh": …, "flush": …}. Prints `started` on its first turn.
"""

import json
import sys
import time

import nbd

SIZE = 4096
# Neighbouring fresh writes fall into different clusters of 64 KiB, so each takes one from the grant.
FRESH_STEP = 65536


def main(uri, seconds):
    handle = nbd.NBD()
    handle.connect_uri(uri)
    handle.pwrite(b"x" * SIZE, 0)
    latencies = {"read": [], "overwrite": [], "fresh": [], "flush": []}

    def timed(kind, request):
        began = time.monotonic()
        request()
        latencies[kind].append((time.monotonic() - began) * 1000)

    print("started", flush=True)
    end = time.monotonic() + float(seconds)
    fresh = FRESH_STEP
    while time.monotonic() < end:
        timed("read", lambda: handle.pread(SIZE, 0))
        timed("overwrite", lambda: handle.pwrite(b"y" * SIZE, 0))
        timed("fresh", lambda: handle.pwrite(b"z" * SIZE, fresh))
        timed("flush", handle.flush)
        fresh += FRESH_STEP
        # A guest's pace rather than a benchmark's: the grant must last for the test's time.
        time.sleep(0.005)
    handle.shutdown()
    print(json.dumps({kind: {"count": len(list_), "max_ms": max(list_)} for kind, list_ in latencies.items()}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
