"""A hospital that answers with :mod:`tests.end_to_end.hostile_answers`: everything else is the real node.

Started by ``test_deployed.py`` in the place of ``xai-client``.
"""

import sys
from pathlib import Path

from client.node import supervisor
from client.node.home import SiteHome
from common.processes import Child
from common.stopping import stop_on_signals


class OwnExecutor(Child):
    """A supervised process; the executor is this file."""

    def start(self):
        if self.name == "executor":
            self.command = [sys.executable, __file__, "executor", *self.command[4:]]
        super().start()


if __name__ == "__main__":
    if sys.argv[1] == "executor":
        from hostile_answers import answers  # with PyTorch, which the supervisor does without

        from client.node import executor

        sys.argv[1:] = sys.argv[2:]
        executor.app = answers
        executor.main()
    else:
        supervisor.Child = OwnExecutor
        supervisor.run_node(SiteHome(Path(sys.argv[1])), stop_on_signals())
