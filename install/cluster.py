"""A Kubeflow on this machine: `python3 install/cluster.py up NAME`.

Of the standard library only; runs on Linux, macOS and Windows with Python 3.9 or newer. What each
command does: install/README.md.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import subprocess
import sys
import threading
import webbrowser
from pathlib import Path
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parent))

from kubeflow_install import fetch, preflight, steps
from kubeflow_install.ground import NAMESPACE, InstallError, Instance, Runner, data, instances

DASHBOARD = {
    "workshop": ("kubeflow", "svc/ml-pipeline-ui", "/"),
    "full": ("istio-system", "svc/istio-ingressgateway", "/"),
}
"""Where a profile's first page is. multikf brings a full platform."""
KATIB_UI = ("kubeflow", "svc/katib-ui", "/katib/")


class Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one sentence."""

    def error(self, message: str) -> NoReturn:
        """Raise what `main` prints."""
        raise InstallError(f"{message}; see {self.prog} --help.")


def main(argv: list[str] | None = None) -> int:
    """Run a command. Returns the exit code: 0, 2 after a sentence on stderr, 130 after Ctrl-C."""
    try:
        arguments = _parser().parse_args(argv)
        arguments.run(arguments)
    except InstallError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on where this one was.", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="cluster.py", description="A Kubeflow on this machine, for the workshop.")
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", parser_class=Parser
    )

    def add(name: str, run: object, words: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=words, description=words)
        command.set_defaults(run=run)
        return command

    up_ = add("up", up, "make a cluster with Kubeflow, or go on with one that is not finished")
    up_.add_argument("name", metavar="NAME")
    up_.add_argument(
        "--ports",
        type=_ports,
        metavar="80:80,443:443",
        help="ports of this machine that lead to ports of the node, on the loopback address",
    )
    up_.add_argument(
        "--profile",
        choices=("workshop", "full"),
        help=(
            "workshop: Pipelines, Katib and KServe, for 8 GB; full: the whole platform, for 16 GB"
            " (default: workshop)"
        ),
    )
    up_.add_argument(
        "--tool", choices=("kind", "multikf"), help="what makes the cluster (default: kind)"
    )
    up_.add_argument("--dry-run", action="store_true", help="print each command and run none")
    up_.add_argument(
        "--yes",
        action="store_true",
        help="agree to what needs root: Docker's package, and two limits of the kernel",
    )
    add("list", list_, "the clusters that `up` has made")
    connect_ = add("connect", connect, "point kubectl at a cluster and open its first page")
    connect_.add_argument("name", metavar="NAME")
    connect_.add_argument(
        "--no-browser", action="store_true", help="print the address and open nothing"
    )
    connect_.add_argument("--dry-run", action="store_true", help="print each command and run none")
    down_ = add("down", down, "remove a cluster and all that `up` made for it")
    down_.add_argument("name", metavar="NAME")
    down_.add_argument("--dry-run", action="store_true", help="print each command and run none")
    doctor_ = add(
        "doctor",
        doctor,
        "say whether this machine can carry a cluster, and what to type for each missing thing",
    )
    doctor_.add_argument("--profile", choices=("workshop", "full"), default="workshop")
    doctor_.add_argument(
        "--patience",
        type=float,
        metavar="SECONDS",
        help=f"how long Docker may take to answer (default: {preflight.PATIENCE})",
    )
    return parser


def _ports(text: str) -> list[tuple[int, int]]:
    pairs = []
    for part in filter(None, text.split(",")):
        here, _, there = part.partition(":")
        if not all(port.isdigit() and 0 < int(port) < 65536 for port in (here, there)):
            raise argparse.ArgumentTypeError(f'"{part}" is not a pair of ports such as 8080:80')
        pairs.append((int(here), int(there)))
    if len({here for here, _ in pairs}) < len(pairs):
        raise argparse.ArgumentTypeError(f'"{text}" names a port of this machine twice')
    return pairs


def _known(name: str) -> Instance:
    instance = Instance(name)
    if not instance.state:
        others = ", ".join(one.name for one in instances())
        known = f"those that `up` has made are {others}"
        advice = known if others else f"make it with: cluster.py up {name}"
        raise InstallError(f'there is no cluster "{name}"; {advice}.')
    return instance


def up(arguments: argparse.Namespace) -> None:
    """Make an instance, or go on with it."""
    instance = Instance(arguments.name)
    runner = Runner(instance.log, arguments.dry_run)
    asked = {
        "tool": arguments.tool,
        "profile": arguments.profile,
        "ports": [list(pair) for pair in arguments.ports] if arguments.ports is not None else None,
    }
    for word, value in asked.items():
        has = instance.state.get(word)
        if instance.state and value is not None and value != has:
            raise InstallError(
                f'"{instance.name}" was begun with another --{word}; leave it out, or remove the'
                f" cluster first with: cluster.py down {instance.name}."
            )
    _hold_ports_apart(instance, asked["ports"] or [])
    if not instance.state:
        defaults = {
            "tool": "kind",
            "profile": "full" if arguments.tool == "multikf" else "workshop",
            "ports": [],
        }
        instance.state = {
            word: defaults[word] if value is None else value for word, value in asked.items()
        } | {"done": []}
        if instance.state["tool"] == "multikf" and instance.state["profile"] != "full":
            raise InstallError(
                "multikf brings a whole Kubeflow; leave --profile out, or take --tool kind for the"
                " workshop's."
            )
        fetch.pinned(instance.state["tool"])  # refuse at once, and not after the preflight
    _begin(instance, runner, arguments)
    make = steps.kind_steps if instance.state["tool"] == "kind" else steps.multikf_steps
    steps.take(instance, runner, make(instance, runner))
    if not arguments.dry_run:
        runner.say(f"{instance.name} is up. Next: cluster.py connect {instance.name}")


def _hold_ports_apart(instance: Instance, wanted: list) -> None:
    for other in instances():
        shared = {here for here, _ in other.state["ports"]} & {here for here, _ in wanted}
        if shared and other.name != instance.name:
            raise InstallError(
                f'port {min(shared)} belongs to the cluster "{other.name}"; take another with'
                " --ports."
            )


def _begin(instance: Instance, runner: Runner, arguments: argparse.Namespace) -> None:
    state = instance.state
    if arguments.dry_run:
        print("# first the machine is looked at; cluster.py doctor shows how")
        return
    if "cluster" in state["done"] and fetch.tool_path("kind").is_file():
        name = instance.cluster if state["tool"] == "kind" else instance.name
        if name in steps.clusters(runner):
            return  # what the preflight would look at is in use by this very cluster
        runner.say(f"{name} is gone, removed by someone else; it is made again")
        state["done"] = [step for step in state["done"] if step in ("tools", "distribution")]
        instance.save()
    runner.say("Looking at this machine")
    # else a half-made cluster may hold them
    ports = [] if state.get("making") else [tuple(pair) for pair in state["ports"]]
    preflight.require(state["profile"], ports, runner, arguments.yes)
    instance.save()


def list_(arguments: argparse.Namespace) -> None:
    """Print the instances, one a line."""
    made = instances()
    if not made:
        print("no clusters; make one with: cluster.py up NAME")
        return
    print(f"{'NAME':<22}{'TOOL':<9}{'PROFILE':<10}{'STATE':<14}PORTS")
    for one in made:
        state = "up" if "ready" in one.state["done"] else "not finished"
        ports = ",".join(f"{here}:{there}" for here, there in one.state["ports"])
        tool, profile = one.state["tool"], one.state["profile"]
        print(f"{one.name:<22}{tool:<9}{profile:<10}{state:<14}{ports or '–'}")


def connect(arguments: argparse.Namespace) -> None:
    """Set the user's kubeconfig, and forward ports to the first page until Ctrl-C."""
    instance = _known(arguments.name)
    if "cluster" not in instance.state["done"]:
        raise InstallError(
            f'"{instance.name}" is not made yet; go on with: cluster.py up {instance.name}.'
        )
    runner = Runner(instance.log, arguments.dry_run)
    name = instance.cluster if instance.state["tool"] == "kind" else instance.name
    runner.run(fetch.tool_path("kind"), "export", "kubeconfig", "--name", name)
    runner.run(
        fetch.tool_path("kubectl"),
        "config",
        "set-context",
        instance.context,
        f"--namespace={NAMESPACE}",
    )
    print(f"kubectl speaks to {instance.name}: context {instance.context}, namespace {NAMESPACE}")
    pages = [DASHBOARD[instance.state["profile"]]] + (
        [KATIB_UI] if instance.state["profile"] == "workshop" else []
    )
    forwards, taken = [], set()
    try:
        for space, service, path in pages:
            port = _free_port(taken)
            command = [
                str(fetch.tool_path("kubectl")),
                "--kubeconfig",
                str(instance.kubeconfig),
                "port-forward",
                "--address",
                "127.0.0.1",
            ]
            command += ["--namespace", space, service, f"{port}:80"]
            if arguments.dry_run:
                print(f"$ {' '.join(command)}")
                continue
            forwards.append(
                subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
                )
            )
            if not forwards[-1].stdout.readline():  # kubectl writes a line once it listens
                raise InstallError(
                    f"{service} in {space} cannot be reached; see what is not ready with: kubectl"
                    f" get pods --namespace {space}."
                )
            _drain(forwards[-1])
            address = f"http://127.0.0.1:{port}{path}"
            print(f"  {address}   {service.partition('/')[2]}", flush=True)
            if service == pages[0][1] and not arguments.no_browser:
                webbrowser.open(address)
        if forwards:
            print("Ctrl-C closes the way in; the cluster goes on.", flush=True)
            forwards[0].wait()
            raise InstallError(f"the way in to {instance.name} broke; give the same command again.")
    except KeyboardInterrupt:
        print()
    finally:
        for forward in forwards:
            forward.terminate()
            forward.wait()


