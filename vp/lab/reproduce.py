"""`vp reproduce`: a front to workflow/Snakefile.  Plans the jobs, guards against a second run, shows one progress line, sums up.

A job is a notebook with its parameters and seed.  Its state (hash of the notebook's source, of the code of `vp` and of the parameters) is a
Snakemake parameter, so a job runs again exactly when one of these changed; finished ones are kept, also after a SIGKILL.
"""

import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from vp.errors import InputError
from vp.lab import claims, notebooks, profiles, report, results

SNAKEFILE = notebooks.ROOT / "workflow" / "Snakefile"
DATA = {  # what --data NAME=ROOT knows, and files that such a folder has; a notebook declares NAME_root
    "panoptic": ("calibration_*.json", "hdPose3d_stage1*"),
    "muco": ("MuCo-3DHP*.json",),
    "mupots": ("MuPoTS-3D*.json", "annot.mat", "cameras.json"),
    "coco": ("person_keypoints*.json",),
    "bvh": ("*.bvh",),
}


def plan(profile="quick", only=(), data=(), seeds=(0,)):
    """The jobs {stem: {notebook, params, state, threads}} and the run's key, from the command line's arguments; InputError."""
    chosen = _choose(only)
    roots = _roots(data)
    code = _code_hash()
    jobs, used = {}, set()
    for name in chosen:
        path = notebooks.FOLDER / f"{name}.ipynb"
        known = notebooks.parameters(path)
        params = {"profile": profile} if "profile" in known else {}
        for d, root in roots.items():
            if f"{d}_root" in known:
                params[f"{d}_root"] = root
                used.add(d)
        notebook = json.loads(path.read_text())
        source, threads = notebooks.source_hash(notebook), notebooks.threads(notebook)
        for seed in seeds if "seed" in known else (None,):
            p = {**params, "seed": seed} if seed is not None else params
            state = hashlib.sha256(json.dumps([source, code, p], sort_keys=True).encode()).hexdigest()[:16]
            jobs[name if seed is None else f"seed{seed}/{name}"] = {"notebook": name, "params": p, "state": state, "threads": threads}
    for d in sorted(set(roots) - used):
        raise InputError(f"no notebook of this run reads {d!r} data", "--data", "give --only a notebook that does, or leave it out")
    key = profile + ("-" + "+".join(sorted(roots)) + "-" + _digest(sorted(roots.items())) if roots else "")
    return jobs, key


def _choose(only):
    known = notebooks.names()
    chosen = []
    for name in only:
        meant = [k for k in known if k == name] or [k for k in known if k.startswith(name)]  # "01" is enough
        if len(meant) != 1:
            raise InputError(f"no notebook {name!r}", "--only", f"one of {', '.join(known)}")
        chosen += [k for k in meant if k not in chosen]
    return chosen or known


def _roots(data):
    roots = {}
    for item in data:
        name, _, root = item.partition("=")
        if not root or name not in DATA:
            raise InputError(f"{item!r} is not NAME=ROOT", "--data", f"NAME is one of {', '.join(DATA)}")
        if not Path(root).is_dir():
            raise InputError(f"{root} is not a folder", f"--data {name}")
        if not any(next(Path(root).rglob(pattern), None) for pattern in DATA[name]):
            raise InputError(f"nothing of {name} in {root}", f"--data {name}", f"looked for {', '.join(DATA[name])}")
        roots[name] = str(Path(root).resolve())
    return roots


def _digest(x):
    return hashlib.sha256(json.dumps(x).encode()).hexdigest()[:6]


def _code_hash():
    """Hash of everything a notebook imports from this repository."""
    h = hashlib.sha256()
    root = notebooks.ROOT
    for p in sorted([*root.glob("vp/**/*.py"), *root.glob("vp/**/*.html"), *root.glob("notebooks/*.py")]):
        h.update(str(p.relative_to(root)).encode() + p.read_bytes())
    return h.hexdigest()[:16]


