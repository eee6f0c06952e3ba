# Generated from internal/api/openapi.yaml by `make generate`. Do not edit.

from datetime import date as date_aliased
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from sandlot.models._base import Model


class ErrorDetail(Model):
    """
    What went wrong.
    """

    code: str
    """
    Reason for programs: `invalid_request` (400), `unauthorized` (401), `forbidden`, `no_team`,
    `account_disabled`, `account_deactivated` (403), `not_found` (404), `method_not_allowed` (405),
    `invalid_state`, `conflict`, `already_exists`, `name_reserved`, `email_taken`, `owns_team_with_members`, `has_active_sandboxes`,
    `idempotency_key_conflict`, `idempotency_key_used` (409), `too_large` (413), `rate_limited` (429), `internal_error` (500), `unsupported` (501), `agent_error`, `bad_gateway`, `port_closed`
    (502), `host_unavailable`, `no_hosts_available` (503), `gateway_timeout` (504), `no_space` (507).
    """
    message: str
    """
    Reason for people.
    """
    request_id: str | None = None
    """
    Value of `X-Request-Id` of this response.
    """
    sandbox_ids: list[str] | None = None
    """
    With `has_active_sandboxes`: the sandboxes that are in the way.
    """


class Health(Model):
    """
    Sign of life.
    """

    status: str
    """
    `ok`.
    """
    version: str
    """
    Version of the server.
    """
    message: str | None = None
    """
    `OK`, for probes that look for the word.
    """


class IsolationLimits(Model):
    """
    What enforces each limit: `cgroup` (for the sandbox as a whole), `rlimit` (for each process, or for each sandbox
    in the case of `pids`), `watchdog` (for the sandbox as a whole, by looking often and killing: it may be
    exceeded for a moment), `file-size` (for each file), `none`.
    """

    memory: str | None = None
    """
    Of `memory_mb`.
    """
    pids: str | None = None
    """
    Of the number of processes.
    """
    cpu: str | None = None
    """
    Of `vcpus`.
    """
    disk: str | None = None
    """
    Of what is written to disk.
    """


class ServerLimits(Model):
    """
    Bounds that the server puts on requests.
    """

    max_output_bytes: int | None = None
    """
    Bytes that `exec` keeps of each stream unless asked for another number.
    """
    max_buffered_upload_bytes: int | None = None
    """
    Largest body of `files/write`.
    """


class CreateSandboxRequest(Model):
    """
    What a new sandbox shall be like. Fields left out are the server's to choose.
    """

    template: str | None = None
    """
    What the sandbox starts from; `minimal` if omitted.
    """
    vcpus: Annotated[int | None, Field(ge=0, le=64)] = None
    """
    Processors; 1 if 0 or omitted.
    """
    memory_mb: Annotated[int | None, Field(ge=0, le=1048576)] = None
    """
    Memory in MiB, 8 or more; 512 if 0 or omitted.
    """
    disk_mb: Annotated[int | None, Field(ge=0, le=1048576)] = None
    """
    MiB that its home directory may take on the disk; 5120 if 0 or omitted.
    """
    timeout_sec: Annotated[int | None, Field(ge=0, le=2147483647)] = None
    """
    Seconds without activity after which `on_timeout` happens; never if 0 or omitted.
    """
    on_timeout: Literal["pause", "destroy"] | None = None
    """
    What becomes of an idle sandbox, `pause` if omitted. A paused one is not idle.
    """
    max_lifetime_sec: Annotated[int | None, Field(ge=0, le=2147483647)] = None
    """
    Seconds after its creation when the sandbox is destroyed, paused or not; never if 0 or omitted.
    """
    lease_sec: Annotated[int | None, Field(ge=0, le=2147483647)] = None
    """
    Seconds after which the sandbox is destroyed, paused or not, unless its lease is renewed before; never if 0
    or omitted.
    """
    if_exists: Literal["error", "get"] | None = None
    """
    What to do if there is a live sandbox of this `name`: `error` (a 409 `already_exists`), the default, or
    `get`, which gives that one, however it was made and whatever its status, with a 200.
    """
    name: str | None = None
    """
    A name of your own, unique among the team's live sandboxes.
    """
    metadata: Annotated[dict[str, str] | None, Field(max_length=64)] = None
    """
    Labels to find sandboxes by: 64 at most, the names of up to 128 characters, the values of up to 512.
    """
    env: dict[str, str] | None = None
    """
    Environment variables of every command.
    """
    cwd: str | None = None
    """
    Directory in which commands start; the home directory if omitted.
    """
    network: Literal["none", "outbound", "full"] | None = None
    """
    Network mode; `none` if omitted. Others need to be listed in `isolation.network`.
    """
    snapshot: str | None = None
    """
    Snapshot that the files come from; its template is the sandbox's. A `template` of this name does the same.
    """
    require_isolation: list[str] | None = None
    """
    What must be enforced, in the words of `Isolation.enforced`; a 501 `unsupported` if something is not.
    """
    host_tags: list[str] | None = None
    """
    Tags that the host must have, all of them; a 503 `no_hosts_available` if there is none.
    """


class Lease(Model):
    """
    How long a lease lasts.
    """

    expires_at: AwareDatetime
    """
    When the sandbox is destroyed, by its lease or its lifetime, unless the lease is renewed before.
    """


class StopRequest(Model):
    """
    Sandboxes to stop.
    """

    sandbox_ids: Annotated[list[str], Field(max_length=1000)]
    """
    Ids of the sandboxes.
    """
    save_state: bool | None = None
    """
    Pause them instead of destroying them; no if omitted.
    """


class StopFailure(Model):
    """
    Why a sandbox was not stopped.
    """

    id: str
    """
    Id of the sandbox.
    """
    code: str
    """
    Reason for programs, as in `error.code`.
    """
    message: str
    """
    Reason for people.
    """


class StatsCurrent(Model):
    """
    What runs now. A paused sandbox reserves half of its memory.
    """

    running_count: int
    """
    Running sandboxes.
    """
    vcpus_reserved: int
    """
    Processors reserved for them.
    """
    memory_mb_reserved: int
    """
    Memory reserved in MiB.
    """


