"""Loading without what diffusers and transformers print meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from diffusers.utils import logging as diffusers_logs
from transformers.utils import logging as transformers_logs


@contextmanager
def quietly() -> Iterator[None]:
    """Without progress bars and warnings, which both libraries switch for the whole process."""
    libraries = (diffusers_logs, transformers_logs)
    bars = [logs for logs in libraries if logs.is_progress_bar_enabled()]
    levels = [logs.get_verbosity() for logs in libraries]
    for logs in bars:
        logs.disable_progress_bar()
    for logs in libraries:
        logs.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        for logs in bars:
            logs.enable_progress_bar()
        for logs, level in zip(libraries, levels, strict=True):
            logs.set_verbosity(level)
