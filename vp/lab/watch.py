"""What the batch says: one line of progress, a table of seconds and memory, what failed and why."""

import json
import math
import shutil
import sys
import time

from vp.lab import results
from vp.lab.plan import finished, short

FULL = 65536  # bytes: a disk with less is full


def flat(stem):
    """A stem as a file's name."""
    return stem.replace("/", "--")


def mark(out, stem):
    """File in which a running job tells its cell; beside it, with the suffix .error, why it failed."""
    return out / ".progress" / (flat(stem) + ".cell")


def progress(process, jobs, out, key):
    """One line: jobs done, what is running and at which cell.  On a terminal it is redrawn, elsewhere each job is one line at its end."""
    start, said, live = time.time(), set(), sys.stdout.isatty()
    begun = {stem: (out / f"{stem}.json").stat().st_mtime_ns for stem in jobs if (out / f"{stem}.json").exists()}
    while True:
        ended = process.poll() is not None
        running = []
        for stem in jobs:
            now, facts = mark(out, stem), out / f"{stem}.json"
            if facts.exists() and facts.stat().st_mtime_ns != begun.get(stem) and stem not in said:
                said.add(stem)
                if not live:
                    print(f"  {stem}: {json.loads(facts.read_text())['seconds']} s", flush=True)
            elif now.exists() and stem not in said and not now.with_suffix(".error").exists():
                cell = now.read_text()
                running.append(stem + (f" cell {cell}" if cell else ""))
        if live:
            text = f"{key}: {len(said)} of {len(jobs)} jobs run, {time.time() - start:.0f} s" + "".join(f" | {r}" for r in running)
            print(f"\r\x1b[K{text[: shutil.get_terminal_size().columns - 1]}", end="\n" if ended else "", flush=True)
        if ended:
            return
        time.sleep(0.2)


def failures(jobs, out, ended_well):
    """{stem: why} of the jobs that failed, were killed or waited in vain."""
    told = {stem: mark(out, stem).with_suffix(".error") for stem in jobs}
    failed = {stem: stem + p.read_text() for stem, p in told.items() if p.exists()}
    if ended_well:
        return failed
    done = finished(jobs, out)
    why = "the disk is full" if shutil.disk_usage(out).free < FULL else "killed, out of memory?"
    for stem, job in jobs.items():
        if stem not in failed and stem not in done:
            vain = [n for n in job["needs"] if n in failed]
            failed[stem] = f"{stem}: " + (f"not run, {vain[0]} failed" if vain else f"stopped without a word ({why})")
    return failed


def table(jobs, out):
    """Seconds and peak memory of each job, from the record each one left."""
    width = max(map(len, jobs))
    print(f"{'job':{width}}  seconds  peak MB")
    for stem in jobs:
        facts = out / f"{stem}.json"
        if facts.exists():
            f = json.loads(facts.read_text())
            print(f"{stem:{width}}  {f['seconds']:7.1f}  {f['peak_mb']:7d}")


def clashes(files):
    """{file: why} of files of rows that hold another number than an earlier file for the same measurement (`results.IDENTITY`)."""
    seen, found = {}, {}
    for file in files:
        for r in results.load(file):
            key = tuple(r[c] for c in results.IDENTITY)
            first, value = seen.setdefault(key, (file, r["value"]))
            same = value == r["value"] or (math.isnan(value) and math.isnan(r["value"]))
            if first != file and not same:
                what = f"{r['experiment']}, {r['method']}, {r['test']}, {r['metric']}"
                found.setdefault(file, f"its rows cannot be told from those of {short(first)} ({what}): {r['value']:g} and {value:g}")
    return found
