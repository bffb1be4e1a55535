"""`vp reproduce`: a front to workflow/Snakefile.  Guards against a second run, hands the plan to Snakemake, shows its progress, sums up.

Jobs and their states come from `vp.lab.plan`, what is said from `vp.lab.watch`, the work itself is `vp.lab.job`.  The state of a job is a
Snakemake parameter, so it runs again exactly when that changed; finished ones are kept, also after a SIGKILL.
"""

import contextlib
import errno
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from vp.errors import InputError
from vp.lab import ledger, notebooks, profiles, report, results, watch
from vp.lab.plan import finished, levels, plan, read_rows, seconds, short, show

SNAKEFILE = notebooks.ROOT / "workflow" / "Snakefile"
CACHE = results.ROOT / "runs" / "cache"
CLUSTER_JOBS = 50  # of ours at once on a cluster, unless --cores says otherwise
CANCEL_S = 60  # in which Snakemake may cancel them


def main(profile="auto", only=(), data=(), seeds=(0,), cores=None, dry_run=False, retries=0, runs=None, grid=(), gpus=None,
         cluster=None):  # fmt: skip
    """Run the plan; prints one progress line, a table of seconds and memory, what failed, the claims.  Returns the exit code.

    cluster: folder of a Snakemake profile; each job is then one of the cluster's, `cores` of them at once, with `gpus` GPUs in all.
    """
    profile = profiles.resolve(profile).name
    if retries < 0 or (cores is not None and cores < 1) or len(set(seeds)) < len(seeds) or min(seeds) < 0 or (gpus or 0) < 0:
        raise InputError("--cores is at least 1, --gpus, --retries and --seeds at least 0, each seed once")
    if max(seeds) >= 2**31:
        raise InputError(f"{max(seeds)} is too large", "--seeds", "less than 2147483648")
    jobs, key = plan(profile, only, data, seeds, grid)
    out = Path(runs or notebooks.ROOT / "runs").resolve() / key
    if cluster is None:
        cores, devices = cores or os.cpu_count() or 1, visible_gpus(gpus)
    else:  # which GPU, the cluster says
        cluster, cores, devices = cluster_profile(cluster), cores or CLUSTER_JOBS, ["cluster"] * (gpus or 0)
    if dry_run:
        return show(jobs, out, cores, len(devices), profile)
    failed = run(jobs, out, profile, cores, devices, retries, cluster)
    watch.table(jobs, out)
    rows = [out / f"{stem}.jsonl" for stem in jobs if (out / f"{stem}.jsonl").exists()]
    failed |= {str(file.relative_to(out).with_suffix("")): f"{short(file)}: {why}" for file, why in watch.clashes(rows).items()}
    if rows:
        report.main([str(r) for r in rows], str(out / "report"), quiet=True)
    print(f"executed notebooks, rows and report: {short(out)}")
    for stem, error in failed.items():
        kept = out / f"{stem}.failed.ipynb"
        print(f"FAILED {error}" + (f"; see {short(kept)}" if kept.exists() else ""))
    if rows and results.name_and_budget(profile)[1] != 1:
        print(f"another budget decides nothing by itself: vp report --rows {short(out)} DIR sets it beside the profile's own rows in DIR")
    elif rows:
        print("claims (one that fails is a finding, explained in its notebook; not run: rows or data are missing):")
        print(ledger.summary(results.load(rows)))
    return 1 if failed else 0


def cluster_profile(folder):
    """The folder of a Snakemake profile, absolute; InputError if it is none."""
    folder = Path(folder).resolve()
    if not any((folder / f"config.{end}").is_file() for end in ("yaml", "yml")):
        raise InputError("no config.yaml of a Snakemake profile there", f"--cluster {short(folder)}", "e.g. workflow/profiles/slurm")
    return folder


def visible_gpus(most=None):
    """Names of the GPUs that jobs may use, at most so many (default all), as CUDA_VISIBLE_DEVICES names them."""
    import torch

    n = torch.cuda.device_count() if most != 0 else 0
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [x.strip() for x in named.split(",")] if named else [str(i) for i in range(n)]
    if most is not None and most > n:
        raise InputError(f"{most} GPUs asked for, {n} found", "--gpus")
    return names[: n if most is None else most]


