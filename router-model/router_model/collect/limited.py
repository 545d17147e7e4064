"""Run as a script: limits its own process, then becomes the program that it was given. Standard library only."""

import os
import resource
import sys

LIMITS = {
    resource.RLIMIT_CPU: 10,  # seconds
    resource.RLIMIT_AS: 1 << 30,
    resource.RLIMIT_FSIZE: 1 << 22,
    resource.RLIMIT_NOFILE: 64,
    resource.RLIMIT_CORE: 0,
}


def limit() -> None:
    """Lowers soft and hard limits; what is lower already stays."""
    for kind, most in LIMITS.items():
        _, hard = resource.getrlimit(kind)
        low = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (low, low))


if __name__ == "__main__":
    limit()
    # -I: no environment, no user site; -B: no bytecode left behind
    os.execv(sys.executable, [sys.executable, "-I", "-B", sys.argv[1]])
