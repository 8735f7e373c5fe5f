"""From a weights file to a portable one: precisions, ONNX, torch.export, folders for a hub."""
