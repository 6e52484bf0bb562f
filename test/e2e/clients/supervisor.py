"""A supervisor that does what systemd's descriptor store does (sd_notify(3), sd_listen_fds(3)), and no more.

  supervisor.py COMMAND...     SIGHUP: the service stops and starts again. SIGTERM: it stops, and so does this.

Descriptors that the service stores (FDSTORE=1) are kept while it is away, and given to the next one from 3 on, with
LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES. A kill of the service starts it again, too, as Restart=always does.
"""

import array
import ctypes
import os
import selectors
import signal
import socket
import sys
import tempfile

FIRST = 3
PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None)
stored = []  # (name, descriptor)
folder = tempfile.TemporaryDirectory(prefix="varve-supervisor-")
address = os.path.join(folder.name, "notify")
mailbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
mailbox.bind(address)
# signal.set_wakeup_fd: a signal ends the wait below.
wake_in, wake_out = socket.socketpair()
wake_in.setblocking(False)
wake_out.setblocking(False)


def receive():
    text, control, _, _ = mailbox.recvmsg(65536, socket.CMSG_SPACE(253 * 4))
    fds = array.array("i")
    for level, kind, data in control:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    fields = dict(line.split("=", 1) for line in text.decode().splitlines())
    name = fields.get("FDNAME", "stored")
    if fields.get("FDSTORE") == "1":
        stored.extend((name, fd) for fd in fds)
        return
    if fields.get("FDSTOREREMOVE") == "1":
        for entry in [entry for entry in stored if entry[0] == name]:
            stored.remove(entry)
            os.close(entry[1])
    # A barrier's end of a pipe, among others.
    for fd in fds:
        os.close(fd)


def start(command):
    pid = os.fork()
    if pid == 0:
        signal.set_wakeup_fd(-1)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.environ["NOTIFY_SOCKET"] = address
        pass_on()
        os.execvp(command[0], command)
    return pid


def pass_on():
    if not stored:
        return
    # First out of the way of the places they are to be at.
    high = FIRST + len(stored) + 64
    for at, (_, fd) in enumerate(stored):
        os.dup2(fd, high + at, inheritable=False)
    for at in range(len(stored)):
        os.dup2(high + at, FIRST + at, inheritable=True)
    os.environ["LISTEN_FDS"] = str(len(stored))
    os.environ["LISTEN_PID"] = str(os.getpid())
    os.environ["LISTEN_FDNAMES"] = ":".join(name for name, _ in stored)


def main(command):
    asked = []
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, lambda number, _: asked.append(number))
    signal.set_wakeup_fd(wake_out.fileno())
    ready = selectors.DefaultSelector()
    ready.register(mailbox, selectors.EVENT_READ)
    ready.register(wake_in, selectors.EVENT_READ)
    ending = False
    pid = start(command)
    while True:
        events = [key.fileobj for key, _ in ready.select()]
        # What the service has said comes before its end, as systemd has it.
        if mailbox in events:
            receive()
            continue
        wake_in.recv(4096)
        for number in (asked.pop(0) for _ in range(len(asked))):
            if number == signal.SIGCHLD:
                gone, status = os.waitpid(-1, os.WNOHANG)
                if gone != pid:
                    continue
                if ending:
                    sys.exit(os.waitstatus_to_exitcode(status))
                pid = start(command)
            else:
                ending = ending or number == signal.SIGTERM
                os.kill(pid, signal.SIGTERM)


main(sys.argv[1:])
