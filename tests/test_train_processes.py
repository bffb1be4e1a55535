"""The second stage trained by two processes under torchrun (gloo), interrupted and resumed: `vp train` itself at the sizes of `smoke`."""

import json
import os
import subprocess
import sys
import textwrap

import pytest
import torch

from vp.lab.profiles import resolve
from vp.nets import checkpoints

STEPS = resolve("smoke").second_stage.together.steps  # and as many of the DE alone
SCRIPT = """
    # `vp train`, with a list of its steps in LOG; where STOP is set, the last process asks to stop in the middle of that step
    import json, os, signal, sys, time
    import vp.lab.second_stage as stage
    from vp.__main__ import main

    rank, stop, steps = int(os.environ["RANK"]), json.loads(os.environ["STOP"]), []

    def noted(part, forward):
        def step(self, batch):
            steps.append(part)
            with open(os.environ["LOG"] + f".{rank}", "w") as f:
                json.dump(steps, f)
            if rank == 1 and stop and (part, steps.count(part)) == (stop["part"], stop["step"]):
                os.kill(os.getppid() if stop["who"] == "launcher" else os.getpid(), signal.Signals[stop["signal"]])
                time.sleep(1.0)  # the launcher passes it on while the step lasts
            return forward(self, batch)
        return step

    for part in (stage.DepthAlone, stage.Jointly):
        part.forward = noted(part.__name__, part.forward)
    sys.exit(main(sys.argv[1:]))
"""
slow = pytest.mark.skipif(not os.environ.get("VP_SLOW"), reason="two more starts of torchrun: set VP_SLOW=1")


def start(folder, name, *options, stop=None):
    """torchrun, two processes of `vp train` to folder/nets/NAME.safetensors, under way; they list their steps in folder/NAME.log.RANK."""
    script = folder / "run.py"
    script.write_text(textwrap.dedent(SCRIPT))
    environment = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    environment |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "STOP": json.dumps(stop), "LOG": str(folder / f"{name}.log")}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    command = [*launcher, "train", "--profile", "smoke", "--out", str(folder / "nets" / f"{name}.safetensors"), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def end(run):
    """(exit code, stdout, stderr) of what was started."""
    try:
        out, err = run.communicate(timeout=240)
    finally:
        run.terminate()
    return run.returncode, out, err


def steps(folder, name):
    """How often each process has computed a step of the DE alone and of all together: [{part: times}] * 2, and forget."""
    counts = []
    for rank in range(2):
        log = folder / f"{name}.log.{rank}"
        done = json.loads(log.read_text())
        counts.append({part: done.count(part) for part in dict.fromkeys(done)})
        log.unlink()
    return counts


def trained(folder, name):
    """Weights and histories of losses in folder/name.safetensors."""
    tensors, facts = checkpoints.load(folder / "nets" / f"{name}.safetensors")
    return tensors, facts["losses"], facts["at"], {part: h["steps"] for part, h in facts["training"].items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("torchrun")


@pytest.fixture(scope="module")
def whole(folder):
    """What gives the end of a training that nobody interrupts; it goes on while the first interrupted one does, which saves time."""
    run, ended = start(folder, "whole"), []
    yield lambda: ended or ended.extend(end(run)) or ended
    run.terminate()


@pytest.mark.parametrize(
    ("part", "step", "who", "sign"),
    [
        ("Jointly", 2, "launcher", "SIGINT"),
        pytest.param("Jointly", STEPS - 1, "process", "SIGTERM", marks=slow),
        pytest.param("DepthAlone", 2, "launcher", "SIGTERM", marks=slow),
    ],
    ids=["Ctrl-C", "one process is asked", "while DE is alone"],
)
def test_two_processes_resume_the_second_stage_to_the_bit(folder, whole, part, step, who, sign):
    """Ctrl-C at torchrun, or a polite kill of one of its processes; then --resume: the weights of a run that was not interrupted, each bit.

    Bits agree because two gradients have one sum, in whichever order they are added; of more processes that is not promised.
    """
    code, _, err = end(start(folder, "cut", stop={"part": part, "step": step, "who": who, "signal": sign}))
    assert code != 0
    assert err.count(f"(stopped after step {step}, --resume goes on from there)") == 1, err[-2000:]
    assert not (folder / "nets" / "cut.safetensors").exists()
    name = {"DepthAlone": "DE", "Jointly": "all"}[part]
    assert torch.load(folder / "nets" / f"cut.{name}.state", weights_only=True)["step"] == step
    assert [done[part] for done in steps(folder, "cut")] == [step, step]
    code, out, err = whole()
    assert code == 0, err[-2000:]
    assert (err.count(f"step {STEPS}/{STEPS}"), out.count("trained in")) == (2, 1), "one process speaks: a line for DE alone, one for all"

    code, _, err = end(start(folder, "cut", "--resume"))
    assert code == 0, err[-2000:]
    left = {"DepthAlone": {"DepthAlone": STEPS - step, "Jointly": STEPS}, "Jointly": {"Jointly": STEPS - step}}[part]
    assert steps(folder, "cut") == [left, left], "what was computed before is not computed again"
    (tensors, *known), (reference, *expected) = trained(folder, "cut"), trained(folder, "whole")
    assert known == expected
    assert known[-1] == {"DE": STEPS, "all": STEPS}
    assert tensors.keys() == reference.keys()
    assert [k for k in tensors if not torch.equal(tensors[k], reference[k])] == []
    assert sorted(p.name for p in (folder / "nets").iterdir()) == ["cut.safetensors", "whole.safetensors"]
    (folder / "nets" / "cut.safetensors").unlink()