class StatsPeaks(Model):
    """
    The highest values of the last 30 days.
    """

    running_count: int
    """
    Running sandboxes.
    """
    vcpus: int
    """
    Processors reserved.
    """
    memory_mb: int
    """
    Memory reserved in MiB.
    """


class StatsSeries(Model):
    """
    Columns of equal length, one entry per bucket of time that has samples.
    """

    labels: list[AwareDatetime]
    """
    Starts of the buckets.
    """
    running: list[int]
    """
    Running sandboxes.
    """
    vcpus: list[int]
    """
    Processors reserved.
    """
    memory_mb: list[int]
    """
    Memory reserved in MiB.
    """


class MetricPoint(Model):
    """
    Use of resources at one time.
    """

    timestamp_unix: int
    """
    Seconds since 1970.
    """
    cpu_pct: float
    """
    0 to 100, of all processors of the sandbox.
    """
    mem_bytes: int
    """
    Memory in use.
    """
    disk_bytes: int
    """
    Disk in use.
    """


class ExecRequest(Model):
    """
    A command to run.
    """

    cmd: str
    """
    Program to run.
    """
    args: list[str] | None = None
    """
    Its arguments.
    """
    timeout_sec: float | None = None
    """
    Seconds after which the command is killed; 30 if 0 or omitted.
    """
    cwd: str | None = None
    """
    Directory to start in; relative ones start at the sandbox's own.
    """
    env: dict[str, str] | None = None
    """
    Environment variables beyond the sandbox's own.
    """
    envs: dict[str, str] | None = None
    """
    Another name of `env`, which original clients use.
    """
    user: str | None = None
    """
    User to run as; `user` is the only one of the local engine.
    """
    stdin: str | None = None
    """
    What the command reads; nothing if omitted.
    """
    stdin_encoding: Literal["utf-8", "base64"] | None = None
    """
    How `stdin` is written; `utf-8` if omitted.
    """
    max_output_bytes: Annotated[int | None, Field(ge=0, le=67108864)] = None
    """
    Bytes to keep of each stream; 10 MiB if omitted.
    """
    background: bool | None = None
    """
    Answer as soon as the program runs, and let it run.
    """
    tag: str | None = None
    """
    With `background`: a name for the process, which no other of the sandbox that runs may have; `proc-` and
    eight digits if omitted. It must not consist of digits alone.
    """


class BackgroundProcess(Model):
    """
    A process that was started in the background.
    """

    sandbox_id: str
    """
    Id of the sandbox.
    """
    cmd: str
    """
    `cmd` of the request.
    """
    pid: int
    """
    Id of the process, as the sandbox sees it.
    """
    tag: str
    """
    Its name.
    """


class ProcessInfo(Model):
    """
    A process that was started by way of this API.
    """

    pid: int
    """
    Its id, as the sandbox sees it.
    """
    tag: str | None = None
    """
    Its name; commands that somebody waits for have none.
    """
    cmd: str
    """
    Program.
    """
    args: list[str] | None = None
    """
    Its arguments.
    """
    kind: Literal["background", "terminal", "command"] | str | None = None
    """
    What it is: `background`, `terminal`, or a `command` that somebody waits for.
    """
    started_at: AwareDatetime | None = None
    """
    When it was started.
    """
    exit_code: int | None = None
    """
    Exit code, once it has ended; -1 if a signal ended it.
    """
    signal: str | None = None
    """
    Name of the signal that ended it.
    """
    lost: bool | None = None
    """
    It ended with the sandbox, or with a restart or rollback of it.
    """


class ProcessList(Model):
    """
    Processes of a sandbox.
    """

    processes: list[ProcessInfo]
    """
    These.
    """


class PtyMessage(Model):
    """
    A message of the client.
    """

    type: str
    """
    `start`, `connect`, `input`, `resize` or `kill`; others are ignored.
    """
    cmd: str | None = None
    """
    Of `start`: program to run; bash or sh if omitted.
    """
    args: list[str] | None = None
    """
    Of `start`: its arguments.
    """
    cols: int | None = None
    """
    Of `start`, `resize`: columns, 1 to 65535; 80 if omitted.
    """
    rows: int | None = None
    """
    Of `start`, `resize`: rows, 1 to 65535; 24 if omitted.
    """
    envs: dict[str, str] | None = None
    """
    Of `start`: environment variables beyond the sandbox's own.
    """
    cwd: str | None = None
    """
    Of `start`: directory to start in.
    """
    user: str | None = None
    """
    Of `start`: user to run as.
    """
    tag: str | None = None
    """
    Of `connect`: which terminal. Of `start`: its name, as of `ExecRequest`; `pty-` and eight digits if omitted.
    """
    scrollback: bool | None = None
    """
    Of `connect`: send what was kept of the output.
    """
    offset: Annotated[int | None, Field(ge=0)] = None
    """
    Of `connect` with `scrollback`: bytes of output that the client has.
    """
    data: str | None = None
    """
    Of `input`: what is typed, as base64.
    """


class PtyEvent(Model):
    """
    A message of the server.
    """

    type: str
    """
    `started`, `output`, `gap`, `exit`, `error` or `ping`.
    """
    tag: str | None = None
    """
    Of `started`: name of the terminal.
    """
    pid: int | None = None
    """
    Of `started`: id of the process, as the sandbox sees it.
    """
    offset: int | None = None
    """
    Of `started`, if `scrollback` was asked for, and of `gap`: bytes of output before what comes next.
    """
    data: str | None = None
    """
    Of `output`: what was written, as base64. Of `error`: what went wrong.
    """
    exit_code: int | None = None
    """
    Of `exit`: exit code; -1 if a signal ended it.
    """
    signal: str | None = None
    """
    Of `exit`: name of the signal that ended it.
    """
    code: str | None = None
    """
    Of `error`: reason for programs.
    """
    fatal: bool | None = None
    """
    Of `error`: the conversation is over.
    """


