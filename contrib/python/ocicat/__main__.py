"""`python -m ocicat`: the command line."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]

if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)  # Ctrl-C while modules are loaded prints no traceback

from catalog.cli.lean import answer

if __name__ == "__main__":
    answer()  # returns if this is not one of the few questions that it answers
    from catalog.cli.start import main

    main()
