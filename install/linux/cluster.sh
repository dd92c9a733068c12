#!/bin/sh
# The cluster track: install/linux/cluster.sh up demo, and list, connect, down, doctor.
if ! command -v python3 >/dev/null; then
  echo "error: Python is missing; type: sudo apt-get install python3" >&2
  exit 2
fi
exec python3 "$(dirname "$0")/../cluster.py" "$@"
