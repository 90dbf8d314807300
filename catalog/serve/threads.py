"""Ask the catalog questions in a few threads with a reader each, because a reader belongs to the thread that opened it.

A question has a time limit. After that, the statement that runs is interrupted, repeatedly until the question ends, because a
question may consist of many statements. A reader is opened anew if the catalog's file was replaced, or if its server went away.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from catalog.engine.interface import Reader
from catalog.engine.open import open_reader
from catalog.errors import CatalogUnavailable, Exhausted, NotInTime
from catalog.names.age import in_seconds

THREADS = 4
"""How many questions are answered at once."""
_WAITING = 512
"""How many questions may wait for a thread. More are refused at once."""
_AGAIN_SECONDS = 0.1
_GRACE_SECONDS = 1.0
"""How much longer than the time limit a statement may take before the database server itself ends it."""

T = TypeVar("T")


class _Slot(threading.local):
    """What a thread has: its reader, if it is open."""

    reader: Reader | None = None


class _Asked:
    """A question that is being answered; `is_late` once its time is over."""

    def __init__(self) -> None:
        self.reader: Reader | None = None
        self.is_late = False


class CatalogThreads:
    """Answers questions about the catalog at `path`, each within `seconds`. `close` ends the threads."""

    def __init__(self, path: str, seconds: float) -> None:
        self._path = path
        self._seconds = seconds
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="question")
        self._interrupting = ThreadPoolExecutor(1, thread_name_prefix="interrupt")
        self._slot = _Slot()
        self._asked: set[_Asked] = set()

    @property
    def in_progress(self) -> int:
        """How many questions are being answered or are waiting."""
        return len(self._asked)

    async def ask(self, question: Callable[[Reader], T]) -> T:
        """Return what `question` returns for a reader. Raises what it raises, NotInTime, and CatalogUnavailable."""
        if len(self._asked) >= THREADS + _WAITING:
            raise NotInTime("too many questions are waiting: ask again later")
        asked = _Asked()
        self._asked.add(asked)
        loop = asyncio.get_running_loop()
        answer = loop.run_in_executor(self._threads, self._answer, asked, question)
        answer.add_done_callback(lambda _: self._asked.discard(asked))
        done, _ = await asyncio.wait((answer,), timeout=self._seconds)
        if not done:
            asked.is_late = True
            self._interrupt(loop, asked)
            answer.add_done_callback(lambda late: late.cancelled() or late.exception())
            raise self._late()
        return answer.result()

    def close(self) -> None:
        """End the threads, and close their readers. Questions that are still being answered are interrupted."""
        for asked in self._asked:
            asked.is_late = True
            if asked.reader is not None:
                asked.reader.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._interrupting.shutdown(wait=False, cancel_futures=True)

    def _interrupt(self, loop: asyncio.AbstractEventLoop, asked: _Asked) -> None:
        """Interrupt the statement of a late question, and repeat that until the question has ended."""
        if asked not in self._asked:
            return
        if asked.reader is not None:
            try:
                self._interrupting.submit(asked.reader.cancel)
            except RuntimeError:  # the server has ended
                return
        loop.call_later(_AGAIN_SECONDS, self._interrupt, loop, asked)

    def _late(self) -> NotInTime:
        return NotInTime(f"this took longer than {in_seconds(self._seconds)}: ask again later, or ask for less")

    def _answer(self, asked: _Asked, question: Callable[[Reader], T]) -> T:
        """Answer a question in one of the threads. If a reader that was already open fails, try once more with a new one."""
        was_open = self._slot.reader is not None
        while True:
            if asked.is_late:
                raise self._late()
            try:
                reader = asked.reader = self._reader()
                return question(reader)
            except (NotInTime, Exhausted) as error:
                if asked.is_late:
                    raise self._late() from error
                raise
            except CatalogUnavailable as error:
                self._drop()
                if asked.is_late:
                    raise self._late() from error
                if not was_open:
                    raise
                was_open = False
            finally:
                asked.reader = None

    def _reader(self) -> Reader:
        """Return the reader of this thread, which is opened if it is not open.

        Raises CatalogUnavailable if the catalog's file was deleted or replaced since then; `_answer` then tries a new reader.
        """
        reader = self._slot.reader
        if reader is not None:
            reader.check_current()
            return reader
        reader = open_reader(self._path)
        reader.limit(self._seconds + _GRACE_SECONDS)
        self._slot.reader = reader
        return reader

    def _drop(self) -> None:
        reader, self._slot.reader = self._slot.reader, None
        if reader is not None:
            reader.close()
