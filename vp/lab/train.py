"""The training loop, one for every network of the project.

An *objective* is a module whose forward takes a batch and returns its weighted losses by name; their sum is minimised.  A batch comes from
`batch_of(start, n)`: samples start .. start + n - 1 of an endless stream, made on the device, the same whenever they are asked for.  So
nothing but weights, optimiser and a step number has to be kept for an interrupted run to go on as if it had not been interrupted: on a CPU
to the last bit.

Several processes (torchrun) share each batch: process r of w takes its r-th part, gradients are averaged (DistributedDataParallel).
"""

import contextlib
import copy
import io
import math
import os
import signal
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import distributed

from vp.errors import InputError
from vp.lab.results import write_atomic


@dataclass(frozen=True)
class Plan:
    """How long and how to train; defaults are the published ones (1.3)."""

    steps: int = 40_000
    batch: int = 24  # of all processes together
    lr: float = 1e-4
    schedule: str = "constant"  # or "cosine": down to 0 at the last step (not in the paper)
    warmup: float = 0.0  # share of the steps in which the rate rises to lr (not in the paper)
    weight_decay: float = 0.0  # AdamW; at 0 that is Adam
    clip: float | None = None  # largest norm of the gradient (not in the paper)
    ema: float | None = None  # decay of the moving average of the weights, which is what is kept then (not in the paper)
    bf16: bool = True  # mixed precision, on a GPU that has it (not in the paper)
    seed: int = 0

    def rate(self, step):
        """Learning rate of a step (from 0)."""
        rise = min(1.0, (step + 1) / (self.warmup * self.steps)) if self.warmup else 1.0
        fall = 0.5 + 0.5 * math.cos(math.pi * step / self.steps) if self.schedule == "cosine" else 1.0
        return self.lr * rise * fall


@dataclass
class History:
    """What a training was: losses by name, one entry per recorded step; steps, samples seen, seconds (of all its parts), device."""

    losses: dict = field(default_factory=dict)
    at: list = field(default_factory=list)
    steps: int = 0
    samples: int = 0
    seconds: float = 0.0
    device: str = "cpu"


class Stopped(KeyboardInterrupt):
    """Ctrl-C or a polite kill: the state has been saved."""


def processes():
    """(rank, number) of processes; joins them when torchrun started this one (NCCL on GPUs, else gloo)."""
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return 0, 1
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return distributed.get_rank(), distributed.get_world_size()


def default_device():
    """The GPU of this process if there is one, else the CPU."""
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def train(objective, batch_of, plan, path=None, resume=False, device=None, label="", every=60.0, record=10, about=""):
    """Train an objective in place; returns its `History`.

    objective: module, batch -> {name: weighted loss};  batch_of(start, n): see above, on `device`;  path: of the training state, written
    every `every` seconds and removed at the end;  resume: go on from it if it is there;  record: steps per entry of the history;
    about: whatever else a state to go on from must agree in (a hash of the data).
    InputError: the state is of another plan, of other data or networks.  RuntimeError: a loss is not finite.  `Stopped` after Ctrl-C.
    """
    rank, world = processes()
    device = torch.device(device or default_device())
    if plan.batch % world:
        raise InputError(f"a batch of {plan.batch} does not divide among {world} processes", "train", "choose a multiple")
    if plan.schedule not in ("constant", "cosine"):
        raise InputError(f"no schedule {plan.schedule!r}", "train", "constant or cosine")
    objective.to(device).train()
    trained = [p for p in objective.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, plan.lr, weight_decay=plan.weight_decay)
    average = copy.deepcopy(objective).requires_grad_(False) if plan.ema else None
    history = History(device=str(device) if device.type == "cpu" else torch.cuda.get_device_name(device))
    state = _State(objective, optimiser, average, history, plan, Path(path) if path else None, rank, about)
    first = state.load(device) if resume and path and Path(path).exists() else 0
    wrapped = objective
    if world > 1:
        ids = [device.index] if device.type == "cuda" else None
        may_skip = getattr(objective, "may_skip", False)  # a step that leaves some weights out
        wrapped = torch.nn.parallel.DistributedDataParallel(objective, device_ids=ids, find_unused_parameters=may_skip)
    share = plan.batch // world
    half = plan.bf16 and device.type == "cuda" and torch.cuda.is_bf16_supported()
    if not first:
        state.save(0)  # so that a run killed early still knows what it began with
    line, begun, before, saved = Line(label, rank), time.perf_counter(), history.seconds, time.perf_counter()
    with _polite() as asked:
        for step in range(first, plan.steps):
            for group in optimiser.param_groups:
                group["lr"] = plan.rate(step)
            batch = batch_of(step * plan.batch + rank * share, share)
            with torch.autocast(device.type, torch.bfloat16, enabled=half):
                losses = wrapped(batch)
            total = sum(losses.values())
            optimiser.zero_grad(set_to_none=True)
            total.backward()
            norm = torch.nn.utils.clip_grad_norm_(trained, plan.clip or math.inf)
            now = (step + 1) % record == 0 or step + 1 == plan.steps
            if now or device.type == "cpu":
                _finite(losses, norm, step, plan, path)  # before the weights take it
            optimiser.step()
            if average is not None:
                _follow(average, objective, min(plan.ema, (1 + step) / (10 + step)))
            history.steps, history.samples = step + 1, (step + 1) * plan.batch
            history.seconds = before + time.perf_counter() - begun
            if now:
                history.at.append(step + 1)
                for name, value in losses.items():
                    history.losses.setdefault(name, []).append(float(value.detach()))
                line.show(history, losses, plan)
            if now and state.path and time.perf_counter() - saved > every:  # what is saved has been found finite
                state.save(step + 1)
                saved = time.perf_counter()
            if _agreed(asked, world, device):
                _finite(losses, norm, step, plan, path)
                state.save(step + 1)
                line.end(f"stopped after step {step + 1}" + (", --resume goes on from there" if path else ""))
                raise Stopped
    if average is not None:
        objective.load_state_dict(average.state_dict())
    objective.eval()
    line.end()
    if state.path and rank == 0:
        state.path.unlink(missing_ok=True)
    return history