class ExecResponse(Model):
    """
    What a command did.
    """

    sandbox_id: str
    """
    Id of the sandbox.
    """
    cmd: str
    """
    `cmd` of the request.
    """
    stdout: str
    """
    Standard output.
    """
    stderr: str
    """
    Standard error.
    """
    exit_code: int
    """
    Exit code; 126 or 127 if it could not be run, -1 if a signal ended it.
    """
    duration_ms: int
    """
    How long it ran.
    """
    encoding: Literal["utf-8", "base64"] | str
    """
    How `stdout` and `stderr` are written.
    """
    signal: str | None = None
    """
    Name of the signal that ended it, such as `SIGKILL`.
    """
    timed_out: bool | None = None
    """
    It was killed after `timeout_sec`.
    """
    truncated: bool | None = None
    """
    Output was discarded.
    """
    oom: bool | None = None
    """
    Something of it was killed because the sandbox ran out of memory.
    """
    no_space: bool | None = None
    """
    Something of it was killed because the sandbox went over `disk_mb`.
    """


class ExecStreamStart(Model):
    """
    First message of the client.
    """

    type: Literal["start"]
    cmd: str
    """
    Program to run.
    """
    args: list[str] | None = None
    """
    Its arguments.
    """
    timeout_sec: float | None = None
    """
    Seconds after which the command is killed; never if 0 or omitted.
    """
    cwd: str | None = None
    """
    Directory to start in.
    """
    env: dict[str, str] | None = None
    """
    Environment variables beyond the sandbox's own.
    """
    user: str | None = None
    """
    User to run as.
    """
    resume_sec: Annotated[float | None, Field(ge=0.0, le=60.0)] = None
    """
    With the subprotocol: seconds that the command waits for the client to come back when the connection breaks; none if omitted.
    """


class ExecStreamResume(Model):
    """
    First message of a client that comes back.
    """

    type: Literal["resume"]
    tag: str
    """
    What `start` said.
    """
    stdout: Annotated[int, Field(ge=0)]
    """
    Bytes of standard output that have arrived.
    """
    stderr: Annotated[int, Field(ge=0)]
    """
    Bytes of standard error that have arrived.
    """


class ExecStreamArrival(Model):
    """
    The client's acknowledgement of output.
    """

    type: Literal["ack"]
    stdout: Annotated[int, Field(ge=0)]
    """
    Bytes of standard output that have arrived.
    """
    stderr: Annotated[int, Field(ge=0)]
    """
    Bytes of standard error that have arrived.
    """


class ExecStreamEvent(Model):
    """
    A message of the server.
    """

    type: str
    """
    `start`, `stdout`, `stderr`, `gap`, `exit`, `error` or `ack`.
    """
    pid: int | None = None
    """
    Of `start`: id of the process, as the sandbox sees it.
    """
    tag: str | None = None
    """
    Of `start`: name of the process, if it has one.
    """
    stream: str | None = None
    """
    Of `gap`: `stdout` or `stderr`.
    """
    data: str | None = None
    """
    Of `stdout`, `stderr`: output. Of `error`: what went wrong.
    """
    code: str | None = None
    """
    Of `error`: reason for programs.
    """
    exit_code: int | None = None
    """
    Of `exit`: exit code; -1 if a signal ended it.
    """
    signal: str | None = None
    """
    Of `exit`: name of the signal that ended it.
    """
    timed_out: bool | None = None
    """
    Of `exit`: it was killed after `timeout_sec`.
    """
    oom: bool | None = None
    """
    Of `exit`: something of it was killed because the sandbox ran out of memory.
    """
    no_space: bool | None = None
    """
    Of `exit`: something of it was killed because the sandbox went over `disk_mb`.
    """
    offset: int | None = None
    """
    Of `start`, after `resume`: bytes of stdin that have arrived. Of `ack`: bytes of stdin that the command has taken. Of `gap`: bytes of the stream before what comes next.
    """


class WriteFileRequest(Model):
    """
    A file and where it goes.
    """

    path: str | None = None
    """
    Path of the file in the sandbox.
    """
    file: bytes
    """
    Its content.
    """


class ReadFileRequest(Model):
    """
    A file to read; one of the two is needed.
    """

    path: str | None = None
    """
    Path of the file in the sandbox.
    """
    path_base64: str | None = None
    """
    The same in base64, for names that are no UTF-8; instead of the text.
    """


class FilePathRequest(Model):
    """
    Something in the sandbox; one of the two is needed. Relative paths, `~` and `~/...` start at the home directory.
    """

    path: str | None = None
    """
    Its path.
    """
    path_base64: str | None = None
    """
    The same in base64, for names that are no UTF-8; instead of the text.
    """


class ListFilesRequest(Model):
    """
    A directory to list; one of the two paths is needed.
    """

    path: str | None = None
    """
    Path of the directory.
    """
    path_base64: str | None = None
    """
    The same in base64, for names that are no UTF-8; instead of the text.
    """
    depth: Annotated[int | None, Field(ge=0, le=2147483647)] = None
    """
    How many levels to tell of; 1 if 0 or omitted.
    """


class TransferFileRequest(Model):
    """
    What goes where; one of each two is needed.
    """

    source: str | None = None
    """
    Path of what there is.
    """
    source_base64: str | None = None
    """
    The same in base64, for names that are no UTF-8; instead of the text.
    """
    destination: str | None = None
    """
    Path that it shall have.
    """
    destination_base64: str | None = None
    """
    The same in base64, for names that are no UTF-8; instead of the text.
    """
    overwrite: bool | None = None
    """
    Replace what is there; `false` if omitted.
    """


class ChangeFileModeRequest(Model):
    """
    Permission bits for a file or directory; one of the two paths is needed.
    """

    path: str | None = None
    """
    Its path.
    """
    path_base64: str | None = None
    """
    The same in base64, for names that are no UTF-8; instead of the text.
    """
    mode: Annotated[int, Field(ge=0, le=4095)]
    """
    The bits, up to 4095 (octal 7777).
    """


class FileEntry(Model):
    """
    A file, directory or link.
    """

    name: str
    """
    Its name; bytes that are no UTF-8 are replaced.
    """
    path: str
    """
    Its path from the root; bytes that are no UTF-8 are replaced.
    """
    path_base64: str | None = None
    """
    All bytes of its path in base64, if some of them are no UTF-8.
    """
    type: Literal["file", "directory", "symlink", "unknown"] | str
    """
    `file`, `directory`, or `unknown` for anything else. Of a link it is that of its target, and `unknown` if there is none.
    """
    size: int
    """
    Bytes of its content.
    """
    mode: int
    """
    Permission bits; of a link those of its target.
    """
    permissions: str
    """
    Its own type and permissions, such as `-rw-r--r--`; `L` is a link.
    """
    owner: str
    """
    Its user.
    """
    group: str
    """
    Its group.
    """
    modified_at: int
    """
    When its content was last changed, in seconds since 1970.
    """
    symlink_target: str | None = None
    """
    Of a link: where it leads, as a path from the root.
    """