def main(profile="auto", only=(), data=(), seeds=(0,), cores=None, dry_run=False, retries=0, runs=None):
    """Run the plan; prints one progress line, a table of seconds and memory, the claims.  Returns the exit code."""
    profile = profiles.resolve(profile).name
    if retries < 0 or (cores is not None and cores < 1) or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise InputError("--cores is at least 1, --retries and --seeds at least 0, each seed once")
    jobs, key = plan(profile, only, data, seeds)
    out = Path(runs or notebooks.ROOT / "runs").resolve() / key
    cores = cores or os.cpu_count() or 1
    if dry_run:
        return _print_plan(jobs, out, cores)
    out.mkdir(parents=True, exist_ok=True)
    with open(out / ".lock", "w") as lock:
        _acquire(lock, out)
        failed = _run(jobs, out, key, cores, retries, lock)
    _table(jobs, out)
    rows = [out / f"{stem}.jsonl" for stem in jobs if (out / f"{stem}.jsonl").exists()]
    if rows:
        report.main([str(r) for r in rows], str(out / "report"), quiet=True)
        print(claims.summary(results.load(rows)))
        print("(a claim that fails is a finding, explained in its notebook; not run: data that --data would bring are missing)")
    print(f"executed notebooks, rows and report: {_short(out)}")
    for stem, error in failed.items():
        kept = out / f"{stem}.failed.ipynb"
        print(f"FAILED {error}" + (f"; see {_short(kept)}" if kept.exists() else ""))
    return 1 if failed else 0


def _acquire(lock, out, patience_s=10):
    """Take the lock of a run's folder.  Snakemake inherits it: it is free when both are gone, however they went; the kernel sees to it."""
    end = time.time() + patience_s  # what a killed run left behind ends within seconds (`_leash`)
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.time() > end:
                raise RuntimeError(f"{_short(out)}: another reproduction is running in this folder (wait for it, or stop it)") from None
            time.sleep(0.2)


def _run(jobs, out, key, cores, retries, lock):
    """Snakemake on the plan, in its own folder, under our lock; returns {stem: error}."""
    progress = out / ".progress"
    shutil.rmtree(progress, ignore_errors=True)
    progress.mkdir(exist_ok=True)
    for leftover in [*out.glob(".[0-9a-z]*.*/"), *out.glob("seed*/.*.*/")]:  # work folders of a killed run
        if leftover.name not in (".snakemake", ".progress"):
            shutil.rmtree(leftover, ignore_errors=True)
    results.write_atomic(out / "plan.json", json.dumps({"jobs": jobs, "out": str(out), "python": sys.executable}, indent=1))
    command = [
        sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE), "--directory", str(out), "--cores", str(cores),
        "--nolock", "--rerun-incomplete", "--rerun-triggers", "params", "--keep-going", "--retries", str(retries),
        "--quiet", "progress", "--nocolor",
    ]  # fmt: skip
    log = out / "snakemake.log"
    env = {**os.environ, "VP_PLAN": str(out / "plan.json"), "VP_FRONT": str(os.getpid())}
    with log.open("w") as f:
        process = subprocess.Popen(command, stdout=f, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=env, pass_fds=[lock.fileno()])
        asked = (signal.SIGTERM, signal.SIGINT)  # asked to stop is asked to stop, also in a background shell, where SIGINT comes ignored
        before = [signal.signal(s, signal.default_int_handler) for s in asked]
        try:
            _watch(process, jobs, out, key)
        except KeyboardInterrupt:
            process.kill()  # its jobs end when we do (`_leash`); what was finished stays
            process.wait()
            print("\ninterrupted; the same command goes on from here")
            raise SystemExit(1) from None
        finally:
            for s, handler in zip(asked, before):
                signal.signal(s, handler)
    errors = {stem: (progress / _flat(stem)).with_suffix(".error") for stem in jobs}
    failed = {stem: p.read_text() for stem, p in errors.items() if p.exists()}
    if process.returncode:  # a job that was killed left no word, and its outputs are gone
        silent = [s for s in jobs if s not in failed and not (out / f"{s}.json").exists()]
        failed |= {s: f"{s}: stopped without a word (killed, out of memory?)" for s in silent}
    if process.returncode and not failed:
        tail = [line for line in log.read_text().splitlines() if line.strip()]
        raise RuntimeError(f"snakemake stopped ({log}): {tail[-1] if tail else process.returncode}")
    return failed


