"""Output formats (docs/scripts.md): table, tsv, csv, json, jsonl, or a TEMPLATE."""

from __future__ import annotations

import sys

from catalog.cli.output import Format, cell, json_text, write
from catalog.errors import UsageError
from catalog.names.escape import csv_text, escape, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from catalog.cli.output import Get
    from catalog.lookup.match import Match

NAMES = ("table", "tsv", "csv", "json", "jsonl")
_LONGEST_ACTION = 200


def open_format(
    name: str | None,
    columns: Sequence[str],
    fields: Sequence[str],
    *,
    header: bool = True,
    also: Sequence[str] = (),
    spare: Sequence[str] = (),
    prose: bool = False,
    ages: Sequence[str] = (),
    times: Sequence[str] = (),
) -> Format:
    """Return the format that `name`, the value of `--format`, selects. Writes nothing yet.

    The default is a table on a terminal, and tsv otherwise. `columns` are the columns of table, tsv and csv, and
    `fields` the fields of JSON and templates. With `header`, csv begins with the names of its columns. `also` names the
    caller's own formats, for the message. For a table, `spare` are columns that a narrow terminal may lack, `prose` is
    true if the last column holds sentences, and `ages` and `times` are columns of times. Raises UsageError for an unknown
    format or a wrong template.
    """
    if name is None:
        name = "table" if sys.stdout.isatty() else "tsv"
    if name == "tsv":
        return _Tsv(columns)
    if name == "table":
        from catalog.cli.table import Table

        return Table(columns, spare, prose=prose, ages=ages, times=times)
    if name == "json":
        return _Json(fields)
    if name == "jsonl":
        return _JsonLines(fields)
    if name == "csv":
        return _Csv(columns, header=header)
    if "{" in name:
        return _Template(name, fields)
    from catalog.names.nearest import did_you_mean

    known = (*NAMES, *also)
    raise UsageError(
        f"there is no format {shown(name)}: {did_you_mean(name, known)}write one of {', '.join(known)}, "
        f"or a template such as '{{{columns[0]}}}'"
    )


class _Tsv(Format):
    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns
        self._places: list[int] | None = None

    def row(self, get: Get) -> None:
        write("\t".join([cell(get(column)) for column in self._columns]) + "\n")

    def match(self, match: Match) -> None:
        """Write the row of a match as `row` does, but in half the time if all columns are shown as they are stored."""
        if self._places is None:
            from catalog.lookup.match import STORED

            self._places = [STORED.get(column, -1) for column in self._columns]
        if -1 in self._places:
            self.row(match.value)
            return
        row = match.row
        cells = ["" if row[place] is None else str(row[place]) for place in self._places]
        if "\\" in (text := "".join(cells)) or not text.isprintable():
            cells = list(map(escape, cells))
        write("\t".join(cells) + "\n")


def _csv_cell(value: object) -> str:
    return csv_text(value) if isinstance(value, str) else cell(value)


class _Csv(Format):
    def __init__(self, columns: Sequence[str], *, header: bool) -> None:
        self._columns = columns
        self._header = header

    def row(self, get: Get) -> None:
        self._begin()
        self._line([_csv_cell(get(column)) for column in self._columns])

    def nothing(self) -> None:
        self._begin()
        write("\r\n")

    def end(self) -> None:
        self._begin()

    def _begin(self) -> None:
        if self._header:
            self._header = False
            self._line([csv_text(column) for column in self._columns])

    @staticmethod
    def _line(cells: Sequence[str]) -> None:
        """Write a line of RFC 4180. Cells contain no line ends, because those are escaped."""
        quoted = ['"' + c.replace('"', '""') + '"' if "," in c or '"' in c or c[:1] == " " else c for c in cells]
        write(",".join(quoted) + "\r\n")


class Objects(Format):
    """A format of JSON objects that also accepts objects that are already JSON text."""

    def objects(self, texts: Sequence[str]) -> None:
        """Write objects, each of which is given as one line of JSON."""
        raise NotImplementedError


class _Json(Objects):
    """One array with one element per line. Brackets and commas have no lines of their own, so lines can be counted."""

    def __init__(self, fields: Sequence[str]) -> None:
        self._fields = fields
        self._before = "["

    def row(self, get: Get) -> None:
        self._next(json_text({field: get(field) for field in self._fields}))

    def nothing(self) -> None:
        self._next("null")

    def objects(self, texts: Sequence[str]) -> None:
        if texts:
            self._next(",\n".join(texts))

    def end(self) -> None:
        write("[]\n" if self._before == "[" else "]\n")

    def _next(self, text: str) -> None:
        write(f"{self._before}{text}")
        self._before = ",\n"


class _JsonLines(Objects):
    def __init__(self, fields: Sequence[str]) -> None:
        self._fields = fields

    def row(self, get: Get) -> None:
        write(json_text({field: get(field) for field in self._fields}) + "\n")

    def objects(self, texts: Sequence[str]) -> None:
        write("\n".join(texts) + "\n" if texts else "")


class _Template(Format):
    r"""One line per row. `{field}` is a value, `{{` and `}}` are braces, `\t` is a tab and `\n` a line end."""

    def __init__(self, text: str, fields: Sequence[str]) -> None:
        self._pieces: list[tuple[str, str | None]] = []  # literal text, then a field or None
        literal = ""
        position = 0
        while position < len(text):
            two = text[position : position + 2]
            if two == "{{" and _is_of_go(text, position):
                raise _go_template(text, position, fields)
            if two in ("{{", "}}", "\\t", "\\n"):
                literal += {"\\t": "\t", "\\n": "\n"}.get(two, two[0])
                position += 2
            elif text[position] == "{":
                end = text.find("}", position)
                field = text[position + 1 : end if end > 0 else None]
                if end < 0:
                    raise UsageError(f"the format has no }} after {{{shown(field)}: write a field as '{{{fields[0]}}}'")
                if field not in fields:
                    from catalog.names.nearest import did_you_mean

                    raise UsageError(
                        f"the format has no field {shown(field)}: {did_you_mean(field, fields)}"
                        f"write one of {', '.join(fields)}, or {{{{ for a brace"
                    )
                self._pieces.append((literal, field))
                literal = ""
                position = end + 1
            else:
                literal += text[position]
                position += 1
        self._pieces.append((literal + "\n", None))

    def row(self, get: Get) -> None:
        write("".join([literal + (cell(get(field)) if field is not None else "") for literal, field in self._pieces]))


def _go_action(text: str, position: int) -> str:
    """Return the text between the `{{` at a position and the next `}}`, without the spaces and trim markers around it.

    The result has at most _LONGEST_ACTION characters, because the text may be full of `{{`.
    """
    return text[position + 2 : position + 2 + _LONGEST_ACTION].partition("}}")[0].strip(" -")


def _is_of_go(text: str, position: int) -> bool:
    """Return whether a Go template begins at a position, as docker and podman accept them: `{{.Name}}`, `{{json .}}`."""
    action = _go_action(text, position)
    return action[:1] == "." or action.endswith(" .") or " ." in action


def _go_template(text: str, position: int, fields: Sequence[str]) -> UsageError:
    from catalog.names.nearest import nearest

    action = _go_action(text, position)
    if action.startswith("json"):
        return UsageError("the format is a Go template: write --format jsonl for JSON, or fields in single braces")
    named = action.rpartition(".")[2].partition(" ")[0].lower()
    field = nearest(named, fields) or fields[0] if named not in fields else named
    return UsageError(f"the format is a Go template: write fields in single braces, as in '{{{field}}}'")
