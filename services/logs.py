"""One JSON object per line, with the request id where there is one."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from datetime import UTC, datetime

LOGGER = "porcelain"


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON; `extra={"fields": {...}}` adds members."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def configure_logs() -> logging.Logger:
    """Make this process, BentoML and uvicorn log JSON to standard output."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    for name in ("bentoml", "uvicorn.error", "circus"):
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = True
    # Pillow warns of oddities in files that callers send; their answers tell them.
    warnings.filterwarnings("ignore", module="PIL")
    logger = logging.getLogger(LOGGER)
    logger.setLevel(logging.INFO)
    return logger
