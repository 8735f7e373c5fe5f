"""Sources, audit, split, store and batches: from an archive to tensors."""
