"""The configuration, a TOML file (`--config`; docs/settings.md)."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from catalog.cli.limits import LEAST_INTERVAL, MOST_INTERVAL
from catalog.engine.location import default_configuration
from catalog.errors import UsageError
from catalog.ingest.settings import Settings
from catalog.names.escape import shown
from catalog.names.nearest import did_you_mean

if TYPE_CHECKING:
    from catalog.ingest.settings import Place
    from catalog.names.keys import Naming
    from catalog.watch.configuration import Configuration

_T = TypeVar("_T")

_DAY_MS = 86_400_000
_MOST = 1 << 36  # This many days in milliseconds still fit into an integer of the database.
_PRIORITY = (1 << 31) - 1
_MOST_BYTES = 4 << 20
_MOST_DOTS = 1000
"""The largest number of dots in one line. tomllib takes time proportional to the square of the number of parts of a dotted key."""


class _Number(NamedTuple):
    """A setting that is a number: its field, the factor that converts it to the field's unit, its least and largest value."""

    field: str
    factor: int
    least: float
    most: int = _MOST


NUMBERS = {
    "limits.index_bytes": _Number("index_bytes", 1, 1),
    "limits.descriptor_bytes": _Number("descriptor_bytes", 1, 1),
    "limits.archive_bytes": _Number("archive_bytes", 1, 1),
    "limits.archive_ratio": _Number("archive_ratio", 1, 1),
    "watch.settle_ms": _Number("settle_ms", 1, 0),
    "watch.patience_ms": _Number("patience_ms", 1, 0),
    "watch.held_ms": _Number("held_ms", 1, 0),
    "retention.grace_days": _Number("grace_ms", _DAY_MS, 0),
    "retention.history_days": _Number("history_ms", _DAY_MS, 0),
}
"""Numeric settings of catalog.ingest.settings, by their key in the file."""

INTERVALS = {
    "watch.rescan_seconds": "rescan",
    "watch.poll_seconds": "poll",
    "watch.silent_seconds": "silent",
    "watch.reread_seconds": "reread",
    "watch.late_seconds": "late",
}
"""Settings of catalog.watch.configuration that are a number of seconds: the key in the file, and the field."""

TEXTS = {"watch.metrics": "metrics", "log.format": "log_format", "log.level": "log_level"}
"""Settings of catalog.watch.configuration that are strings."""

FLAGS = {"watch.answer": "answer"}
"""Settings of catalog.watch.configuration that are true or false."""

TABLES = {"roots": True, "stores": False}
PLACE_KEYS = ("path", "name", "naming", "prefix", "priority", "shared_blob_dir", "shared_as", "sparse", "archives")
"""The keys of `[[roots]]`; only `path` is required."""
STORE_KEYS = tuple(key for key in PLACE_KEYS if key != "archives")
"""The keys of `[[stores]]`."""


def load_followed(path: str | None) -> tuple[Settings, tuple[Place, ...]]:
    """Return the settings, roots and stores of the file at `path`. The values of the daemon's own settings are not checked.

    Raises UsageError for any other mistake.
    """
    path = path or default_configuration()
    if path is None:
        return Settings(), ()
    file = _File(path)
    return file.settings(), file.places()


def load_settings(path: str | None) -> Settings:
    """Return the settings of the file at `path`, and defaults for settings that it lacks. Raises UsageError.

    The values of the daemon's own settings, and the roots and stores, are not checked.
    """
    path = path or default_configuration()
    return Settings() if path is None else _File(path).settings()


def load(path: str | None) -> Configuration:
    """Return the configuration in the file at `path`, and defaults for what it lacks. Raises UsageError for any mistake.

    If `path` is None, the default configuration file is used; if there is none, every setting has its default.
    """
    from catalog.watch.configuration import Configuration

    configuration = Configuration()
    path = path or default_configuration()
    if path is None:
        return configuration
    file = _File(path)
    return configuration._replace(settings=file.settings(), places=file.places(), **file.daemon())


