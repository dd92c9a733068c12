"""Mistakes that a user can mend, told in one sentence."""

import argparse
import os
import select
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


class CourseError(Exception):
    """A mistake that the user can mend: the message says what is wrong, where, and what to do.

    The command line prints the message in one line and exits with 2; a notebook shows the message.
    Any other exception is a bug of the course and shows its traceback.
    """

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in the traceback's place."""
        return [f"error: {self}"]


class CourseParser(argparse.ArgumentParser):
    """An argument parser that says what is wrong in one sentence, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        """Raise what `exit_with_one_sentence` prints."""
        raise CourseError(f"{message}; see {self.prog} --help.")


def exit_with_one_sentence(command: Callable[[], int | None]) -> int:
    """Run a command for a command line.

    Returns:
        The exit code: what the command returns (0 for None), 2 after a `CourseError`, whose message
            then stands on stderr in one line, 130 after Ctrl-C, or 141, without a word, when the
            reader of stdout has gone (`| head -1`).
    """
    try:
        try:
            return _told(command)
        finally:
            sys.stdout.flush()  # here, where a reader that has gone is not yet a traceback
    except BrokenPipeError:
        if not _reader_has_gone():
            raise  # another pipe's
        return 141  # what a shell reports of a program that the closed pipe ended


class TerminatedError(KeyboardInterrupt):
    """SIGTERM, or the terminal was closed: ends what Ctrl-C ends."""


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Let the signals that ask a program to end do what Ctrl-C does."""

    def end(number: int, frame: FrameType | None) -> NoReturn:
        raise TerminatedError

    before = {}
    try:
        for name in ("SIGTERM", "SIGHUP"):
            if number := getattr(signal, name, None):
                before[number] = signal.signal(number, end)
    except ValueError:  # signals are for the main thread only
        pass
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _told(command: Callable[[], int | None]) -> int:
    try:
        _require_a_temporary_directory()
        return command() or 0
    except CourseError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped.", file=sys.stderr)
        return 130  # what a shell expects of a program that Ctrl-C ended


def _reader_has_gone() -> bool:
    """Whether stdout is a pipe without a reader; it then becomes a place where nothing is missed,
    since Python writes what is left once more at its end.
    """
    if hasattr(select, "poll"):  # Windows has none, and there is nothing else to ask it
        asked = select.poll()
        asked.register(sys.stdout.fileno(), 0)
        if not asked.poll(0):  # what is wrong with a file is told without being asked for
            return False
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    return True


def _require_a_temporary_directory() -> None:
    """TensorFlow needs one when it is imported, and crashes without. A container whose root file
    system is read-only may have none.
    """
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        raise CourseError(
            "no temporary file can be written, and TensorFlow needs some; mount an empty volume at"
            " /tmp (docker run --tmpfs /tmp, an emptyDir in Kubernetes), or name a directory in"
            " TMPDIR."
        ) from None
