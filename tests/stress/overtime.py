"""A differential over time: answers are kept with their moment, and asked again with `--at` at the end.

A world of a few layouts below two roots, and one by itself, changes by random steps: tags move, entries come, go and change
their order, blobs come and go, files are torn, stores are renamed, removed and added again, swapped, go missing and come back,
get other priorities and naming policies; layouts tell a history; the clock is wrong for one change; the catalog is closed and
opened again. After each step some questions are asked of the present, and at the end each of them is asked of its moment.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from typing import NamedTuple

from catalog.engine.boot import boot_id, ran_ms
from catalog.engine.driver import cursor_of
from catalog.engine.interface import Reader
from catalog.errors import Ambiguous, CatalogUnavailable, OcicatError, UsageError
from catalog.ingest.moments import mend_labels
from catalog.lookup import past
from catalog.lookup.resolve import Asking
from catalog.lookup.stores import store_ids
from catalog.names.moment import rfc3339
from catalog.names.query import parse_query
from tests import writers
from tests.conftest import Catalogue, stamp
from tests.postgres import Server
from tests.writers import Descriptor

YEAR_MS = 365 * 86_400_000
REPOSITORIES = ("docker.io/library/alpine", "docker.io/library/app", "quay.io/team/app")
TAGS = ("1", "2", "latest")
STYLES = (*writers.NAME_STYLES, "containerd", "short")
PLACES = ("one/a", "one/b", "one/b/c", "two/a", "two/d", "lone")
NAMES = ("a", "b", "x", "y", "one/a", "two/a", "lone")
ROOTS = ("one", "two")
POLICIES = ("annotations", "path", "fixed=app")

New = Callable[[str], Catalogue]


class Question(NamedTuple):
    """What is asked: of `query` or `resolve`, with the options that narrow it."""

    command: str
    ref: str
    stores: tuple[str, ...] = ()
    first: bool = False
    strict: bool = False


class Kept(NamedTuple):
    """An answer, when it was given (milliseconds), and what had been done just before."""

    at: int
    question: Question
    answer: object
    after: str


class Overtime:
    """One world below `directory`, which exists; `new` opens its catalog."""

    def __init__(self, directory: str, new: New, seed: int) -> None:
        self.rng = random.Random(seed)
        self.directory = directory
        self.catalogue = new(directory)
        self.kept: list[Kept] = []
        self.digests: list[str] = []
        self._parked: list[tuple[str, str]] = []
        for place in PLACES:
            writers.make_layout(self._path(place))
            self._edit(place, 3)
        self._last = 0
        for place in (*ROOTS, "lone"):
            self.catalogue.add(self._path(place))

    def run(self, steps: int, questions: int) -> list[str]:
        """Make some steps, with some questions after each; return a line for each answer that differs by now."""
        doings = [getattr(self, name) for name in dir(type(self)) if name.startswith("do_")]
        often = [self.do_edit] * 6 + [self.do_blobs] * 2
        for _ in range(steps):
            step = self.rng.choice([*doings, *often])
            step()
            self.ask(step.__name__, questions)
        return self.differences() + self.disagreements()

    def ask(self, after: str, count: int) -> None:
        """Ask the present, and keep what it answers."""
        self._wait()
        for _ in range(count):
            question = self._question()
            found = answer(self.catalogue.reader, question)
            if found != 4:
                self.kept.append(Kept(now_ms(), question, found, after))
        self._last = now_ms()
        self._wait()

    def differences(self) -> list[str]:
        """The kept answers that their moments do not give any more."""
        self._wait()
        found: list[str] = []
        readers: dict[int, Reader] = {}
        for kept in self.kept:
            then = readers.get(kept.at)
            if then is None:
                readers = {kept.at: (then := self.catalogue.reader.at(kept.at))}
            by_now = answer(then, kept.question)
            if by_now != kept.answer:
                found.append(f"{kept.after} at {kept.at}: {kept.question}: was {kept.answer}, and is {by_now} by now")
        return found

    def disagreements(self) -> list[str]:
        """Moments at which the spans of `history`, or its view, say something else of a name than `--at`, as lines to read."""
        found: list[str] = []
        reader = self.catalogue.reader
        viewed = self.catalogue.sql("SELECT store, name, tag, digest, since, until FROM history WHERE origin IS NULL")
        spans = [span for span in past.spans(reader, None) if span.origin is None]
        listed = sorted((s.store, s.name or "", s.tag, s.digest, *map(rfc3339, (s.since, s.until))) for s in spans)
        if listed != sorted((row[0], row[1] or "", *row[2:]) for row in viewed):
            found.append(f"the view: {viewed}, the command: {listed}")
        for at in sorted({kept.at for kept in self.kept}):
            standing = [s for s in spans if s.since <= at and (s.until is None or at < s.until)]
            then = Asking(reader.at(at), lambda _line: None)
            for name in (f"{repository}:{tag}" for repository in REPOSITORIES for tag in TAGS):
                told = sorted((s.store, s.digest) for s in standing if s.name == name)
                matches = then.matches(parse_query(writers.familiar(name)))
                answered = sorted((match.store, match.digest) for match in matches if not match.value("shadowed"))
                if told != answered:
                    found.append(f"{name} at {at}: history says {told}, --at {answered}")
            for tag in TAGS:
                by_tag = {(match.store, match.answered) for match in then.matches(parse_query(f":{tag}"))}
                told = [(s.store, s.digest) for s in standing if s.tag == tag]
                if not by_tag >= set(told):
                    found.append(f":{tag} at {at}: history says {told}, --at {sorted(by_tag)}")
        return found

    # --- steps --------------------------------------------------------------------------------------------------

    def do_edit(self) -> None:
        """Some changes of one index.json."""
        self._edit(self.rng.choice(PLACES), self.rng.choice((1, 1, 2, 4)))
        self.catalogue.index()

    def do_several(self) -> None:
        for place in self.rng.sample(PLACES, 3):
            self._edit(place, 1)
        self.catalogue.index()

    def do_blobs(self) -> None:
        """A manifest comes that no entry lists, or some blob goes."""
        path = self._path(self.rng.choice(PLACES))
        blobs = f"{path}/blobs/sha256"
        if not os.path.isdir(blobs):
            return
        held = sorted(os.listdir(blobs))
        if held and self.rng.random() < 0.5:
            os.unlink(f"{blobs}/{self.rng.choice(held)}")
        else:
            self.digests.append(writers.make_image(path, f"lies {self.rng.randrange(8)}")["digest"])
        self._touched(path)
        self.catalogue.index()

    def do_order(self) -> None:
        path = self._path(self.rng.choice(PLACES))
        entries = self._entries(path)
        if entries:
            self.rng.shuffle(entries)
            self._write(path, entries)
        self.catalogue.index()

    def do_tear(self) -> None:
        """An index.json that cannot be read, until somebody writes it again."""
        path = self._path(self.rng.choice(PLACES))
        if os.path.isdir(path):
            writers.torn(path, writers.dump(writers.empty_index()), 10)
            stamp(f"{path}/index.json")
        self.catalogue.index()

    def do_go_missing(self) -> None:
        """A store, or all of a root, is gone, or back."""
        if self._parked and self.rng.random() < 0.7:
            place, away = self._parked.pop()
            os.makedirs(os.path.dirname(self._path(place)), exist_ok=True)
            if not os.path.lexists(self._path(place)):
                os.rename(away, self._path(place))
        else:
            place = self.rng.choice((*PLACES, "two"))
            if os.path.isdir(self._path(place)) and len(self._parked) < 2:
                away = f"{self.directory}/away-{self.rng.random()}"
                os.rename(self._path(place), away)
                self._parked.append((place, away))
        self.catalogue.index()

    def do_swap(self) -> None:
        """Two layouts change places."""
        one, two = (self._path(place) for place in self.rng.sample([p for p in PLACES if p != "one/b"], 2))
        if os.path.isdir(one) and os.path.isdir(two):
            os.rename(one, f"{self.directory}/between")
            os.rename(two, one)
            os.rename(f"{self.directory}/between", two)
        self.catalogue.index()

    def do_rename(self) -> None:
        self._again(self.rng.choice(PLACES), name=self.rng.choice(NAMES))

    def do_swap_names(self) -> None:
        """Two stores take each other's names."""
        rows = self.catalogue.sql("SELECT name, path FROM store ORDER BY id")
        if len(rows) < 2:
            return
        (one, path), (two, other) = self.rng.sample(rows, 2)
        if os.path.isdir(path) and os.path.isdir(other):
            self.catalogue.add(path, name="between", index=False)
            self.catalogue.add(other, name=one, index=False)
            self.catalogue.add(path, name=two, index=False)

    def do_priority(self) -> None:
        self._again(self.rng.choice((*PLACES, *ROOTS)), priority=self.rng.choice((-1, 0, 1)))

    def do_policy(self) -> None:
        self._again(self.rng.choice((*PLACES, *ROOTS)), naming=self.rng.choice(POLICIES))

    def do_remove(self) -> None:
        """A store or a root is removed; it may be added again at another step."""
        known = [row[0] for table in ("store", "root") for row in self.catalogue.sql(f"SELECT path FROM {table}")]
        if len(known) > 3:
            self.catalogue.remove(self.rng.choice(known))

    def do_add(self) -> None:
        self._again(self.rng.choice((*PLACES, *ROOTS)))

    def do_retire(self) -> None:
        """The rows of stores that are missing are dropped."""
        self.catalogue.settings = self.catalogue.settings._replace(grace_ms=0)
        self.catalogue.retire(now_ms() + 1)

    def do_reopen(self) -> None:
        self.catalogue.reopen()

    def do_wrong_clock(self) -> None:
        """One change while the clock was a year ahead, or behind."""
        before = self._moment()
        self._edit(self.rng.choice(PLACES), 1)
        self.catalogue.index()
        if (wrong := self._moment()) != before:
            by, stepped = self.rng.choice(((YEAR_MS, "stepped"), (-YEAR_MS, "(1 = 1)")))
            with self.catalogue.writer.transaction() as connection:
                connection.exec_driver_sql(
                    f"UPDATE moment SET at = at + {by}, label = at + {by}, stepped = {stepped} WHERE id = {wrong}"
                )
                (host,) = connection.exec_driver_sql(f"SELECT host_id FROM moment WHERE id = {wrong}").fetchone() or (
                    0,
                )
                mend_labels(cursor_of(connection), host, now_ms(), boot_id(), ran_ms())  # as the next change does

    def do_tell(self) -> None:
        """A layout tells a history of its own, of the time in which ocicat has looked at it."""
        path = self._path(self.rng.choice(PLACES))
        if not os.path.isdir(path):
            return
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - self.rng.choice((1, 10, 1000))))
        told = {"time": at, "descriptor": writers.fake_descriptor(f"told {self.rng.randrange(9)}")}
        index = writers.empty_index(*self._entries(path)) | {"org.olareg.history": {self.rng.choice(TAGS): [told]}}
        writers.write_recreate(path, writers.dump(index))
        stamp(f"{path}/index.json")
        self.catalogue.index()

    # --- what the steps are made of -----------------------------------------------------------------------------

    def _again(self, place: str, **given: object) -> None:
        path = self._path(place)
        if os.path.isdir(path):
            with contextlib.suppress(UsageError):  # a name that is taken
                self.catalogue.add(path, **given)  # type: ignore[arg-type]

    def _edit(self, place: str, changes: int) -> None:
        path, rng = self._path(place), self.rng
        if not os.path.isdir(path):
            return
        entries = self._entries(path)
        for _ in range(changes):
            kind = rng.randrange(6)
            at = rng.randrange(len(entries)) if entries else 0
            if kind == 0 and entries:
                del entries[at]
            elif kind == 1 and entries:  # another image under the same names
                names = entries[at].get("annotations", {})
                entries[at] = self._image(path) | ({"annotations": names} if names else {})
            elif kind == 2 and entries:  # other names for the same image
                style = rng.choice(STYLES)
                entries[at] = writers.name_entry(entries[at], style, rng.choice(REPOSITORIES), rng.choice(TAGS))
            elif kind == 3 and len(entries) > 2:
                entries = entries[:1]
            else:
                entry = writers.name_entry(
                    self._image(path), rng.choice(STYLES), rng.choice(REPOSITORIES), rng.choice(TAGS)
                )
                entries.insert(at, entry)
        self._write(path, entries)
        self._touched(path)

    def _image(self, path: str) -> Descriptor:
        seed = f"{self.rng.randrange(12)}"
        kind = self.rng.randrange(5)
        if kind == 0:
            found = writers.fake_descriptor(seed) | {"mediaType": "application/vnd.example+json"}
        elif kind == 1:
            found = writers.fake_descriptor(seed)
        elif kind == 2:
            children = [writers.make_image(path, f"{seed}{arch}", arch=arch) for arch in ("amd64", "arm64")]
            self.digests += [child["digest"] for child in children]
            found = writers.make_index_image(path, children)
        else:
            found = writers.make_image(path, seed)
        self.digests.append(found["digest"])
        return found

    def _entries(self, path: str) -> list[Descriptor]:
        try:
            return list(writers.entries_of(writers.read_index(path)))
        except (OSError, ValueError):
            return []

    def _write(self, path: str, entries: list[Descriptor]) -> None:
        writers.write_recreate(path, writers.dump(writers.empty_index(*entries)))
        stamp(f"{path}/index.json")

    def _touched(self, path: str) -> None:
        for name in ("blobs", "blobs/sha256"):
            if os.path.isdir(f"{path}/{name}"):
                stamp(f"{path}/{name}")

    def _path(self, place: str) -> str:
        return f"{self.directory}/{place}"

    def _moment(self) -> int:
        found = self.catalogue.sql("SELECT max(id) FROM moment")[0][0]
        return int(found or 0)

    def _wait(self) -> None:
        """Wait for the clock, so that a change and the next question are in different milliseconds."""
        while now_ms() <= self._last + 1:
            time.sleep(0.001)
        self._last = now_ms() + 1
        while now_ms() <= self._last:
            time.sleep(0.001)

    def _question(self) -> Question:
        rng = self.rng
        name, tag = writers.familiar(rng.choice(REPOSITORIES)), rng.choice(TAGS)
        digest = rng.choice(self.digests[-40:])
        place, store = self._path(rng.choice(PLACES)), rng.choice(NAMES)
        # Whether a path below a store was a layout that nobody had registered, only the disk of that time could tell.
        where = rng.choice((store, self._path(rng.choice([each for each in PLACES if each != "one/b/c"]))))
        ref = rng.choice(
            (
                f"{name}:{tag}", f"{name}:{tag}", name, f":{tag}", f":{tag}+build.5", f":{name}:{tag}", "app:*", "*app*:1",
                "a*", ":*", ":1*", f":[{tag}]", f"@{digest}", digest, digest[:15], digest[:14], f"{name}@{digest}",
                f"{name}:{tag}@{digest}", f"oci-layout://{where}", f"oci-layout://{where}:{tag}",
                f"oci-layout://{where}/{name}:{tag}", f"oci-layout://{where}@{digest}",
                f"oci-layout://{where}:{tag}@{digest}", f"oci-layout://{where}:nosuch", f"oci:{place}", f"oci:{place}:{tag}",
                f"oci:{place}:{name}:{tag}", f"ocidir://{place}:{tag}", f"ocidir://{place}", f"ocidir://{place}@{digest}",
            )
        )  # fmt: skip
        stores = rng.choice(((), (), (), (store,), ("one/*",), ("*a*",), (place,)))
        command = rng.choice(("query", "resolve", "resolve"))
        return Question(command, ref, stores, rng.random() < 0.2, rng.random() < 0.2)


