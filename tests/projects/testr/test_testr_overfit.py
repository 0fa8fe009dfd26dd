"""pytest -m slow tests/projects/testr/test_testr_overfit.py"""

from pathlib import Path

import pytest
from overfit import learn_by_heart

from fasttcm.engine.evaluate import figures


@pytest.mark.slow
def test_testr_learns_eight_pictures_by_heart(tmp_path: Path) -> None:
    evaluation = learn_by_heart(tmp_path, 1200, "TESTR")
    result = evaluation.results["none"]
    assert (result.detection.hmean, result.end_to_end.hmean) == (1.0, 1.0), figures(evaluation)
    truth, found = (
        {image["id"]: sorted(word["text"] for word in image["words"]) for image in document["images"]}
        for document in (evaluation.ground_truth, evaluation.predictions)
    )
    assert found == truth  # also the words that the protocol does not ask for
