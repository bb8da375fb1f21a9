"""`v2abench selftest` as a person sees it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from v2abench.selftest import checks
from v2abench.selftest.checks import CHECKS


def test_the_command_shows_deviations_and_ends_with_2_where_one_is_too_large(
    v2abench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = v2abench("selftest", "--only", "resampling", "--only", "metrics", "--device", "cpu")
    assert shown.code == 0
    assert "resampling" in shown.out
    assert shown.out.count("ok") == 2
    strict = tuple(replace(check, absolute=0.0, relative=0.0) for check in CHECKS[:1])
    monkeypatch.setattr(checks, "CHECKS", strict)
    shown = v2abench("selftest", "--only", "resampling", "--device", "cpu")
    assert shown.code == 2
    assert "DEVIATES" in shown.out
    assert "did you mean 'resampling'" in v2abench("selftest", "--only", "resamplin").err
