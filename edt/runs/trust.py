"""What a spec reads outside the directory of its run, and whether that was said here.

The spec in a directory is data that anybody may have written. Where it names a file, a folder or a
function of its own (`Spec.outside`), these are read, or imported, only if the call says so, or if
this user's key has signed the last start: a start takes them from a call, never from a directory.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from edt.limits import TooLargeError, read_bounded
from edt.locations import Folder
from edt.runs.spec import Spec
from edt.runs.store import DirectoryError, last_session

__all__ = ["insist_confirmed", "signature"]

#: Bytes of a key.
SIZE = 32


def insist_confirmed(folder: Folder, spec: Spec, confirm: Sequence[str] = ()) -> None:
    """Let the spec of a directory read what it names outside, or not.

    Args:
        folder: of the run.
        spec: from there.
        confirm: names that the call allows.

    Raises:
        DirectoryError: the spec names another, and nothing shows that this user has started it.
    """
    left = [name for name in spec.outside() if name not in confirm]
    if not left:
        return
    session = last_session(folder)
    signed = "" if session is None else session.signed
    if signed and hmac.compare_digest(signed.encode(), signature(spec, make=False).encode()):
        return
    raise DirectoryError(
        f"{folder}: its spec asks for {left[0]!r:.200}, which is not in the directory, and nothing "
        f"shows that you have started it here; where that is what you want, say --confirm "
        f"{left[0]:.200} (in Python: confirm=[...])"
    )


def signature(spec: Spec, *, make: bool = True) -> str:
    """What shows that this user has started a run of a spec; "": it names nothing outside.

    Args:
        spec: of the run.
        make: write a key where this user has none; otherwise, and where that fails, the
            signature is "".
    """
    if not spec.outside():
        return ""
    key = _key(make)
    text = json.dumps([spec.digest, list(spec.outside())])
    return "" if key is None else hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _key(make: bool) -> bytes | None:
    """This user's key, which no directory of a run holds."""
    try:
        state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        file = Path(state) / "edt" / "key"
        if make and not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            with suppress(FileExistsError), os.fdopen(os.open(file, flags, 0o600), "wb") as made:
                made.write(secrets.token_bytes(SIZE))
        found = read_bounded(file, SIZE)
    except (OSError, RuntimeError, TooLargeError):  # no home, or none that can be written to
        return None
    return found if len(found) == SIZE else None
