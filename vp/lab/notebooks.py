"""Executing notebooks with papermill: strictly, atomically, with the time and memory they took.

A notebook declares its parameters in the cell tagged `parameters`.  Papermill only warns of an unknown one; here it is an error.
`python -m vp.lab.notebooks` re-executes the committed notebooks that are stale (their source or their rows changed).
"""

import argparse
import ast
import contextlib
import hashlib
import json
import os
import re
import resource
import shutil
import sys
import tempfile
import time
import warnings
from pathlib import Path

from vp.errors import InputError
from vp.lab import results

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("VP_NOTEBOOKS") or ROOT / "notebooks").resolve()


def names():
    """Names of the ordered notebooks and of essence, as they are run."""
    return sorted(p.stem for p in FOLDER.glob("*.ipynb"))


def parameters(path):
    """{name: default} of a notebook's parameters: the assignments of its cell tagged `parameters` (literals, one a line)."""
    for cell in json.loads(Path(path).read_text())["cells"]:
        if "parameters" in cell["metadata"].get("tags", []):
            try:
                lines = ast.parse("".join(cell["source"])).body
                return {(x.target if isinstance(x, ast.AnnAssign) else x.targets[0]).id: ast.literal_eval(x.value) for x in lines}
            except (SyntaxError, ValueError, AttributeError):
                raise InputError("the cell tagged parameters is not one literal assignment per line", path) from None
    return {}


ROWS = "rows_root"  # a notebook with this parameter reads the rows of all others: it comes last
TRAINS = "trains"  # tag of the parameters cell of a notebook that trains networks, or wants trained ones


def trains(nb):
    """Whether a notebook has the tag `trains`."""
    return any({"parameters", TRAINS} <= set(c["metadata"].get("tags", ())) for c in nb["cells"])


def most_threads(profile):
    """Threads of a job that trains: 1 for networks of a laptop's size (they gain little from a second one, two jobs side by side gain all,
    and numbers depend on the threads but must not on the machine), else 4."""
    return 1 if results.name_and_budget(profile)[0] in ("smoke", "quick") else 4


def threads(nb, profile="quick"):
    """Threads of a notebook: `most_threads` if it trains, else 1."""
    return most_threads(profile) if trains(nb) else 1


class CellFailed(RuntimeError):
    """A cell of a notebook raised: `notebook`, `cell` (its number among the code cells) and the error in one line."""


