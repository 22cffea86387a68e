import numpy as np
import pytest

from porcelain.errors import DatasetError, UserError
from tests.training.experiment.constructed import MIX, REAL, ROUTED, made_up, write_folder
from training.experiment.records import UnitKey, read_results, unit_folder, write_experiment
from training.experiment.statistics.answers import paired, read_answers
from training.experiment.statistics.simulation import World

ARMS = (REAL, MIX, ROUTED)
WORLDS = {"glaze": World((12, 3, 2)), "type": World((9, 6))}


@pytest.fixture
def answers():
    return made_up(WORLDS, ARMS, seeds=2)


def folder(root, answers, **options):
    return write_folder(root, answers, ARMS, seeds=2, folds=3, **options)


def test_answers_come_back_as_they_were_written(tmp_path, answers):
    folder(tmp_path, answers)
    found = read_answers(read_results(tmp_path))
    assert list(found) == ["glaze", "type"]
    for task, expected in answers.items():
        assert found[task].file_names == expected.file_names
        np.testing.assert_array_equal(found[task].truth, expected.truth)
        for name, arm in expected.arms.items():
            np.testing.assert_array_equal(found[task].arms[name].predicted, arm.predicted)
            np.testing.assert_array_equal(found[task].arms[name].folds, arm.folds)
            np.testing.assert_allclose(found[task].arms[name].confidence, arm.confidence)


def test_a_seed_without_all_its_folds_is_left_out_for_that_arm_alone(tmp_path, answers):
    folder(tmp_path, answers, skip=[UnitKey(seed=1, fold=2, arm=MIX)])
    found = read_answers(read_results(tmp_path))["type"]
    assert found.arms["mix-90-10"].seeds == (0,)
    assert found.arms["real"].seeds == (0, 1)
    first, second = paired(found, "mix-90-10", "real")
    assert first.seeds == second.seeds == (0,)


def test_shards_in_different_folders_are_read_together(tmp_path, answers):
    keys = [UnitKey(seed=s, fold=f, arm=a) for s in range(2) for f in range(3) for a in ARMS]
    folder(tmp_path / "a", answers, skip=keys[::2])
    folder(tmp_path / "b", answers, skip=keys[1::2])
    found = read_answers(read_results(tmp_path / "a", tmp_path / "b"))["glaze"]
    assert all(arm.seeds == (0, 1) for arm in found.arms.values())
    with pytest.raises(UserError, match="No seed has all its 3 folds"):
        read_answers(read_results(tmp_path / "a"))


def test_objects_are_gathered_and_their_class_known(tmp_path, answers):
    experiment = folder(tmp_path, answers)
    pictures = [
        p.model_copy(update={"object_id": "one" if p.file_name < "images/00002" else p.file_name})
        for p in experiment.pictures
    ]
    write_experiment(tmp_path, experiment.model_copy(update={"pictures": pictures}))
    found = read_answers(read_results(tmp_path))["glaze"]
    assert len(found.strata) == len(found.truth) - 1
    assert found.objects[0] == found.objects[1] != found.objects[2]
    assert found.objects_per_class.tolist() == [11, 3, 2]


def test_an_answer_to_a_picture_that_is_not_listed_is_a_clear_error(tmp_path, answers):
    experiment = folder(tmp_path, answers)
    short = experiment.model_copy(update={"pictures": experiment.pictures[1:]})
    write_experiment(tmp_path, short)
    with pytest.raises(DatasetError, match=r"images/00000\.jpg, which the experiment"):
        read_answers(read_results(tmp_path))


def test_a_finished_unit_without_all_its_answers_is_a_clear_error(tmp_path, answers):
    folder(tmp_path, answers)
    source = unit_folder(tmp_path, UnitKey(seed=0, fold=0, arm=MIX))
    other = unit_folder(tmp_path, UnitKey(seed=0, fold=1, arm=MIX))
    (other / "predictions.parquet").write_bytes((source / "predictions.parquet").read_bytes())
    with pytest.raises(DatasetError, match="mix-90-10 to glaze are not one per tested picture"):
        read_answers(read_results(tmp_path))


def test_arms_tested_on_other_folds_cannot_be_paired(answers):
    found = answers["type"]
    arm = found.arms["real"]
    other = type(arm)(arm.seeds, arm.predicted, 1 - arm.folds, arm.confidence)
    moved = {**found.arms, "real": other}
    with pytest.raises(DatasetError, match="different folds"):
        paired(type(found)(**{**vars(found), "arms": moved}), "mix-90-10", "real")
