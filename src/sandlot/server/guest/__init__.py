"""What runs around and in a sandbox: the zygote, which makes them, and the agent, PID 1 in each.

This package needs the standard library only, imports nothing of the rest of the project and refers
to itself by relative imports, so that it can be started by a bare interpreter as the top-level
package `guest`. The server talks to it through the messages of `wire` and nothing else.

- `kernel`: system calls that Python has no function for.
- `namespaces`, `mounts`, `privileges`, `seccomp`: the walls, one module each.
- `netlink`, `nftables`, `routes`, `firewall`, `outlets`: the way to the internet, if there is one.
- `processes`, `files`: what the agent does for the server.
- `agent`, `zygote`: the two programs.
- `removal`: deleting what hostile code left behind.
"""