def execute(name, out, params=None, env=None, timeout_s=1800, progress=None, grid=None, about=None):
    """Run notebooks/NAME.ipynb into folder `out`: NAME.ipynb, NAME.jsonl (its rows) and NAME.json (seconds, `peak_mb`).

    params: {parameter: value}; env: further environment of the kernel; timeout_s: per cell; progress: a file told "cell/cells"; grid: those
    of the parameters that are varied, which become part of each row's `config`; about: further facts for NAME.json.

    The files appear at the end, by renaming, the notebook last.  InputError for an unknown parameter; CellFailed when a cell raises or
    times out (the notebook so far is then kept as NAME.failed.ipynb).
    """
    import papermill
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    path, out, params = FOLDER / f"{name}.ipynb", Path(out), params or {}
    known = parameters(path)
    for unknown in sorted(set(params) - set(known)):
        raise InputError(f"unknown parameter {unknown!r}", path.name, f"it has {', '.join(known)}")
    out.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=out))
    rows, start, sockets = work / "rows.jsonl", time.time(), tempfile.mkdtemp(prefix="vp-")
    if len(sockets) > 80:  # a socket's path has at most some 100 characters
        os.rmdir(sockets)
        sockets = tempfile.mkdtemp(prefix="vp-", dir="/tmp")
    rows.touch()
    try:
        _register_engine(progress)
        quiet = {"PYTHONWARNINGS": "ignore::DeprecationWarning", "OMP_WAIT_POLICY": "PASSIVE"}  # waiting threads leave the core to others
        with _environment({**(env or {}), **quiet, "VP_ROWS": str(rows)}), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            papermill.execute_notebook(
                str(path), str(work / "nb.ipynb"), params, kernel_name="python3", engine_name="vp", cwd=str(FOLDER),
                execution_timeout=timeout_s, progress_bar=False, log_output=False, store_widget_state=False,
                config=Config(KernelManager={"transport": "ipc", "ip": f"{sockets}/k"}),  # no ports that two kernels could race for
            )  # fmt: skip
    except PapermillExecutionError as e:
        _keep(work / "nb.ipynb", out / f"{name}.failed.ipynb")
        raise CellFailed(f"{name}, cell [{e.exec_count}]: {e.ename}: {str(e.evalue).splitlines()[0] if e.evalue else ''}") from None
    except Exception as e:  # a dead kernel, a timeout
        _keep(work / "nb.ipynb", out / f"{name}.failed.ipynb")
        raise CellFailed(f"{name}: {type(e).__name__}: {(str(e).splitlines() or [''])[0]}") from None
    else:
        facts = {"seconds": round(time.time() - start, 1), "peak_mb": results.peak_mb(resource.RUSAGE_CHILDREN)}
        nb = json.loads((work / "nb.ipynb").read_text())
        own = [c for c in nb["cells"] if "injected-parameters" not in c["metadata"].get("tags", ())]
        about = {"source": source_hash({"cells": own}), "params": params, **(about or {})}
        (work / "facts.json").write_text(json.dumps({**facts, **about}))
        if grid:
            told = [json.loads(line) for line in rows.read_text().splitlines()]
            words = ", ".join(f"{k}={v}" for k, v in grid.items())
            told = [{**r, "config": f"{results.config_hash(r.get('config'))} {words}"} for r in told]
            rows.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in told))
        for cell in nb["cells"]:
            if cell["cell_type"] == "markdown":  # links that are meant from the folder of the notebooks
                cell["source"] = re.sub(r"(?<=\]\()[^)#:]+(?=\))", lambda m: _link(m[0], out), "".join(cell["source"]))
        (work / "nb.ipynb").write_text(json.dumps(nb, indent=1, ensure_ascii=False))
        os.replace(rows, out / f"{name}.jsonl")
        os.replace(work / "facts.json", out / f"{name}.json")
        os.replace(work / "nb.ipynb", out / f"{name}.ipynb")
        (out / f"{name}.failed.ipynb").unlink(missing_ok=True)
        return facts
    finally:
        shutil.rmtree(work, ignore_errors=True)
        shutil.rmtree(sockets, ignore_errors=True)


def _keep(made, kept):
    """Move what there is of a failed notebook to where it is kept, if it is whole (a disk may have been full)."""
    with contextlib.suppress(OSError, ValueError):
        json.loads(made.read_text())
        os.replace(made, kept)


def _link(target, out):
    there = FOLDER / target
    return os.path.relpath(there, out) if there.exists() else target


@contextlib.contextmanager
def _environment(changes):
    before = dict(os.environ)
    os.environ.update(changes)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _register_engine(progress):
    """Papermill's own engine, which also writes "cell/cells" into the file `progress` after each cell."""
    from papermill.engines import NBClientEngine, papermill_engines

    class Engine(NBClientEngine):
        @classmethod
        def execute_managed_notebook(cls, nb_man, kernel_name, **kwargs):
            finished, total, complete = 0, sum(c.cell_type == "code" for c in nb_man.nb.cells), nb_man.cell_complete

            def cell_complete(cell, *args, **kw):
                nonlocal finished
                finished += cell.cell_type == "code"
                if progress:
                    Path(progress).write_text(f"{finished}/{total}")
                complete(cell, *args, **kw)

            nb_man.cell_complete = cell_complete
            return super().execute_managed_notebook(nb_man, kernel_name, **kwargs)

    papermill_engines.register("vp", Engine)


# ---- the committed notebooks -----------------------------------------------------------------------------------------------------


def source_hash(nb):
    """Hash of what a notebook *is*: cell types, sources and tags; outputs and execution counts do not matter."""
    cells = [(c["cell_type"], "".join(c["source"]), sorted(c["metadata"].get("tags", []))) for c in nb["cells"]]
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()[:16]