class FileEntryResponse(Model):
    """
    Something in the sandbox.
    """

    entry: FileEntry


class ListFilesResponse(Model):
    """
    What is in a directory.
    """

    entries: list[FileEntry]
    """
    In order of paths, parents first.
    """


class CreateSnapshotRequest(Model):
    """
    What to keep, under which name.
    """

    sandbox_id: str
    """
    Whose files.
    """
    name: str | None = None
    """
    Name of the snapshot; `template-` and eight digits if omitted.
    """


class SnapshotInfo(Model):
    """
    Something that sandboxes can be created from.
    """

    name: str
    """
    Its name: the `template` of new sandboxes.
    """
    type: Literal["base", "snapshot"] | str
    """
    `base` ones come with the engine or were built from a recipe; `snapshot` ones are files of a sandbox.
    """
    vcpus: int | None = None
    """
    Processors of the sandbox it was made from, and the default of those made from it.
    """
    memory_mb: int | None = None
    """
    Memory in MiB of the sandbox it was made from, and the default of those made from it.
    """
    size_bytes: int
    """
    Size of the files, whether shared with others or not.
    """
    created_at: AwareDatetime
    """
    When it was made.
    """
    platform: bool | None = None
    """
    It is there for all teams.
    """
    template: str | None = None
    """
    The template of the engine that is beneath it.
    """


class ForkRequest(Model):
    """
    How many forks to make.
    """

    count: Annotated[int | None, Field(ge=1, le=64)] = None
    """
    How many; 1 if omitted.
    """


class CheckpointRequest(Model):
    """
    What to call a checkpoint.
    """

    name: str | None = None
    """
    Any text, for people to read.
    """


class Checkpoint(Model):
    """
    Files of a sandbox at one time.
    """

    id: str
    """
    Id of the checkpoint.
    """
    sandbox_id: str
    """
    Whose files.
    """
    name: str | None = None
    """
    Name given to it.
    """
    size_bytes: int
    """
    Size of the files, whether shared with others or not.
    """
    created_at: AwareDatetime
    """
    When it was made.
    """


class RollbackRequest(Model):
    """
    Where to go back to.
    """

    checkpoint_id: str
    """
    A checkpoint of the same sandbox.
    """


class FileChange(Model):
    """
    How one file differs.
    """

    path: str
    """
    Path below the home directory; bytes that are no UTF-8 are replaced.
    """
    kind: Literal["added", "modified", "deleted"] | str
    """
    What happened to it.
    """
    type: Literal["file", "directory", "symlink", "other"] | str
    """
    What it is, or was if it was deleted.
    """
    size: int | None = None
    """
    Bytes of the file as it is, or was if it was deleted.
    """
    diff: str | None = None
    """
    Unified diff, of files that are and were text and not too long.
    """


class SignupRequest(Model):
    """
    A user to be made.
    """

    email: str
    """
    Address; case does not matter.
    """
    password: str
    """
    8 to 1024 characters.
    """
    name: str
    """
    1 to 100 characters.
    """


class LoginRequest(Model):
    """
    Who wants a token.
    """

    email: str
    """
    Address of the user.
    """
    password: str
    """
    Their password.
    """


class SwitchTeamRequest(Model):
    """
    The team that a token is wanted for.
    """

    team_id: str
    """
    Id of the team.
    """


class AuthSession(Model):
    """
    A user who has logged in, in one of their teams.
    """

    token: str
    """
    What to send as `Authorization: Bearer`.
    """
    user_id: str
    """
    Id of the user.
    """
    team_id: str
    """
    Id of the team that the token is for.
    """
    email: str
    """
    Address of the user.
    """
    name: str
    """
    Name of the user.
    """
    role: str | None = None
    """
    Role in the team: `owner`, `admin` or `member`.
    """
    expires_at: AwareDatetime | None = None
    """
    When the token expires.
    """


class Account(Model):
    """
    A user, as they see themselves.
    """

    user_id: str | None = None
    """
    Id of the user.
    """
    name: str
    """
    What to call them.
    """
    email: str
    """
    Their address.
    """
    has_password: bool
    """
    Whether they can log in with a password.
    """
    providers: list[str]
    """
    Other services that they can log in with; always empty here.
    """
    is_admin: bool | None = None
    """
    Whether they administer the platform.
    """
    created_at: AwareDatetime | None = None
    """
    Since when they are there.
    """


class UpdateAccountRequest(Model):
    """
    What is to change of one's own account.
    """

    name: str
    """
    What to call the user: 1 to 100 characters.
    """


class DeleteAccountRequest(Model):
    """
    An account to be deleted.
    """

    confirmation: str
    """
    Address of the account.
    """


class PasswordRequest(Model):
    """
    A password to be changed.
    """

    current_password: str
    """
    What it is.
    """
    new_password: str
    """
    What it shall be: 8 to 1024 characters.
    """


class SetActiveRequest(Model):
    """
    Whether a user may come in.
    """

    active: bool
    """
    Whether they may.
    """


class TeamSummary(Model):
    """
    A team, as those see it who administer the platform.
    """

    id: str
    """
    Id of the team.
    """
    name: str
    """
    Its name.
    """
    slug: str
    """
    Its name in addresses.
    """
    is_byoc: bool
    """
    Whether it brings hosts of its own.
    """
    created_at: AwareDatetime
    """
    When it was made.
    """
    deleted_at: AwareDatetime | None = None
    """
    When it was deleted.
    """
    member_count: int
    """
    How many members it has.
    """
    owner_name: str | None = None
    """
    Name of the one who has owned it longest.
    """
    owner_email: str | None = None
    """
    Address of that one.
    """
    active_sandbox_count: int
    """
    How many sandboxes of it live.
    """
    channel_count: int
    """
    How many channels it has.
    """


