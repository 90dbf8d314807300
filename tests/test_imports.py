"""Imports: there are no circles, one module asks for the engine, and every statement that is asked for by name exists.

Imports inside functions count, because they are dependencies too. Imports for the type checker do not: two types may refer
to each other, and nothing is loaded for that.
"""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

from catalog.db.statements import STATEMENTS

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "catalog").rglob("*.py"))


def module_of(path: Path) -> str:
    """Return the name of the module in a file of the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def trees() -> dict[str, ast.Module]:
    """Return what each module of the package says, by its name."""
    return {module_of(path): ast.parse(path.read_text(encoding="utf-8")) for path in FILES}


@functools.cache
def nodes(tree: ast.Module) -> list[ast.AST]:
    """Return all nodes except those below `if TYPE_CHECKING`."""
    found: list[ast.AST] = []
    waiting: list[ast.AST] = [tree]
    while waiting:
        for node in ast.iter_child_nodes(waiting.pop()):
            if not (isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
                found.append(node)
                waiting.append(node)
    return found


def imported(tree: ast.Module) -> set[str]:
    """Return the modules of the package that a module imports."""
    found: set[str] = set()
    for node in nodes(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in trees() else node.module)
    return found & trees().keys()


def circle(graph: dict[str, set[str]]) -> list[str] | None:
    """Return the modules of one circle, in order, or None."""
    done: set[str] = set()

    def walk(module: str, path: list[str]) -> list[str] | None:
        if module in path:
            return path[path.index(module) :]
        if module in done:
            return None
        for each in sorted(graph[module]):
            if (found := walk(each, [*path, module])) is not None:
                return found
        done.add(module)
        return None

    return next((found for module in sorted(graph) if (found := walk(module, [])) is not None), None)


def test_no_modules_import_each_other() -> None:
    graph = {module: imported(tree) for module, tree in trees().items()}
    assert graph["catalog.engine.open"] >= {"catalog.engine.sqlite.reader", "catalog.engine.postgres.reader"}
    assert circle(graph) is None


def test_a_circle_would_be_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]


ASKING = ("is_url", "is_postgres")


def questions(tree: ast.Module) -> set[str]:
    """Return what a module does to find out which engine a catalog uses."""
    found = {node.id for node in nodes(tree) if isinstance(node, ast.Name) and node.id in ASKING}
    found |= {node.attr for node in nodes(tree) if isinstance(node, ast.Attribute) and node.attr in ASKING}
    for node in nodes(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance":
            found |= {name for name in ("Sqlite", "Postgres") if name in ast.unparse(node)}
        if isinstance(node, ast.Compare) and any(
            isinstance(each, ast.Attribute) and each.attr in ("dialect", "is_shared")
            for each in (node.left, *node.comparators)
        ):
            found.add(ast.unparse(node))
    return found


def test_one_module_asks_which_engine_a_catalog_is_on() -> None:
    assert {module for module, tree in trees().items() if questions(tree)} == {"catalog.engine.open"}


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_only_the_opening_module_imports_an_engine(engine: str) -> None:
    """Everything else uses the interface, except the copy to a server, which needs both engines."""
    package = f"catalog.engine.{engine}"
    importing = {
        module
        for module, tree in trees().items()
        if not module.startswith(package) and any(each.startswith(package) for each in imported(tree))
    }
    assert importing - {"catalog.engine.copy"} == {"catalog.engine.open"}


def test_every_statement_that_is_asked_for_exists() -> None:
    asked: set[str] = set()
    texts: set[str] = set()  # constants in capitals are texts, which `select` takes
    for tree in trees().values():
        for node in nodes(tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in ("row", "rows")
                and len(node.args) == 2
            ):
                texts |= {
                    each.id for each in ast.walk(node.args[0]) if isinstance(each, ast.Name) and each.id.isupper()
                }
                asked |= {
                    each.value
                    for each in ast.walk(node.args[0])
                    if isinstance(each, ast.Constant) and isinstance(each.value, str)
                }
    assert len(asked) > 40
    assert asked <= set(STATEMENTS)
    assert not texts


def test_every_statement_is_asked_for() -> None:
    texts = {
        node.value
        for module, tree in trees().items()
        if not module.startswith("catalog.db.") and not module.endswith(".frozen")
        for node in nodes(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert {name for name in STATEMENTS if name not in texts} == set()


SAME_NAME = {
    "Catalog",  # the Python API's, and Datasette's
    "Command",  # the frozen words of a command, and what freezes them
    "Platform",  # as a descriptor has it, and as a question has it
}


def test_a_class_has_a_name_of_its_own() -> None:
    """Except private classes, which are called so in their module alone."""
    rooms: dict[str, list[str]] = {}
    for module, tree in trees().items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                rooms.setdefault(node.name, []).append(module)
    assert {name for name, modules in rooms.items() if len(modules) > 1} <= SAME_NAME
