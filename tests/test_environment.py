"""pyproject.toml, constraints.txt and environment.yml agree; the package is light to import; the two commands exist."""

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from itertools import chain
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))


def norm(name):
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~ ;]", name)[0]).lower()


def wanted():
    return {norm(d) for d in chain(PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())}


def test_every_requirement_has_an_exact_pin():
    pins = {norm(p) for p in PINS}
    assert wanted() <= pins, wanted() - pins
    lines = [x for x in (ROOT / "constraints.txt").read_text().splitlines() if x and not x.startswith("#")]
    assert len(lines) == len(PINS) == len(pins), "every line of constraints.txt is NAME==VERSION, each name once"
    assert PINS["torch"] == "2.13.0"


def test_installed_versions_are_the_pinned_ones():
    installed = {norm(d.name): d.version.split("+")[0] for d in metadata.distributions()}
    wrong = {p: (installed[norm(p)], v) for p, v in PINS.items() if norm(p) in installed and installed[norm(p)] != v}
    assert not wrong, f"installed, pinned: {wrong}"
    brought = ("nvidia", "cuda", "triton")  # what torch's default Linux build pins by itself
    loose = {p for p in installed if not p.startswith(brought)} - {norm(p) for p in PINS} - {norm(PROJECT["name"]), "pip"}
    assert not loose, f"installed without a pin: {sorted(loose)}"


def test_environment_yml_mirrors_the_pins():
    env = yaml.safe_load((ROOT / "environment.yml").read_text())
    names = [d for d in env["dependencies"] if isinstance(d, str)]
    pip = next(d["pip"] for d in env["dependencies"] if isinstance(d, dict))
    assert {n.split("=")[0] for n in names} == {"python", "pip"}
    minimum = re.search(r"(\d+\.\d+)", PROJECT["requires-python"])[1]
    assert f"python={minimum}" in names
    assert "-c constraints.txt" in pip
    extras = re.search(r"-e \.\[(.*)\]", " ".join(pip))[1].split(",")
    assert set(extras) <= set(PROJECT["optional-dependencies"])
    made = re.search(r"-e '\.\[(.*)\]'", (ROOT / "Makefile").read_text())[1].split(",")
    assert extras == made, "conda and make install the same extras"


def test_import_needs_only_numpy_torch_cv2():
    code = "import sys; from vp import *; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())
    heavy = {norm(d).replace("-", "_") for d in wanted()} | {"IPython", "pandas", "matplotlib", "scipy", "yaml"}
    allowed = {"numpy", "torch", "cv2", "opencv_python"}
    torch_itself = set(
        subprocess.run([sys.executable, "-c", "import sys, torch; print(*{m.split('.')[0] for m in sys.modules})"],
                       capture_output=True, text=True, check=True).stdout.split()
    )  # fmt: skip
    assert not (loaded & heavy) - allowed - torch_itself


def test_import_takes_no_more_than_torch_plus_a_third_of_a_second():
    code = "import torch, time; start = time.perf_counter(); from vp import *; print(time.perf_counter() - start)"
    seconds = min(float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout) for _ in range(3))
    assert seconds < 0.3, f"import vp takes {seconds:.2f} s beyond torch"


def test_a_class_of_vp_comes_when_it_is_asked_for():
    import vp
    from vp.camera import Camera

    assert vp.Camera is Camera
    assert vp.camera.Camera is Camera
    assert set(vp.__all__) <= set(dir(vp))
    assert [name for name in vp.__all__ if not hasattr(vp, name)] == []
    with pytest.raises(AttributeError, match="'vp' has no attribute 'Kamera'"):
        _ = vp.Kamera


def test_a_process_that_computes_nothing_does_without_torch():
    """The command line, the report and the job that executes a notebook: two seconds each."""
    code = "import sys, vp.__main__, vp.lab.job, vp.lab.report; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"


def test_make_help_names_the_commands():
    out = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("install", "reproduce", "test", "notebooks", "lab"):
        assert re.search(rf"make {target}\b", out)
