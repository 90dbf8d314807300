"""The daemon under load, killed under load, and at scale: `make stress`, and a shorter run of the same in `make test`.

Writers note what they wrote and when, readers what they were told and when; afterwards each answer is held against the notes
(truth.py), and the whole catalog against the oracle.
"""
