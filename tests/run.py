"""Run the areas of tests/areas.toml, and say where the time went.

python tests/run.py          what a learner and a contributor run (make test)
python tests/run.py --heavy  the heavy areas, which make test-all adds
python tests/run.py AREA …   some of them
"""

import os
import subprocess
import sys
import time
import tomllib
from pathlib import Path

HERE = Path(__file__).parent


def main(arguments: list[str]) -> int:
    """Run the areas; returns 0 if all passed."""
    areas = tomllib.loads((HERE / "areas.toml").read_text())
    chosen = [
        name for name, area in areas.items() if area.get("test", False) != ("--heavy" in arguments)
    ]
    chosen = [name for name in arguments if name != "--heavy"] or chosen
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
