"""`make docs`: write docs/schemas, the JSON Schemas that `ocicat schema` prints.

With `--check`, write nothing and exit with status 1 if a file is out of date.
"""

from __future__ import annotations

import json
import sys
from functools import partial

from sql_docs import keep

from catalog.cli.schemas import OBJECTS, schema_of


def render(name: str) -> str:
    """Return the text of the file of one object."""
    return json.dumps(schema_of(name), indent=2) + "\n"


if __name__ == "__main__":
    sys.exit(keep({f"docs/schemas/{name}.json": partial(render, name) for name in OBJECTS}))
