"""What the server says of itself at /openapi.json: the bodies that it takes, and the models that it
has. KServe 0.21 declares no body for V1, and no names.

Taught in notebook 09.
"""

from typing import Any

from kubeflow_workshop.serving import forecast, inputs


def describe(app: Any, repository: Any) -> None:
    """Let a FastAPI application describe its routes with the models of a KServe repository."""
    from fastapi.openapi.utils import get_openapi

    def openapi() -> dict:
        models = {name: model.loaded for name, model in repository.get_models().items()}
        made = get_openapi(title=app.title, version=app.version, routes=app.routes)
        tensors = [model.run.input for model in models.values()]
        for path, methods in made["paths"].items():
            for operation in methods.values():
                operation["responses"].pop("422", None)  # we answer 400
                for parameter in operation.get("parameters", []):
                    if parameter["name"] == "model_name" and models:
                        parameter["schema"] = {"type": "string", "enum": list(models)}
            if path in _BODIES and tensors:
                methods["post"]["requestBody"] = {
                    "required": True,
                    "content": {
                        "application/json": {"schema": _BODIES[path](tensors[0], list(models))}
                    },
                }
        return made

    app.openapi = openapi


def _windows(tensor: inputs.Tensor) -> dict:
    """Nested lists, as long as the tensor says."""
    schema: dict = {"type": "number", "minimum": 0.01, "maximum": 1e6}
    for size in reversed(tensor.shape[1:]):
        schema = {"type": "array", "minItems": size, "maxItems": size, "items": schema}
    return {"type": "array", "minItems": 1, "maxItems": inputs.MOST_WINDOWS, "items": schema}


def _predict(tensor: inputs.Tensor, models: list[str]) -> dict:
    return {
        "type": "object",
        "required": ["instances"],
        "properties": {"instances": _windows(tensor)},
        "example": {"instances": [[[27.5 + day / 8] for day in range(tensor.days)]]},
    }


def _infer(tensor: inputs.Tensor, models: list[str]) -> dict:
    given = {
        "type": "object",
        "required": ["name", "datatype", "shape", "data"],
        "properties": {
            "name": {"const": tensor.name},
            "datatype": {"const": "FP32"},
            "shape": {"const": [1, *tensor.shape[1:]]},
            "data": {**_windows(tensor), "maxItems": 1},
        },
    }
    return {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "inputs": {"type": "array", "minItems": 1, "maxItems": 1, "items": given},
        },
    }


def _forecast(tensor: inputs.Tensor, models: list[str]) -> dict:
    series = {
        "type": "object",
        "required": ["type", "name", "series", "frequency"],
        "properties": {
            "type": {"const": "univariate_time_series"},
            "name": {"type": "string"},
            "series": {
                "type": "array",
                "minItems": tensor.days,
                "maxItems": inputs.MOST_WINDOWS,
                "items": {"type": "number", "minimum": 0.01, "maximum": 1e6},
            },
            "frequency": {"enum": ["D", "day"]},
            "start_timestamp": {"type": "string", "format": "date"},
            "end_timestamp": {"type": "string", "format": "date"},
        },
    }
    level = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
    return {
        "type": "object",
        "required": ["model", "inputs", "options"],
        "properties": {
            "model": {"enum": models},
            "inputs": {"type": "array", "minItems": 1, "items": series},
            "options": {
                "type": "object",
                "required": ["horizon"],
                "properties": {
                    "horizon": {"type": "integer", "minimum": 1, "maximum": forecast.LONGEST},
                    "quantiles": {"type": "array", "maxItems": 20, "items": level},
                },
            },
        },
    }


_BODIES = {
    "/v1/models/{model_name}:predict": _predict,
    "/v2/models/{model_name}/infer": _infer,
    "/v1/timeseries/forecast": _forecast,
}
