"""Refusals, as the server writes them.

For: making a `ConsortError` of an answer that is not a good one. Not for: lost connections (see `_operation`).
Invariant: the code, the message and the hint are the server's.
"""

from __future__ import annotations

from pydantic import ValidationError

from consort._errors import Code, ConsortError
from consort._generated import models


def refusal(status: int, content: bytes) -> ConsortError:
    """The error in the answer of a request that was refused."""
    try:
        return problem_error(models.Problem.model_validate_json(content))
    except ValidationError:
        return ConsortError(
            f"the server answered `{status}`, and not as Consort does",
            code=Code.UNREACHABLE,
            hint="check the address; is something else listening there?",
        )


def problem_error(problem: models.Problem) -> ConsortError:
    """The error that a problem describes."""
    error = ConsortError(problem.detail, code=problem.code, hint=problem.hint)
    error.diagnostics = problem.diagnostics
    return error
