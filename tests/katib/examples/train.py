"""Stands in for the training programs of the examples: takes their arguments, prints or writes
their metrics.
"""

import argparse
import json
import os

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, required=True)
parser.add_argument("--num-layers", type=int, default=2)
parser.add_argument("--num-epochs", type=int, default=3)
parser.add_argument("--batch-size", type=int)
parser.add_argument("--momentum", type=float, default=0.5)
parser.add_argument("--optimizer", choices=["sgd", "adam", "ftrl"], default="sgd")
parser.add_argument("--log-path")
chosen = parser.parse_args()
for epoch in range(1, chosen.num_epochs + 1):
    accuracy = 0.9 - chosen.lr - 0.1 / epoch
    if chosen.log_path:
        with open(chosen.log_path, "a", encoding="utf-8") as log:
            print(
                json.dumps({"accuracy": f"{accuracy:.4f}", "loss": f"{1 - accuracy:.4f}"}), file=log
            )
    else:
        print(
            f"{os.environ.get('TRIAL_NAME', '')} epoch {epoch}:"
            f" Train-accuracy={accuracy + 0.05:.4f} Validation-accuracy={accuracy:.4f}"
        )