class TeamSummaryPage(Model):
    """
    A page of all teams.
    """

    teams: list[TeamSummary]
    """
    The teams.
    """
    total: int
    """
    How many there are on all pages.
    """
    page: int
    """
    Which page this is, counted from 1.
    """
    per_page: int
    """
    How many a page has at most.
    """
    total_pages: int
    """
    How many pages there are.
    """


class UserSummary(Model):
    """
    A user, as those see them who administer the platform.
    """

    id: str
    """
    Id of the user.
    """
    email: str
    """
    Their address.
    """
    name: str
    """
    What to call them.
    """
    is_admin: bool
    """
    Whether they administer the platform.
    """
    status: str
    """
    `active`, `disabled`, and on other servers `inactive` or `deleted`.
    """
    created_at: AwareDatetime
    """
    Since when they are there.
    """
    teams_joined: int
    """
    In how many teams they are.
    """
    teams_owned: int
    """
    How many of these they own.
    """


class UserSummaryPage(Model):
    """
    A page of all users.
    """

    users: list[UserSummary]
    """
    The users.
    """
    total: int
    """
    How many there are on all pages.
    """
    page: int
    """
    Which page this is, counted from 1.
    """
    per_page: int
    """
    How many a page has at most.
    """
    total_pages: int
    """
    How many pages there are.
    """


class CreateApiKeyRequest(Model):
    """
    An API key to be made.
    """

    name: str | None = None
    """
    What to call it: 128 characters at most.
    """
    scopes: Annotated[
        list[
            Literal[
                "sandboxes", "api_keys", "teams", "users", "audit", "hosts", "channels", "admin"
            ]
        ]
        | None,
        Field(min_length=1),
    ] = None
    """
    What it may be used for: `sandboxes` (snapshots too), `api_keys`, `teams`, `users`, `audit`, `hosts`,
    `channels`, `admin`; `sandboxes` if absent. Never more than its maker may at the time.
    """
    expires_at: AwareDatetime | None = None
    """
    When it ceases to be valid, which is yet to come; never if absent.
    """


class ApiKey(Model):
    """
    An API key.
    """

    id: str
    """
    Its id.
    """
    team_id: str
    """
    The team that it belongs to.
    """
    name: str
    """
    What it is called.
    """
    key_prefix: str
    """
    How the key begins.
    """
    key: str | None = None
    """
    The key itself; only in the answer to its creation.
    """
    created_by: str | None = None
    """
    Id of the user who made it.
    """
    creator_email: str | None = None
    """
    Address of that user; in lists only.
    """
    scopes: list[str] | None = None
    """
    What it may be used for.
    """
    created_at: AwareDatetime
    """
    When it was made.
    """
    last_used: AwareDatetime | None = None
    """
    When it was last used, to the minute.
    """
    expires_at: AwareDatetime | None = None
    """
    When it ceases to be valid.
    """


class UserMatch(Model):
    """
    A user who was looked for.
    """

    user_id: str
    """
    Id of the user.
    """
    email: str
    """
    Address of the user.
    """


class TeamNameRequest(Model):
    """
    What a team is to be called.
    """

    name: str
    """
    1 to 128 characters of `A-Z a-z 0-9`, space, `_ - @ '`.
    """


class Team(Model):
    """
    A team.
    """

    id: str
    """
    Its id.
    """
    name: str
    """
    What it is called.
    """
    slug: str
    """
    A short name that never changes.
    """
    is_byoc: bool | None = None
    """
    Whether it runs sandboxes on hosts of its own.
    """
    created_at: AwareDatetime
    """
    When it was made.
    """
    role: str | None = None
    """
    The caller's role in it: `owner`, `admin` or `member`.
    """


class Member(Model):
    """
    A user in a team.
    """

    user_id: str
    """
    Id of the user.
    """
    name: str | None = None
    """
    Name of the user.
    """
    email: str
    """
    Address of the user.
    """
    role: str
    """
    `owner`, `admin` or `member`.
    """
    joined_at: AwareDatetime
    """
    When they joined.
    """


class AddMemberRequest(Model):
    """
    Who is to become a member.
    """

    email: str
    """
    Address of a user.
    """


class UpdateMemberRequest(Model):
    """
    What a member is to be.
    """

    role: Literal["admin", "member", "owner"]
    """
    `admin` or `member`; owners may make a member `owner`.
    """


class AuditEntry(Model):
    """
    Something that was done, or tried.
    """

    id: str
    """
    Its id.
    """
    actor_type: str
    """
    `user`, `api_key`, `host`, or `system` for what nobody asked for.
    """
    actor_id: str | None = None
    """
    Id of who did it.
    """
    actor_name: str | None = None
    """
    Name of who did it.
    """
    resource_type: str
    """
    What it was done to: `sandbox`, `snapshot`, `team`, `member`, …
    """
    resource_id: str | None = None
    """
    Its id; of snapshots the name.
    """
    action: str
    """
    What was done: `create`, `destroy`, …
    """
    scope: str
    """
    `team`, or `admin` for what only admins and owners see.
    """
    status: str
    """
    `success`, `info`, `warning`, or `error` for what failed.
    """
    metadata: dict[str, str] | None = None
    """
    More about it; of what failed, `error` is the code.
    """
    created_at: AwareDatetime
    """
    When, to the microsecond.
    """


class AuditPage(Model):
    """
    A page of the audit log.
    """

    items: list[AuditEntry]
    """
    Newest first.
    """
    next_before: str | None = None
    """
    `before` of the next page, to the microsecond; absent on the last page.
    """
    next_before_id: str | None = None
    """
    `before_id` of the next page.
    """


class CreateBuildRequest(Model):
    """
    What to build, from what, and how.
    """

    name: str
    """
    What to call the template.
    """
    base_template: str | None = None
    """
    Template or snapshot to begin with; `minimal` if omitted.
    """
    recipe: Annotated[list[str], Field(max_length=1000, min_length=1)]
    """
    The instructions.
    """
    healthcheck: str | None = None
    """
    What says that the started programs are ready; that of the base template if omitted.
    """
    vcpus: Annotated[int | None, Field(ge=0, le=64)] = None
    """
    Processors, also of sandboxes of the template; as the base template if 0 or omitted.
    """
    memory_mb: Annotated[int | None, Field(ge=0, le=1048576)] = None
    """
    Memory in MiB, likewise.
    """
    disk_mb: Annotated[int | None, Field(ge=0, le=1048576)] = None
    """
    MiB that the home directory may take, likewise.
    """
    network: Literal["none", "outbound", "full"] | None = None
    """
    Network mode while it is built; `none` if omitted.
    """
    skip_pre_post: bool | None = None
    """
    Known to original servers, which do more than the recipe says; without effect here.
    """


