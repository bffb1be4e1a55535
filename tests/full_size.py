"""What a network costs at full paper size, batch 1: seconds and memory of an inference and of an optimiser step, in its own process."""

import json
import multiprocessing
import resource
import time

import torch


def _work(build, shape, train, pipe):
    torch.set_num_threads(1)
    net = build().train(train)
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    optimiser = torch.optim.Adam(net.parameters(), 1e-4)
    before = {k: p.detach().clone() for k, p in net.named_parameters()} if train else {}
    start = time.perf_counter()
    with torch.set_grad_enabled(train):
        out = net(x)
        out = out if isinstance(out, dict) else {"volume": out}
        if train:
            sum((m - 1).square().mean() for m in out.values()).backward()
            optimiser.step()
    seconds = time.perf_counter() - start
    moved = sum(not torch.equal(p, before[k]) for k, p in net.named_parameters()) if train else 0
    finite = all(m.isfinite().all().item() for m in out.values())
    parameters = sum(p.numel() for p in net.parameters())
    pipe.send((seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, finite, moved / max(1, len(before)), parameters))


def measure(name, build, shape, record_property, capsys):
    """Run one network both ways, record and print the figures as one line of JSON."""
    figures = {"network": name, "threads": 1}
    context = multiprocessing.get_context("fork")  # peak memory of this network alone, beside the interpreter's own
    for train, what in ((False, "inference"), (True, "step")):
        receive, send = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(build, shape, train, send))
        process.start()
        send.close()
        seconds, gib, finite, moved, parameters = receive.recv()
        process.join()
        assert finite
        assert (moved > 0.8) == train  # a bias before a batch-norm may stand still
        figures |= {"parameters": parameters, f"{what}_s": round(seconds, 2), f"{what}_GiB": round(gib, 2)}
    record_property(name, figures)
    with capsys.disabled():
        print(json.dumps(figures))
