"""Small pipelines for the tests, compiled as anyone would: no step needs more than Python."""

from pathlib import Path
from typing import NamedTuple

from kfp import compiler, dsl, kubernetes

component = dsl.component(base_image="python:3.11", install_kfp_package=False)


@component
def say(text: str) -> str:
    print(f"I say {text}")
    return text


@component
def note(text: str, folder: str):
    from pathlib import Path

    with (Path(folder) / "notes.txt").open("a") as notes:
        notes.write(f"{text}\n")


@component
def judge(skill: float) -> NamedTuple("Judged", verdict=str, skill=float):
    return ("accepted" if skill > 0 else "refused"), skill


@component
def fail(text: str) -> str:
    raise ValueError(f"{text} is not right")


@component
def measure(number: float, metrics: dsl.Output[dsl.Metrics]):
    metrics.log_metric("number", number)


@component
def write(text: str, file: dsl.Output[dsl.Dataset]):
    with open(file.path, "w") as opened:
        opened.write(text)


@component
def read(file: dsl.Input[dsl.Dataset]) -> str:
    with open(file.path) as opened:
        return opened.read()


@component
def make_list(count: int) -> list:
    return [{"letter": f"n{number}"} for number in range(count)]


@component
def join(texts: list) -> str:
    return " ".join(texts)


@component
def page(text: str, shown: dsl.Output[dsl.HTML]):
    with open(shown.path, "w") as opened:
        opened.write(f"<p>{text}</p>")


@dsl.pipeline(name="gate")
def gate(skill: float = 0.5, folder: str = "/data", claim: str = "notes"):
    """Two steps and a gate: says, judges, and notes where a volume is mounted."""
    said = say(text="python3 it's")
    measure(number=2.5)
    page(text="hello")
    judged = judge(skill=skill).after(said)
    with dsl.If(judged.outputs["verdict"] == "accepted"):
        noted = note(text=said.output, folder=folder).set_caching_options(False)
        kubernetes.mount_pvc(noted, pvc_name=claim, mount_path="/data")


@dsl.pipeline(name="values")
def values(skill: float = 0.5, text: str = "it's", fails: bool = False):
    """What kfp.local gets wrong: conditions, loops, OneOf, folders, metrics."""
    judged = judge(skill=skill)
    with dsl.If(judged.outputs["skill"] > 0):
        say(text="above zero").set_display_name("a float")
    with dsl.If(text != "nothing"):
        write(text="quoted").set_display_name("a quote")
    outer = say(text="outer")
    with dsl.ParallelFor(["a", "b"]) as letter:
        inner = say(text=outer.output)
        measure(number=2.5)
        say(text=letter)
    join(texts=dsl.Collected(inner.output))
    made = make_list(count=2)
    with dsl.ParallelFor(made.output) as item:
        named = say(text=item.letter)
    join(texts=dsl.Collected(named.output))
    empty = make_list(count=0)
    with dsl.ParallelFor(empty.output) as item:
        never = say(text=item.letter)
    join(texts=dsl.Collected(never.output))
    with dsl.If(skill > 0.0):
        first = write(text="first")
    with dsl.Else():
        second = write(text="second")
    read(file=dsl.OneOf(first.outputs["file"], second.outputs["file"]))
    one, two = write(text="one"), write(text="two")
    read(file=one.output)
    read(file=two.output)


@dsl.pipeline(name="breaks")
def breaks(text: str = "seven"):
    """One step works, and the next one fails."""
    said = say(text=text)
    failed = fail(text=said.output)
    say(text=failed.output)


@component
def try_twice(folder: str) -> str:
    from pathlib import Path

    tried = Path(folder) / "tried"
    if not tried.exists():
        tried.touch()
        raise RuntimeError("not the first time")
    return "the second time"


@component
def last(folder: str, status: dsl.PipelineTaskFinalStatus):
    from pathlib import Path

    (Path(folder) / "last").write_text(status.state)


@dsl.pipeline(name="inner")
def inner(text: str) -> str:
    written = write(text=text)
    return read(file=written.output).output


@dsl.pipeline(name="more")
def more(folder: str, given: str, fails: bool = False):
    """An exit handler, a retry, pipelines in the pipeline, an importer, a loop in a loop."""
    with dsl.ExitHandler(last(folder=folder).set_caching_options(False)):
        try_twice(folder=folder).set_retry(num_retries=1)
        first = inner(text="first")
        inner(text="second").after(first)
        file = dsl.importer(artifact_uri=given, artifact_class=dsl.Dataset, reimport=True)
        read(file=file.output)
        with dsl.ParallelFor(["a", "b"]), dsl.ParallelFor(["c", "d"]) as deep:
            say(text=deep)
        with dsl.If(fails == True):  # noqa: E712
            fail(text=folder)


@dsl.container_component
def shell():
    return dsl.ContainerSpec(image="busybox:1.36", command=["echo"], args=["hello"])


@dsl.component(base_image="python:3.11", packages_to_install=["no-such-package==1.0"])
def needs_package():
    pass


@dsl.component(base_image="python:3.11", packages_to_install=["packaging", "pandas<2"])
def needs_old_pandas():
    pass


@dsl.pipeline(name="platform")
def platform():
    """Steps that need a cluster."""
    shell()
    say(text="gpu").set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(1)
    secret = say(text="secret")
    kubernetes.use_secret_as_env(secret, "token", {"key": "TOKEN"})
    needs_package()
    needs_old_pandas()


PIPELINES = (gate, values, breaks, more, platform)


def compile_all(folder: Path) -> dict[str, Path]:
    """The files of all these pipelines, by name."""
    files = {}
    for one in PIPELINES:
        files[one.name] = folder / f"{one.name}.yaml"
        compiler.Compiler().compile(one, str(files[one.name]))
    return files
