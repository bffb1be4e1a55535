"""The training loop: resuming to the bit, stopping politely, refusing nonsense, two processes; on networks of a few weights."""

import math
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest
import torch
from torch import nn

from vp.errors import InputError
from vp.lab.train import Plan, Stopped, train


class Fit(nn.Module):
    """A small network with batch statistics and dropout-free randomness: y = 2 x0 - x1."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.net = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))
        self.steps = 0

    def forward(self, batch):
        x, y = batch
        self.steps += 1
        return {"fit": (self.net(x) - y).square().mean()}


def stream(start, n):
    """Samples start .. start + n - 1; each a function of its number alone."""
    x = torch.stack([torch.randn(2, generator=torch.Generator().manual_seed(1000 + i)) for i in range(start, start + n)])
    return x, (x @ torch.tensor([2.0, -1.0]))[:, None]


PLAN = Plan(steps=60, batch=8, lr=1e-2, schedule="cosine", warmup=0.1, weight_decay=1e-2, clip=1.0, ema=0.9)


def weights(objective):
    return torch.cat([v.flatten().double() for v in objective.state_dict().values()])


def test_learns_and_reports():
    objective = Fit()
    history = train(objective, stream, replace(PLAN, steps=400, lr=3e-2, batch=64, weight_decay=0.0), label=None)
    assert history.losses["fit"][-1] < 0.2 < 2 < history.losses["fit"][0]
    assert history.steps == 400
    assert history.samples == 25_600
    assert history.at[-1] == 400
    assert not objective.training
    assert history.seconds > 0
    assert history.device == "cpu"


def test_against_a_loop_by_hand():
    """Adam without decay, constant rate: the published plan is torch.optim.Adam step by step."""
    ours, hand = Fit(), Fit()
    train(ours, stream, Plan(steps=20, batch=4, lr=1e-3), label=None)
    hand.train()
    optimiser = torch.optim.Adam(hand.parameters(), 1e-3)
    for i in range(20):
        optimiser.zero_grad()
        hand(stream(4 * i, 4))["fit"].backward()
        optimiser.step()
    assert torch.allclose(weights(ours), weights(hand), atol=1e-6)


def test_rate():
    plan = Plan(steps=100, lr=2.0, schedule="cosine", warmup=0.1)
    assert plan.rate(0) == pytest.approx(0.2)
    assert plan.rate(9) > 1.9
    assert plan.rate(50) == pytest.approx(1.0)
    assert plan.rate(99) < 1e-3
    assert {Plan().rate(i) for i in (0, 5, 39_999)} == {1e-4}


def test_moving_average_is_kept():
    """With decay d the kept weights are the recursion of the weights after each step."""
    seen, plan = [], Plan(steps=12, batch=4, lr=1e-2)

    class Watch(Fit):
        def forward(self, batch):
            seen.append([p.detach().clone() for p in self.parameters()])
            return super().forward(batch)

    plain = Watch()
    train(plain, stream, plan, label=None)
    seen.append([p.detach().clone() for p in plain.parameters()])
    expected = seen[0]
    for step in range(12):
        d = min(0.8, (1 + step) / (10 + step))
        expected = [a * d + p * (1 - d) for a, p in zip(expected, seen[step + 1], strict=True)]
    averaged = Fit()
    train(averaged, stream, replace(plan, ema=0.8), label=None)
    for a, e in zip(averaged.parameters(), expected, strict=True):
        assert torch.allclose(a, e, atol=1e-6)


class Interrupted(Fit):
    """Gets Ctrl-C in its n-th step."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def forward(self, batch):
        out = super().forward(batch)
        if self.steps == self.at:
            os.kill(os.getpid(), signal.SIGINT)
        return out


@pytest.mark.parametrize("at", [1, 23, 59])
def test_interrupted_and_resumed_is_the_same_to_the_bit(tmp_path, at, capsys):
    whole = Fit()
    history = train(whole, stream, PLAN, label=None)
    path = tmp_path / "net.state"
    with pytest.raises(Stopped):
        train(Interrupted(at), stream, PLAN, path, label="net")
    assert f"stopped after step {at}, --resume goes on" in capsys.readouterr().err
    assert path.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["net.state"]
    resumed = Fit()
    again = train(resumed, stream, PLAN, path, resume=True, label=None)
    assert torch.equal(weights(whole), weights(resumed))
    assert again.losses == history.losses
    assert again.at == history.at
    assert again.steps == 60
    assert resumed.steps == 60 - at
    assert not path.exists()


def test_same_seed_same_bits():
    a, b = Fit(), Fit()
    train(a, stream, PLAN, label=None)
    train(b, stream, PLAN, label=None)
    assert torch.equal(weights(a), weights(b))


