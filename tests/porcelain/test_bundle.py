from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from porcelain.bundle import ClassifierInfo, Manifest, load_bundle, write_manifest
from porcelain.errors import BundleError
from porcelain.vocabulary import TASKS

INFO = ClassifierInfo(
    labels={task: ["a", "b"] for task in TASKS},
    label_counts={task: {"a": 3, "b": 1} for task in TASKS},
    input_size=224,
    resize="letterbox",
    backbone="mobilenetv3_large_100",
    temperatures=dict.fromkeys(TASKS, 1.5),
    abstention_thresholds=dict.fromkeys(TASKS, 0.6),
    selective_accuracy=0.95,
    activation_grid=(7, 7),
)


@pytest.fixture
def bundle(tmp_path) -> Path:
    root = tmp_path / "bundle"
    (root / "plots").mkdir(parents=True)
    (root / "model.onnx").write_bytes(b"graph")
    (root / "plots" / "reliability.png").write_bytes(b"picture")
    write_manifest(root, kind="classifier", name="vases", dataset_digest="d", classifier=INFO)
    return root


def alter(root: Path, **changes: object) -> None:
    content = json.loads((root / "bundle.json").read_text())
    (root / "bundle.json").write_text(json.dumps(content | changes))


def test_a_bundle_is_read_back_and_named_by_its_content(bundle):
    loaded = load_bundle(bundle, "classifier")
    assert loaded.classifier == INFO
    assert loaded.manifest.files.keys() == {"model.onnx", "plots/reliability.png"}
    digest = loaded.manifest.digest()
    (bundle / "model.onnx").write_bytes(b"another graph")
    again = write_manifest(
        bundle, kind="classifier", name="vases", dataset_digest="d", classifier=INFO
    )
    assert again.digest() != digest
    assert Manifest.model_validate_json(again.model_dump_json()) == again


def test_a_bundle_of_version_1_is_read_and_states_no_confidence(bundle):
    content = json.loads((bundle / "bundle.json").read_text())
    for later in ("selective_confidence", "abstention_caveats"):
        del content["classifier"][later]
    alter(bundle, schema_version=1, classifier=content["classifier"])
    loaded = load_bundle(bundle, "classifier")
    assert loaded.manifest.schema_version == 1
    assert loaded.classifier.selective_confidence is None
    caveat = loaded.classifier.abstention_caveat("glaze")
    assert caveat is not None
    assert "without a confidence bound" in caveat
    proved = INFO.model_copy(
        update={"selective_confidence": 0.9, "abstention_caveats": {"kiln": "Too few."}}
    )
    assert proved.abstention_caveat("glaze") is None
    assert proved.abstention_caveat("kiln") == "Too few."


def test_altered_missing_and_added_files_are_refused(bundle):
    (bundle / "model.onnx").write_bytes(b"grapH")
    with pytest.raises(BundleError, match="SHA-256 differs"):
        load_bundle(bundle, "classifier")
    (bundle / "model.onnx").unlink()
    with pytest.raises(BundleError, match=r"lacks model\.onnx"):
        load_bundle(bundle, "classifier")
    (bundle / "model.onnx").write_bytes(b"graph")
    load_bundle(bundle, "classifier")
    (bundle / "extra.json").write_text("{}")
    with pytest.raises(BundleError, match=r"extra\.json, which its bundle\.json does not list"):
        load_bundle(bundle, "classifier")


@pytest.mark.parametrize("name", ["weights.pkl", "model.pt", "model.bin", "run.py", "noending"])
def test_files_that_may_carry_code_are_refused(bundle, name):
    (bundle / name).write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(BundleError, match=rf"holds {name}; a bundle holds only"):
        load_bundle(bundle, "classifier")
    with pytest.raises(BundleError, match="a bundle holds only"):
        write_manifest(bundle, kind="classifier", name="vases", dataset_digest="d")


def test_links_and_names_that_lead_outside_are_refused(bundle, tmp_path):
    outside = tmp_path / "outside.json"
    outside.write_text("{}")
    (bundle / "link.json").symlink_to(outside)
    with pytest.raises(BundleError, match="does not list"):
        load_bundle(bundle, "classifier")
    files = json.loads((bundle / "bundle.json").read_text())["files"]
    alter(bundle, files=files | {"link.json": "0" * 64})
    with pytest.raises(BundleError, match=r"lacks link\.json"):
        load_bundle(bundle, "classifier")
    (bundle / "link.json").unlink()
    alter(bundle, files=files | {"../outside.json": "0" * 64})
    with pytest.raises(BundleError, match=r"lacks \.\./outside\.json"):
        load_bundle(bundle, "classifier")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 3}, "schema version 3"),
        ({"schema_version": None}, "schema version None"),
        ({"kind": "other"}, "kind"),
        ({"name": "../../etc"}, "name"),
        ({"surplus": 1}, "surplus"),
        ({"files": ["model.onnx"]}, "files"),
        ({"classifier": {"labels": 3}}, "classifier.labels"),
    ],
)
def test_manifests_of_another_shape_are_refused(bundle, changes, message):
    alter(bundle, **changes)
    with pytest.raises(BundleError, match=message) as caught:
        load_bundle(bundle, "classifier")
    assert "\n" not in str(caught.value)


def test_what_is_no_bundle_is_refused(bundle, tmp_path):
    with pytest.raises(BundleError, match=r"has no bundle\.json"):
        load_bundle(tmp_path / "none", "classifier")
    for text in ("", "[]", "{", "null"):
        (bundle / "bundle.json").write_text(text)
        with pytest.raises(BundleError):
            load_bundle(bundle, "classifier")


def test_kinds_are_not_confused(bundle):
    with pytest.raises(BundleError, match="give a generator bundle"):
        load_bundle(bundle, "generator")
    write_manifest(bundle, kind="generator", name="lora", dataset_digest="d")
    with pytest.raises(BundleError, match="not a classifier"):
        _ = load_bundle(bundle, "generator").classifier
