"""What tritonclient gets from a server, in a process of its own: its gRPC messages and KServe's
have the same names, and one process cannot hold both.

    python triton.py http|grpc ADDRESS < one JSON request per line
"""

import json
import sys

import numpy as np


def main(protocol: str, address: str) -> None:
    if protocol == "http":
        import tritonclient.http as triton
    else:
        import tritonclient.grpc as triton
    client = triton.InferenceServerClient(address)
    for line in sys.stdin:
        try:
            said = answer(triton, client, protocol, json.loads(line))
        except triton.InferenceServerException as error:
            said = {"status": str(error.status()), "message": error.message()}
        print(json.dumps(said), flush=True)


def answer(triton, client, protocol: str, asked: dict) -> object:
    does = asked.pop("does")
    if does == "ready":
        return [
            client.is_server_live(),
            client.is_server_ready(),
            client.is_model_ready(asked["model"]),
        ]
    if does == "metadata":
        more = {} if protocol == "http" else {"as_json": True}
        return client.get_model_metadata(asked["model"], **more)
    if does == "load":
        return client.load_model(asked["model"])
    values = np.array(asked["values"], asked.get("dtype", "float32"))
    values = values.reshape(asked.get("shape", values.shape))
    name, datatype = asked.get("name", "window"), asked.get("datatype", "FP32")
    tensor = triton.InferInput(name, list(values.shape), datatype)
    outputs = None
    if protocol == "http":
        tensor.set_data_from_numpy(values, binary_data=asked["binary"])
        if "binary_output" in asked:
            outputs = [
                triton.InferRequestedOutput("next_close", binary_data=asked["binary_output"])
            ]
    else:
        tensor.set_data_from_numpy(values)
    made = client.infer(
        asked["model"],
        [tensor],
        request_id=asked.get("id", ""),
        model_version=asked.get("version", ""),
        outputs=outputs,
        parameters=asked.get("parameters"),
    )
    response = made.get_response() if protocol == "http" else made.get_response(as_json=True)
    return {"values": made.as_numpy("next_close").tolist(), "response": response}


if __name__ == "__main__":
    main(*sys.argv[1:])
