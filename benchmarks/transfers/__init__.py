"""chunkstore's client and what people would pick instead: `python -m benchmarks.transfers`."""
