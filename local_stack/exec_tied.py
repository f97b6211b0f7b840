"""Turns itself into another program that ends when its parent ends.

Run as a script, by path: ``exec_tied.py PARENT_PID SIGNAL UID:GID|- PROGRAM [ARGUMENT…]``. A script and not a
``preexec_fn``, because that runs Python between fork and exec, which can deadlock in a process with threads.
Imports nothing outside the standard library: it runs without site-packages.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main(parent: str, death_signal: str, user: str, *command: str) -> None:
    os.umask(0o077)
    if user != "-":
        uid, gid = map(int, user.split(":"))
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        # After the change of user: the kernel forgets the setting there.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(death_signal))
    if os.getppid() != int(parent):
        sys.exit("the parent ended before its child had started")
    os.execv(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
