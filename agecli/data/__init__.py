"""Sources, audit, split, store and batches: from archives to tensors."""
