"""What the template python-jupyter runs in its sandboxes.

This package is copied into the environment of the template, where it is known as `sandlot_jupyter`.
It imports nothing of the rest of the project, and refers to itself by relative imports.

- `launcher`, `server`: the Jupyter server.
- `kernels`, `forking`, `provisioning`: how kernels are started, and kept in reserve.
- `replay`: conversations that outlast their connections.
- `slow_modules`: what it is better off without.
- `fonts`: what plots would else wait for.
- `startup`: lets packages be installed where the environment is read-only.
"""
