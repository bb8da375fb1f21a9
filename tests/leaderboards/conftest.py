import pytest
from made_reports import three_reports

from v2abench.runs.report import Report


@pytest.fixture
def reports() -> list[Report]:
    return three_reports()
