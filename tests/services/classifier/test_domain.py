"""What the service says about likeness and label sets, without a server."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from porcelain.bundle import Bundle, load_bundle, write_manifest
from porcelain.predictor import Outputs, Predictor
from services.classifier.description import check_supported, describe
from services.classifier.inference import WorkerClassifier
from services.classifier.metrics import ClassifierMetrics
from services.classifier.packing import pack, unpack
from services.classifier.schemas import Classified, ClassifyOptions
from services.classifier.settings import ClassifierSettings
from services.classifier.uploads import merge_options
from services.problems import Problem
from tests import pictures
from tests.services.conftest import LABELS, colour_model


@pytest.fixture
def knowing(bundle: Path) -> Bundle:
    """The colours' bundle, which has seen reds and is calibrated."""
    return load_bundle(bundle, "classifier")


@pytest.fixture
def plain(tmp_path: Path, bundle: Path) -> Bundle:
    """The same without what it takes to judge itself."""
    info = load_bundle(bundle, "classifier").classifier
    (tmp_path / "model.onnx").write_bytes(colour_model().SerializeToString())
    changed = info.model_copy(update={"in_domain_threshold": None, "conformity": {}})
    write_manifest(tmp_path, kind="classifier", name="p", dataset_digest="0", classifier=changed)
    return load_bundle(tmp_path, "classifier")


def test_likeness_and_sets_are_answered_and_counted(knowing: Bundle) -> None:
    registry = CollectorRegistry()
    settings = ClassifierSettings(bundle=knowing.path)
    classifier = WorkerClassifier(knowing, settings, ClassifierMetrics(knowing, registry))

    async def ask(colour: str) -> Classified:
        file = io.BytesIO(pictures.jpeg(pictures.scene(colour=colour)))
        options = ClassifyOptions(coverage=0.9)
        return (await classifier.classify(file, options, connected)).answer

    async def connected() -> bool:
        return False

    async def both() -> list[Classified]:
        classifier.open()
        return [await ask("red"), await ask("blue")]

    red, blue = asyncio.run(both())
    classifier.close()
    for answer, inside in ((red, True), (blue, False)):
        assert answer.label_sets is not None
        assert all(len(answer.label_sets.labels[task]) >= 1 for task in LABELS)
        assert answer.in_domain is not None
        assert answer.in_domain.value is inside
    for value in ("true", "false"):
        name = "porcelain_domain_pictures_total"
        assert registry.get_sample_value(name, {"in_domain": value}) == 1


def test_scores_survive_the_way_to_the_inner_service(knowing: Bundle) -> None:
    images = np.random.default_rng(1).integers(0, 255, (3, 224, 224, 3), dtype=np.uint8)
    outputs = Predictor(knowing).run(images)
    back = unpack(knowing.classifier, pack(knowing.classifier, outputs))
    assert isinstance(back, Outputs)
    assert back.domain is not None
    np.testing.assert_array_equal(back.domain, outputs.domain)


def test_impossible_coverages_and_models_without_calibration_are_refused(
    knowing: Bundle, plain: Bundle
) -> None:
    def options(of: Bundle, **fields: str) -> ClassifyOptions:
        given = {name: [value] for name, value in fields.items()}
        merged = merge_options(ClassifyOptions(), given)
        check_supported(merged, describe(of, ClassifierSettings(bundle=of.path)))
        return merged

    assert options(knowing, label_sets="true", coverage="0.8").wanted_coverage == 0.8
    assert options(knowing, coverage="0.8").wanted_coverage == 0.8
    assert options(knowing, label_sets="false", coverage="0.8").wanted_coverage is None
    assert options(knowing).wanted_coverage is None
    for value in ("2", "nan", "much"):
        with pytest.raises(Problem):
            options(knowing, label_sets="true", coverage=value)
    with pytest.raises(Problem):
        options(plain, label_sets="true")
    assert options(knowing, similar="5").similar == 5
    assert options(plain, similar="0").similar == 0
    with pytest.raises(Problem, match="no index of its training pictures"):
        options(plain, similar="5")
