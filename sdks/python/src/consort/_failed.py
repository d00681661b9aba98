"""The failure of a run that was waited for.

For: both kinds of client. Not for: failures of attempts (see `_errors`).
Invariant: it has the run's own code, message and hint.
"""

from __future__ import annotations

from typing import Final

from consort._errors import Code, ConsortError
from consort._generated import models

WAIT_SECONDS: Final = 30.0
"""How long one request waits for the end of a run."""


class RunFailed(ConsortError):
    """A run that was waited for failed or was cancelled."""

    run: models.Run
    """The run."""

    def __init__(self, run: models.Run) -> None:
        message, code, hint = f"the run is {run.status}", str(Code.CANCELLED), None
        if run.error is not None:
            message, code, hint = run.error.message, run.error.code, run.error.hint
        super().__init__(message, code=code, hint=hint)
        self.run = run