# ---- parts -----------------------------------------------------------------------------------------------------------------------------


@dataclass
class _State:
    """Everything an interrupted training needs, in one file."""

    objective: torch.nn.Module
    optimiser: torch.optim.Optimizer
    average: torch.nn.Module | None
    history: History
    plan: Plan
    path: Path | None
    rank: int
    about: str = ""

    def save(self, step):
        if self.path is None or self.rank:
            return
        content = {
            "step": step, "about": self.about, "plan": asdict(self.plan), "history": asdict(self.history),
            "weights": self.objective.state_dict(), "optimiser": self.optimiser.state_dict(),
            "average": self.average.state_dict() if self.average else None,
        }  # fmt: skip
        self.path.parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write_atomic(self.path, buffer.getvalue())

    def load(self, device):
        """The step to go on with."""
        try:
            content = torch.load(self.path, map_location=device, weights_only=True)
            plan, step, history = dict(content["plan"]), int(content["step"]), dict(content["history"])
            if history.keys() != asdict(self.history).keys():
                raise KeyError("history")
        except Exception as e:  # a damaged file may raise anything
            raise InputError(f"not a state of training ({type(e).__name__})", self.path, "remove it to begin anew") from None
        if plan != asdict(self.plan):
            other = ", ".join(f"{k} = {plan.get(k)}" for k, v in asdict(self.plan).items() if plan.get(k) != v)
            raise InputError(f"begun with another plan ({other})", self.path, "give the same options, or remove the file to begin anew")
        if content.get("about", "") != self.about:
            raise InputError("begun with other data or options", self.path, "give the same ones, or remove the file to begin anew")
        try:
            self.objective.load_state_dict(content["weights"])
            self.optimiser.load_state_dict(content["optimiser"])
            if self.average is not None:
                self.average.load_state_dict(content["average"])
        except (RuntimeError, ValueError, KeyError):
            raise InputError("begun with other networks", self.path, "give the same options, or remove the file to begin anew") from None
        for name, value in history.items():
            setattr(self.history, name, value)
        return step


def _finite(losses, norm, step, plan, path):
    """RuntimeError that says what went wrong where, if anything did."""
    values = {k: float(v.detach()) for k, v in losses.items()}
    if math.isfinite(float(norm)) and all(map(math.isfinite, values.values())):
        return
    said = ", ".join(f"{k} {v:.4g}" for k, v in values.items())
    kept = f"; the last good state is {path}" if path and Path(path).exists() else ""
    raise RuntimeError(
        f"training left the finite numbers at step {step + 1} (losses: {said}; gradient norm {float(norm):.4g}; learning rate "
        f"{plan.rate(step):.2g}). A smaller learning rate or clip=1 usually helps{kept}"
    )


@torch.no_grad()
def _follow(average, objective, decay):
    """Moving average of the weights; running statistics are copied."""
    for a, p in zip(average.parameters(), objective.parameters(), strict=True):
        a.lerp_(p, 1 - decay)
    for a, b in zip(average.buffers(), objective.buffers(), strict=True):
        a.copy_(b)


@contextlib.contextmanager
def _polite():
    """A list that is no longer empty once SIGINT or SIGTERM has come; a second one interrupts at once."""
    asked = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def note(number, frame):
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    before = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)


def _agreed(asked, world, device):
    """Has any of the processes been asked to stop?  All must leave at the same step."""
    if world == 1:
        return bool(asked)
    flag = torch.tensor(float(bool(asked)), device=device)
    distributed.all_reduce(flag, distributed.ReduceOp.MAX)
    return bool(flag)


class Line:
    """One line of progress: loss, samples per second, time left; where the output is not a terminal, only its last state."""

    def __init__(self, label, rank=0, stream=None):
        self.label, self.stream = label, stream or sys.stderr
        self.quiet, self.text, self.last = bool(rank) or label is None, "", 0.0

    def show(self, history, losses, plan):
        """Write it anew, at most twice a second."""
        if self.quiet:
            return
        each = history.seconds / history.steps
        left = (plan.steps - history.steps) * each
        said = " ".join(f"{k} {float(v.detach()):.3g}" for k, v in losses.items())
        self.text = (f"{self.label}: step {history.steps}/{plan.steps}, {said}, {plan.batch / each:.0f} samples/s, "
                     f"{history.seconds:.0f} s, {left:.0f} s left")  # fmt: skip
        if self.stream.isatty() and time.perf_counter() - self.last > 0.5:
            print(f"\r\033[K{self.text[:160]}", end="", file=self.stream, flush=True)
            self.last = time.perf_counter()

    def end(self, why=None):
        """The last state, and why it ended if not by reaching the last step."""
        if not self.quiet:
            start = "\r\033[K" if self.stream.isatty() else ""
            print(start + self.text + (f" ({why})" if why else ""), file=self.stream, flush=True)
