"""Networks: generators, decoders, normalisation. No losses, no training."""
