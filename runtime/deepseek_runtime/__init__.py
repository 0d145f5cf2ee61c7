"""What runs in the operator's pods: train, quantize, evaluate, serve. Works with or without a cluster."""