def test_state_is_saved_from_time_to_time(tmp_path):
    path = tmp_path / "x.state"
    times = []

    class Watch(Fit):
        def forward(self, batch):
            times.append(torch.load(path, weights_only=True)["step"])
            return super().forward(batch)

    train(Watch(), stream, replace(PLAN, steps=30), path, label=None, every=0.0)
    assert times == [0] * 10 + [10] * 10 + [20] * 10


def test_other_plan_or_network_is_refused(tmp_path):
    path = tmp_path / "x.state"
    with pytest.raises(Stopped):
        train(Interrupted(5), stream, PLAN, path, label=None)
    with pytest.raises(InputError, match=r"another plan .*lr = 0.01"):
        train(Fit(), stream, replace(PLAN, lr=0.1), path, resume=True, label=None)
    other = Fit()
    other.net.append(nn.Linear(1, 1))
    with pytest.raises(InputError, match="other networks"):
        train(other, stream, PLAN, path, resume=True, label=None)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="not a state of training"):
        train(Fit(), stream, PLAN, path, resume=True, label=None)


def test_without_resume_it_begins_anew(tmp_path):
    path = tmp_path / "x.state"
    with pytest.raises(Stopped):
        train(Interrupted(5), stream, PLAN, path, label=None)
    fresh = Fit()
    train(fresh, stream, PLAN, path, label=None)
    assert fresh.steps == 60


def test_nan_stops_with_an_explanation_and_spares_the_weights():
    class Broken(Fit):
        def forward(self, batch):
            loss = super().forward(batch)["fit"]
            return {"fit": loss, "extra": loss * (math.nan if self.steps == 7 else 0.0)}

    objective = Broken()
    with pytest.raises(RuntimeError, match=r"step 7 .*extra nan.*learning rate 0.01.*clip=1"):
        train(objective, stream, replace(PLAN, schedule="constant", warmup=0.0), label=None)
    assert torch.isfinite(weights(objective)).all()


def test_unknown_schedule():
    with pytest.raises(InputError, match="no schedule"):
        train(Fit(), stream, Plan(schedule="linear"), label=None)


def test_one_line_of_progress(capsys):
    train(Fit(), stream, PLAN, label="net")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("net: step 60/60, fit ")
    assert "samples/s" in lines[0]


SCRIPT = """
    import sys, torch
    torch.set_num_threads(1)
    sys.path.insert(0, {tests!r})
    from test_train import PLAN, Fit, Interrupted, stream, weights
    from vp.lab.train import Stopped, processes, train
    from dataclasses import replace
    from torch import nn

    class Plain(Fit):  # without batch statistics, two halves of a batch are the whole batch
        def __init__(self, at=None):
            super().__init__()
            self.net, self.at = nn.Sequential(self.net[0], self.net[2], self.net[3]), at

        def forward(self, batch):
            assert len(batch[0]) == PLAN.batch // processes()[1]
            out = super().forward(batch)
            if self.steps == self.at and processes()[0] == 0:
                import os, signal
                os.kill(os.getpid(), signal.SIGTERM)
            return out

    out, at, resume = sys.argv[1], int(sys.argv[2]) or None, sys.argv[3] == "resume"
    net = Plain(at)
    try:
        train(net, stream, PLAN, out + ".state", resume=resume, label="two")
    except Stopped:
        sys.exit(0)
    if processes()[0] == 0:
        torch.save(weights(net), out)
"""


def test_two_processes_train_like_one_and_resume(tmp_path):
    """torchrun, two processes (gloo): the same weights as in one process, also when interrupted and resumed."""
    script = tmp_path / "run.py"
    script.write_text(textwrap.dedent(SCRIPT.format(tests=os.path.dirname(__file__))))
    environment = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")} | {"OMP_NUM_THREADS": "1"}

    def run(n, name, at=0, resume=False):
        launcher = [sys.executable] if n == 1 else [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n}"]
        command = [*launcher, str(script), str(tmp_path / name), str(at), "resume" if resume else "anew"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stderr

    run(1, "one")
    err = run(2, "two")
    assert err.count("two: step 60/60") == 1, "one line of progress, from the first process"
    run(2, "cut", at=20)
    assert (tmp_path / "cut.state").exists()
    assert not (tmp_path / "cut").exists()
    run(2, "cut", resume=True)
    one, two, cut = (torch.load(tmp_path / n, weights_only=True) for n in ("one", "two", "cut"))
    assert torch.allclose(one, two, atol=1e-5)
    assert torch.equal(two, cut)
