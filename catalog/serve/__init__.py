"""A read-only OCI registry over all catalogued layouts (docs/serve.md): `ocicat serve`.

`server` runs uvicorn, `connection` limits what a client may do with a connection. `application` checks each request and passes it
to `distribution`, which answers as the distribution-spec says, or to `programs`, which answers in JSON. `threads` queries the
catalog in a few threads. `blobs` opens and reads files of the stores, and `transfers` sends them.
"""
