"""Loads the kernels and proves them by known answers, before a query needs them.

The first time after an installation they are compiled: a minute, in which the compiler keeps the interpreter and
takes 80 MB. So a node leaves that to a process of its own and then loads the result.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

from privcompute import he, psi
from privcompute.errors import IntegrityError
from privcompute.he import paillier

LOG = logging.getLogger("privcompute.node")
_COMPILE = "from privcompute.node.warm import compile_all; compile_all()"
_COMPILE_SECONDS = 600.0


def cold() -> bool:
    """Whether kernels would have to be compiled whose machine code could be kept."""
    from privcompute import kernels
    from privcompute.kernels.compiled import folder_for  # deferred: loads the compiler

    packages = [Path(package.__path__[0]) for package in (kernels, psi, paillier)]
    # Not imported: that alone would load the compiler.
    packages += [packages[0].parent / "anonymize" / part for part in ("detect", "kernels")]
    folders = [folder_for(package) for package in packages]
    return any(folder is not None and not any(folder.glob("*.nbc")) for folder in folders)


def compile_all() -> None:
    """Load, or compile, all kernels: also those of Paillier, of detection and of releases, which few nodes ever load.

    Raises:
        IntegrityError: this machine computes something else.
    """
    from privcompute.anonymize import detect
    from privcompute.anonymize.kernels import warm

    warm_up()
    paillier.fast()
    detect.warm_up()
    warm.warm_up()


def warm_up() -> None:
    """Load, or compile, the kernels of joins in this process.

    Raises:
        IntegrityError: this machine computes something else.
    """
    he.warm_up()
    psi.warm_up()


def warm_up_beside() -> None:
    """As `warm_up`, compiling in another process; a fault is logged, and is the first query's to report."""
    try:
        if cold():
            LOG.info("compiling the kernels, once after an installation")
            command = [sys.executable, "-c", _COMPILE]
            subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_COMPILE_SECONDS, check=False
            )
        warm_up()
    except (IntegrityError, OSError, subprocess.TimeoutExpired) as error:
        LOG.error("the kernels are not ready: %s", getattr(error, "message", type(error).__name__))