class BuildForm(Model):
    """
    A build with an archive.
    """

    config: str
    """
    A `CreateBuildRequest` as JSON.
    """
    archive: Annotated[
        str | None,
        Field(json_schema_extra={"contentMediaType": "application/octet-stream"}),
    ] = None
    """
    Files for COPY: tar, tar.gz or zip, 100 MiB at most.
    """


class BuildLogEntry(Model):
    """
    A step of a build.
    """

    step: int
    """
    Its number, counted from 1.
    """
    phase: str
    """
    `recipe`, or `post-build` for what follows it; original servers have a `pre-build` too.
    """
    line: int | None = None
    """
    Line of the recipe, counted from 1.
    """
    cmd: str
    """
    The instruction as it was written.
    """
    stdout: str
    """
    What it wrote to its standard output, as far as there was room.
    """
    stderr: str
    """
    What it wrote to its standard error, likewise.
    """
    exit: int
    """
    Exit code; -1 if it has none.
    """
    ok: bool
    """
    Whether it did what it should.
    """
    elapsed_ms: int
    """
    How long it took.
    """


class BuildLogPiece(Model):
    """
    Something that a step wrote.
    """

    step: int
    """
    Number of the step.
    """
    stream: Literal["command", "stdout", "stderr"] | str
    """
    `command` for the instruction itself, with which each step begins.
    """
    text: str
    """
    What it wrote.
    """


class BuildLogPage(Model):
    """
    A part of the log of a build.
    """

    status: str
    """
    Status of the build.
    """
    current_step: int
    """
    Number of the step that runs, or ran last.
    """
    total_steps: int
    """
    How many there are.
    """
    next_offset: int
    """
    Where to read on.
    """
    pieces: list[BuildLogPiece]
    """
    In order.
    """


class CreateChannelRequest(Model):
    """
    Where to tell of what.
    """

    name: str
    """
    What to call it: 1-64 letters, digits and . _ -; capitals become small, spaces hyphens.
    """
    provider: Literal["discord", "googlechat", "matrix", "slack", "teams", "telegram", "webhook"]
    """
    What takes the messages.
    """
    config: dict[str, str]
    """
    What the provider needs.
    """
    events: Annotated[
        list[
            Literal[
                "capsule.created",
                "capsule.running",
                "capsule.paused",
                "capsule.destroyed",
                "template.snapshot.created",
                "template.snapshot.deleted",
                "host.up",
                "host.down",
            ]
        ],
        Field(min_length=1),
    ]
    """
    What to tell of; one event or more.
    """


class UpdateChannelRequest(Model):
    """
    What a channel shall be called and told of from now on.
    """

    name: str
    """
    What to call it.
    """
    events: Annotated[
        list[
            Literal[
                "capsule.created",
                "capsule.running",
                "capsule.paused",
                "capsule.destroyed",
                "template.snapshot.created",
                "template.snapshot.deleted",
                "host.up",
                "host.down",
            ]
        ],
        Field(min_length=1),
    ]
    """
    What to tell of; one event or more.
    """


class RotateChannelConfigRequest(Model):
    """
    What takes the place of a configuration.
    """

    config: dict[str, str]
    """
    What the provider needs; nothing of the old one is kept.
    """


class TestChannelRequest(Model):
    """
    Where to send a message.
    """

    provider: Literal["discord", "googlechat", "matrix", "slack", "teams", "telegram", "webhook"]
    """
    What takes the message.
    """
    config: dict[str, str]
    """
    What the provider needs.
    """


class ChannelTestResult(Model):
    """
    What came of a test.
    """

    status: str
    """
    `ok`.
    """


class Channel(Model):
    """
    Where a team is told of what happens.
    """

    id: str
    """
    Id.
    """
    team_id: str
    """
    Whose it is.
    """
    name: str
    """
    What it is called.
    """
    provider: (
        Literal["discord", "googlechat", "matrix", "slack", "teams", "telegram", "webhook"] | str
    )
    """
    What takes the messages.
    """
    events: list[str]
    """
    What it is told of.
    """
    created_at: AwareDatetime
    """
    When it was made.
    """
    updated_at: AwareDatetime
    """
    When it was last changed.
    """
    secret: str | None = None
    """
    What webhooks are signed with; only when it is made or replaced.
    """


class Delivery(Model):
    """
    An event on its way to a channel, or what became of it.
    """

    id: str
    """
    A UUID, the same at every try; webhooks get it as `X-Wrenn-Delivery`.
    """
    channel_id: str
    """
    Where it goes.
    """
    event: str
    """
    What happened.
    """
    status: Literal["pending", "delivered", "failed"] | str
    """
    How far it is.
    """
    attempts: int
    """
    How often it was tried.
    """
    created_at: AwareDatetime
    """
    When it began.
    """
    last_attempt_at: AwareDatetime | None = None
    """
    When it was last tried.
    """
    next_attempt_at: AwareDatetime | None = None
    """
    When it is tried next; absent when it is no longer pending.
    """
    response_status: int | None = None
    """
    HTTP status of the last answer, if there was one and it is known.
    """
    error: str | None = None
    """
    Why the last try failed.
    """


class WebhookActor(Model):
    """
    Who did it.
    """

    type: Literal["user", "api_key", "host", "system"] | str
    """
    What they are; `system` is nobody who asked for it.
    """
    id: str | None = None
    """
    Id.
    """
    name: str | None = None
    """
    What people call them.
    """


class WebhookResource(Model):
    """
    What it happened to.
    """

    id: str
    """
    Id; of snapshots, the name.
    """
    type: str
    """
    `sandbox`, `snapshot` or `host`.
    """


