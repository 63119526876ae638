"""Stores of file content and names: the contract and its implementations."""
