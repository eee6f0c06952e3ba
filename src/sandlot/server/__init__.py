"""The control plane: the server side of the contract."""
