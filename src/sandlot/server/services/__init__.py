"""The domain: what the control plane does, told without HTTP."""
