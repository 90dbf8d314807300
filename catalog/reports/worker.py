"""The process that runs users' statements, one after another. It only reads, so it can be killed at any moment.

workers.py starts it as `python -I -S -c PROGRAM`. It reads questions from stdin and writes frames to stdout. A thread waits for
the other end of stdin to be closed and then ends the process, even in the middle of a statement. The address space is limited
while a statement runs, because rows are built outside of the memory that the engine itself limits.
"""

from __future__ import annotations

import marshal
import os
import resource
import select
import signal
import threading

from catalog.engine import question
from catalog.engine.open import open_gate
from catalog.engine.question import HEADER, Frame, Question, Stopped, packed, read_all, write_all
from catalog.engine.sink import Sink, limit_memory
from catalog.errors import OcicatError

_SPENT_KIB = 96 << 10
"""A process that has grown beyond this does not give its memory back, so it ends after its answer."""


def main() -> None:
    """Answer questions until stdin is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent process, which then kills this one
    threading.Thread(target=_end_with_asker, daemon=True).start()
    while (head := read_all(0, HEADER)) is not None:
        data = read_all(0, int.from_bytes(head, "big"))
        if data is None:
            break
        environment, *fields = marshal.loads(data)  # noqa: S302 - from the process that started this one
        os.environ.clear()
        os.environ.update(environment)
        request = Question(*fields)
        try:
            _answer(request, Sink(request, _write))
        except OSError:
            break  # the parent process no longer reads
    os._exit(0)


def _answer(request: Question, sink: Sink) -> None:
    try:
        gate = open_gate(request.path)
        limit_memory(request.heap_bytes)
        gate(request, sink)
        sink.end(is_spent=_is_spent())
    except Stopped as stopped:
        sink.fail(stopped.kind, stopped.words, is_spent=_is_spent())
    except OcicatError as error:
        sink.fail(question.ERROR, f"{type(error).__name__} {error}", is_spent=_is_spent())
    except MemoryError:
        sink.fail(question.MEMORY, "", is_spent=True)
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - the parent process reports it as a bug
        sink.fail(question.DEFECT, f"{type(error).__name__}: {error}", is_spent=True)


def _is_spent() -> bool:
    return _peak_kib() > _SPENT_KIB


def _peak_kib() -> int:
    """Return the most memory that this program has used, in KiB.

    `ru_maxrss` is used only without /proc, because it includes the memory of the process that started this one: if that is large,
    this process ends after every answer.
    """
    try:
        with open("/proc/self/status", "rb") as file:
            for line in file:
                if line.startswith(b"VmHWM:"):
                    return int(line.split()[1])
    except OSError:  # /proc is not mounted
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _write(frame: Frame) -> None:
    write_all(1, packed(frame))


def _end_with_asker() -> None:
    gone = select.poll()
    gone.register(0, 0)  # POLLHUP is always reported
    while not gone.poll():
        pass
    os._exit(0)
