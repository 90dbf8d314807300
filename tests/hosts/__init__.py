"""One catalog for many hosts: daemons of hosts of their own on one machine, told apart by OCICAT_HOST, and a real server."""
