"""`python -m benchmarks.transfers`: run the benchmarks of transfers."""

from benchmarks.transfers.run import main

if __name__ == "__main__":
    main()