def _watch(process, jobs, out, key):
    """One line: notebooks done, what is running and at which cell.  On a terminal it is redrawn, elsewhere each notebook is one line."""
    start, said, live = time.time(), set(), sys.stdout.isatty()
    begun = {stem: (out / f"{stem}.json").stat().st_mtime_ns for stem in jobs if (out / f"{stem}.json").exists()}
    while True:
        ended = process.poll() is not None
        running = []
        for stem in jobs:
            mark, facts = out / ".progress" / _flat(stem), out / f"{stem}.json"
            if facts.exists() and facts.stat().st_mtime_ns != begun.get(stem) and stem not in said:
                said.add(stem)
                if not live:
                    print(f"  {stem}: {json.loads(facts.read_text())['seconds']} s", flush=True)
            elif mark.exists() and stem not in said and not mark.with_suffix(".error").exists():
                running.append(f"{stem} cell {mark.read_text() or '0'}")
        if live:
            text = f"{key}: {len(said)} of {len(jobs)} notebooks run, {time.time() - start:.0f} s" + "".join(f" | {r}" for r in running)
            print(f"\r\x1b[K{text[: shutil.get_terminal_size().columns - 1]}", end="\n" if ended else "", flush=True)
        if ended:
            return
        time.sleep(0.2)


def _flat(stem):
    return stem.replace("/", "--")


def _short(path):
    """The path relative to the current folder when that is shorter."""
    relative = os.path.relpath(path)
    return relative if len(relative) < len(str(path)) else str(path)


def _table(jobs, out):
    """Seconds and peak memory of each notebook, from the record each one left."""
    width = max(map(len, jobs))
    print(f"{'notebook':{width}}  seconds  peak MB")
    for stem in jobs:
        facts = out / f"{stem}.json"
        if facts.exists():
            f = json.loads(facts.read_text())
            print(f"{stem:{width}}  {f['seconds']:7.1f}  {f['peak_mb']:7d}")


def _print_plan(jobs, out, cores):
    """--dry-run: what would run, with the seconds each took last time."""
    total, unknown = 0.0, False
    for stem, job in jobs.items():
        facts, old = out / f"{stem}.json", out / "plan.json"
        last = json.loads(facts.read_text())["seconds"] if facts.exists() else None
        same = old.exists() and json.loads(old.read_text())["jobs"].get(stem, {}).get("state") == job["state"] and facts.exists()
        total, unknown = total + (0 if same else last or 0), unknown or (not same and last is None)
        print(f"{stem}: {'done' if same else 'to run'}" + (f" ({last:.0f} s last time)" if last else "") + f"  {job['params']}")
    minutes = "unknown time" if unknown else f"about {total / cores / 60:.1f} minutes, from past runs,"
    print(f"{minutes} on {cores} cores; into {_short(out)}")
    return 0


def _leash():
    """End this job when the front is gone: a run whose front was killed must not go on under the next one."""
    front = int(os.environ.get("VP_FRONT", "0"))
    while front:
        try:
            os.kill(front, 0)
        except ProcessLookupError:
            os._exit(1)
        time.sleep(0.5)


def job(plan_file, stem, threads="1"):
    """One job of the plan, called by the Snakefile, on so many threads; failures are told to the front through the progress folder."""
    the_plan = json.loads(Path(plan_file).read_text())
    spec, out = the_plan["jobs"][stem], Path(the_plan["out"])
    threading.Thread(target=_leash, daemon=True).start()
    mark = out / ".progress" / _flat(stem)
    mark.with_suffix(".error").unlink(missing_ok=True)
    mark.touch()
    timeout = profiles.resolve(spec["params"].get("profile", "auto")).cell_timeout_s
    try:
        notebooks.execute(spec["notebook"], (out / stem).parent, spec["params"], {"OMP_NUM_THREADS": threads}, timeout, mark)
    except Exception as e:
        mark.with_suffix(".error").write_text(str(e))
        raise SystemExit(1) from None


if __name__ == "__main__":
    job(*sys.argv[1:])