class UsagePoint(Model):
    """
    What was used of a day.
    """

    date: date_aliased
    """
    The day, in UTC.
    """
    cpu_minutes: float
    """
    Processors of what ran, times minutes.
    """
    ram_mb_minutes: float
    """
    MiB of memory of what ran, times minutes.
    """


class CreateHostRequest(Model):
    """
    A host to be made.
    """

    type: Literal["regular", "byoc"]
    """
    `regular`, for all teams, or `byoc`, for the team that brings it.
    """
    team_id: str | None = None
    """
    With `byoc`: the team.
    """
    provider: str | None = None
    """
    Who runs the machine: 128 characters at most.
    """
    availability_zone: str | None = None
    """
    Where it is: 128 characters at most.
    """


class Host(Model):
    """
    A machine that sandboxes can be on.
    """

    id: str
    """
    Its id.
    """
    type: Literal["regular", "byoc"] | str
    """
    Who it is for.
    """
    team_id: str | None = None
    """
    With `byoc`: the team that brings it.
    """
    team_name: str | None = None
    """
    What that team is called; for administrators of the platform only.
    """
    provider: str | None = None
    """
    Who runs the machine.
    """
    availability_zone: str | None = None
    """
    Where it is.
    """
    arch: str | None = None
    """
    Architecture of its processors.
    """
    cpu_cores: int | None = None
    """
    Processors.
    """
    memory_mb: int | None = None
    """
    Memory in MiB.
    """
    disk_gb: int | None = None
    """
    Disk in GiB.
    """
    address: str | None = None
    """
    What an agent said of itself, or the name of a server's machine.
    """
    engine: str | None = None
    """
    What keeps the sandboxes, if it is the machine of a server like this.
    """
    status: Literal["pending", "online", "offline", "unreachable", "draining"] | str
    """
    Whether it is there.
    """
    last_heartbeat_at: AwareDatetime | None = None
    """
    When it was last heard of.
    """
    created_by: str
    """
    Id of the user who made it.
    """
    created_at: AwareDatetime
    """
    When it was made.
    """
    updated_at: AwareDatetime
    """
    When it last changed.
    """


class HostInvitation(Model):
    """
    A host that waits to be registered.
    """

    host: Host
    registration_token: str
    """
    What it is registered with, once and within an hour.
    """


class RegisterHostRequest(Model):
    """
    What an agent says of its machine.
    """

    token: str
    """
    The token that the host was made with.
    """
    address: str
    """
    Where the agent is reached: 1 to 255 characters.
    """
    arch: str | None = None
    """
    Architecture of the processors: 64 characters at most.
    """
    cpu_cores: Annotated[int | None, Field(ge=0, le=2147483647)] = None
    """
    Processors.
    """
    memory_mb: Annotated[int | None, Field(ge=0, le=2147483647)] = None
    """
    Memory in MiB.
    """
    disk_gb: Annotated[int | None, Field(ge=0, le=2147483647)] = None
    """
    Disk in GiB.
    """


class RefreshHostTokenRequest(Model):
    """
    What new tokens are given for.
    """

    refresh_token: str
    """
    The last refresh token.
    """


class HostCredentials(Model):
    """
    What an agent is given.
    """

    host: Host
    token: str
    """
    What it sends as `X-Host-Token`, for seven days.
    """
    refresh_token: str
    """
    What it gets new tokens for, once and within 60 days.
    """


class HostDeletePreview(Model):
    """
    What would go with a host.
    """

    host: Host
    sandbox_ids: list[str]
    """
    The live sandboxes on it, paused ones included.
    """


class AddHostTagRequest(Model):
    """
    A tag for a host.
    """

    tag: str
    """
    1 to 64 characters that can be shown, without slashes.
    """


class SetByocRequest(Model):
    """
    Whether a team brings its own hosts.
    """

    enabled: bool
    """
    `true`; it cannot be taken back.
    """


class AdminTemplate(Model):
    """
    A template, as administrators see it.
    """

    name: str
    """
    What it is called.
    """
    type: Literal["base", "snapshot"] | str
    """
    What it is.
    """
    vcpus: int
    """
    Processors of sandboxes made from it.
    """
    memory_mb: int
    """
    Their memory in MiB.
    """
    size_bytes: int
    """
    Size of its files; 0 of those that come with the engine.
    """
    team_id: str
    """
    Whose it is.
    """
    created_at: AwareDatetime
    """
    When it was made.
    """


class Error(Model):
    """
    Body of every failed response.
    """

    error: ErrorDetail


class Isolation(Model):
    """
    What separates a sandbox from its host and from other sandboxes.
    """

    level: Literal["full", "none"] | str
    """
    `full`: namespaces, system call filter and private user; `none`: an ordinary process.
    """
    engine: str
    """
    `local` (namespaces on this machine) or `process` (no isolation).
    """
    namespaces: list[str] | None = None
    """
    Kinds of kernel namespace that each sandbox has of its own.
    """
    seccomp: bool | None = None
    """
    A system call filter is in force.
    """
    no_new_privileges: bool | None = None
    """
    Set-user-id programs gain nothing.
    """
    capabilities_dropped: bool | None = None
    """
    No kernel capability is left to sandboxed code.
    """
    private_uid: bool | None = None
    """
    Each sandbox has a host user id that nothing else uses.
    """
    network: list[str] | None = None
    """
    Network modes that can be asked for.
    """
    pause: Literal["freeze", "stop", "none"] | str | None = None
    """
    How a pause is done: by the kernel's freezer, by stop signals, or not at all.
    """
    snapshot: Literal["overlay", "copy", "none"] | str | None = None
    """
    How files are captured: shared copy-on-write, copied, or not at all.
    """
    reattach: bool | None = None
    """
    Sandboxes outlive a server that is killed and started again.
    """
    limits: IsolationLimits | None = None
    enforced: list[str] | None = None
    """
    All that holds, in words that `require_isolation` takes: `full` (the level), kinds of namespace (`user`,
    `pid`, `mount`, `net`, `ipc`, `uts`, `cgroup`), `seccomp`, `no_new_privileges`, `capabilities_dropped`, `private_uid`,
    and `memory`, `pids`, `cpu`, `disk` for limits that hold for the sandbox as a whole.
    """
    reason: str | None = None
    """
    Why something is not enforced here.
    """


