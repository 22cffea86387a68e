"""The process above the workers: BentoML's circus arbiter, made private and attentive.

As BentoML starts it, it (1) opens two TCP ports on the loopback address on which any process of
the machine, or of the pod, may have it start a command of its choice; (2) looks for dead workers
every ten seconds; (3) leaves the dead to the orchestrator inside a container, where it does not
see them as long as one worker lives; (4) keeps the public port open until the last request is
answered, so that callers who come meanwhile are left waiting and then cut off; and (5) on SIGHUP
starts workers with new numbers while it stops the old ones, so that nobody can answer for seconds.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any, Final

from bentoml import serving
from bentoml._internal.utils import circus

from services.draining import FOLDER, STOPPING

LOOK_SECONDS: Final = 1.0
"""How often the arbiter looks for dead workers."""
AGAIN_SECONDS: Final = 0.05
"""How long it waits for what it is doing, such as replacing a worker, when it is told to stop."""
LEFT_TO_ORCHESTRATORS: Final = ("BENTOML_CONTAINERIZED", "BENTOCLOUD_DEPLOYMENT_URL")


class PrivateArbiter(circus.Arbiter):  # type: ignore[misc]  # BentoML is untyped to us
    """An arbiter that listens to its own user alone, and replaces workers at once."""

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - circus'
        self._folder = Path(os.environ[FOLDER])
        options["endpoint"] = f"ipc://{self._folder}/control"
        options["pubsub_endpoint"] = f"ipc://{self._folder}/events"
        options["check_delay"] = LOOK_SECONDS
        self._outlives_terminal = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        super().__init__(*args, **options)

    def stop(self) -> Any:  # noqa: ANN401 - circus' future
        """Stop the workers; the public port closes when the last of them closes it."""
        if self._stopping:
            return None
        if self._exclusive_running_command is not None:  # circus would refuse, and forget
            self.loop.call_later(AGAIN_SECONDS, self.stop)
            return None
        (self._folder / STOPPING).touch()
        for one in self.sockets.values():
            if not one.is_unix:  # inner services are needed to the end
                one.close()
        return super().stop()

    def reload(self, graceful: bool = True, sequential: bool = False) -> Any:  # noqa: ANN401, FBT
        """SIGHUP: the terminal is gone. Stop, unless started to outlive it (`nohup`)."""
        return None if self._outlives_terminal else self.stop()

    def stop_controller_and_close_sockets(self) -> None:
        """The last that an arbiter does."""
        super().stop_controller_and_close_sockets()
        shutil.rmtree(self._folder, ignore_errors=True)


def supervise() -> None:
    """Have BentoML use `PrivateArbiter`, and replace dead workers wherever it runs.

    An orchestrator sees a container's first process alone. Ending it for one lost worker would
    also end the requests of the others, and its restart is delayed more each time; starting one
    worker again takes seconds and harms nobody.
    """
    # mkdtemp: nobody else may enter it, and so nobody else may connect. Workers inherit its name.
    os.environ[FOLDER] = tempfile.mkdtemp(prefix="porcelain-")
    circus.Arbiter = PrivateArbiter
    for name in LEFT_TO_ORCHESTRATORS:
        os.environ.pop(name, None)
    serving.running_inside_container.cache_clear()
