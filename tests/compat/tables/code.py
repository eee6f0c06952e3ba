"""Code in kernels."""

from __future__ import annotations

from sandlot import ContextNotFoundError, InvalidArgumentError, UnsupportedError
from tests.compat.rows import Fails, Row, Works
from tests.compat.tenants import Tenant


async def run(tenant: Tenant) -> None:
    box = await tenant.notebook()
    done = await box.run_code("x = 40\nprint('out')\nx + 2")
    assert (done.stdout, done.text, done.ok) == ("out\n", "42", True)
    assert (await box.run_code("x")).text == "40"
    assert (await box.run_code("1 / 0")).error.name == "ZeroDivisionError"
    stream, names = box.run_code_stream("print(x)"), ["CodeStdoutEvent", "CodeEndEvent"]
    assert [type(event).__name__ async for event in stream] == names
    assert stream.execution.stdout == "40\n"


async def contexts(tenant: Tenant) -> None:
    box = await tenant.notebook()
    assert await box.code.languages() == ["python"]
    context = await box.code.create_context()
    assert [each.id for each in await box.code.list()] == [context.id]
    assert (await box.code.get_context(context.id)).id == context.id
    assert await box.code.choose("python", context.id) is not None
    assert (await box.code.context().run_code("1 + 1")).text == "2"
    assert len(await box.code.list()) == 2
    await box.code.interrupt()
    await box.code.restart()
    assert (await box.run_code("'x' in globals()")).text == "False"
    await box.code.close()


async def one_context(tenant: Tenant) -> None:
    box = await tenant.notebook()
    async with await box.code.create_context() as context:
        assert (await context.run_code("1 + 1")).text == "2"
        async for _ in context.run_code_stream("2"):
            pass
        await context.interrupt()
        await context.restart()
        await context.detach()
    assert await box.code.list() == []


async def without_jupyter(tenant: Tenant) -> None:
    await (await tenant.box()).run_code("1")


async def in_another_language(tenant: Tenant) -> None:
    await (await tenant.notebook()).run_code("1", "cobol")


async def in_no_context(tenant: Tenant) -> None:
    await (await tenant.notebook()).code.get_context("nope")


ROWS: list[Row] = [
    Works("sandbox.run_code sandbox.run_code_stream", run),
    Works(
        "sandbox.code code.create_context code.list code.get_context code.choose code.context"
        " code.languages code.interrupt code.restart code.close",
        contexts,
    ),
    Works(
        "context.run_code context.run_code_stream context.interrupt context.restart context.detach"
        " context.close",
        one_context,
    ),
    Fails("sandbox.run_code", "the template has no Jupyter", without_jupyter, UnsupportedError),
    Fails("sandbox.run_code", "another language", in_another_language, InvalidArgumentError),
    Fails("code.get_context", "there is none", in_no_context, ContextNotFoundError),
]
