"""`python -m chunkstore` is the same program as `chunkstore`."""

from chunkstore.cli import main

main()
