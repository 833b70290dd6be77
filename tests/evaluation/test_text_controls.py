from __future__ import annotations

from pathlib import Path

import numpy as np

from automl.data.dataset import load_dataset
from automl.evaluation import prepare_controls
from automl.targets.session import open_runner
from tests.data.tiny_texts import write_texts


def test_prepare_controls_of_texts_are_encoders_that_take_token_ids(target, tmp_path: Path) -> None:
    dataset = load_dataset(
        "text", write_texts(tmp_path / "texts"), seed=0, validation_share=0.2, test_share=0.2, length=16, vocabulary=300
    )
    controls = prepare_controls(target, dataset, tmp_path, 1, {})
    answers = [open_runner(controls[kind].path)(dataset.test.pixels) for kind in ("fp32", "int8")]
    assert answers[0].shape == (len(dataset.test), len(dataset.classes))
    assert 0 < np.abs(answers[0] - answers[1]).max() < 0.1
    assert controls["int8"].path.stat().st_size < 0.4 * controls["fp32"].path.stat().st_size