def run(jobs, out, profile="quick", cores=1, devices=(), retries=0, cluster=None):
    """Do these jobs in the folder `out`, under its lock: those that read the others' rows after all others; returns {stem: error}."""
    _writable(out, "--runs DIR puts runs elsewhere")
    _writable(CACHE, "pictures and trained networks are kept there")
    with open(out / ".lock", "w") as lock:
        _acquire(lock, out)
        _tidy(out, jobs)
        order = levels(jobs, seconds(jobs, profile, out))
        jobs = {s: {**job, "priority": 1000 * round(order[s]) - i} for i, (s, job) in enumerate(jobs.items())}  # of equals the first
        first = [s for s, job in jobs.items() if not job["last"]]
        made = {"out": str(out), "python": sys.executable, "profile": profile, "gpus": list(devices), "cluster": bool(cluster),
                "cell_timeout_s": profiles.resolve(profile).cell_timeout_s}  # fmt: skip
        failed = {}
        for targets in (first, [s for s in jobs if s not in first]):  # what failed keeps nobody from reading the rows of the rest
            if targets:
                jobs = read_rows(jobs, out) if targets is not first else jobs
                results.write_atomic(out / "plan.json", json.dumps({"jobs": jobs, "targets": targets, **made}, indent=1))
                failed |= _snakemake({s: jobs[s] for s in targets}, out, cores, len(devices), retries, lock, cluster)
        return failed


def _writable(folder, hint):
    """RuntimeError for a folder on a full or read-only disk: told now, in one line, and nothing is left there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        results.write_atomic(folder / f".writable.{os.getpid()}", b"x" * 4 * watch.FULL)
    except (FileExistsError, NotADirectoryError):
        raise InputError("a file is in the way of this folder", short(folder), hint) from None
    except OSError as e:
        raise RuntimeError(f"{short(folder)}: {e.strerror} ({hint})") from None
    finally:
        with contextlib.suppress(OSError):
            (folder / f".writable.{os.getpid()}").unlink(missing_ok=True)


def _acquire(lock, out, patience_s=10):
    """Take the lock of a run's folder.  Snakemake inherits it: it is free when both are gone, however they went; the kernel sees to it."""
    end = time.time() + patience_s  # what a killed run left behind ends within seconds (`job._leash`)
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            if e.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            if time.time() > end:
                raise RuntimeError(f"{short(out)}: another reproduction is running in this folder (wait for it, or stop it)") from None
            time.sleep(0.2)


def _tidy(out, jobs):
    """Remove what a killed run left: its marks of progress, the work folders of its notebooks; and the rows of jobs that are another job
    now, or they would enter the report if that fails."""
    for stem in jobs.keys() - finished(jobs, out):
        if not jobs[stem]["last"]:  # writes none, and learns its state later
            (out / f"{stem}.jsonl").unlink(missing_ok=True)
    shutil.rmtree(out / ".progress", ignore_errors=True)
    (out / ".progress").mkdir(exist_ok=True)
    for leftover in out.glob("**/.[0-9A-Za-z]*.*/"):
        if ".snakemake" not in leftover.relative_to(out).parts:
            shutil.rmtree(leftover, ignore_errors=True)


def _snakemake(jobs, out, cores, gpus, retries, lock, cluster=None):
    """Snakemake on the plan that lies in the folder, under our lock; returns {stem: error}."""
    command = [
        sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE), "--directory", str(out),
        "--jobs" if cluster else "--cores", str(cores), *(["--workflow-profile", str(cluster)] if cluster else []),
        "--resources", f"gpu={gpus}", "--scheduler", "greedy", "--nolock", "--rerun-incomplete", "--rerun-triggers", "params",
        "--keep-going", "--retries", str(retries), "--quiet", "progress", "--nocolor",
    ]  # fmt: skip
    log = out / "snakemake.log"
    env = {**os.environ, "VP_PLAN": str(out / "plan.json"), "VP_FRONT": f"{socket.gethostname()}:{os.getpid()}"}
    with log.open("w") as f:
        asked = (signal.SIGTERM, signal.SIGINT)  # asked to stop is asked to stop, also in a background shell, where SIGINT comes ignored
        before = [signal.signal(s, signal.default_int_handler) for s in asked]
        process = subprocess.Popen(command, stdout=f, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=env, pass_fds=[lock.fileno()])
        try:
            watch.progress(process, jobs, out, out.name)
        except KeyboardInterrupt:
            _end(process, CANCEL_S if cluster else 0)  # jobs here end when we do (`job._leash`); what was finished stays
            print("\ninterrupted; the same command goes on from here")
            raise SystemExit(1) from None
        finally:
            for s, handler in zip(asked, before):
                signal.signal(s, handler)
    failed = watch.failures(jobs, out, not process.returncode)
    if process.returncode and not failed:
        raise RuntimeError(f"snakemake stopped ({short(log)}): {_last_words(log)}")
    return failed


def _end(process, patience_s):
    """End Snakemake: at once, or after so many seconds in which it may cancel its jobs on a cluster."""
    if patience_s:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience_s)
    process.kill()
    process.wait()


def _last_words(log):
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it left no word"
