"""Streams and signals of the program: what a terminal, a pipe or impatience may not spoil."""

from __future__ import annotations

import codecs
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from types import CodeType, FrameType
from typing import Any

__all__ = ["INTERRUPTED", "Lasting", "Once", "leave_at_once", "once", "plain_streams"]

#: Exit code of Ctrl-C.
INTERRUPTED = 130
#: Seconds after Ctrl-C at which workers that are still there are killed, and at which the process
#: ends whatever it does; all it writes is whole or absent.
WORKERS, ITSELF = 1.0, 10.0
#: What an ASCII terminal shows instead.
_ASCII = {"–": "-", "—": "-", "−": "-", "×": "x", "∞": "inf", "…": "...", "μ": "mu", "·": "*",
          "≤": "<=", "≥": ">=", "κ": "kappa", "√": "sqrt", "‘": "'", "’": "'", "“": '"',
          "”": '"'}  # fmt: skip

_LOWERED = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹ᵃ", "-0123456789a")


def _transliterate(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    text = re.sub("[⁻⁰¹²³⁴⁵⁶⁷⁸⁹ᵃ]+", lambda power: f"^{power[0].translate(_LOWERED)}", text)
    return "".join(_ASCII.get(sign, sign if sign.isascii() else "?") for sign in text), error.end


codecs.register_error("edt", _transliterate)


class Lasting:
    """A stream whose reader may go away (``| head``): what follows is dropped, the work goes on."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._lost = False

    def write(self, text: str) -> int:
        """Write, or drop."""
        if not self._lost:
            try:
                return int(self._stream.write(text))
            except BrokenPipeError:
                self._lose()
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush, or drop."""
        if not self._lost:
            try:
                self._stream.flush()
            except BrokenPipeError:
                self._lose()

    def _lose(self) -> None:
        self._lost = True
        # What the stream still holds is flushed when the interpreter ends.
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def plain_streams() -> Iterator[None]:
    """Standard streams that take any text, and go on without a reader."""
    before: tuple[Any, Any] = sys.stdout, sys.stderr
    for stream in before:
        with suppress(AttributeError, ValueError, OSError):
            stream.reconfigure(errors="edt")
    sys.stdout, sys.stderr = Lasting(before[0]), Lasting(before[1])
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        sys.stdout, sys.stderr = before


def leave_at_once(*_: object) -> None:
    """Handler of Ctrl-C while modules are imported: nothing has been started."""
    with suppress(ValueError):  # not from another thread
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.write(2, b"edt: interrupted\n")
    os._exit(INTERRUPTED)


class Once:
    """The first Ctrl-C raises `KeyboardInterrupt`; those that follow find the end under way.

    While a module is imported it ends the process instead: compiled modules swallow the exception
    and go on with half of what they asked for.

    Attributes:
        seen: whether there was one; an error that follows may be its consequence.
    """

    def __init__(self) -> None:
        self.seen = False

    def __call__(self, _: int = signal.SIGINT, frame: FrameType | None = None) -> None:
        if self.seen:
            return
        self.seen = True
        running = set(_code(frame))
        if self.unraisable.__code__ in running:
            self._again()
        elif any(code.co_filename == "<frozen importlib._bootstrap>" for code in running):
            _kill_workers()
            leave_at_once()
        else:
            raise KeyboardInterrupt

    def unraisable(self, what: sys.UnraisableHookArgs) -> None:
        """One that came while something was destroyed, which cannot fail, comes again after it."""
        if isinstance(what.exc_value, KeyboardInterrupt):
            self._again()
        else:
            sys.__unraisablehook__(what)

    def _again(self) -> None:
        self.seen = False
        main = threading.main_thread().ident
        assert main is not None
        timer = threading.Timer(0.01, signal.pthread_kill, (main, signal.SIGINT))
        timer.daemon = True
        timer.start()


def _code(frame: FrameType | None) -> Iterator[CodeType]:
    """What is being run, from the inside out."""
    while frame is not None:
        yield frame.f_code
        frame = frame.f_back


def _kill_workers() -> None:
    local = sys.modules.get("edt.runs.engines.local")
    kill = getattr(local, "kill_workers", None)  # none while that module itself is imported
    if kill is not None:
        kill()


@contextmanager
def once() -> Iterator[Once]:
    """While a command runs: Ctrl-C counts once, and has ended everything in bounded time.

    A thread is woken by the signal itself, so that it acts even while the main thread is in a long
    call and its handler cannot run.
    """
    first = Once()
    if threading.current_thread() is not threading.main_thread():
        yield first
        return
    source, sink = os.pipe()
    os.set_blocking(sink, False)
    over = threading.Event()
    handler = signal.signal(signal.SIGINT, first)
    hook, sys.unraisablehook = sys.unraisablehook, first.unraisable
    fd = signal.set_wakeup_fd(sink, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(source, over), daemon=True).start()
    try:
        yield first
    finally:
        over.set()
        signal.set_wakeup_fd(fd)
        # The program's own end is short: a second line, or half of what was printed, helps nobody.
        signal.signal(signal.SIGINT, signal.SIG_IGN if handler is leave_at_once else handler)
        sys.unraisablehook = hook
        os.close(sink)


def _watch(source: int, over: threading.Event) -> None:
    with os.fdopen(source, "rb", buffering=0) as file:
        while (byte := file.read(1)) != bytes([signal.SIGINT]):
            if not byte:
                return
        clock = time.monotonic()
        if over.wait(WORKERS):
            return
        _kill_workers()
        if not over.wait(max(0.0, ITSELF - (time.monotonic() - clock))):
            leave_at_once()