def rows_hash(path):
    """Hash of a rows file without its provenance columns; "" where there is none."""
    if not Path(path).exists():
        return ""
    rows = [json.loads(line) for line in Path(path).read_text().splitlines()]
    rows = [{k: v for k, v in row.items() if k not in results.PROVENANCE_COLUMNS} for row in rows]
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:16]


def read_hash(name):
    """Hash of the committed rows of others that NAME reads: all, or those of other seeds; "" where it reads none."""
    path = FOLDER / f"{name}.ipynb"
    seeds = re.search(r"\b(g|generalization)\.by_seed\(", path.read_text()) and "generalization_seeds.jsonl"
    read = sorted((ROOT / "results" / "rows").glob("*.jsonl" if ROWS in parameters(path) else seeds or "nothing"))
    others = {p.name: rows_hash(p) for p in read if p.stem != name}
    return hashlib.sha256(json.dumps(others).encode()).hexdigest()[:16] if others else ""


def stale(name):
    """Why the committed NAME.ipynb must be executed again, or "" when it is up to date."""
    nb = json.loads((FOLDER / f"{name}.ipynb").read_text())
    mark = nb["metadata"].get("vp", {})
    if not mark:
        return "never executed"
    if mark.get("source") != source_hash(nb):
        return "its source changed"
    if mark.get("rows") != rows_hash(ROOT / "results" / "rows" / f"{name}.jsonl"):
        return "its rows changed"
    return "" if mark.get("read", "") == read_hash(name) else "the rows that it reads changed"


def refresh(name, profile="quick"):
    """Execute NAME at `profile` with its defaults and put notebook and rows in place (offline, no widget state, no paths, no times)."""
    from vp.lab import profiles  # torch, which the job of a notebook does without

    timeout_s, n = profiles.resolve(profile).cell_timeout_s, threads(json.loads((FOLDER / f"{name}.ipynb").read_text()), profile)
    with tempfile.TemporaryDirectory() as out:
        execute(name, out, env={"VP_PROFILE": profile, "OMP_NUM_THREADS": str(n)}, timeout_s=timeout_s)
        _put(name, Path(out), profile)


def _put(name, made, profile):
    """Put the executed notebook and its rows of folder `made` in place: the committed source, no marks of how it was run."""
    nb = json.loads((made / f"{name}.ipynb").read_text())
    nb["cells"] = [c for c in nb["cells"] if "injected-parameters" not in c["metadata"].get("tags", ())]
    original = json.loads((FOLDER / f"{name}.ipynb").read_text())
    for cell, before in zip(nb["cells"], original["cells"], strict=True):
        cell["source"] = before["source"]
    rows, new = ROOT / "results" / "rows" / f"{name}.jsonl", made / f"{name}.jsonl"
    rows.parent.mkdir(parents=True, exist_ok=True)
    if new.stat().st_size:  # unchanged rows keep their provenance, if it is a committed revision
        if rows_hash(new) != rows_hash(rows) or any((r["git"] or "").endswith("+") for r in results.load(rows)):
            shutil.copy(new, rows)
    else:
        rows.unlink(missing_ok=True)
    for count, cell in enumerate((c for c in nb["cells"] if c["cell_type"] == "code"), 1):
        cell["execution_count"] = count
        for output in cell["outputs"]:
            if "execution_count" in output:
                output["execution_count"] = count
    for cell in nb["cells"]:
        cell["metadata"] = {k: v for k, v in cell["metadata"].items() if k in ("tags", "jupyter")}
        if cell["metadata"].get("tags") == []:
            del cell["metadata"]["tags"]
        for output in cell.get("outputs", ()):  # a widget without a kernel shows an error; its still shows itself
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
    spec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    nb["metadata"] = {"kernelspec": spec, "language_info": {"name": "python"}}
    nb["metadata"]["vp"] = {"profile": profile, "source": source_hash(nb), "rows": rows_hash(rows)}
    if read := read_hash(name):
        nb["metadata"]["vp"]["read"] = read
    results.write_atomic(FOLDER / f"{name}.ipynb", json.dumps(nb, indent=1, ensure_ascii=False) + "\n")


