"""The command line: click, one module a command, output formats, no logic of its own. The contract is docs/scripts.md.

`start` is the entry point; it answers the plain forms of `query` and `resolve` without click.
"""
