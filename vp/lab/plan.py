"""What `vp reproduce` would do: its jobs, their order, and how long they will take by the record of past runs.

A job is a notebook with its parameters and seed, or a training that several notebooks share (`workflow/nets.toml`).  Its state (hash of the
notebook's source, of the code of `vp` and of the parameters) decides whether it must run again.
"""

import hashlib
import heapq
import itertools
import json
import math
import os
import re
import tomllib
from pathlib import Path

import numpy as np

from vp.errors import InputError
from vp.lab import notebooks, results

NETS = Path(os.environ.get("VP_NETS") or notebooks.ROOT / "workflow" / "nets.toml")
RECORD = notebooks.ROOT / "results" / "minutes.json"  # {profile: {job without seed: seconds}} of the committed run
DATA = {  # what --data NAME=ROOT knows, and files that such a folder has; a notebook declares NAME_root
    "panoptic": ("calibration_*.json", "hdPose3d_stage1*"),
    "muco": ("MuCo-3DHP*.json",),
    "mupots": ("MuPoTS-3D*.json", "annot.mat", "cameras.json"),
    "coco": ("person_keypoints*.json",),
    "bvh": ("*.bvh",),
}
UNTIMED = {"net": 300.0, "notebook": 60.0}  # s, to order what was never timed; shown to nobody


def plan(profile="quick", only=(), data=(), seeds=(0,), grid=()):
    """The jobs {stem: job} and the run's key, from the command line's arguments; InputError.

    A job: kind ("notebook", "net"), notebook or calls, params, grid (those of --grid), seed, state, threads, gpu (it can use one), needs
    (stems of nets), last (it reads the others' rows).  With a grid there are only notebooks that have one of its parameters, once for
    every combination of its values, in a folder of their own.
    """
    chosen, folders, values, code = _choose(only), roots(data), _grid(grid), _code_hash()
    nets = tomllib.loads(NETS.read_text()) if NETS.exists() else {}
    jobs, shared, used = {}, {}, set()
    for name in chosen:
        path = notebooks.FOLDER / f"{name}.ipynb"
        known = notebooks.parameters(path)
        mine = {k: [_typed(v, known[k], k, path.name) for v in vs] for k, vs in values.items() if k in known}
        if values and not mine:
            continue
        _refuse(known, mine)
        params = {"profile": profile} if "profile" in known else {}
        params |= {f"{d}_root": root for d, root in folders.items() if f"{d}_root" in known}
        used |= {*mine, *(d for d in folders if f"{d}_root" in known)}
        nb = json.loads(path.read_text())
        source = notebooks.source_hash(nb)
        about = {"kind": "notebook", "notebook": name, "threads": notebooks.threads(nb, profile), "gpu": notebooks.trains(nb),
                 "last": notebooks.ROWS in known}  # fmt: skip
        by = {n: net["wanted_by"] + ([] if mine else net.get("whole", [])) for n, net in nets.items()}
        wanted = [n for n in nets if any(name == w or name.startswith(f"{w}_") for w in by[n])]
        for combination in itertools.product(*mine.values()):
            varied = dict(zip(mine, combination))
            for seed in seeds if "seed" in known else (None,):
                p = {**params, **varied, **({} if seed is None else {"seed": seed})}
                here = _nets(nets, wanted, {"seed": 0, **known, **p, "profile": profile}, code)
                shared |= here
                stem = "".join(f"{k}={_word(v)}/" for k, v in varied.items()) + ("" if seed is None else f"seed{seed}/") + name
                jobs[stem] = {**about, "params": p, "grid": varied, "needs": list(here), "state": _state(source, code, p)}
    for k in sorted(set(values) - used):
        raise InputError(f"no notebook of this run has a parameter {k!r}", "--grid", "a name stands in the notebook's parameters cell")
    for d in sorted(set(folders) - used):
        raise InputError(f"no notebook of this run reads {d!r} data", "--data", "give --only a notebook that does, or leave it out")
    key = profile + ("-grid" if values else "")
    key += "-" + "+".join(sorted(folders)) + "-" + _digest(sorted(folders.items())) if folders else ""
    order = {n: i for i, n in enumerate(nets)}
    shared = {s: {**shared[s], "threads": notebooks.most_threads(profile)} for s in sorted(shared, key=lambda s: order[s.split("/")[-1]])}
    for net in shared.values():  # also where another notebook wants the first one
        net["needs"] = [s for s in net["needs"] if s in shared]
    return {**shared, **jobs}, key


def _refuse(known, varied):
    """InputError for values that no sweep of notebook 11 can have, before anything runs."""
    if varied:
        from vp.lab.sweep import Sweep

        names = vars(Sweep()).keys()
        for name, value in [(k, v) for k, values in varied.items() for v in values if k in names <= known.keys()]:
            Sweep(**{name: value})


