"""What KServe's own model server does, without any part of ours: facts, as JSON on standard output.

A process of its own: KServe has one application per process.
"""

import inspect
import json
import sys

import numpy as np

sys.argv = sys.argv[:1]

from fastapi.testclient import TestClient  # noqa: E402
from kserve import InferOutput, InferResponse, Model, ModelServer  # noqa: E402
from kserve.errors import ModelNotReady, ServerNotReady  # noqa: E402
from kserve.model_server import app  # noqa: E402
from kserve.protocol.grpc.server import GRPCServer  # noqa: E402
from kserve.protocol.rest.server import RESTServer  # noqa: E402
from kserve.protocol.rest.timeseries import (  # noqa: E402
    TimeSeriesDataPlane,
    register_time_series_endpoints,
)


class Mean(Model):
    """A model as KServe's documentation writes them."""

    def __init__(self):
        super().__init__("mean")
        self.ready = True

    def get_input_types(self):
        return [{"name": "window", "datatype": "FP32", "shape": [-1, 3, 1]}]

    def predict(self, payload, headers=None):
        if isinstance(payload, dict):
            return {"predictions": np.array(payload["instances"], float).mean(axis=(1, 2)).tolist()}
        made = payload.inputs[0].as_numpy().mean(axis=(1, 2))
        output = InferOutput("next_close", list(made.shape), "FP32")
        output.set_data_from_numpy(made, binary_data=False)
        return InferResponse(payload.id, self.name, [output])

    async def forecast(self, request, context=None):
        return {"forecast": 1}


def main() -> None:
    server = ModelServer(enable_grpc=False)
    server.register_model(Mean())
    rest = RESTServer(
        "kserve.model_server:app", server.dataplane, server.model_repository_extension, 0
    )
    rest.create_application()
    client = TestClient(app, raise_server_exceptions=False)
    v1, v2 = "/v1/models/mean:predict", "/v2/models/mean/infer"
    good = {"name": "window", "datatype": "FP32", "shape": [1, 3, 1], "data": [1, 2, 3]}
    forecast = {
        "model": "mean",
        "inputs": [
            {
                "type": "univariate_time_series",
                "name": "x",
                "series": ["1", "2", "3"],
                "frequency": "D",
            }
        ],
        "options": {"horizon": 1},
    }

    def infer(**other):
        return client.post(v2, json={"id": "1", "inputs": [good | other]}).status_code

    facts = {
        "good": [
            client.post(v1, json={"instances": [[[1], [2], [3]]]}).status_code,
            infer(),
        ],
        "null": client.post(
            v1, content="null", headers={"content-type": "application/json"}
        ).status_code,
        "no instances": client.post(v1, json={}).status_code,
        "curl -d": client.post(
            v1,
            content='{"instances": [[[1], [2], [3]]]}',
            headers={"content-type": "application/x-www-form-urlencoded"},
        ).status_code,
        "v2 shape": infer(shape=[1, 2, 1]),
        "v2 strings": infer(data=["a", "b", "c"]),
        "v2 empty inputs": client.post(v2, json={"inputs": []}).status_code,
        "v2 no inputs": client.post(v2, json={}).status_code,
        "v2 header": client.post(
            v2,
            content=b"{}",
            headers={
                "content-type": "application/octet-stream",
                "inference-header-content-length": "x",
            },
        ).status_code,
        "60 MB": client.post(
            v1,
            content=b'{"instances": [[[1], [2], [3]]]}' + b" " * 60_000_000,
            headers={"content-type": "application/json"},
        ).status_code,
        "version": client.post(f"{v2[:-6]}/versions/7/infer", json={"inputs": [good]}).status_code,
        "load of nobody": client.post("/v2/repository/models/nobody/load").status_code,
        "load": server.registered_models.load("mean"),
        "metadata": sorted(client.get("/v2/models/mean").json()),
        "v1 body in openapi": "requestBody"
        in app.openapi()["paths"]["/v1/models/{model_name}:predict"]["post"],
        "forecast route": client.post("/v1/timeseries/forecast", json=forecast).status_code,
        "reasons": [hasattr(error, "reason") for error in (ModelNotReady("x"), ServerNotReady())],
        "rest host": rest.config.host,
        "grpc host": "[::]" in inspect.getsource(GRPCServer.start),
        "unload before drain": "unload" in inspect.getsource(ModelServer.stop),
    }
    register_time_series_endpoints(app, TimeSeriesDataPlane(server.registered_models))
    facts["forecast"] = client.post("/v1/timeseries/forecast", json=forecast).status_code
    facts["forecast models"] = client.get("/v1/timeseries/models").json()
    Mean.__name__ = "HuggingFaceTimeSeriesModel"
    facts["forecast of text"] = client.post("/v1/timeseries/forecast", json=forecast).status_code
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
