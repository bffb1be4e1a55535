"""A real SLURM of two virtual nodes on this machine, for as long as one needs it: munged, slurmctld and two slurmd from one folder.

`with cluster(folder) as env:` in a test; by hand, a command inside it:  python tests/slurm.py squeue.  Needs Debian's slurm-wlm and munge.
The daemons run in the foreground as children of this process and end with it, however it ends (`PR_SET_PDEATHSIG`).
"""

import contextlib
import ctypes
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path


class NotStarted(RuntimeError):
    """The cluster did not come up; what its logs say last."""


DAEMONS = ("munged", "slurmctld", "slurmd")
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"  # where Debian keeps daemons
NODES, CPUS = ("node1", "node2"), 2  # CPUs of each, whatever this machine has

CONFIG = """ClusterName=virtual
MinJobAge=86400
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
SlurmctldPort={port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
KillWait=3
{nodes}
PartitionName=all Nodes={names} Default=YES MaxTime=INFINITE State=UP
"""


def missing():
    """What of SLURM this machine lacks, in words; "" when all is there."""
    absent = [d for d in DAEMONS if not shutil.which(d, path=PATH)]
    return f"{', '.join(absent)} not installed (Debian: slurm-wlm, munge)" if absent else ""


def _free_ports(n):
    """So many TCP ports that were free just now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def _follow_parent():
    """In a new daemon: its own group (Ctrl-C is for us), SIGTERM when the process that started it is gone."""
    os.setsid()
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _until(true, what, logs, seconds=30):
    """Wait; NotStarted with the last lines of the logs."""
    end = time.time() + seconds
    while not true():
        if time.time() > end:
            said = " | ".join(line for log in logs if log.exists() for line in log.read_text(errors="replace").splitlines()[-2:])
            raise NotStarted(f"{what} did not come up in {seconds} s: {said}")
        time.sleep(0.2)


@contextlib.contextmanager
def cluster(folder):
    """The environment (dict) of processes that use the cluster; NotStarted when it does not, and nothing is left running."""
    folder, host = Path(folder), socket.gethostname().split(".")[0]
    (folder / "state").mkdir(parents=True)
    folder.chmod(0o755)
    control, *ports = _free_ports(1 + len(NODES))
    nodes = "\n".join(
        f"NodeName={n} NodeHostname={host} NodeAddr=127.0.0.1 Port={p} CPUs={CPUS} RealMemory=64000 State=UNKNOWN"
        for n, p in zip(NODES, ports)
    )
    names = ",".join(NODES)
    about = {"host": host, "user": getpass.getuser(), "folder": folder, "port": control, "nodes": nodes, "names": names}
    (folder / "slurm.conf").write_text(CONFIG.format(**about))
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    (folder / "bin").mkdir()
    srun = folder / "bin" / "srun"  # Snakemake's plugin calls it in a job without SLURM_CONF, which a cluster in /etc/slurm does not need
    srun.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which("srun", path=PATH)} "$@"\n')
    srun.chmod(0o755)
    env = {**os.environ, "PATH": f"{srun.parent}:{PATH}", "SLURM_CONF": str(folder / "slurm.conf")}
    munge = [f"--{option}={folder}/munge.{option.split('-')[0]}" for option in ("socket", "key-file", "pid-file", "seed-file")]
    daemons, logs = [], [folder / f"{n}.out" for n in ("munged", "slurmctld", *NODES)]

    def start(log, *command):
        with log.open("wb") as f:
            daemons.append(subprocess.Popen(command, stdout=f, stderr=f, stdin=subprocess.DEVNULL, env=env, preexec_fn=_follow_parent))

    def idle():
        said = subprocess.run(["sinfo", "-h", "-N", "-o", "%N %t"], env=env, capture_output=True, text=True, timeout=60).stdout.split("\n")
        return {f"{n} idle" for n in NODES} <= set(said)

    try:
        start(logs[0], "munged", "--foreground", "--force", *munge)
        _until((folder / "munge.socket").exists, "munged", logs)
        start(logs[1], "slurmctld", "-D")
        for node, log in zip(NODES, logs[2:]):
            (folder / node).mkdir()
            start(log, "slurmd", "-D", "-N", node)
        _until(idle, "SLURM", logs)
        yield env
    finally:
        _stop(daemons, env)


def _stop(daemons, env):
    """Cancel what still runs, then end the daemons, the last one first."""
    with contextlib.suppress(subprocess.SubprocessError, OSError):
        subprocess.run(["scancel", "--user", getpass.getuser()], env=env, capture_output=True, timeout=20)
        end = time.time() + 20
        while time.time() < end and subprocess.run(["squeue", "-h"], env=env, capture_output=True, timeout=20).stdout.strip():
            time.sleep(0.3)
    for daemon in reversed(daemons):
        daemon.terminate()
        try:
            daemon.wait(10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


if __name__ == "__main__":
    if lacking := missing():
        sys.exit(lacking)
    with tempfile.TemporaryDirectory(prefix="vp-slurm-") as temporary, cluster(Path(temporary) / "slurm") as environment:
        sys.exit(subprocess.run(sys.argv[1:] or ["sinfo", "-N"], env=environment).returncode)
