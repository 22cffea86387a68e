"""Bentos: a service, its code and its bundle as one thing, built from a bentofile."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final, Literal

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

    before = list(sys.path)
    try:
        built = bentoml.bentos.build_bentofile(
            str(BENTOFILES[kind]), build_ctx=str(ROOT), version=version, labels=_labels(bundle)
        )
    finally:
        sys.path[:] = before
    return str(built.tag)


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
