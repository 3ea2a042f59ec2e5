"""An engine's processes end with the one that started them, also where that one is killed."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys

#: Set to 1 by who wants it for the processes it starts: a training, whose engine serves nobody else.
ENDS_WITH_PARENT = "MOTET_ENDS_WITH_PARENT"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_parent() -> None:
    """Has the kernel kill this process, one that `multiprocessing` started, once its parent is gone. Linux only."""
    parent = multiprocessing.parent_process()
    if os.environ.get(ENDS_WITH_PARENT) != "1" or parent is None or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent.pid:  # it was gone before
        os.kill(os.getpid(), signal.SIGKILL)
