"""The package as users get it: built, and installed into an empty environment outside the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from harness import TESTS, announced, environment, spawn

# `cargo xtask test` names the folder with the packages that it has downloaded. Without it, pip asks its registry.
WHEELS = os.environ.get("PILLION_TEST_WHEELS")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that is built from the sdist, without a network."""
    folder = tmp_path_factory.mktemp("dist")
    build("sdist", TESTS.parent, folder)
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (source,) = (folder / "unpacked").iterdir()
    build("wheel", source, folder)
    (built,) = folder.glob("*.whl")
    return built


def build(kind: str, source: Path, folder: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", str(folder)],
        cwd=source,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def test_the_wheel_has_the_types_and_the_licences_and_no_dependencies(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        fields = archive.read(metadata).decode()
    assert "pillion/py.typed" in names
    assert {name.rpartition("/")[2] for name in names if "/licenses/" in name} == {
        "LICENSE-APACHE",
        "LICENSE-MIT",
    }
    assert not [name for name in names if "test" in name]
    assert "License-Expression: MIT OR Apache-2.0" in fields
    required = [line for line in fields.splitlines() if line.startswith("Requires-Dist:")]
    assert all("extra ==" in line for line in required), required


def test_it_installs_into_an_empty_environment_and_serves_a_user_file(wheel: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    source = ["--no-index", "--find-links", WHEELS] if WHEELS else []
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--quiet",
        *source,
        f"{wheel}[uvicorn]",
    ]
    done = subprocess.run(install, stderr=subprocess.PIPE)
    if done.returncode != 0 and not WHEELS:
        pytest.skip(f"pip cannot install uvicorn: {done.stderr.decode()}")
    assert done.returncode == 0, done.stderr.decode()
    shutil.copy(TESTS / "apps" / "handler.py", tmp_path / "handler.py")
    user_file = tmp_path / "main.py"
    user_file.write_text("import pillion\nfrom handler import app\n\npillion.serve(app)\n")
    variables = {name: value for name, value in environment().items() if name != "PYTHONPATH"}
    with spawn([python, str(user_file)], variables) as process:
        sidecar = announced(process)
        assert sidecar.ask("GET /items").values("x-handler") == ["reached"]
        assert sidecar.ask("GET /items", token=False).status == 401
        sidecar.close_stdin()
        assert sidecar.end()[:2] == (0, "")
