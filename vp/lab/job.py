"""One job of the batch, in a process of its own: a notebook, or a training that notebooks share.  Called by the Snakefile."""

import contextlib
import fcntl
import importlib
import json
import os
import resource
import socket
import sys
import threading
import time
from pathlib import Path

from vp.lab import notebooks, results
from vp.lab.plan import read
from vp.lab.watch import mark


def main(plan_file, stem, threads="1"):
    """Do a job of the plan on so many threads; failures are told to the front through the progress folder."""
    plan = json.loads(Path(plan_file).read_text())
    job, out = plan["jobs"][stem], Path(plan["out"])
    threading.Thread(target=_leash, daemon=True).start()
    now = mark(out, stem)
    now.with_suffix(".error").unlink(missing_ok=True)
    now.touch()
    about = {"profile": plan["profile"], "state": job["state"]}
    try:
        given = os.environ.get("CUDA_VISIBLE_DEVICES", "") if plan.get("cluster") else None
        with gpu(out.parent / ".gpus", plan["gpus"] if job["gpu"] else [], given) as device:
            env = {"OMP_NUM_THREADS": threads, "CUDA_VISIBLE_DEVICES": device}
            if job["kind"] == "net":
                os.environ.update(env)
                _train(job["calls"], out / f"{stem}.json", int(threads), about)
            else:
                env |= {"VP_LEDGER_ROWS": str(out)} if job["last"] and _others(out, stem) else {}
                sys.modules["rfc3987_syntax"] = None  # a second of papermill's start, for a check that no notebook needs
                where, patience = (out / stem).parent, plan["cell_timeout_s"]
                notebooks.execute(job["notebook"], where, job["params"], env, patience, now, job["grid"], about)
    except Exception as e:
        now.with_suffix(".error").write_text(_told(e, job))
        raise SystemExit(1) from None


def _told(e, job):
    """Why a job failed, in one line that follows its name."""
    text = (str(e).splitlines() or [""])[0]
    return text.removeprefix(job["notebook"]) if isinstance(e, notebooks.CellFailed) else f": {type(e).__name__}: {text}"


def _others(out, stem):
    """Whether there are rows of other jobs."""
    return any(p != out / f"{stem}.jsonl" for p in results.files(out))


def _train(calls, facts, threads, about):
    """Make the calls ["module:function", arguments ...] and leave the record of time and memory."""
    import torch

    torch.set_num_threads(threads)
    start = time.time()
    for where, *arguments in calls:
        module, function = where.split(":")
        getattr(importlib.import_module(module), function)(*arguments)
    took, memory = round(time.time() - start, 1), results.peak_mb(resource.RUSAGE_SELF)
    facts.parent.mkdir(parents=True, exist_ok=True)
    kept = facts.with_name(f".{facts.stem}.longest")  # Snakemake removes the facts themselves before a job runs again
    longest = max(took, read(kept).get("seconds", 0.0))
    results.write_atomic(kept, json.dumps({"seconds": longest}))
    results.write_atomic(facts, json.dumps({"seconds": took, "longest": longest, "peak_mb": memory, **about}))


@contextlib.contextmanager
def gpu(folder, devices, given=None, wait_s=0.5):
    """One of the GPUs for this process alone, as CUDA_VISIBLE_DEVICES names it; "" where there are none.

    It is held by a lock on a file that the kernel frees when we are gone, however that happens; other runs of this checkout respect it.
    given: what a cluster has given to this job already.
    """
    if not devices or given is not None:
        yield given or ""
        return
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        for device in devices:
            with open(folder / f"{device}.lock", "w") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    continue
                yield device
                return
        time.sleep(wait_s)


def _leash():
    """End this job when the front is gone: a run whose front was killed must not go on under the next one."""
    host, _, front = os.environ.get("VP_FRONT", "").rpartition(":")
    while front and host == socket.gethostname():
        try:
            os.kill(int(front), 0)
        except ProcessLookupError:
            os._exit(1)
        time.sleep(0.5)


if __name__ == "__main__":
    main(*sys.argv[1:])
