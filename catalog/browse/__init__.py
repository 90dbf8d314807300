"""The catalog in a web browser (`ocicat browse`), by Datasette, from the extra `browse`.

`door.py` is what a request meets first, `database.py` how Datasette reads the catalog, `description.py` and `questions.py`
what it says and asks, `cells.py` the links between pages, `home.py` the first page, `plots.py` and `drawing.py` the page of plots, `trouble.py` the
page of what went wrong, `server.py` the process. Nothing of it is imported unless the command runs.
"""
