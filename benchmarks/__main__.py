"""`python -m benchmarks`: run the benchmarks."""

from benchmarks.run import main

if __name__ == "__main__":
    main()
