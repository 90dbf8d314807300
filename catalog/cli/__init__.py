"""The command line: one module per command, and the output formats. The contract is docs/scripts.md.

`start` is the entry point; it answers plain forms of `query`, `resolve` and a few other commands without click.
"""