def answer(reader: Reader, question: Question) -> object:
    """What a question comes to: its answer, or the exit status with the candidates where there are several."""
    try:
        scope = store_ids(reader, question.stores) if question.stores else None
        asking = Asking(reader, lambda _line: None, stores=scope, strict=question.strict)
        query = parse_query(question.ref)
        if question.command == "query":
            return [(match.store, match.path, match.name, match.tag, match.answered) for match in asking.matches(query)]
        found = asking.resolve(query, first=question.first)
    except Ambiguous as error:
        return 3, error.total, sorted(error.candidates)
    except CatalogUnavailable:
        raise
    except OcicatError as error:
        return error.status
    return found.answered, found.store, found.path, found.name, found.fallback


def now_ms() -> int:
    return time.time_ns() // 1_000_000


STEPS = 10_000
_A_WORLD = 250
_ON_SERVER = 8
"""One world out of this many is on PostgreSQL."""


def run_all(say: Callable[[str], None]) -> None:
    """Worlds of STEPS steps together, on both engines; raises AssertionError for an answer that is another one by now."""
    server = Server()
    try:
        for seed in range(STEPS // _A_WORLD):
            on_server = seed % _ON_SERVER == 0
            directory = os.path.realpath(tempfile.mkdtemp(prefix="ocicat-overtime-"))

            def new(path: str, *, shared: bool = on_server) -> Catalogue:
                return Catalogue(server.new_catalog() if shared else f"{path}/catalog.db")

            found = run(directory, new, seed, _A_WORLD, 4)
            say(f"world {seed}: {_A_WORLD} steps, {len(found)} answers are others by now")
            assert not found, "; ".join(found[:5])
    finally:
        server.close()


def run(directory: str, new: New, seed: int, steps: int, questions: int) -> list[str]:
    """What a world of `seed` answers otherwise than it did."""
    world = Overtime(directory, new, seed)
    try:
        return world.run(steps, questions)
    finally:
        world.catalogue.close()
        shutil.rmtree(directory, ignore_errors=True)
