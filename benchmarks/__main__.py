"""`python -m benchmarks`: run the benchmark."""

from benchmarks.throughput import main

main()
