"""Bentos: a service, its code and its bundle as one thing, built from a bentofile."""

from __future__ import annotations

import os
import sys
import tempfile
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Final, Literal

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from porcelain.bundle import Bundle, load_bundle
from porcelain.errors import UserError

Kind = Literal["classifier", "generator"]

ROOT: Final = Path(__file__).parents[1]
BENTOFILES: Final[dict[Kind, Path]] = {
    "classifier": ROOT / "bentofile.yaml",
    "generator": ROOT / "services" / "generator" / "bentofile.yaml",
}


def build_bento(kind: Kind, folder: Path, *, base: str | None = None, version: str | None) -> str:
    """Put a bundle into BentoML's model store and build a bento with it.

    Args:
        kind: Which service.
        folder: Its bundle.
        base: For the generator, where the base model is, if not where the bundle says.
        version: Of the bento; None lets BentoML make one.

    Returns:
        The bento's tag.

    Raises:
        BundleError: Not a bundle of this kind.
        UserError: There is no base model, or the source tree is not here.
    """
    bundle = load_bundle(folder, kind)
    if not BENTOFILES[kind].is_file():
        raise UserError(
            f"{BENTOFILES[kind]} is missing: bentos are built from a checkout of the source; "
            "install porcelain there with pip install --editable."
        )
    os.environ["BENTOML_DO_NOT_TRACK"] = "True"
    # The service is imported while it is built: as in the bento, with the bundle from the store.
    os.environ.pop("PORCELAIN_BUNDLE", None)
    os.environ.pop("PORCELAIN_BASE", None)
    _put(bundle, base)

    import bentoml

    described = yaml.safe_load(BENTOFILES[kind].read_text(encoding="utf-8"))
    described["python"]["packages"] = pinned_requirements(kind)
    before = list(sys.path)
    try:
        with tempfile.TemporaryDirectory(prefix="porcelain-bento-") as temporary:
            file = Path(temporary) / "bentofile.yaml"
            file.write_text(yaml.safe_dump(described), encoding="utf-8")
            built = bentoml.bentos.build_bentofile(
                str(file), build_ctx=str(ROOT), version=version, labels=_labels(bundle)
            )
    finally:
        sys.path[:] = before
    return str(built.tag)


def pinned_requirements(kind: Kind) -> list[str]:
    """What a service needs, and what that needs in turn, as constraints.txt pins it.

    Raises:
        UserError: constraints.txt lacks a package.
    """
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {canonicalize_name(line.partition("==")[0]): line for line in lines if "==" in line}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    waiting = [
        Requirement(one)
        for one in (*project["dependencies"], *project["optional-dependencies"][kind])
    ]
    found: dict[str, str] = {}
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        for needed in _needed_by(wanted):
            if canonicalize_name(needed.name) not in found:
                waiting.append(needed)
        if name not in pins:
            raise UserError(f"constraints.txt does not pin {name}; run make constraints.")
        found[name] = pins[name]
    return sorted(found.values())


def _needed_by(wanted: Requirement) -> list[Requirement]:
    """The requirements of an installed package, for the extras that are asked for."""
    needed = map(Requirement, metadata.requires(wanted.name) or [])
    places = [{"extra": extra} for extra in ("", *wanted.extras)]
    return [
        one
        for one in needed
        if one.marker is None or any(one.marker.evaluate(place) for place in places)
    ]


def _put(bundle: Bundle, base: str | None) -> None:
    from services.store import BASE, BUNDLE, put

    manifest = bundle.manifest
    tag = f"porcelain_{manifest.kind}:{manifest.version}-{manifest.digest()[:12]}"
    put(bundle.path, tag, BUNDLE, _labels(bundle))
    if manifest.kind == "generator":
        from sampling.finding import find_base

        reference = bundle.generator.base
        put(find_base(reference, base), f"porcelain_base:{reference.digest[:12]}", BASE, {})


def _labels(bundle: Bundle) -> dict[str, str]:
    manifest = bundle.manifest
    return {"bundle": manifest.name, "digest": manifest.digest()[:32]}
