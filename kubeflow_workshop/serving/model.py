"""A model version, loaded: the signature of its SavedModel, its card, and how far off it was.

Taught in notebook 09. A SavedModel is a graph of TensorFlow's own operations, so it brings no
Python. Operations that reach out of the graph, to files or back into Python, are refused.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kubeflow_workshop import repository
from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.serving import forecast
from kubeflow_workshop.serving.inputs import Tensor

SIGNATURE = "serving_default"
CALIBRATION = "calibration.json"
"""The file of a version that holds the days on which a forecast was measured."""
REACHING_OUT = (
    "PyFunc",
    "EagerPyFunc",
    "PyFuncStateless",
    "ReadFile",
    "WriteFile",
    "MatchingFiles",
    "ReaderReadV2",
    "WholeFileReaderV2",
    "TextLineReaderV2",
    "FixedLengthRecordReaderV2",
    "TFRecordReaderV2",
    "TextLineDataset",
    "TFRecordDataset",
    "FixedLengthRecordDatasetV2",
    "PrintV2",
    "Print",
    "DebugIdentityV2",
    "GeneratorDataset",
    "DeleteFile",
    "SummaryWriter",
    "CreateSummaryFileWriter",
)
"""Operations that read or write files, or call Python."""


class Signature:
    """The function of a model version: windows in, the next value out.

    Attributes:
        input: float32 [batch, window, 1].
        output: float32 [batch, 1].
    """

    def __init__(self, function: Any, loaded: Any, given: Tensor, made: Tensor):
        """`loaded` is the model that the function belongs to: it must live as long."""
        self._function, self._loaded = function, loaded
        self.input, self.output = given, made

    def __call__(self, windows: np.ndarray) -> np.ndarray:
        """Run the model; float32 [batch, window, 1] → float32 [batch, 1]."""
        import tensorflow as tf

        return self._function(**{self.input.name: tf.constant(windows)})[self.output.name].numpy()


def signature(version: repository.Version) -> Signature:
    """Load the SavedModel of a version, and run it once, so that the first request need not wait.

    Taught in notebook 09.

    Raises:
        CourseError: if it is no SavedModel that takes and gives what the contract says, or one that
            could do more than compute.
    """
    import tensorflow as tf

    where = version.directory
    if not version.serves:
        raise CourseError(
            f"{where} has no saved_model.pb among the files of its card, and only a SavedModel is"
            " served: it is a graph, and brings no Python; write one with workshop train --output."
        )
    _only_computes(where / "saved_model.pb")
    try:
        loaded = tf.saved_model.load(str(where))
    except Exception as error:  # whatever a damaged graph makes TensorFlow raise
        raise CourseError(
            f"{where} cannot be loaded by TensorFlow {tf.__version__}"
            f" ({str(error).splitlines()[0][:200]}); train it again with this version."
        ) from None
    function = loaded.signatures.get(SIGNATURE)
    if function is None:
        names = ", ".join(loaded.signatures) or "none"
        raise CourseError(
            f"{where} has no signature {SIGNATURE} (it has: {names}); export the model again, with"
            " one."
        )
    given = _only_tensor(where, "takes", function.structured_input_signature[1])
    made = _only_tensor(where, "gives", function.structured_outputs)
    if len(given.shape) != 3 or given.shape[2] != 1 or given.days < 1 or made.shape[1:] != (1,):
        raise CourseError(
            f"{where} takes {list(given.shape)} and gives {list(made.shape)}, and windows [batch,"
            " window, 1] with the next value [batch, 1] are served; export the model so."
        )
    run = Signature(function, loaded, given, made)
    run(np.ones((1, given.days, 1), np.float32))
    return run


def _only_tensor(where: Path, does: str, specs: dict) -> Tensor:
    import tensorflow as tf

    if len(specs) != 1 or next(iter(specs.values())).dtype != tf.float32:
        seen = ", ".join(f"{name} {spec.dtype.name}" for name, spec in specs.items())
        raise CourseError(
            f"{where} {does} {seen}, and one tensor of float32 is served; export the model so."
        )
    name, spec = next(iter(specs.items()))
    shape = spec.shape.as_list() if spec.shape.rank is not None else []
    return Tensor(name, tuple(-1 if size is None else size for size in shape))


def _only_computes(graph: Path) -> None:
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    read = saved_model_pb2.SavedModel()
    try:
        read.ParseFromString(graph.read_bytes())
    except DecodeError:
        raise CourseError(
            f"{graph} is no SavedModel; copy the version again, or train it again."
        ) from None
    used = {
        node.op
        for meta in read.meta_graphs
        for nodes in (
            meta.graph_def.node,
            *(one.node_def for one in meta.graph_def.library.function),
        )
        for node in nodes
    }
    if found := used.intersection(REACHING_OUT):
        raise CourseError(
            f"{graph} uses {', '.join(sorted(found))}, which reach out of the graph, to files or to"
            " Python; only models that compute and nothing else are served."
        )


@dataclass(frozen=True)
class Loaded:
    """A model version that can answer.

    Attributes:
        name: under which it is served.
        version: what was read.
        run: windows in, next values out.
        calibration: how far off its forecasts were; None if the version does not say.
    """

    name: str
    version: repository.Version
    run: Signature
    calibration: forecast.Calibration | None

    @property
    def metadata(self) -> dict:
        """As the Open Inference Protocol describes a model, with its card."""
        return {
            "name": self.name,
            "versions": [self.version.number],
            "platform": "tensorflow_savedmodel",
            "inputs": [self.run.input.as_metadata()],
            "outputs": [self.run.output.as_metadata()],
            "card": self.version.card,
        }


def load(name: str, directory: Path, altered: bool = False) -> Loaded:
    """Read, check and load a model version.

    Taught in notebook 09.

    Raises:
        CourseError: if it is no version, not whole, or no model that is served.
    """
    if not repository.NAME.fullmatch(name):
        raise CourseError(
            f"{name!r} cannot be the name of a model; take letters, digits, and . _ - between them."
        )
    version = repository.read(directory, altered=altered)
    run = signature(version)
    calibration = None
    if CALIBRATION in version.card["files"]:
        days = json.loads((directory / CALIBRATION).read_text())
        calibration = forecast.calibrate(run, days, run.input.days)
    return Loaded(name, version, run, calibration)