class _File:
    """The tables of a configuration file. The constructor raises UsageError if it cannot be read, is not valid or has an unknown key."""

    def __init__(self, path: str) -> None:
        import tomllib

        self._where = shown(path)
        self._text_of_file = ""
        try:
            with open(path, "rb") as file:
                self._text_of_file = self._checked_text(file.read(_MOST_BYTES + 1))
            tables = tomllib.loads(self._text_of_file)
        except OSError as error:
            raise UsageError(
                f"cannot read {self._where} ({error.strerror}): give --config the path of a file that you can read"
            ) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"{self._where} is not valid TOML: {shown(str(error), 400)}") from error
        except RecursionError as error:
            raise UsageError(f"{self._where} is not valid: it is nested too deeply") from error
        except ValueError as error:  # from int(), for a number with too many digits; tomllib does not convert it.
            raise UsageError(f"{self._where} is not valid: a number has too many digits") from error
        self._values: dict[str, object] = {}
        self._places: list[
            tuple[bool, int, object]
        ] = []  # whether it is a root, its number among roots or stores, its table
        for section, values in tables.items():
            if section in TABLES:
                if not isinstance(values, list):
                    raise self._wrong(f"{section} must be a list of tables: write [[{section}]]")
                self._places += [(TABLES[section], number, value) for number, value in enumerate(values, 1)]
            elif isinstance(values, dict):
                self._values |= {f"{section}.{key}": value for key, value in values.items()}
            else:
                raise self._wrong(f"{shown(section)} is not in a section: move it under one, such as [watch]")
        known = (*NUMBERS, *INTERVALS, *TEXTS, *FLAGS)
        for key in self._values:
            if key not in known:
                hint = did_you_mean(key, known) or did_you_mean(key.rpartition(".")[2], known)
                more = "'ocicat help settings' lists them all" if hint else f"the settings are {', '.join(known)}"
                raise self._wrong(f"there is no setting {self._placed(key)}: {hint}{more}")

    def _checked_text(self, read: bytes) -> str:
        """Return the text of the file. Raises UsageError if it is too large or its keys are nested too deeply, and UnicodeDecodeError."""
        if len(read) > _MOST_BYTES:
            raise UsageError(f"{self._where} is not valid: it is larger than {_MOST_BYTES >> 20} MiB")
        if any(line.count(b".") > _MOST_DOTS for line in read.splitlines()):
            raise UsageError(f"{self._where} is not valid: it is nested too deeply")
        return read.decode()

    def settings(self) -> Settings:
        """Return the settings that are not the daemon's own. Raises UsageError if a value is wrong."""
        settings = Settings()
        for key, number in NUMBERS.items():
            if key not in self._values:
                continue
            value = int(self._number(key, number.least, number.most) * number.factor)
            if number.field in settings.limits._fields:
                settings = settings._replace(limits=settings.limits._replace(**{number.field: value}))
            else:
                settings = settings._replace(**{number.field: value})  # type: ignore[arg-type]  # the field is a number of milliseconds
        return settings

    def daemon(self) -> dict[str, Any]:
        """Return the daemon's own settings, by field. Raises UsageError if a value is wrong."""
        values: dict[str, Any] = {
            field: self._number(key, LEAST_INTERVAL, MOST_INTERVAL)
            for key, field in INTERVALS.items()
            if key in self._values
        }
        for key, field in TEXTS.items():
            if key in self._values:
                values[field] = self._text(self._placed(key), self._values[key])
        for key, field in FLAGS.items():
            if key in self._values:
                if not isinstance(self._values[key], bool):
                    raise self._wrong(f"{self._placed(key)} must be true or false")
                values[field] = self._values[key]
        from catalog.ingest.notice import LEVELS
        from catalog.watch.configuration import FORMATS

        for key, known in (("log.format", FORMATS), ("log.level", LEVELS)):
            value = values.get(TEXTS[key], known[0])
            if value not in known:
                *others, last = (f'"{each}"' for each in known)
                hint = did_you_mean(str(value), known)
                raise self._wrong(f"{self._placed(key)} must be {', '.join(others)} or {last}: {hint}".rstrip(": "))
        return values

    def places(self) -> tuple[Place, ...]:
        """Return the roots and stores that the file names. Raises UsageError if one is malformed or listed twice."""
        found: dict[str, Place] = {}
        for is_root, number, values in self._places:
            place = self._place(values, number, is_root=is_root)
            if place.path in found:
                with self._line("[[roots]]" if is_root else "[[stores]]", "path", number):
                    raise self._wrong(f"{shown(place.path)} is listed twice: remove one of the two")
            found[place.path] = place
        return tuple(found.values())

    def _place(self, values: object, number: int, *, is_root: bool) -> Place:
        from catalog.ingest.settings import Place, StoreSettings
        from catalog.names.keys import Naming
        from catalog.names.paths import checked_name

        table = "[[roots]]" if is_root else "[[stores]]"
        keys = PLACE_KEYS if is_root else STORE_KEYS
        if not isinstance(values, dict):
            raise self._wrong(f"{table} must be a table with the keys {', '.join(keys)}")
        for key in values:
            if key not in keys:
                hint = did_you_mean(key, keys)
                place = self._line_of(table, key, number)
                raise self._wrong(f"{table} has no key {shown(key)}{place}: {hint}its keys are {', '.join(keys)}")
        line = functools.partial(self._line, table, number=number)
        with line("path"):
            path = self._path(f"path of {table}", values.get("path", ""))
        table = f"{table} {shown(path)}"

        def text(key: str) -> str | None:
            with line(key):
                return self._text(f"{key} of {table}", values[key]) if key in values else None

        name, naming, prefix = text("name"), text("naming"), text("prefix")
        priority = values.get("priority")
        if priority is not None and (
            not isinstance(priority, int) or isinstance(priority, bool) or abs(priority) > _PRIORITY
        ):
            with line("priority"):
                raise self._wrong(f"priority of {table} must be a whole number from {-_PRIORITY} to {_PRIORITY}")
        with line("naming"):
            policy = None if naming is None else self._checked(table, lambda: Naming.parse(naming))
        if name is not None:
            with line("name"):
                self._checked(table, lambda: checked_name(name))
        with line("prefix"):
            self._check_prefix(table, prefix, policy)
        shared = values.get("shared_blob_dir")
        if shared is not None and shared != "":
            with line("shared_blob_dir"):
                shared = self._path(f"shared_blob_dir of {table}", shared)
        shared_as = text("shared_as")
        if shared_as:
            with line("shared_as"):
                self._checked(table, lambda: checked_name(shared_as))
        for key in ("sparse", "archives"):
            if not isinstance(values.get(key), bool | None):
                with line(key):
                    raise self._wrong(f"{key} of {table} must be true or false")
        sparse, archives = values.get("sparse"), values.get("archives")
        return Place(path, is_root, StoreSettings(name, policy, prefix, priority, shared, shared_as, sparse), archives)

    def _check_prefix(self, table: str, prefix: str | None, policy: Naming | None) -> None:
        from catalog.names.keys import Naming

        if not prefix:
            return
        if policy is None or not policy.by_path:
            raise self._wrong(f'prefix of {table} needs naming = "path" or "path:tag"')
        if Naming("path").repository("x", prefix)[0] is None:
            raise self._wrong(f"prefix of {table} is not a registry: write a host name, as in registry.example.com")

    @contextlib.contextmanager
    def _line(self, table: str, key: str, number: int) -> Iterator[None]:
        """Add to a UsageError of the block the line that sets `key` in the table with this number: `FILE (line 3): …`."""
        try:
            yield
        except UsageError as error:
            text = str(error).removeprefix(f"{self._where}: ")
            raise UsageError(f"{self._where}{self._line_of(table, key, number)}: {text}") from error

    def _placed(self, key: str) -> str:
        """Return a key with the line that sets it: `watch.settle_ms (line 3)`."""
        section, _, name = key.partition(".")
        return f"{shown(key)}{self._line_of(f'[{section}]', name)}"

    def _line_of(self, table: str, key: str, table_number: int = 1) -> str:
        """Return ` (line N)` for the line that sets a key in the table with this number, or "" if it is written in another form."""
        section = ""
        tables = 0
        for number, line in enumerate(self._text_of_file.splitlines(), 1):
            text = line.strip()
            if text.startswith("["):
                section = text.partition("#")[0].replace(" ", "")
                tables += section == table
            elif section == table and tables == table_number and text.partition("=")[0].strip(" \"'") == key:
                return f" (line {number})"
        return ""

    def _path(self, what: str, value: object) -> str:
        path = self._text(what, value)
        if not os.path.isabs(path) or "\0" in path:
            raise self._wrong(f"the {what} must be an absolute path")
        return os.path.normpath(path)

    def _text(self, what: str, value: object) -> str:
        if not isinstance(value, str):
            raise self._wrong(f"{what} must be a string")
        return value

    def _number(self, key: str, least: float, most: int) -> float:
        value = self._values[key]
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not least <= value <= most:
            raise self._wrong(f"{self._placed(key)} must be a number from {least} to {most}")
        return value

    def _checked(self, table: str, make: Callable[[], _T]) -> _T:
        try:
            return make()
        except UsageError as error:
            raise self._wrong(f"{table}: {error}") from error

    def _wrong(self, text: str) -> UsageError:
        return UsageError(f"{self._where}: {text}")
