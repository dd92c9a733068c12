"""Run the areas of tests/areas.toml, and say where the time went.

python tests/run.py                 what a learner and a contributor run (make test)
python tests/run.py --level ci      what CI runs beside it on every change (make test-all)
python tests/run.py --level weekly  what runs once a week, or when asked (make test-weekly)
python tests/run.py AREA …          some of them
"""

import argparse
import os
import subprocess
import sys
import time
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
LEVELS = ("test", "ci", "weekly")


def main(arguments: list[str]) -> int:
    """Run the areas; returns 0 if all passed."""
    areas = tomllib.loads((HERE / "areas.toml").read_text())
    parser = argparse.ArgumentParser(prog="tests/run.py", description="Run areas of the tests.")
    parser.add_argument("--level", choices=LEVELS, default="test")
    parser.add_argument("areas", nargs="*", metavar="AREA")
    asked = parser.parse_args(arguments)
    if unknown := set(asked.areas) - set(areas):
        parser.error(f"{min(unknown)} is no area; take {', '.join(areas)}")
    chosen = asked.areas or [name for name in areas if areas[name]["level"] == asked.level]
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    lines, failed = [], []
    for name in chosen:
        area = areas[name]
        gate = [] if area.get("network") else [sys.executable, str(HERE / "offline.py")]
        print(f"\n== {name}", flush=True)
        begin = time.monotonic()
        code = subprocess.run(
            [*gate, *area["command"]], cwd=HERE.parent, env=environment, check=False
        ).returncode
        minutes = (time.monotonic() - begin) / 60
        if code:
            failed.append(name)
        over = "  over its budget" if minutes > area["minutes"] else ""
        lines.append(
            f"{name:<12}{'failed' if code else 'passed':<8}{minutes:6.1f} of {area['minutes']:g}"
            f" minutes{over}"
        )
    print("\n== where the time went", *lines, sep="\n")
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
