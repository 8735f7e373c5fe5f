"""Training: the engine, its objectives and its run folders."""