def unlike(name, folder, profile):
    """Why what `vp reproduce` left of NAME in a folder is not what `refresh` would write, or "" where it is."""
    known = parameters(FOLDER / f"{name}.ipynb")
    made = folder / "seed0" if "seed" in known else folder
    if ROWS in known:
        return "it reads the committed rows, not the run's"
    if not all((made / f"{name}{end}").exists() for end in (".ipynb", ".jsonl", ".json")):
        return "not finished there"
    facts = json.loads((made / f"{name}.json").read_text())
    if facts.get("source") != source_hash(json.loads((FOLDER / f"{name}.ipynb").read_text())):
        return "its source is another one now"
    if facts.get("profile") != profile:
        return f"it was run at {facts.get('profile')}"
    other = [f"{k} = {v!r}" for k, v in facts["params"].items() if v != {**known, "profile": profile, "seed": 0}.get(k)]
    return f"it was run with {', '.join(other)}" if other else ""


def take(folder, todo, profile):
    """Put the notebooks and rows of a finished `vp reproduce` in place, as a re-execution would; returns {name: why not} of the others.

    The time that each job took goes into results/minutes.json.
    """
    folder, refused = Path(folder), {}
    for name in todo:
        if why := unlike(name, folder, profile):
            refused[name] = why
        else:
            _put(name, folder / "seed0" if "seed" in parameters(FOLDER / f"{name}.ipynb") else folder, profile)
    if len(refused) == len(todo):
        return refused
    from vp.lab.plan import RECORD, plain, read, records

    took = {plain(s): f.get("longest", f["seconds"]) for s, f in records(folder).items() if f.get("profile") == profile}
    record = read(RECORD)
    record[profile] = dict(sorted({**record.get(profile, {}), **took}.items()))
    results.write_atomic(RECORD, json.dumps(record, indent=1) + "\n")
    return refused


def _train(todo, profile):
    """Make the trainings that these notebooks share, side by side."""
    from vp.lab import plan, reproduce

    jobs, key = plan.plan(profile, todo)
    nets = {s: job for s, job in jobs.items() if job["kind"] == "net"}
    failed = reproduce.run(nets, ROOT / "runs" / key, profile, os.cpu_count() or 1, reproduce.visible_gpus()) if nets else {}
    if failed:
        raise RuntimeError("; ".join(failed.values()))


def main(argv=None):
    """`make notebooks`: refresh what is stale (or all, or the named ones), or take it from a finished run."""
    from vp.lab import profiles

    parser = argparse.ArgumentParser(description="re-execute the committed notebooks that are stale")
    parser.add_argument("names", nargs="*", help="only these")
    parser.add_argument("--all", action="store_true", help="also those that are up to date")
    parser.add_argument("--check", action="store_true", help="only say which are stale (exit code 1 if any)")
    parser.add_argument("--from", dest="run", metavar="DIR", help="of a finished `vp reproduce`: take notebooks and rows from there")
    parser.add_argument("--profile", default="quick")
    args = parser.parse_args(argv)
    profiles.resolve(args.profile)
    if args.run and not Path(args.run).is_dir():
        raise InputError(f"{args.run} is not a folder", "--from")
    chosen = sorted(args.names or names(), key=lambda n: ROWS in parameters(FOLDER / f"{n}.ipynb"))  # those that read rows last
    refused = take(args.run, chosen, args.profile) if args.run else {}
    for name, why in refused.items():
        print(f"{name}: not taken, {why}")
    if args.run:
        chosen = [n for n in chosen if ROWS in parameters(FOLDER / f"{n}.ipynb")]
    todo = {n: stale(n) or ("named" if args.names else "all") for n in chosen if args.all or args.names or stale(n)}
    if todo and not args.check and not args.run:
        _train(list(todo), args.profile)
    for name, why in todo.items():
        print(f"{name}: {why}", flush=True)
        if not args.check:
            refresh(name, args.profile)
    if not todo and not args.run:
        print("every committed notebook is up to date")
    return int(bool((args.check and todo) or refused.keys() - todo.keys()))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (InputError, RuntimeError) as e:
        print(e, file=sys.stderr)
        sys.exit(2 if isinstance(e, InputError) else 1)
