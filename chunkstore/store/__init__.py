"""Where contents and names are kept: the contract and its implementations."""
