"""One catalog for many hosts: daemons of hosts of their own on one machine, told apart by OCICAT_HOST, and a real server.

`make stress`, or `python -m tests.hosts`, has eight of them write 1,000 changes each at once, which takes some five minutes;
`make test` runs the same code with 100 each.
"""
