# Start JupyterLab as Kubeflow's notebook controller expects it: on port 8888, under NB_PREFIX, in a home that may be an empty volume.
umask 0002  # what is made here stays open to the group, and so to the next user id that OpenShift makes up
# The course comes from the image into the home, at the first start and after an update; a file that is there already is the learner's, and stays.
if ! tar -C /opt/course/first-start -c --mode=g=u . | tar -C "$HOME" -x --skip-old-files --touch 2> /dev/null; then
  echo "error: the course cannot be copied to $HOME; mount a volume there that user $(id -u) may write to." >&2
  exit 2
fi
set -- --ip=0.0.0.0 --port=8888 --no-browser --ServerApp.root_dir="$HOME" --LabApp.default_url=/lab/tree/kubeflow-workshop/tutorials/00-start-here.ipynb
if [ -n "$NB_PREFIX" ]; then
  # On Kubeflow, where the controller sets NB_PREFIX, the platform asks who you are before it lets you through to here, so JupyterLab asks for no token of
  # its own, and is spoken to under the platform's host name. Anywhere else it asks.
  set -- "$@" --ServerApp.base_url="$NB_PREFIX" --IdentityProvider.token= --ServerApp.allow_origin='*' --ServerApp.allow_remote_access=True
fi
# Not in the home: on some volumes a file cannot be kept to one user, which Jupyter insists on.
export JUPYTER_RUNTIME_DIR="${TMPDIR:-/tmp}/jupyter-runtime"
exec jupyter lab "$@"
