"""`python -m ocicat`: the command line."""

from __future__ import annotations

from catalog.cli.lean import answer

if __name__ == "__main__":
    answer()  # returns if this is not one of the few questions that it answers
    from catalog.cli.start import main

    main()
