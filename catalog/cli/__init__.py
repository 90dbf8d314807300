"""The command line: one module per command, and the output formats. The contract is docs/scripts.md.

`start` is the entry point; it answers the plain forms of `query` and `resolve` without click.
"""