def _drain(forward: subprocess.Popen) -> None:
    """Read what kubectl goes on to write, a line for each connection: a pipe that nobody reads is
    full after some 2,000 of them, and then kubectl waits for ever.
    """

    def read() -> None:
        for _ in forward.stdout:
            pass

    threading.Thread(target=read, daemon=True).start()


def _free_port(taken: set[int]) -> int:
    for port in range(8080, 8180):
        with socket.socket() as probe:
            if port not in taken and probe.connect_ex(("127.0.0.1", port)):
                taken.add(port)
                return port
    raise InstallError(
        "the ports 8080 to 8179 are all taken; end one of the programs that have them."
    )


def down(arguments: argparse.Namespace) -> None:
    """Remove an instance; with the last one go the downloads that all share."""
    instance = _known(arguments.name)
    runner = Runner(None, arguments.dry_run)
    kind, made = fetch.tool_path("kind"), instance.state.get("making")
    if made and not kind.is_file() and not arguments.dry_run:
        fetch.tool("kind", runner)
    if made or arguments.dry_run:
        if instance.state["tool"] == "multikf":
            runner.run(fetch.tool_path("multikf"), "delete", instance.name)
        else:
            # also its entries in the user's kubeconfig
            runner.run(kind, "delete", "cluster", "--name", instance.cluster)
            if instance.state.get("brought_node"):
                node = steps.versions()["node"]["image"]
                # stays while another cluster uses it
                runner.run("docker", "image", "rm", node, tolerate=True)
    if arguments.dry_run:
        print(f"remove {instance.folder}")
        return
    instance.remove()
    if not instances():
        for name in ("tools", "distribution", "instances"):
            shutil.rmtree(data() / name, ignore_errors=True)
        if not any(data().iterdir()):
            data().rmdir()
    print(f"{instance.name} is removed.")


def doctor(arguments: argparse.Namespace) -> None:
    """Print what this machine has and lacks."""
    if arguments.patience:
        preflight.PATIENCE = arguments.patience
    found = preflight.look(arguments.profile, [], Runner())
    print(preflight.report(found))
    missing = [one.name for one in found if one.stops]
    print(
        f"\nA cluster of profile {arguments.profile}:"
        f" {'not yet; mend ' + ', '.join(missing) if missing else 'yes'}."
    )


if __name__ == "__main__":
    sys.exit(main())
