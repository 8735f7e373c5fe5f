"""Export weights files: precisions, ONNX, torch.export, folders for a hub."""
