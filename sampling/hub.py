"""Downloading a base model from the Hugging Face hub: only the files that are needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from porcelain.errors import UserError
from sampling.layout import INDEX_FILE, PLAIN, WEIGHTS, pipeline_files


def download(reference: str, revision: str | None = None) -> Path:
    """The folder of a model in the hub's cache, downloaded if it is not there yet.

    Args:
        reference: The hub's id, `owner/name`.
        revision: Commit, tag or branch.

    Raises:
        UserError: No such model or revision, no access to it, not Stable Diffusion in
            safetensors, or the hub cannot be reached.
    """
    with _hub_errors(reference, revision):
        folder = _snapshot(reference, revision, "")
        try:
            pipeline_files(folder)
        except UserError:  # some models are published in half precision alone
            folder = _snapshot(reference, revision, ".fp16")
            pipeline_files(folder)
    return folder


def download_controlnet(reference: str) -> Path:
    """The folder of a ControlNet in the hub's cache, downloaded if it is not there yet.

    Raises:
        UserError: No such model, no access to it, or the hub cannot be reached.
    """
    with _hub_errors(reference, None):
        wanted = ["config.json", "diffusion_pytorch_model*.safetensors"]
        return Path(snapshot_download(reference, allow_patterns=wanted))


@contextmanager
def _hub_errors(reference: str, revision: str | None) -> Iterator[None]:
    """The hub's errors as a user's, with their remedies."""
    try:
        yield
    except GatedRepoError as error:
        raise UserError(
            f"The hub gives {reference} only to those who accepted its terms: accept them on its "
            "page and log in with `hf auth login`, or give a local folder."
        ) from error
    except RevisionNotFoundError as error:
        raise UserError(f"{reference} has no revision {revision!r} on the hub.") from error
    except RepositoryNotFoundError as error:
        raise UserError(
            f"The hub has no model {reference!r} (or hides it); give a local folder or another id."
        ) from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        raise UserError(
            f"The model {reference} cannot be downloaded: the Hugging Face hub is out of "
            f"reach and its cache does not hold it. Download it elsewhere, copy the folder here "
            "and give its path."
        ) from error


def revision_of(folder: Path) -> str | None:
    """The commit that a folder of the hub's cache holds; None for any other folder."""
    return folder.name if folder.parent.name == "snapshots" else None


def _snapshot(reference: str, revision: str | None, suffix: str) -> Path:
    weights = [
        f"{part}/{name}{middle}"
        for part, name in WEIGHTS.items()
        for middle in (
            f"{suffix}.safetensors",
            f"-*-of-*{suffix}.safetensors",
            f"{suffix}-*-of-*.safetensors",
        )
    ]
    plain = [f"{part}/*{kind}" for part in PLAIN for kind in (".json", ".txt")]
    configurations = [INDEX_FILE, *(f"{part}/*.json" for part in WEIGHTS)]
    return Path(
        snapshot_download(
            reference, revision=revision, allow_patterns=[*configurations, *plain, *weights]
        )
    )
