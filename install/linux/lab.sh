#!/bin/sh
# The laptop track: makes the environment, and opens the course. Double-click it, or type install/linux/lab.sh
cd "$(dirname "$0")/../.." || exit 2
if ! command -v make >/dev/null; then
  echo "error: make is missing; type: sudo apt-get install make python3 python3-venv" >&2
  exit 2
fi
for python in python3 python3.13 python3.12 python3.11; do
  if "$python" -c 'import ensurepip, venv' 2>/dev/null && "$python" install/lab.py --check >/dev/null 2>&1; then
    exec make lab PYTHON="$python" "$@"
  fi
done
echo "error: no Python 3.11, 3.12 or 3.13 with its venv module is here; type: sudo apt-get install python3 python3-venv   (Debian 12, Ubuntu 24.04 or newer)" >&2
exit 2
