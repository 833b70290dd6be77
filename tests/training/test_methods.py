import pytest

from automl.training.methods import METHODS, teaching_faults


def test_teaching_faults_finds_nothing_wrong_with_the_whole_menu():
    assert teaching_faults(METHODS, [1.0, 0.5], source="space", others=1, assistant=True, unlabelled=True) == []


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"methods": ["telepathy"]}, "distillation.methods must be of response, feature, relation, self"),
        ({"methods": ["feature"], "source": "a.onnx"}, "a file that shows its answers and not its stages, but got f"),
        ({"source": "a.onnx", "assistant": True}, "teacher.assistant must be false with the teacher a.onnx"),
        ({"source": "none"}, "distillation.methods must be self, which needs no teacher"),
        ({"source": "none", "methods": ["self"], "unlabelled": True}, "distillation.unlabelled must be null where"),
        ({"source": "none", "methods": ["self"], "others": 2}, "teacher.others must be empty where"),
        ({"source": "none", "methods": ["self"], "data": "inverted"}, "distillation.data must be real where"),
        ({"alphas": [1.0], "unlabelled": True}, "distillation.unlabelled must be left out where every alpha is 1"),
    ],
)
def test_teaching_faults_says_what_cannot_be_taught(asked, message):
    study = {"methods": ["response"], "alphas": [0.5], "source": "space"} | asked
    faults = teaching_faults(study.pop("methods"), study.pop("alphas"), **study)
    assert len(faults) == 1
    assert message in str(faults[0])


def test_teaching_faults_lets_a_study_without_a_teacher_teach_itself():
    assert teaching_faults(["self"], [0.5], source="none") == []
    assert teaching_faults(["response"], [1.0], source="none") == []
