"""pytest -m slow tests/projects/deepsolo/test_deepsolo_overfit.py"""

from pathlib import Path

import pytest
from overfit import learn_by_heart

from fasttcm.engine.evaluate import figures


@pytest.mark.slow
def test_deepsolo_learns_eight_pictures_by_heart(tmp_path: Path) -> None:
    evaluation = learn_by_heart(
        tmp_path, 500, "DeepSolo", MODEL__TEXT__CHARSET="lower36", MODEL__DEEPSOLO__NUM_POINTS=20
    )
    assert evaluation.results["none"].end_to_end.hmean == 1.0, figures(evaluation)
