"""How a test's figures travel in its report."""

from __future__ import annotations

import pytest

FIGURES = "figures"


def figures_of(report: pytest.TestReport) -> list[str]:
    """Return the figures that a test noted."""
    return [str(value) for name, value in report.user_properties if name == FIGURES]
