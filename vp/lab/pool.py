"""Several trainings side by side: small networks gain little from a second thread, and a second one trained beside them costs nothing."""

import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed

import torch


def side_by_side(function, calls, label="", processes=None):
    """[function(*call) for call in calls], on a CPU in processes of one thread each, as many as torch has threads; with a line of progress.

    function: importable by name, results small (networks belong into the cache);  processes: 1 or a single call: in this process.  If one
    call raises, the others are stopped and the error is raised here.
    """
    calls = list(calls)
    processes = min(len(calls), processes or (1 if torch.cuda.is_available() else torch.get_num_threads()))
    show = Counter(label, len(calls))
    if processes <= 1:
        return [show.done(function(*call)) for call in calls]
    before = {k: os.environ.get(k) for k in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    os.environ.update(dict.fromkeys(before, "1"))  # read by the new processes when torch is imported
    try:
        with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _one_thread) as pool:
            results = [None] * len(calls)
            try:
                jobs = {pool.submit(function, *call): i for i, call in enumerate(calls)}
                for job in as_completed(jobs):
                    results[jobs[job]] = show.done(job.result())
            except BaseException:
                running = list(pool._processes.values())  # before the shutdown, which forgets them
                pool.shutdown(wait=False, cancel_futures=True)
                for process in running:
                    process.terminate()
                for process in running:
                    process.join()  # a training keeps its state first
                raise
        return results
    finally:
        for k, v in before.items():
            os.environ.pop(k) if v is None else os.environ.__setitem__(k, v)


def _one_thread():
    torch.set_num_threads(1)


class Counter:
    """One line on a terminal: how many of how many are done; silent elsewhere."""

    def __init__(self, label, total):
        self.label, self.total, self.count = label, total, 0

    def done(self, value):
        """Count one, and hand its value through."""
        self.count += 1
        if self.label and sys.stderr.isatty():
            end = "\n" if self.count == self.total else ""
            print(f"\r\033[K{self.label}: {self.count} of {self.total}", end=end, file=sys.stderr, flush=True)
        return value
