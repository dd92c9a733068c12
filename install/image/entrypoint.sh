# Run the container's command, or say in one sentence that there is no such command.
if ! command -v -- "$1" > /dev/null; then
  echo "error: this image has no command '$1'; begin with workshop or python, for example: workshop train --help" >&2
  exit 2
fi
exec "$@"
