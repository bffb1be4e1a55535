"""Calls side by side: order, errors, processes, and that an interrupted one leaves nobody behind."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch

from vp.lab.pool import Counter, side_by_side


def square(x):
    return x * x


def where(x):
    time.sleep(0.2)  # so that one process cannot do it all
    return os.getpid(), os.environ.get("OMP_NUM_THREADS"), torch.get_num_threads(), x


def fails(folder, x):
    Path(folder, str(os.getpid())).touch()
    if x == 0:
        time.sleep(1.0)  # the other one is at work by then
        raise ValueError("the first one fails")
    time.sleep(60)


def test_one_process_is_this_one():
    assert side_by_side(square, [(i,) for i in range(5)], processes=1) == [0, 1, 4, 9, 16]
    assert side_by_side(lambda: os.getpid(), [()], processes=4) == [os.getpid()]  # a single call needs no other process
    assert side_by_side(square, []) == []
    with pytest.raises(ZeroDivisionError):
        side_by_side(lambda x: 1 / x, [(0,), (1,)], processes=1)


def test_two_processes_of_one_thread_each(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    said = side_by_side(where, [(i,) for i in range(6)], processes=2)
    assert [x for *_, x in said] == list(range(6))  # in the order of the calls
    assert len({pid for pid, *_ in said}) == 2
    assert os.getpid() not in {pid for pid, *_ in said}
    assert {(n, threads) for _, n, threads, _ in said} == {("1", 1)}
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


def running(pid):
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def begun(folder, n, seconds=30):
    """Ids of the n processes that wrote themselves down."""
    end = time.monotonic() + seconds
    while len(found := [int(f.name) for f in folder.iterdir()]) < n:
        assert time.monotonic() < end, f"{len(found)} of {n} processes began"
        time.sleep(0.05)
    return found


def test_an_error_is_raised_and_stops_the_others(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    began = time.monotonic()
    with pytest.raises(ValueError, match="the first one fails"):
        side_by_side(fails, [(tmp_path, i) for i in range(4)], processes=2)
    assert time.monotonic() - began < 40  # it did not wait a minute for the others
    assert not any(map(running, begun(tmp_path, 1)))
    assert os.environ["OMP_NUM_THREADS"] == "7"


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_leaves_no_process(tmp_path):
    script, folder = tmp_path / "script.py", tmp_path / "pids"
    folder.mkdir()
    script.write_text(textwrap.dedent(f"""
        import os, signal, sys, time
        from pathlib import Path

        from vp.lab.pool import side_by_side

        def long(i):
            Path({str(folder)!r}, str(os.getpid())).touch()
            time.sleep(60)

        if __name__ == "__main__":
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job begins without
            try:
                side_by_side(long, [(i,) for i in range(4)], processes=2)
            except KeyboardInterrupt:
                sys.exit(7)
    """))
    root = Path(__file__).parents[1]
    job = subprocess.Popen([sys.executable, script], env={**os.environ, "PYTHONPATH": str(root)}, stderr=subprocess.DEVNULL)
    try:
        pids = begun(folder, 2)
        job.send_signal(signal.SIGINT)  # to the parent alone
        assert job.wait(20) == 7
        assert not any(map(running, pids))
    finally:
        job.kill()


def test_progress_is_for_terminals(capsys, monkeypatch):
    assert Counter("trainings", 3).done("x") == "x"
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    counter = Counter("trainings", 2)
    counter.done(None), counter.done(None), Counter("", 1).done(None)
    assert capsys.readouterr().err.replace("\r\033[K", "|") == "|trainings: 1 of 2|trainings: 2 of 2\n"
