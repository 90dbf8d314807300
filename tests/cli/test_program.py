"""What holds for every command: exit status, one line per error, global options, environment, closed and full streams."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from catalog._version import __version__
from catalog.cli import messages
from catalog.cli.main import COMMANDS
from tests.cli.conftest import Shelf
from tests.cli.program import SECONDS, Ran, called, one_error, ran
from tests.conftest import ON_SQLITE
from tests.forking import CLEAN, OCICAT

WHOLE = pytest.mark.whole_start
"""For tests of what the program does while it starts and ends."""

SUBCOMMANDS = ("check", "copy", "path", "upgrade", "vacuum")


@WHOLE
def test_the_version_goes_to_stdout() -> None:
    result = ran("--version")
    assert (result.status, result.out, result.err) == (0, f"ocicat {__version__}\n", "")


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS), *(("db", name) for name in SUBCOMMANDS)])
def test_every_command_has_a_help(command: tuple[str, ...]) -> None:
    result = called(*command, "--help")
    assert result.status == 0
    assert result.err == ""
    assert result.out.startswith("Usage: ocicat " + " ".join(command))
    assert "--help" in result.out


def test_the_help_lists_every_command_and_loads_none() -> None:
    result = called("--help")
    for name, says in COMMANDS.items():
        assert f"{name} " in result.out
        assert says in " ".join(result.out.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("db",), ("no command", "'ocicat db --help'")),
        (("bogus",), ("No such command 'bogus'",)),
        (("db", "bogus"), ("No such command 'bogus'",)),
        (("--bogus",), ("--bogus",)),
        (("--db",), ("--db",)),
        (("--bogus", "query"), ("--bogus",)),
        (("query", "--bogus"), ("--bogus", "'ocicat query --help'")),
        (("query", "--limit"), ("--limit",)),
        (("query", "--limit", "x"), ("--limit", "x")),
        (("query", "--limit", "-1"), ("--limit", "-1")),
        (("query", "--count=yes"), ("--count",)),
        (("resolve",), ("REF",)),
        (("resolve", "--first=1", "x"), ("--first",)),
        (("resolve", "--limit", "1", "x"), ("--limit",)),
        (("stores", "bogus"), ("bogus",)),
        (("stores", "--state", "bogus"), ("bogus", "'ok'")),
        (("add",), ("PATH",)),
        (("remove",), ("NAME|PATH",)),
        (("index", "--bogus"), ("--bogus",)),
        (("check", "--bogus"), ("--bogus",)),
        (("sql", "--timeout", "0", "select 1"), ("--timeout",)),
        (("sql", "select 1", "select 2"), ("select 2",)),
        (("db", "copy"), ("--to",)),
        (("db", "path", "x"), ("x",)),
        (("\x1b[31m\n",), ("No such command",)),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(shelf: Shelf, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    result = shelf.ask(*arguments)
    one_error(result, 2, *words)
    assert result.out == ""


@WHOLE
@pytest.mark.parametrize(
    "arguments", [("db",), ("bogus",), ("query", "--bogus"), ("resolve",), ("query", "--format", "bogus")]
)
def test_wrong_usage_in_a_process_of_its_own(shelf: Shelf, arguments: tuple[str, ...]) -> None:
    result = ran(*arguments, db=shelf.db)
    one_error(result, 2)
    assert result.out == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("query",), ("query", "x"), ("resolve", "x"), ("resolve", "x", "--store", "y"), ("stores",), ("check",),
        ("sql", "select 1"), ("sql", "--schema"), ("index",), ("remove", "x"), ("db", "check"), ("db", "vacuum"),
    ],
)  # fmt: skip
def test_without_a_catalog_status_4_and_how_to_make_one(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    db = str(tmp_path / "none.db")
    result = called(*arguments, db=db)
    one_error(result, 4, "no catalog", db, "'ocicat add PATH'")
    assert result.out == ""
    assert os.listdir(tmp_path) == []


# Global options and the environment


@pytest.mark.parametrize(
    "command", [("query", "alpine"), ("resolve", "ctr:3.16"), ("stores",), ("check",), ("db", "path")]
)
def test_global_options_work_before_and_after_the_command(shelf: Shelf, command: tuple[str, ...]) -> None:
    before = called("--db", shelf.db, *command)
    behind = called(*command, "--db", shelf.db)
    equals = called(*command, f"--db={shelf.db}")
    assert before == behind == equals
    assert before.status in (0, 1)


def test_the_option_wins_over_the_variable(shelf: Shelf) -> None:
    assert called("--db", "/nowhere", "db", "path", db=shelf.db).out == "/nowhere\n"
    assert called("db", "path", db=shelf.db).out == f"{shelf.db}\n"


def test_locations_of_the_catalog_in_their_order(tmp_path: Path) -> None:
    state, data, home = (str(tmp_path / name) for name in ("state", "data", "home"))
    env = {"STATE_DIRECTORY": f"{state}:/other", "XDG_DATA_HOME": data, "HOME": home}

    def path() -> str:
        return called("db", "path", env=env).out.removesuffix("\n")

    assert path() == f"{state}/catalog.db"
    env["STATE_DIRECTORY"] = ""
    assert path() == f"{data}/ocicat/catalog.db"
    env["XDG_DATA_HOME"] = "relative"  # the specification of base directories says to ignore it
    place = f"{home}/.local/share/ocicat/catalog.db"
    if not os.access("/var/lib/ocicat/catalog.db", os.R_OK):
        assert path() == place
    os.makedirs(os.path.dirname(place))
    Path(place).touch()
    assert path() == place
    env["OCICAT_DB"] = "rel.db"
    assert path() == f"{os.getcwd()}/rel.db"


def test_the_catalog_is_created_at_the_default_location(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for env, place in (
        ({"XDG_DATA_HOME": str(tmp_path / "data")}, "data/ocicat"),
        ({"HOME": str(tmp_path)}, ".local/share/ocicat"),
    ):
        result = ran("add", str(tmp_path / "images"), env=env)
        assert result.status == 0, result
        made = tmp_path / place / "catalog.db"
        assert made.exists()
        assert made.stat().st_mode & 0o777 == 0o640
        assert called("stores", env=env).status == 0


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql+psycopg://user:secret@host.invalid/db", "cannot reach postgresql+psycopg://user@host.invalid/db"),
        ("postgresql://user@host.invalid/db?password=secret", "cannot reach postgresql+psycopg://user@host.invalid/db"),
        ("mysql://user:secret@x", "catalogs on mysql are not supported"),
        ("sqlite:///secret", "catalogs on sqlite are not supported"),
    ],
)
def test_a_url_that_cannot_be_served(url: str, said: str) -> None:
    for arguments in (("--db", url, "query"), ("query", "--db", url), ("--db", url, "add", "/")):
        message = one_error(called(*arguments), 4, said)
        assert "secret" not in message


@pytest.mark.parametrize(
    ("variable", "value", "arguments", "same_as"),
    [
        ("OCICAT_QUERY_STORE", "solo", ("query",), ("query", "--store", "solo")),
        ("OCICAT_QUERY_STORE", "solo images/ctr", ("query",), ("query", "--store", "solo", "--store", "images/ctr")),
        ("OCICAT_QUERY_FORMAT", "csv", ("query", "busybox"), ("query", "busybox", "--format", "csv")),
        ("OCICAT_QUERY_LIMIT", "2", ("query",), ("query", "--limit", "2")),
        ("OCICAT_QUERY_COUNT", "1", ("query",), ("query", "--count")),
        ("OCICAT_QUERY_MEDIA_TYPE", "x", ("query",), ("query", "--media-type", "x")),
        ("OCICAT_RESOLVE_FIRST", "1", ("resolve", "busybox:3.16"), ("resolve", "--first", "busybox:3.16")),
        ("OCICAT_RESOLVE_FORMAT", "oci-layout", ("resolve", "ctr:3.16"), ("resolve", "ctr:3.16", "--format", "oci-layout")),
        ("OCICAT_STORES_STATE", "empty", ("stores",), ("stores", "--state", "empty")),
        ("OCICAT_STORES_FORMAT", "jsonl", ("stores",), ("stores", "--format", "jsonl")),
        ("OCICAT_CHECK_FORMAT", "csv", ("check",), ("check", "--format", "csv")),
        ("OCICAT_SQL_FORMAT", "json", ("sql", "select 1"), ("sql", "select 1", "--format", "json")),
        ("OCICAT_SQL_SCHEMA", "1", ("sql",), ("sql", "--schema")),
        ("OCICAT_SQL_P", "a=1", ("sql", "select :a"), ("sql", "select :a", "-p", "a=1")),
        ("OCICAT_DB_COPY_TO", "x", ("db", "copy"), ("db", "copy", "--to", "x")),
        ("OCICAT_QUIET", "1", ("resolve", "hurt"), ("--quiet", "resolve", "hurt")),
    ],
)  # fmt: skip
def test_every_option_has_a_variable(
    shelf: Shelf, variable: str, value: str, arguments: tuple[str, ...], same_as: tuple[str, ...]
) -> None:
    by_variable = shelf.ask(*arguments, env={variable: value})
    assert by_variable == shelf.ask(*same_as)
    assert by_variable != shelf.ask(*arguments)


def test_a_variable_of_add(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    env = {"OCICAT_ADD_NAME": "other", "OCICAT_ADD_PRIORITY": "3", "OCICAT_ADD_NO_INDEX": "1"}
    db = str(tmp_path / "c.db")
    assert called("add", str(tmp_path / "images"), db=db, env=env).status == 0
    assert called("remove", "other", db=db).status == 0


def test_a_variable_with_nonsense_has_status_2(shelf: Shelf) -> None:
    one_error(shelf.ask("query", env={"OCICAT_QUERY_LIMIT": "many"}), 2, "many")
    result = shelf.ask("query", env={"OCICAT_DEBUG": "perhaps"})
    assert (result.status, result.out) == (2, "")
    assert "'perhaps' is not a valid boolean" in result.said[-1]


# Verbosity


def test_quiet_prints_only_answers_and_errors(shelf: Shelf) -> None:
    loud = shelf.ask("resolve", "hurt", "nope")
    quiet = shelf.ask("--quiet", "resolve", "hurt", "nope")
    assert [line.startswith("ocicat: store images/hurt has been invalid since ") for line in loud.said] == [True, False]
    assert quiet.said == loud.said[1:]
    assert quiet.out == loud.out


def test_verbose_prints_what_was_done(shelf: Shelf, tmp_path: Path) -> None:
    db = str(tmp_path / "c.db")
    config = ("--config", shelf.config)
    assert called(*config, "add", f"{shelf.root}/alpine", db=db).err == ""
    result = called(*config, "--verbose", "index", db=db)
    assert result.said == ["ocicat: 1 store, 0 of them new, 0 changed, 0 being written"]
    assert result.out == ""


@WHOLE
@pytest.mark.parametrize(
    ("arguments", "env"), [(("--debug",), {}), ((), {"OCICAT_DEBUG": "1"}), ((), {"OCICAT_DEBUG": "true"})]
)
def test_debug_shows_where_an_error_came_from(shelf: Shelf, arguments: tuple[str, ...], env: dict[str, str]) -> None:
    for command in (("resolve", "nope"), ("stores", "--format", "bogus")):
        result = ran(*arguments, *command, db=shelf.db, env=env)
        assert result.status in (1, 2)
        assert "Traceback (most recent call last):" in result.err
        assert result.said[-1].startswith("ocicat: error: ")


@WHOLE
@ON_SQLITE
@pytest.mark.parametrize("value", ["0", "", "false"])
def test_a_variable_can_say_that_it_is_not_shown(shelf: Shelf, value: str) -> None:
    assert "Traceback" not in ran("resolve", "nope", db=shelf.db, env={"OCICAT_DEBUG": value}).err


def test_an_internal_error_is_one_line_too(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> int:
        raise ZeroDivisionError("a\nb")

    # Replaced because no defect is known that could be shown.
    monkeypatch.setattr("catalog.cli.queried.run_query", broken)
    result = shelf.ask("query")
    assert result.status == 4
    assert len(result.said) == 1
    assert result.said[0].startswith("ocicat: error: this is a bug in ocicat (ZeroDivisionError: a b)")
    debug = shelf.ask("query", env={"OCICAT_DEBUG": "1"})
    assert debug.status == 4
    assert "Traceback" in debug.err


# Streams


def shell(command: str, db: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["bash", "-c", command],
        env=CLEAN | {"OCICAT_DB": db, "O": OCICAT},
        capture_output=True,
        timeout=60,
        check=False,
    )


@WHOLE
@pytest.mark.parametrize("command", ["query", "resolve ctr:3.16", "stores", "sql 'SELECT * FROM images'", "check"])
def test_a_full_disk_for_stdout_is_one_error(shelf: Shelf, command: str) -> None:
    done = shell(f'"$O" {command} >/dev/full', shelf.db)
    assert done.returncode == 4
    lines = [line for line in done.stderr.decode().splitlines() if "error" in line or "Traceback" in line]
    assert lines == ["ocicat: error: cannot write the output (No space left on device), so it is incomplete"]


@WHOLE
@pytest.mark.parametrize(
    "command",
    [
        "sql 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n'",
        "resolve - --format json < <(yes ctr:3.16)",
        "resolve - < <(yes ctr:3.16)",
    ],
)
def test_a_reader_that_goes_away_ends_it_quietly(shelf: Shelf, command: str) -> None:
    done = shell(f'"$O" --quiet {command} | head -1; exit ${{PIPESTATUS[0]}}', shelf.db)
    assert (done.returncode, done.stderr) == (141, b"")
    assert len(done.stdout.splitlines()) == 1


@WHOLE
def test_closed_streams_do_no_harm(shelf: Shelf) -> None:
    assert shell('"$O" resolve ctr:3.16 2>&-', shelf.db).returncode == 0
    assert shell('"$O" resolve nope 2>&-', shelf.db).returncode == 1
    assert shell('"$O" resolve ctr:3.16 :latest 2>&-', shelf.db).returncode == 3
    assert shell('"$O" stores --bogus 2>&-', shelf.db).returncode == 2
    done = shell('"$O" resolve ctr:3.16 >&-', shelf.db)
    assert (done.returncode, done.stderr) == (0, b"")
    done = shell('"$O" resolve - <&-', shelf.db)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@WHOLE
def test_the_locale_does_not_matter(shelf: Shelf) -> None:
    for locale in ("C", "POSIX", "nowhere.utf8"):
        result = ran("query", "--store", "images/odd*", db=shelf.db, env={"LANG": locale, "LC_ALL": locale})
        assert result.status == 0
        assert result.out == shelf.ask("query", "--store", "images/odd*").out


def test_wrong_settings_have_status_2(tmp_path: Path, shelf: Shelf) -> None:
    path = tmp_path / "settings.toml"
    cases = {
        "x = 1": "is not in a section",
        "[watch]\nbogus = 1": "watch.bogus",
        "[watch]\nsettle_ms = -1": "settle_ms",
        "[watch]\nsettle_ms = 'x'": "settle_ms",
        "[watch]\nsettle_ms = true": "settle_ms",
        "[watch]\nsettle_ms = inf": "settle_ms",
        "[watch]\nsettle_ms = nan": "settle_ms",
        "[retention]\ngrace_days = 999999999999999999": "grace_days",
        "[limits]\nindex_bytes = 0": "index_bytes",
        "[": "not valid TOML",
        "\udcff": "not valid TOML",
    }
    for text, word in cases.items():
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        one_error(called("--config", str(path), "add", shelf.root, db=str(tmp_path / "c.db")), 2, word)
    one_error(
        called("--config", str(tmp_path / "none"), "add", shelf.root, db=str(tmp_path / "c.db")), 2, "cannot read"
    )
    one_error(called("add", "--config", str(tmp_path), shelf.root, db=str(tmp_path / "c.db")), 2, "cannot read")
    assert not (tmp_path / "c.db").exists()


_UNRAISABLE = """
from catalog.cli import start
class Ended:
    def __del__(self):
        raise {}
