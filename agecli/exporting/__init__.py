"""From a weights file to a portable one: other precisions, ONNX, torch.export, folders for a hub."""