def _choose(only):
    known = notebooks.names()
    chosen = []
    for name in only:
        meant = [k for k in known if k == name] or [k for k in known if k.startswith(name)]  # "01" is enough
        if len(meant) != 1:
            raise InputError(f"no notebook {name!r}", "--only", f"one of {', '.join(known)}")
        chosen += [k for k in meant if k not in chosen]
    return chosen or known


def roots(data):
    """{name: folder} of the arguments of --data; InputError for what is no NAME=ROOT or holds nothing of NAME."""
    found = {}
    for item in data:
        name, _, root = item.partition("=")
        if not root or name not in DATA:
            raise InputError(f"{item!r} is not NAME=ROOT", "--data", f"NAME is one of {', '.join(DATA)}")
        if not Path(root).is_dir():
            raise InputError(f"{root} is not a folder", f"--data {name}")
        if not any(next(Path(root).rglob(pattern), None) for pattern in DATA[name]):
            raise InputError(f"nothing of {name} in {root}", f"--data {name}", f"looked for {', '.join(DATA[name])}")
        found[name] = str(Path(root).resolve())
    return found


def _grid(arguments):
    """{parameter: texts of its values} of the arguments of --grid, NAME=V1,V2 each."""
    grid = {}
    for item in arguments:
        name, sign, values = item.partition("=")
        texts = values.split(",")
        if not sign or not name.isidentifier() or name in ("profile", "seed", notebooks.ROWS) or name.endswith("_root"):
            hint = "profile, seed and folders have options of their own"
            raise InputError(f"{item!r} is not PARAMETER=V1,V2,...", "--grid", hint)
        if name in grid or len(set(texts)) < len(texts):
            raise InputError(f"{item!r}: each parameter and each value once", "--grid")
        grid[name] = texts
    return grid


def _typed(text, default, name, where):
    """The value that a text stands for, of the type of the parameter's default: bool, int, float or str; InputError."""
    words = {"true": True, "false": False}
    try:
        if isinstance(default, bool):
            return words[text.lower()]
        if isinstance(default, (int, float)):
            value = type(default)(text)
            if math.isfinite(value):
                return value
        if isinstance(default, str):
            return text
    except (KeyError, ValueError):
        pass
    raise InputError(f"{text!r} is no value for {name} = {default!r}", f"--grid, {where}", f"its type is {type(default).__name__}")


def _word(value):
    """A value as part of a file's name: other characters than these become a hash."""
    text = str(value).removesuffix(".0")
    return text if re.fullmatch(r"[\w.+-]*", text, re.ASCII) else _digest(text)


def _nets(nets, wanted, values, code):
    """{stem: job} of trainings with their arguments filled in; the stem tells those apart that depend on seed, grid or folders, and a
    training needs the one after which it comes (if the plan has that)."""
    jobs = {}
    for name in wanted:
        net, read = nets[name], set()
        calls = [_filled(c, {**values, "each": each}, read) for each in net.get("each", [None]) for c in net["calls"]]
        apart = [f"seed{values['seed']}/"] if "seed" in read else []
        others = {k: values.get(k, "") for k in sorted(read - {"seed", "profile", "each"})}
        apart += [f"{k}={_word(v)}/" for k, v in others.items() if v != ""]
        here = f"nets/{''.join(apart)}"
        jobs[here + name] = {"kind": "net", "calls": calls, "params": {}, "grid": {}, "gpu": True, "last": False,
                             "needs": [here + net["after"]] if "after" in net else [], "state": _state("net", code, calls)}  # fmt: skip
    return jobs


def _filled(x, values, read):
    """x with "{name}" replaced by values[name] wherever it stands alone; names are added to `read`."""
    if isinstance(x, list):
        return [_filled(y, values, read) for y in x]
    if isinstance(x, dict):
        return {k: _filled(y, values, read) for k, y in x.items()}
    if isinstance(x, str) and re.fullmatch(r"\{\w+\}", x):
        read.add(x[1:-1])
        return None if (value := values.get(x[1:-1], "")) == "" else value
    return x


def _digest(x):
    return hashlib.sha256(json.dumps(x).encode()).hexdigest()[:6]


def _state(source, code, p):
    return hashlib.sha256(json.dumps([source, code, p], sort_keys=True).encode()).hexdigest()[:16]


def _code_hash():
    """Hash of everything a notebook imports from this repository, and of what that reads: weights, the paper's numbers, other seeds."""
    h = hashlib.sha256()
    root = notebooks.ROOT
    read = ("vp/**/*.py", "vp/**/*.html", "notebooks/*.py", "vp/weights/*", "results/paper.csv", "results/rows/*_seeds.jsonl")
    for p in sorted(p for pattern in read for p in root.glob(pattern) if p.is_file()):
        h.update(str(p.relative_to(root)).encode() + p.read_bytes())
    return h.hexdigest()[:16]


def read_rows(jobs, out):
    """The jobs with the state of those that read the others' rows made to depend on these; their own rows do not count."""
    own = {out / f"{stem}.jsonl" for stem, job in jobs.items() if job["last"]}
    hashes = {str(p.relative_to(out)): notebooks.rows_hash(p) for p in results.files(out) if p not in own}
    return {s: {**job, "state": _state(job["state"], "rows", hashes)} if job["last"] else job for s, job in jobs.items()}


