"""The catalog in a web browser (`ocicat browse`), with Datasette, which the extra `browse` installs.

`server.py` runs the server. `middleware.py` checks every request first. `database.py` is how Datasette reads the catalog,
`description.py` its metadata and `questions.py` its ready-made queries. `home.py` is the first page, `image.py` the pages of
search results and of an image, for which `asking.py` runs commands, `store_page.py` the page of a store, `plots.py` and
`drawing.py` the page of plots, and `error_page.py` the error page. `cells.py` makes the links between pages. Nothing here is
imported unless the command runs.
"""
