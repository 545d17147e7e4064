"""The personalised graph router: query embedding, model, training, evaluation, export."""

import os

# Before any of them loads: ONNX Runtime keeps a device id and looks up its maker's collector, hubs count their users.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