# ---- how long ------------------------------------------------------------------------------------------------------------------------


def seconds(jobs, profile, out):
    """{stem: s or None}: what each job took the last time in the run's folder `out`, else in another folder of runs at this profile (the
    same job, else its like with another seed or grid), else in the committed record; None: never timed.

    A training counts with the longest it ever took: the shortest is that of a network found in the cache.
    """
    known = json.loads(RECORD.read_text()).get(profile, {}) if RECORD.exists() else {}
    others = [p for p in sorted(out.parent.glob("*/")) if p != out and (p / "plan.json").exists()]
    for folder in [*others, out]:  # the later, the better
        exact = {stem: f.get("longest", f["seconds"]) for stem, f in records(folder).items() if f.get("profile") == profile}
        known |= {plain(stem): s for stem, s in exact.items()} | exact
    return {stem: known.get(stem, known.get(plain(stem))) for stem in jobs}


def records(folder):
    """{stem: facts} of the jobs that were done in a run's folder."""
    out = {}
    for path in sorted(folder.rglob("*.json")):
        inside = path.relative_to(folder)
        if not any(part.startswith(".") for part in inside.parts) and "seconds" in (facts := read(path)):
            out[inside.with_suffix("").as_posix()] = facts
    return out


def read(file):
    """A JSON object of a file; {} where there is none."""
    try:
        found = json.loads(Path(file).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def plain(stem):
    """A stem without seed and values of a grid: the record of a job serves its like, and a job of a grid does not do the whole notebook."""
    *before, name = stem.split("/")
    if before[:1] == ["nets"]:
        return f"nets/{name}"
    return f"grid/{name}" if any("=" in part for part in before) else name


def levels(jobs, took):
    """{stem: s}: how long a job and the longest chain of jobs that wait for it take; who has most goes first."""
    own = {s: UNTIMED[job["kind"]] if took[s] is None else took[s] for s, job in jobs.items()}
    waiting = {s: [t for t in jobs if s in jobs[t]["needs"]] for s in jobs}

    def level(s):
        return own[s] + max(map(level, waiting[s]), default=0.0)

    return {s: level(s) for s in jobs}


def makespan(jobs, took, cores, gpus=0):
    """s until all jobs are done, longest chains first, on so many cores and GPUs; a job that was never timed counts nothing."""
    order, now, done, running = levels(jobs, took), 0.0, set(), []
    todo = sorted(jobs, key=lambda s: -order[s])
    first = {s for s in jobs if not jobs[s]["last"]}
    cost = {s: np.array([min(job["threads"], cores), int(bool(gpus and job["gpu"]))]) for s, job in jobs.items()}
    free = np.array([cores, gpus])
    while todo or running:
        for s in list(todo):
            ready = all(n in done or n not in jobs for n in jobs[s]["needs"]) and (s in first or first <= done)
            if ready and (cost[s] <= free).all():
                todo.remove(s)
                free = free - cost[s]
                heapq.heappush(running, (now + (took[s] or 0.0), s))
        now, s = heapq.heappop(running)
        done.add(s)
        free = free + cost[s]
    return now


def finished(jobs, out):
    """Stems of jobs that would not run again: their outputs are there, of this state."""
    ends = {"notebook": (".json", ".ipynb", ".jsonl"), "net": (".json",)}
    return {s for s, job in jobs.items() if read(out / f"{s}.json").get("state") == job["state"]
            and all((out / f"{s}{end}").exists() for end in ends[job["kind"]])}  # fmt: skip


def show(jobs, out, cores, gpus, profile):
    """--dry-run: what would run, how long it took in the past, and how long the whole will take; returns the exit code."""
    took, jobs = seconds(jobs, profile, out), read_rows(jobs, out)
    done = finished(jobs, out)
    for s, job in jobs.items():
        minutes = "unknown time" if took[s] is None else f"{took[s] / 60:.1f} min"
        what = "a training that notebooks share" if job["kind"] == "net" else job["params"] or ""
        print(f"{s}: {'done' if s in done else f'to run, {minutes}'}  {what}")
    todo = {s: job for s, job in jobs.items() if s not in done}
    never = sum(took[s] is None for s in todo)
    whole = "unknown time" if never == len(todo) > 0 else f"{makespan(todo, took, cores, gpus) / 60:.1f} minutes from past runs"
    whole += f", and {never} that were never timed" if 0 < never < len(todo) else ""
    whole += ", less where networks are in the cache" if any(job["kind"] == "net" for job in todo.values()) else ""
    print(f"{len(todo)} of {len(jobs)} jobs to run: {whole}; {cores} cores{f', {gpus} GPUs' if gpus else ''}; into {short(out)}")
    return 0


def short(path):
    """The path relative to the current folder when that is shorter."""
    relative = os.path.relpath(path)
    return relative if len(relative) < len(str(path)) else str(path)
