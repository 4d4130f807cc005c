"""What an installation holds: the plugins where twistd looks for them, a browser's files, each option's page."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from importlib.metadata import distributions
from pathlib import Path

import pytest
from twisted.application.service import IServiceMaker, ServiceMaker
from twisted.plugin import getPlugins

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = {
    "sdp-distributor": "sdp.tap.distributor",
    "sdp-origin": "sdp.tap.origin",
    "sdp-consumer": "sdp.tap.consumer",
    "sdp-player": "sdp.tap.player",
}


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The files of a wheel built from this tree, out of a copy: a build leaves its traces where it runs."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("setup.cfg", "pyproject.toml", "MANIFEST.in", "README.rst", "LICENSE", "sdp", "twisted"):
        (source / name).symlink_to(ROOT / name)
    build = "from setuptools import build_meta; import sys; build_meta.build_wheel(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", build, str(target)], cwd=source, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = target.glob("*.whl")
    return zipfile.ZipFile(wheel).namelist()


@pytest.mark.system
def test_a_wheel_holds_every_module_and_every_file_for_a_browser(wheel_names: list[str]) -> None:
    kinds = {".py", ".html", ".js", ".css", ".svg", ".typed"}
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "sdp").rglob("*") if path.suffix in kinds}
    assert sources - set(wheel_names) == set()
    assert "sdp/py.typed" in wheel_names


@pytest.mark.system
def test_a_wheel_adds_to_twisted_its_plugins_and_nothing_else(wheel_names: list[str]) -> None:
    """An ``__init__.py`` there would overwrite Twisted's own."""
    assert [name for name in wheel_names if name.startswith("twisted")] == ["twisted/plugins/sdp_plugins.py"]
    assert {name.split("/")[0] for name in wheel_names if not re.match(r"[^/]+\.dist-info/", name)} == {
        "sdp",
        "twisted",
    }


@pytest.mark.system
def test_twistd_lists_the_commands(tmp_path: Path) -> None:
    """From any directory, once SDP is installed as the README says."""
    if not list(distributions(name="sdp-streaming")):
        pytest.skip("SDP is not installed in this environment: make test does so")
    twistd = Path(sys.executable).with_name("twistd")
    done = subprocess.run([twistd, "--help"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert {name for name in COMMANDS if re.search(rf"^ +{name} ", done.stdout, re.MULTILINE)} == COMMANDS.keys()


def test_each_plugin_names_the_module_that_makes_its_service() -> None:
    makers = [maker for maker in getPlugins(IServiceMaker) if isinstance(maker, ServiceMaker)]
    ours = {maker.tapname: maker.module for maker in makers if maker.module.startswith("sdp.")}
    assert ours == COMMANDS


def test_the_options_page_has_each_command() -> None:
    page = (ROOT / "docs" / "options.rst").read_text("utf-8")
    assert re.findall(r"^\.\. settings:: (\S+)$", page, re.MULTILINE) == list(COMMANDS.values())
