"""Runs real shells on a terminal: types a line, presses Tab, and reads the arguments that the command was given."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from pathlib import Path
from typing import Self

from tests.forking import CLEAN, on_path

END = "|end|"
_SECONDS = 60.0
_ANSWERED = "answered"
"""A file in the shell's home directory with one line for each completion that the command has answered."""

# The command completes, and otherwise writes its arguments.
_TELLS = f"""
ocicat() {{
    if [ "$1" = __complete ]; then
        command ocicat "$@"
        echo >> "$HOME/{_ANSWERED}"
    else
        printf "<%s>" "$@"
        printf "%s\\n" "{END[:3]}""{END[3:]}"
    fi
}}
"""

BASH = f"""
bind 'set enable-bracketed-paste off'
bind 'set completion-query-items 0'
bind 'set page-completions off'
eval "$(command ocicat completion bash)"
{_TELLS}
PS1=
echo ready"!"
"""
ZSH = f"""
PS1= ; unsetopt zle_bracketed_paste 2>/dev/null; unset zle_bracketed_paste
autoload -Uz compinit && compinit -u -D
source <(command ocicat completion zsh)
{_TELLS}
setopt no_beep no_list_ambiguous no_auto_menu
echo ready"!"
"""


class Terminal:
    """An interactive shell. `typed` types a line with `\\t` in it, and returns the arguments that the command got."""

    def __init__(self, shell: str, directory: Path, db: str, setup: str = "") -> None:
        if shell == "bash":
            start, argv = BASH, ["bash", "--norc", "--noprofile", "-i"]
        else:
            start, argv = ZSH, ["zsh", "-f", "-i"]
        self._main, inner = pty.openpty()
        self._answered = directory / _ANSWERED
        self._answered.touch()
        environment = CLEAN | {
            "OCICAT_DB": db,
            "HOME": str(directory),
            "TERM": "dumb",
            "PATH": f"{on_path()}:{CLEAN['PATH']}",
        }
        self._process = subprocess.Popen(
            argv, stdin=inner, stdout=inner, stderr=inner, cwd=directory, env=environment, start_new_session=True
        )
        os.close(inner)
        script = directory / "start"
        script.write_text(f"{start}\n{setup}\n")
        self._write(f". {script}\n")
        try:
            self.read_until("ready!")
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._main)

    def typed(self, line: str) -> list[str]:
        """Return the arguments. Text after a Tab is typed once the command has answered the Tab."""
        for number, piece in enumerate(line.split("\t")):
            if number:
                self._tab()
            self._write(piece)
        self._write("\n")
        told = self.read_until(END).partition(END)[0]
        return told[told.rindex("\n") + 1 :].removeprefix("<").removesuffix(">").split("><")

    def listed(self, line: str, *texts: str) -> None:
        """Type the line and press Tab until the terminal shows all of the texts, which takes a second Tab in some shells.

        Tab is pressed again only after the command has answered the one before and the shell has been quiet for a while. A
        shell may not list anything while more input is waiting, so the pause doubles each time, for slow machines.
        """
        self._write(line)
        seen, pause = "", 0.5
        deadline = time.monotonic() + _SECONDS
        while True:
            seen += self._tab()
            last = time.monotonic()
            while time.monotonic() - last < pause:
                if all(text in seen for text in texts):
                    return
                if more := self._read(0.05):
                    seen += more
                    last = time.monotonic()
            assert time.monotonic() < deadline, seen
            pause *= 2

    def _tab(self) -> str:
        """Press Tab and wait until the command has answered; return what the terminal showed meanwhile."""
        before = self._answered.stat().st_size
        self._write("\t")
        seen = ""
        deadline = time.monotonic() + _SECONDS
        while self._answered.stat().st_size == before:
            assert time.monotonic() < deadline, seen
            seen += self._read(0.01)
        return seen

    def read_until(self, text: str) -> str:
        seen = ""
        deadline = time.monotonic() + _SECONDS
        while text not in seen:
            assert time.monotonic() < deadline, seen
            seen += self._read(0.1)
        return seen

    def _read(self, seconds: float) -> str:
        poll = select.poll()
        poll.register(self._main, select.POLLIN)
        if not poll.poll(seconds * 1000):
            return ""
        return os.read(self._main, 65536).decode("utf-8", "replace")

    def _write(self, text: str) -> None:
        os.write(self._main, text.encode())


def fish(line: str, directory: Path, db: str) -> list[str]:
    """Return what fish offers for the end of a line, without descriptions."""
    environment = CLEAN | {
        "OCICAT_DB": db,
        "HOME": str(directory),
        "PATH": f"{on_path()}:{CLEAN['PATH']}",
    }
    script = 'ocicat completion fish | source; complete -C "$argv[1]"'
    done = subprocess.run(
        ["fish", "--no-config", "-c", script, line],
        cwd=directory, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) in ((0, ""), (1, "")), done
    return [each.partition("\t")[0] for each in done.stdout.splitlines()]
