"""One catalog for many hosts: daemons of hosts of their own on one machine, told apart by OCICAT_HOST, and a real server.

`make stress`, or `python -m tests.hosts`, has eight of them write 1,000 changes each at once, without a pooler and behind pgbouncer,
which takes some ten minutes, and then 300 light hosts (crowd.py), which takes another five. `make test` runs the same code with
less of each.
"""
