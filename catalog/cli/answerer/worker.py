"""One of the processes that answer: it takes a connection, answers the question on it, and waits for the next.

It never waits long for a launcher. If a question takes too long, or if the launcher goes away meanwhile, a signal kills the
process, even in the middle of a statement, and the minder (listening.py) starts another one.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import resource
import select
import signal
import socket
import struct

from catalog.cli import messages
from catalog.cli.answerer.permission import Peer, peer_of
from catalog.cli.answerer.protocol import DECLINED, LARGEST_REQUEST, NoRequest, Request, answered, length_of
from catalog.cli.answerer.question import Answers
from catalog.cli.limits import MEMORY_BYTES
from catalog.engine.open import Declined, keep_open
from catalog.errors import OcicatError

_RECEIVE = struct.pack("@ll", 0, 50_000)
_SEND = struct.pack("@ll", 0, 100_000)
"""In seconds and microseconds: how long to wait for a question, and for a launcher that does not read its answer."""
_MOST_SECONDS = 1.0
"""How long a question may take. A launcher gives up after a tenth of this."""
_LOOK_SECONDS = 10.0
"""How often an idle process checks whether the file that it keeps open was deleted."""
_MOST_QUESTIONS = 20_000
_MOST_GROWTH_KB = 64 << 10
"""After this many questions, or if it has grown by this much, a process ends and another one starts."""
_ANY_MEMORY = resource.RLIM_INFINITY


def work(listening: socket.socket, minder: int, catalog: str) -> None:
    """Answer questions about `catalog` until the pipe `minder` is closed or one of the limits above is reached."""
    messages.process.is_ours = False
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number in (signal.SIGALRM, signal.SIGIO, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    _limit_memory()
    kept = keep_open(catalog)
    with contextlib.suppress(OcicatError):  # the first question fails in the same way and reports it
        kept.lend().close()  # so that the first question finds the catalog open
    answers = Answers(kept)
    gc.freeze()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    poll = select.epoll()
    poll.register(listening, select.EPOLLIN | select.EPOLLEXCLUSIVE)
    poll.register(minder, select.EPOLLIN)
    for _ in range(_MOST_QUESTIONS):
        ready = poll.poll(_LOOK_SECONDS)
        if any(descriptor == minder for descriptor, _ in ready):
            return
        if not ready:
            kept.look()
            continue
        try:
            connection, _ = listening.accept()
        except OSError:  # another process was faster, or the launcher has given up
            continue
        with connection:
            _serve(connection, answers)
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before > _MOST_GROWTH_KB:
            return


def _serve(connection: socket.socket, answers: Answers) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _RECEIVE)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _SEND)
    signal.setitimer(signal.ITIMER_REAL, _MOST_SECONDS)
    try:
        reply = DECLINED
        try:
            peer = peer_of(connection)
            request = Request(_received(connection))
            answers.check(request, peer)
            text = answers.shortly(request)
            reply = _while_wanted(connection, answers, request, peer) if text is None else answered(0, [(1, text)])
        except (Declined, NoRequest):
            pass
        connection.sendall(reply)
    except OSError:
        pass  # the launcher has given up, or does not read
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _while_wanted(connection: socket.socket, answers: Answers, request: Request, peer: Peer) -> bytes:
    """Return the reply. If the launcher closes the connection meanwhile, SIGIO ends this process.

    `Answers.shortly` does not need this, because it runs one statement that searches indexes.
    """
    descriptor = connection.fileno()
    fcntl.fcntl(descriptor, fcntl.F_SETOWN, os.getpid())
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_ASYNC)
    try:
        return answered(*answers.answer(request, peer))
    finally:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)


def _received(connection: socket.socket) -> bytes:
    """Return a request without its length field. Raises NoRequest, and OSError if the request does not arrive in time."""
    data = bytearray()
    while (length := length_of(data)) is None or len(data) < length:
        piece = connection.recv(LARGEST_REQUEST + 4 - len(data))
        if not piece:
            raise NoRequest("it is cut off")
        data += piece
    if len(data) > length:
        raise NoRequest("there is more behind it")
    return bytes(data[4:])


def _limit_memory() -> None:
    """Limit the memory of this process like that of a command."""
    with open("/proc/self/statm", "rb") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = now + MEMORY_BYTES
    if all(limit == _ANY_MEMORY or limit > wanted for limit in (soft, hard)):
        resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))
