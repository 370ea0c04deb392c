"""Progress bars on a terminal."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

Progress = Callable[[str, int, int], None]  # called with (name of the step, number done, total)


def silent(what: str, done: int, total: int) -> None:
    """Show nothing."""


def bars() -> Progress:
    """Return a function that shows a bar with the time left for each step, if standard error is a terminal."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    if not console.is_terminal:
        return silent
    bar, step = None, None

    def show(what: str, done: int, total: int) -> None:
        nonlocal bar, step
        if bar is None or step != what:
            if bar is not None:
                bar.stop()
            bar, step = Bar(console=console, transient=True), what
            bar.add_task(what)
            bar.start()
        bar.update(bar.task_ids[0], completed=done, total=total)
        if done >= total:
            bar.stop()
            bar = None

    return show


def counted(items: Iterable[T], what: str, total: int, progress: Progress) -> Iterator[T]:
    """Yield the items, reporting before each one and at the end how many are done."""
    for done, item in enumerate(items):
        progress(what, done, total)
        yield item
    progress(what, total, total)