def run(_arguments):
    Ended()
    return 0
start.run = run
start.main()
"""


@WHOLE
@pytest.mark.parametrize(
    ("error", "says"),
    [("MemoryError", b""), ("KeyError('x')", b"ocicat: error: this is a bug in ocicat (KeyError: 'x')")],
)
def test_an_error_that_cannot_be_raised_is_no_traceback(error: str, says: bytes) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _UNRAISABLE.format(error)], capture_output=True, env=CLEAN, timeout=60, check=False
    )
    assert done.returncode == 0
    assert done.stderr.startswith(says)
    assert done.stderr.count(b"\n") == bool(says)


_NO_MEMORY = """
from catalog.cli import messages, start
def run(_arguments):
    raise MemoryError
start._answer = run
messages.plain = run
start.main()
"""


@WHOLE
def test_an_error_for_whose_message_there_is_no_memory_is_no_traceback() -> None:
    """Memory that is just short enough cannot be had on demand, so the function that makes the message says that there is none."""
    done = subprocess.run([sys.executable, "-c", _NO_MEMORY], capture_output=True, env=CLEAN, timeout=60, check=False)
    one_error(Ran(done.returncode, done.stdout.decode(), done.stderr.decode()), 4, "more memory than a command may use")


@WHOLE
@ON_SQLITE
def test_ctrl_c_at_any_moment_prints_no_traceback_of_ours(shelf: Shelf) -> None:
    """While modules are loaded too. What Python prints that has not come to our first module yet is beyond reach."""
    env = CLEAN | {"OCICAT_DB": shelf.db, "PYTHONWARNINGS": ""}  # a file that Python was loading stays open
    for number in range(24):
        command = (("resolve", "busybox:3.16", "--first"), ("check",), ("find", "busybox"))[number % 3]
        with subprocess.Popen([OCICAT, *command], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            time.sleep(0.02 + number * 0.01)
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=SECONDS)[1].decode()
        assert "/catalog/" not in said, said
        assert process.returncode in (0, 1, 3, -signal.SIGINT, messages.INTERRUPTED)