class SandboxInfo(Model):
    """
    A sandbox as last seen by the server.
    """

    id: str
    """
    Id of the sandbox.
    """
    status: (
        Literal[
            "pending", "starting", "running", "paused", "stopped", "error", "missing", "hibernated"
        ]
        | str
    )
    """
    State of the sandbox.
    """
    status_reason: str | None = None
    """
    Why the sandbox is in this state, where nobody asked for it.
    """
    template: str
    """
    What the sandbox started from.
    """
    vcpus: int
    """
    Processors.
    """
    memory_mb: int
    """
    Memory in MiB.
    """
    disk_mb: int | None = None
    """
    MiB that its home directory may take on the disk.
    """
    timeout_sec: int
    """
    Seconds without activity after which `on_timeout` happens; never if 0.
    """
    on_timeout: Literal["pause", "destroy"] | str | None = None
    """
    What becomes of it when it is idle.
    """
    max_lifetime_sec: int | None = None
    """
    Seconds after its creation when it is destroyed; never if 0.
    """
    lease_sec: int | None = None
    """
    Seconds after the renewal of its lease when it is destroyed; never if 0.
    """
    expires_at: AwareDatetime | None = None
    """
    When it will be destroyed, by its lifetime or its lease, unless the lease is renewed. Absent if never.
    """
    name: str | None = None
    """
    Name given at creation.
    """
    metadata: dict[str, str] | None = None
    """
    Labels given at creation.
    """
    cwd: str | None = None
    """
    Directory in which commands start.
    """
    network: str | None = None
    """
    Network mode.
    """
    snapshot: str | None = None
    """
    Snapshot that the files came from.
    """
    isolation: Isolation | None = None
    host_id: str | None = None
    """
    The host that it is on.
    """
    host_ip: str | None = None
    """
    Address of the host.
    """
    guest_ip: str | None = None
    """
    Address of the sandbox on its host.
    """
    created_at: AwareDatetime
    """
    When the sandbox was asked for.
    """
    started_at: AwareDatetime | None = None
    """
    When it last began to run.
    """
    last_active_at: AwareDatetime | None = None
    """
    When something last happened in it.
    """
    last_updated: AwareDatetime
    """
    When this record last changed.
    """


class StopReport(Model):
    """
    What became of sandboxes that were to be stopped.
    """

    stopped: list[str]
    """
    Ids of those that are stopped now.
    """
    failed: list[StopFailure]
    """
    Those that are not.
    """


class SandboxStats(Model):
    """
    How much a team runs.
    """

    range: str
    """
    How far back the series goes.
    """
    current: StatsCurrent
    peaks: StatsPeaks
    series: StatsSeries


class SandboxMetrics(Model):
    """
    Use of resources over time.
    """

    sandbox_id: str
    """
    Id of the sandbox.
    """
    range: str
    """
    How far back the points go.
    """
    points: list[MetricPoint]
    """
    In order of time.
    """


class Changes(Model):
    """
    How files differ.
    """

    sandbox_id: str
    """
    Id of the sandbox.
    """
    since: str | None = None
    """
    Id of the checkpoint compared with; absent if it is what the sandbox was created from.
    """
    changes: list[FileChange]
    """
    In order of paths.
    """
    truncated: bool | None = None
    """
    There are more than could be told.
    """


class TeamDetail(Model):
    """
    A team and its members.
    """

    team: Team
    members: list[Member]
    """
    In the order in which they joined.
    """


class Build(Model):
    """
    A build of a template.
    """

    id: str
    """
    Its id.
    """
    name: str
    """
    Name of the template.
    """
    base_template: str
    """
    What it begins with.
    """
    recipe: list[str]
    """
    The instructions.
    """
    healthcheck: str | None = None
    """
    What says that the started programs are ready.
    """
    vcpus: int
    """
    Processors, also of sandboxes of the template.
    """
    memory_mb: int
    """
    Memory in MiB, likewise.
    """
    disk_mb: int | None = None
    """
    MiB that the home directory may take, likewise.
    """
    network: str | None = None
    """
    Network mode while it is built.
    """
    status: Literal["pending", "running", "success", "failed", "cancelled"] | str
    """
    `success` when the template is there.
    """
    current_step: int
    """
    Number of the step that runs, or ran last.
    """
    total_steps: int
    """
    How many there are.
    """
    logs: list[BuildLogEntry]
    """
    The steps that have ended.
    """
    error: str | None = None
    """
    Why it failed: which step, in which line, and the end of what it wrote.
    """
    sandbox_id: str | None = None
    """
    The sandbox that it takes place in, and which is gone afterwards.
    """
    host_id: str | None = None
    """
    The host of that sandbox, if the server says.
    """
    default_user: str | None = None
    """
    User of commands of its sandboxes.
    """
    default_cwd: str | None = None
    """
    Directory of commands of its sandboxes.
    """
    default_env: dict[str, str] | None = None
    """
    Variables of commands of its sandboxes.
    """
    created_at: AwareDatetime
    """
    When it was asked for.
    """
    started_at: AwareDatetime | None = None
    """
    When it began.
    """
    completed_at: AwareDatetime | None = None
    """
    When it ended.
    """


class WebhookEvent(Model):
    """
    What webhooks get.
    """

    event: str
    """
    What happened.
    """
    timestamp: AwareDatetime
    """
    When, to the second.
    """
    team_id: str
    """
    Whose it is.
    """
    actor: WebhookActor
    resource: WebhookResource


class UsageReport(Model):
    """
    What a team used of each day.
    """

    from_: Annotated[date_aliased, Field(alias="from")]
    """
    The first day.
    """
    to: date_aliased
    """
    The last day.
    """
    points: list[UsagePoint]
    """
    Days in order; those without use are left out.
    """


class Capabilities(Model):
    """
    What a server can do and what it enforces.
    """

    server: str
    """
    Name of the implementation.
    """
    version: str
    """
    Version of the server.
    """
    features: list[str]
    """
    Names of the additions to the original protocol that this server has.
    """
    templates: list[str] | None = None
    """
    Names of the templates that come with the engine.
    """
    isolation: Isolation
    limits: ServerLimits
