"""Makes what the load testers need: python -m benchmarks.peers.load_testers.environments [tester ...]

A virtual environment each under PACELINE_PEERS_HOME, from complete pinned lists; wrk2 is built from its source (git, make
and libssl-dev needed); wrk and hey are Debian packages. Runs again for free.
"""

import argparse
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from benchmarks.peers.environments import TORCH, UV
from benchmarks.peers.launch import HOME

LISTS = Path(__file__).parent / "requirements"
TESTERS = tuple(sorted(path.stem for path in LISTS.glob("*.txt")))
WRK2 = ("https://github.com/giltene/wrk2", "44a94c17d8e6a0bac8559b53da76848e430cb7a7")


def make(name: str) -> None:
    environment = HOME / name
    wanted = (LISTS / f"{name}.txt").read_text()
    made_from = environment / "made-from.txt"
    if made_from.exists() and made_from.read_text() == wanted:
        print(f"{name}: kept")
        return
    print(f"{name}: making {environment}", flush=True)
    venv.create(environment, clear=True, with_pip=True)
    python = str(environment / "bin" / "python")
    # torch first and with pip, whose configuration decides which build it is
    first = [TORCH, UV] if TORCH in wanted else [UV]
    subprocess.run([python, "-m", "pip", "install", "--quiet", *first], check=True)
    install = [python, "-m", "uv", "pip", "install", "--quiet", "--python", python, "--no-deps"]
    subprocess.run([*install, "--requirement", str(LISTS / f"{name}.txt")], check=True)
    made_from.write_text(wanted)


def make_wrk2() -> None:
    folder = HOME / "wrk2-src"
    if (folder / "wrk").exists():
        print("wrk2: kept")
        return
    print(f"wrk2: making {folder}", flush=True)
    address, commit = WRK2
    if not folder.exists():
        subprocess.run(["git", "clone", "--quiet", address, str(folder)], check=True)
        subprocess.run(["git", "-C", str(folder), "checkout", "--quiet", commit], check=True)
    subprocess.run(["make", "-C", str(folder)], check=True, stdout=subprocess.DEVNULL)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "testers", nargs="*", metavar="tester", help=f"default all: {', '.join(TESTERS)}, wrk2"
    )
    names = parser.parse_args().testers or [*TESTERS, "wrk2"]
    unknown = [name for name in names if name not in {*TESTERS, "wrk2"}]
    if unknown:
        parser.error(f"unknown tester {unknown[0]!r}; there are: {', '.join(TESTERS)}, wrk2")
    for name in names:
        if name == "wrk2":
            make_wrk2()
        else:
            make(name)
    for program in ("wrk", "hey"):
        if shutil.which(program) is None:
            print(f"{program}: missing; apt-get install {program}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
