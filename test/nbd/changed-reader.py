# An incremental backup as a libnbd program: asks what changed, reads that and nothing else, and prints what it read
# as "OFFSET LENGTH SHA256" lines.
#
#   changed-reader.py URI CONTEXT
import hashlib
import sys

import nbd

PIECE = 32 << 20  # no server takes more at once

uri, context = sys.argv[1], sys.argv[2]
handle = nbd.NBD()
handle.set_strict_mode(nbd.STRICT_MASK)
handle.add_meta_context(context)
handle.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
handle.connect_uri(uri)
assert handle.can_meta_context(context), "the context is not offered"
assert handle.can_meta_context(nbd.CONTEXT_BASE_ALLOCATION)

size = handle.get_size()
at = 0
changed = []
while at < size:
    told = {}
    handle.block_status(size - at, at, lambda name, offset, entries, error: told.update({name: list(entries)}))
    assert sorted(told) == sorted([context, nbd.CONTEXT_BASE_ALLOCATION]), told.keys()
    entries = told[context]
    for length, flags in zip(entries[::2], entries[1::2]):
        assert flags in (0, 1), flags
        # Two replies may meet within a run.
        if flags == 1 and changed and sum(changed[-1]) == at:
            changed[-1] = (changed[-1][0], changed[-1][1] + length)
        elif flags == 1:
            changed.append((at, length))
        at += length
assert at == size

for offset, length in changed:
    digest = hashlib.sha256()
    for piece in range(0, length, PIECE):
        digest.update(handle.pread(min(PIECE, length - piece), offset + piece))
    print(offset, length, digest.hexdigest())
handle.shutdown()
